"""The ledger remembers what was last seen, and loses nothing by being asked."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from mirror.store.ledger import Amount, Complaint, Figures, Found, KeyRow, Ledger, ZarrFile, ZarrState

KEY = "SHA256E-s3--" + "0" * 64
OTHER = "SHA256E-s5--" + "1" * 64


def zarr_state(zarr_id: str, checksum: str, at: int, figures: Figures) -> ZarrState:
    """The state of today."""
    return ZarrState(zarr_id, checksum, at, figures, figures)


def spoil(path: Path) -> None:
    """Overwrite most of a file, and not its beginning."""
    body = bytearray(path.read_bytes())
    for page in range(8 * 4096, len(body) - 4096, 4096):
        body[page : page + 4096] = b"\xff" * 4096
    path.write_bytes(body)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_what_was_seen_at_one_place_leaves_the_others_as_they_were(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.note([KeyRow(KEY, 3, archive=Found.OK, archive_at=100)])
        ledger.note([KeyRow(KEY, 3, store=Found.OK, store_at=200, hashed_at=200)])
    with Ledger(path) as ledger:
        ledger.note([KeyRow(KEY, 3, archive=Found.GONE, archive_at=300, store=Found.OK, store_at=300)])

        assert ledger.rows([KEY, OTHER]) == {KEY: KeyRow(KEY, 3, Found.GONE, 300, Found.OK, 300, 200, Found.NEVER, 0)}


def test_that_nobody_answered_forgets_nothing(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.note([KeyRow(KEY, 3, archive=Found.OK, archive_at=100)])
        ledger.note([KeyRow(KEY, 3)])

        assert ledger.rows([KEY])[KEY].archive is Found.OK


def test_figures_count_each_content_once_and_the_files_of_zarrs(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.note(
            [
                KeyRow(KEY, 3, Found.OK, 100, Found.GONE, 100),
                KeyRow(OTHER, 5, Found.GONE, 90, Found.GONE, 90, 0, Found.GONE, 90),
                KeyRow("kept", 7, Found.NON_CURRENT, 90, Found.OK, 90),
            ]
        )
        ledger.note_zarr(zarr_state("z", "c", 80, Figures(all=Amount(2, 20), had=Amount(2, 20), since=80)), [])

        figures = ledger.figures()

    assert figures.all == Amount(5, 35)
    assert figures.had == Amount(4, 30)
    assert figures.lost == Amount(1, 5)
    assert figures.non_current == Amount()
    assert figures.at_risk == Amount(1, 5)
    assert figures.since == 80


def test_figures_are_those_that_were_summed_up_last(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.note([KeyRow(KEY, 3, Found.OK, 100)])
        ledger.sum_up()
        ledger.note([KeyRow(OTHER, 5, Found.OK, 100)])
        assert ledger.figures().all == Amount(1, 3)
        ledger.sum_up()
        assert ledger.figures().all == Amount(2, 8)


def test_of_a_zarr_only_the_state_that_was_seen_last_counts(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.note_zarr(zarr_state("z", "old", 80, Figures(all=Amount(1, 1))), [ZarrFile("0/0", KEY, Found.GONE)])
        ledger.note_zarr(zarr_state("z", "new", 90, Figures(all=Amount(2, 2))), [ZarrFile("0/1", KEY, Found.CHANGED)])

        assert ledger.zarr("z", "old") is None
        assert list(ledger.zarr_files("z", "old")) == []
        assert list(ledger.zarr_files("z", "new")) == [ZarrFile("0/1", KEY, Found.CHANGED)]
        assert ledger.figures().all == Amount(2, 2)


BROKEN = Complaint("names", "tree", "README.md", "is not there", True)


def test_complaints_stay_until_the_dataset_is_proved_again(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.begin_round("000001", "names", 100)
        ledger.note_complaints("000001", "names", [BROKEN])
        ledger.note_complaints("000002", "names", [BROKEN._replace(severe=False)])
        ledger.end_round("000001", "names", 100)
        assert ledger.complaint_counts() == {"names": 1, "urls": 0, "bytes": 0}
        ledger.begin_round("000001", "urls", 100)
        ledger.end_round("000001", "urls", 100)
        assert [one for _, one in ledger.complaints("000001")] == [BROKEN]
        ledger.begin_round("000001", "names", 100)
        assert [one for _, one in ledger.complaints("000001")] == [BROKEN]
        ledger.end_round("000001", "names", 100)
        assert list(ledger.complaints("000001")) == []


def test_what_was_found_in_a_round_that_was_broken_off_and_gone_on_with_stays(path: Path) -> None:
    later = BROKEN._replace(where="dandiset.yaml")
    with Ledger(path) as ledger:
        ledger.begin_round("000001", "names", 100)
        ledger.note_complaints("000001", "names", [BROKEN])
        ledger.begin_round("000001", "names", 110)
        ledger.note_complaints("000001", "names", [later])
        ledger.end_round("000001", "names", 120)

        assert [one for _, one in ledger.complaints("000001")] == [BROKEN, later]


def test_of_very_many_complaints_the_newest_are_kept(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.begin_round("000001", "names", 100)
        ledger.note_complaints("000001", "names", [BROKEN._replace(where=f"{number}") for number in range(1000)])
        ledger.end_round("000001", "names", 110)
        ledger.begin_round("000001", "names", 200)
        ledger.note_complaints("000001", "names", [BROKEN])

        kept = [one for _, one in ledger.complaints("000001")]
        assert (len(kept), BROKEN in kept) == (1000, True)


def test_a_round_that_was_broken_off_is_gone_on_with(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.begin_round("000001", "urls", 100) == 100
        assert ledger.begin_round("000001", "urls", 150) == 100
        ledger.end_round("000001", "urls", 160)
        assert ledger.begin_round("000001", "urls", 200) == 200
        found = ledger.round("000001", "urls")
        assert found is not None
        assert (found.ended, found.last_whole) == (None, 100)
        assert ledger.begin_round("000001", "urls", 900, oldest=800) == 900
        found = ledger.round("000001", "urls")
        assert found is not None
        assert found.last_whole == 100
        assert ledger.oldest_rounds(["000001"]) == {"urls": 100}
        ledger.give_up_round("000001", "urls", 940)
        assert ledger.begin_round("000001", "urls", 950) == 950
        found = ledger.round("000001", "urls")
        assert found is not None
        assert (found.last_whole, found.given_up) == (100, 940)
        ledger.end_round("000001", "urls", 960)
        found = ledger.round("000001", "urls")
        assert found is not None
        assert (found.last_whole, found.given_up) == (950, 0)


def whole(ledger: Ledger, subject: str, level: str, at: int) -> None:
    ledger.begin_round(subject, level, at)
    ledger.end_round(subject, level, at)


def test_the_oldest_proof_is_told_by_level_and_one_that_never_was_counts(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.oldest_rounds(["000001"]) == {}
        whole(ledger, "000001", "names", 100)
        whole(ledger, "000002", "names", 200)
        whole(ledger, "000002", "bytes", 50)  # once, by hand

        assert ledger.oldest_rounds(["000001", "000002"]) == {"names": 100, "bytes": 0}
        assert ledger.oldest_rounds(["000001", "000002", "000003"])["names"] == 0
        assert ledger.oldest_rounds(["000002"]) == {"names": 200, "bytes": 50}


def test_a_zarr_that_nothing_names_any_more_is_forgotten(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.note_zarrs_in("000001", ["a", "b"])
        ledger.note_zarrs_in("000002", ["b"])
        for subject in ("a", "b", "000001", "000002"):
            whole(ledger, subject, "urls", 100)
        ledger.note_zarr(zarr_state("a", "c", 80, Figures(all=Amount(2, 20))), [])
        ledger.note_complaints("a", "urls", [BROKEN])

        ledger.note_zarrs_in("000001", [])

        assert [one.subject for one in ledger.rounds()] == ["000001", "000002", "b"]
        assert list(ledger.complaints()) == []
        assert ledger.figures().all == Amount()
        assert ledger.zarrs_in("000002") == ["b"]


def test_a_zarr_that_could_not_be_gone_through_holds_back_the_oldest_proof(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.note_zarrs_in("000001", ["a"])
        whole(ledger, "a", "names", 100)
        whole(ledger, "000001", "names", 900)
        ledger.begin_round("a", "names", 800)
        ledger.give_up_round("a", "names", 800)

        assert ledger.oldest_rounds(["000001"]) == {"names": 100}


def test_what_was_seen_long_ago_is_forgotten(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.note([KeyRow(KEY, 3, Found.OK, 100), KeyRow(OTHER, 5, Found.OK, 100, Found.OK, 500)])

        assert ledger.forget_before(200) == 1
        assert set(ledger.rows([KEY, OTHER])) == {OTHER}


@pytest.mark.parametrize("damage", [b"no database at all", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_one_is_set_aside_and_another_begun(
    path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(damage)

    with Ledger(path) as ledger:
        assert ledger.rows([KEY]) == {}

    assert path.with_name("ledger.sqlite.damaged").read_bytes() == damage
    assert "set aside" in caplog.text


def test_one_that_turns_out_to_be_damaged_later_is_set_aside_then(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.note(KeyRow(f"SHA256E-s3--{number:064x}", 3, Found.OK, 100) for number in range(5000))
    spoil(path)

    with pytest.raises(sqlite3.DatabaseError), Ledger(path) as ledger:
        ledger.figures()

    assert path.with_name("ledger.sqlite.damaged").exists()
    with Ledger(path) as ledger:
        assert ledger.figures().all == Amount()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_who_may_only_read_reads(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.note([KeyRow(KEY, 3, Found.OK, 100)])
    path.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with Ledger(path) as ledger:
            assert ledger.figures().all == Amount(1, 3)
    finally:
        path.parent.chmod(0o700)


def test_a_content_takes_little_room(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.note(
            KeyRow(f"SHA256E-s{number}--{number:064x}.nwb", number, Found.OK, 10**9) for number in range(20_000)
        )

    assert path.stat().st_size / 20_000 < 250


def test_of_very_many_complaints_those_that_matter_are_kept(path: Path) -> None:
    severe = BROKEN._replace(level="urls")
    with Ledger(path) as ledger:
        ledger.begin_round("000001", "urls", 100)
        harmless = [severe._replace(where=f"{number}", severe=False) for number in range(1000)]
        ledger.note_complaints("000001", "urls", [*harmless, severe])

        kept = [one for _, one in ledger.complaints("000001")]
        assert (len(kept), severe in kept) == (1000, True)


def test_of_two_ledgers_only_the_damaged_one_is_set_aside(path: Path) -> None:
    whole = path.with_name("other.sqlite")
    with Ledger(path) as ledger:
        ledger.note(KeyRow(f"SHA256E-s3--{number:064x}", 3, Found.OK, 100) for number in range(5000))
    spoil(path)

    with Ledger(whole) as ledger:
        ledger.note([KeyRow(KEY, 3, Found.OK, 100)])

    with pytest.raises(sqlite3.DatabaseError), Ledger(whole), Ledger(path) as damaged:
        damaged.figures()

    assert path.with_name("ledger.sqlite.damaged").exists()
    with Ledger(whole) as ledger:
        assert ledger.figures().all == Amount(1, 3)
