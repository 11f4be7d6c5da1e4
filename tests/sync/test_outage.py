"""When the archive is out of order no Dandiset is to blame; and a run that is to stop stops between two of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mirror.archive.bucket import Bucket
from mirror.archive.client import ArchiveClient
from mirror.archive.instances import content_hosts
from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.demo.faults import Fault, Reset, Status, html_page
from mirror.errors import ArchiveDown, MirrorError, NoRoom, SomeFailed, Stopped, Unreachable
from mirror.publish.publishing import Publisher
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.dandiset import DandisetSync, layout_of
from mirror.sync.engine import Report, sync
from mirror.sync.outage import Judge
from mirror.sync.turn import Outcome

MakeSettings = Callable[..., Settings]
DANDISETS = 6


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tries, and no pauses between them."""

    def connect(settings: Settings) -> Connection:
        archive = settings.archive
        client = ArchiveClient(archive.api_url, tries=2, sleep=lambda _: None)
        return Connection(
            client, Bucket(client.http, archive.s3_endpoint), content_hosts(archive.api_url, archive.s3_endpoint)
        )

    monkeypatch.setattr(Connection, "open", connect)


@pytest.fixture
def dandisets(archive: DemoArchive) -> list[str]:
    """Dandisets with a text each, mirrored in this order."""
    identifiers = []
    for number in range(DANDISETS):
        identifiers.append(identifier := archive.create_dandiset(f"Number {number}"))
        archive.add_asset(identifier, "README.md", b"# Number %d\n" % number)
        archive.add_asset(identifier, "sub-1/sub-1.nwb", b"%d" % number)
    return identifiers


def outcome(identifier: str, kind: str = "") -> Outcome:
    return Outcome(identifier, "failed" if kind else "changed", kind, kind=kind)


# --- the judgement -----------------------------------------------------------------------------------------------


def judge(kinds: str, *, api: list[str | None], bucket: list[str | None]) -> tuple[str, str | None]:
    """Whom a judge acquits, and what it found. U: no answer, B: nonsense, R: refused, `.`: went well.

    `api`, `bucket`: what is wrong with these, each time that they are asked.
    """
    names = {"U": "Unreachable", "B": "BadAnswer", "R": "PathRefused", ".": ""}
    judge = Judge(partial(next, iter(api)), partial(next, iter(bucket)))
    turns = [outcome(str(number), names[kind]) for number, kind in enumerate(kinds)]
    return "".join(one.identifier for one in turns if judge.acquits(one)), judge.down


@pytest.mark.parametrize("kinds", ["....", ".R.R", ".UU.", ".U.U.U", "BBBB", "UUUU", "R"])
def test_failures_while_the_archive_answers_are_the_dandisets_own(kinds: str) -> None:
    assert judge(kinds, api=[None] * 4, bucket=[None] * 4) == ("", None)


@pytest.mark.parametrize("kind", ["U", "B"])
def test_when_the_archive_does_not_answer_either_it_is_to_blame(kind: str) -> None:
    assert judge(f"..{kind}", api=["connection refused"], bucket=[]) == ("2", "connection refused")


def test_a_bucket_that_is_down_is_to_blame_for_one_dandiset_as_for_many() -> None:
    assert judge(".U.", api=[None], bucket=["the bucket: HTTP 503"]) == ("1", "the bucket: HTTP 503")


def test_a_bucket_that_is_down_is_not_to_blame_for_nonsense() -> None:
    assert judge("BB", api=[None] * 2, bucket=[]) == ("", None)


def test_an_archive_that_was_down_once_is_not_asked_again_in_that_run() -> None:
    assert judge("RU.BRU", api=["HTTP 503"], bucket=[]) == ("135", "HTTP 503")


def test_a_refusal_is_not_looked_into() -> None:
    assert judge("RRR", api=[], bucket=[]) == ("", None)


# --- a sync of an archive that goes down -------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Reset(), Status(503), html_page()], ids=["reset", "503", "nonsense"])
def test_an_archive_that_goes_down_in_the_middle_cuts_the_run_short_and_is_charged_to_nobody(
    archive: DemoArchive, settings: MakeSettings, store: Path, dandisets: list[str], fault: Fault
) -> None:
    class Down:
        """Is told how it goes, and cuts the wire after the second Dandiset."""

        def __init__(self) -> None:
            self.seen: list[str] = []

        def asked(self, tally: object) -> None: ...

        def polled(self, found: object) -> None: ...
        def begun(self, identifier: str) -> None: ...
        def working(self, identifier: str, how_far: str) -> None: ...

        def done(self, outcome: Outcome) -> None:
            self.seen.append(outcome.result)
            if len(self.seen) == 2:
                archive.api_faults.add(fault, times=None)

    watcher = Down()
    with Publisher(settings(), layout_of(settings())) as publisher:
        report = sync(settings(), watcher=watcher, follower=publisher)
    assert watcher.seen == ["changed", "changed"]
    assert isinstance(report.cut_short, ArchiveDown)
    assert report.left == DANDISETS - 2
    kept = Store.open(store)
    assert [kept.state(one).failure for one in dandisets] == [None] * DANDISETS
    # What was mirrored is published all the same.
    assert [written.name for written in publisher.published.superdatasets] == ["dandisets"]
    with pytest.raises(ArchiveDown):
        report.check()

    archive.api_faults.clear()
    again = sync(settings())
    assert (again.count("changed"), again.still, again.left) == (DANDISETS - 2, 2, 0)


@pytest.mark.parametrize("count", [1, DANDISETS])
def test_a_bucket_that_goes_down_cuts_the_run_short_too(
    archive: DemoArchive, settings: MakeSettings, store: Path, dandisets: list[str], count: int
) -> None:
    """However few Dandisets moved."""
    archive.s3_faults.add(Status(503), times=None)
    report = sync(settings(), dandisets[:count])
    assert isinstance(report.cut_short, ArchiveDown)
    assert (report.outcomes, report.left) == ([], count)
    kept = Store.open(store)
    assert [kept.state(one).failure for one in dandisets] == [None] * DANDISETS
    archive.s3_faults.clear()
    assert sync(settings()).count("changed") == DANDISETS


def test_a_dandiset_whose_contents_cannot_be_had_of_a_bucket_that_answers_is_charged(
    archive: DemoArchive, settings: MakeSettings, store: Path, dandisets: list[str]
) -> None:
    """Else it would be tried at each poll, and never rest."""
    archive.s3_faults.add(Status(503), path=r"/blobs/", times=None)
    report = sync(settings(), dandisets[:1])
    assert (report.cut_short, report.count("failed")) == (None, 1)
    failure = Store.open(store).state(dandisets[0]).failure
    assert failure is not None
    assert failure.kind == "Unreachable"


def test_dandisets_that_never_get_an_answer_do_not_keep_the_others_from_their_turns(
    archive: DemoArchive, settings: MakeSettings, dandisets: list[str]
) -> None:
    bad, good = dandisets[:4], dandisets[4:]
    archive.api_faults.add(Status(503), path=rf"/dandisets/({'|'.join(bad)})/versions/", times=None)
    report = sync(settings())
    assert report.cut_short is None
    assert {one.identifier for one in report.outcomes if one.result == "failed"} == set(bad)
    assert {one.identifier for one in report.outcomes if one.result == "changed"} == set(good)


@pytest.mark.parametrize("named", [True, False], ids=["named", "missing from the list"])
def test_a_dandiset_of_which_nothing_can_be_heard_fails_alone(
    archive: DemoArchive, settings: MakeSettings, store: Path, dandisets: list[str], named: bool
) -> None:
    sync(settings())
    gone, other = dandisets[:2]
    archive.clock.advance(seconds=60)
    archive.add_asset(other, "a.txt", b"a")
    archive.delete_dandiset(gone)
    archive.api_faults.add(Status(503), path=rf"/dandisets/{gone}/$", times=None)
    report = sync(settings(), [gone, other] if named else [])
    assert {one.identifier: one.result for one in report.outcomes} == {gone: "failed", other: "changed"}
    assert Store.open(store).state(gone).vanished is None
    archive.api_faults.add(Reset(), path=r"/info/$", after=1, times=None)
    with pytest.raises(Unreachable):
        sync(settings(), [gone, other] if named else [])


def test_a_bucket_that_is_down_is_charged_to_no_dandiset_of_zarrs(
    archive: DemoArchive, settings: MakeSettings, store: Path
) -> None:
    identifiers = [archive.create_dandiset(f"Zarrs {number}") for number in range(4)]
    for identifier in identifiers:
        archive.add_asset(identifier, "sub-1/sub-1.nwb", b"one")
    sync(settings())
    archive.clock.advance(seconds=60)
    for identifier in identifiers:
        archive.add_zarr(identifier, "sub-1/a.ome.zarr", {"0/0": b"a"})
    archive.s3_faults.add(Status(503), times=None)
    with Publisher(settings(), layout_of(settings())) as publisher:
        report = sync(settings(), patient=True, follower=publisher)
    assert isinstance(report.cut_short, ArchiveDown)
    kept = Store.open(store)
    assert [kept.state(one).failure for one in identifiers] == [None] * 4
    archive.s3_faults.clear()
    again = sync(settings(), patient=True)
    assert {one.identifier: one.result for one in again.outcomes} == dict.fromkeys(identifiers, "changed")


def test_of_a_new_dandiset_that_was_mirrored_but_for_its_zarrs_it_is_remembered_that_it_was(
    archive: DemoArchive, settings: MakeSettings, store: Path
) -> None:
    """Else nobody would know, should it come under embargo next, that there is something of it to be taken back."""
    identifier = archive.create_dandiset("Zarrs")
    archive.add_zarr(identifier, "sub-1/a.ome.zarr", {"0/0": b"a"})
    archive.s3_faults.add(Status(503), times=None)
    assert isinstance(sync(settings(), patient=True).cut_short, ArchiveDown)
    state = Store.open(store).state(identifier)
    assert (state.synced is not None, state.failure) == (True, None)
    archive.s3_faults.clear()
    assert sync(settings(), patient=True).count("changed") == 1


def test_what_the_chain_of_releases_knows_does_not_go_beyond_a_run_that_was_cut_short(
    archive: DemoArchive, settings: MakeSettings, store: Path, dandisets: list[str]
) -> None:
    sync(settings())
    before = Store.open(store).frontier()
    archive.clock.advance(seconds=60)
    archive.add_asset(dandisets[0], "a.txt", b"a")
    archive.publish(dandisets[0])
    archive.api_faults.add(Reset(), path=r"/dandisets/\d+/versions/", times=None)
    archive.api_faults.add(Reset(), path=r"/info/$", after=1, times=None)
    report = sync(settings())
    assert isinstance(report.cut_short, ArchiveDown)
    assert Store.open(store).frontier() == before


# --- stopping ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("dandisets")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_is_to_stop_finishes_what_is_in_hand(settings: MakeSettings, store: Path, jobs: int) -> None:
    finished: list[str] = []

    class Listening:
        def asked(self, tally: object) -> None: ...

        def polled(self, found: object) -> None: ...
        def begun(self, identifier: str) -> None: ...
        def working(self, identifier: str, how_far: str) -> None: ...

        def done(self, outcome: Outcome) -> None:
            finished.append(outcome.identifier)

    report = sync(settings(jobs=jobs), watcher=Listening(), stop=lambda: len(finished) >= 2)
    assert isinstance(report.cut_short, Stopped)
    assert 2 <= len(finished) <= 2 + jobs
    assert report.left == DANDISETS - len(finished)
    report.check()  # it is no error
    kept = Store.open(store)
    assert sorted(finished) == kept.dandisets()
    assert sync(settings()).count("changed") == DANDISETS - len(finished)


def test_a_full_disk_ends_the_run_and_is_charged_to_nobody(
    settings: MakeSettings, store: Path, dandisets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = DandisetSync.run

    def run(self: DandisetSync, state: object) -> object:
        if self.identifier == dandisets[2]:
            raise OSError(28, "No space left on device", "pack")
        return honest(self, state)  # type: ignore[arg-type]

    monkeypatch.setattr(DandisetSync, "run", run)
    report = sync(settings())
    assert isinstance(report.cut_short, NoRoom)
    assert "pack" in str(report.cut_short)
    assert report.left >= DANDISETS - 3
    assert [Store.open(store).state(one).failure for one in dandisets] == [None] * DANDISETS
    with pytest.raises(NoRoom):
        report.check()


def test_a_report_tells_of_failures_only_when_it_was_not_cut_short() -> None:
    report = Report(outcomes=[outcome("000001", "PathRefused")])
    with pytest.raises(SomeFailed):
        report.check()
    report.cut_short = ArchiveDown("nobody there")
    with pytest.raises(MirrorError, match="nobody there"):
        report.check()
