"""What became of each content in the archive is found, and what could not be asked is told of as such."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from mirror.archive import http
from mirror.archive.content import Content
from mirror.archive.http import Http
from mirror.cli.backup import backup
from mirror.cli.populate import populate
from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.demo.faults import Status
from mirror.errors import ArchiveDown, ArchiveError, StoreError
from mirror.keeping.books import Books
from mirror.proving.looking import Looker
from mirror.proving.rate import Rate
from mirror.proving.sample import Sample
from mirror.proving.verify import Prover
from mirror.store.content_book import HeldContent, book_path
from mirror.store.contents import adopt
from mirror.store.ledger import Figures, Found, Ledger, ledger_path
from mirror.store.proofs import proofs_of, proofs_of_dandiset
from mirror.store.store import Store
from mirror.store.version_keys import versions_in
from mirror.sync.engine import sync
from tests.proving.conftest import ZARR_PATH, Mirrored, Told, copied, holding_manifests, slices
from tests.store.test_ledger import spoil

Prove = Callable[..., Told]


@pytest.fixture
def prove(store: Store, dandiset: str, settings: Settings) -> Prove:
    """What is found of the addresses now."""

    def run(*identifiers: str, sample: Sample | None = None, now: Callable[[], float] = time.time) -> Told:
        told = Told()
        with Prover(settings, store, ("urls",), told, against_archive=False, sample=sample, now=now) as prover:
            prover.run(identifiers or (dandiset,))
        return told

    return run


@pytest.fixture
def blob_of(archive: DemoArchive) -> Callable[[bytes], str]:
    """The key in the bucket of an object with this content."""

    def find(content: bytes) -> str:
        for key in archive.objects.keys("blobs/"):
            latest = archive.objects.latest(key)
            if latest is not None and latest.content == content:
                return key
        raise AssertionError(f"no object holds {content!r}")

    return find


def figures(store: Store, dandiset: str, version: str = "draft") -> Figures:
    with Ledger(ledger_path(store.open_side)) as ledger:
        return {one.version: one.figures for one in ledger.versions(dandiset)}[version]


def later() -> float:
    """Late enough for another round: what was seen is dated in seconds."""
    return time.time() + 2


BlobOf = Callable[[bytes], str]
PATH_2 = "sub-2/sub-2_ecephys.nwb"


def test_of_an_archive_that_has_everything_nothing_is_found(prove: Prove, store: Store, dandiset: str) -> None:
    told = prove()

    assert told.findings == []
    assert told.subjects[0].checked == 3
    now = figures(store, dandiset)
    assert (now.all.files, now.archive.files, now.in_git.files, now.had.files) == (4, 3, 1, 4)
    assert now.at_risk.files == now.unknown.files == 0
    assert now.since is not None


def test_each_content_costs_one_request(prove: Prove, archive: DemoArchive) -> None:
    before = archive.count(server="s3", method="HEAD")

    prove()

    assert archive.count(server="s3", method="HEAD") - before == 3


def test_a_content_that_was_replaced_is_told_of_as_non_current(
    prove: Prove, archive: DemoArchive, blob_of: BlobOf, store: Store, dandiset: str
) -> None:
    archive.objects.put(blob_of(b"spikes of two"), b"spikes of TWO")

    told = prove()

    assert [(one.kind, one.where) for one in told.findings] == [("non-current", PATH_2)]
    assert figures(store, dandiset).non_current.files == 1
    assert figures(store, dandiset).had.files == 3


def test_a_content_behind_a_delete_marker_is_told_of_as_non_current(
    prove: Prove, archive: DemoArchive, blob_of: BlobOf
) -> None:
    archive.objects.delete(blob_of(b"spikes of two"))

    assert prove().where("non-current") == [PATH_2]


def test_a_content_that_is_gone_is_found(
    prove: Prove, archive: DemoArchive, blob_of: BlobOf, store: Store, dandiset: str
) -> None:
    key = blob_of(b"spikes of two")
    latest = archive.objects.latest(key)
    assert latest is not None
    archive.objects.delete_version(key, latest.version_id)

    told = prove()

    assert told.where("gone") == [PATH_2]
    assert figures(store, dandiset).lost.files == 1


def test_a_content_of_another_size_is_told_of_as_changed(prove: Prove, archive: DemoArchive, blob_of: BlobOf) -> None:
    key = blob_of(b"spikes of two")
    latest = archive.objects.latest(key)
    assert latest is not None
    object.__setattr__(latest, "content", b"spikes of two and of three")

    assert prove().where("changed") == [PATH_2]


def test_what_is_gone_from_the_archive_and_held_here_is_not_lost(
    prove: Prove, archive: DemoArchive, blob_of: BlobOf, store: Store, dandiset: str, tmp_path: Path
) -> None:
    key = f"SHA256E-s13--{hashlib.sha256(b'spikes of two').hexdigest()}.nwb"
    content = tmp_path / "content"
    content.write_bytes(b"spikes of two")
    adopt(store.repository(dandiset).path, key, content)
    archive.objects.delete(blob_of(b"spikes of two"))

    prove()

    now = figures(store, dandiset)
    assert (now.store.files, now.had.files, now.at_risk.files) == (1, 4, 0)


def test_what_nobody_answers_of_is_not_known_and_no_finding(
    prove: Prove, archive: DemoArchive, blob_of: BlobOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(http, "LONGEST_WAIT", 0.001)
    archive.s3_faults.add(Status(503), path=blob_of(b"spikes of two"), times=None)

    told = prove()

    assert told.kinds == {"unknown"}
    assert told.subjects[0].severe == 0
    assert told.subjects[0].checked == 3


def test_an_answer_that_was_had_before_is_not_forgotten_when_there_is_none(
    prove: Prove, archive: DemoArchive, blob_of: BlobOf, store: Store, dandiset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove()
    monkeypatch.setattr(http, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(http, "LONGEST_WAIT", 0.001)
    archive.s3_faults.add(Status(503), path=blob_of(b"spikes of two"), times=None)

    assert prove(now=later).kinds == {"unknown"}

    assert figures(store, dandiset).archive.files == 3


def test_where_nothing_at_all_could_be_asked_that_is_an_error(
    archive: DemoArchive, settings: Settings, dandiset: str, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    monkeypatch.setattr(http, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(http, "LONGEST_WAIT", 0.001)
    archive.s3_faults.add(Status(503), times=None)

    with Prover(settings, store, ("urls",), against_archive=False) as prover:
        proved = prover.run([dandiset])

    assert (proved.severe, proved.unanswered) == (0, 3)
    with pytest.raises(ArchiveError, match="no answer"):
        proved.check()


def test_an_outage_ends_the_run(
    archive: DemoArchive, settings: Settings, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    monkeypatch.setattr(http, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(http, "LONGEST_WAIT", 0.001)
    large = archive.create_dandiset("Many")
    for number in range(20):
        archive.add_asset(large, f"{number}.nwb", b"spikes %d" % number)
    sync(settings, [large])
    archive.s3_faults.add(Status(503), times=None)

    with Prover(settings, store, ("urls",), against_archive=False) as prover, pytest.raises(ArchiveDown):
        prover.run([large])


def test_an_outage_forgets_nothing_of_what_was_found(
    prove: Prove,
    archive: DemoArchive,
    settings: Settings,
    store: Store,
    dandiset: str,
    blob_of: BlobOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(20):
        archive.add_asset(dandiset, f"{number}.nwb", b"more spikes %d" % number)
    sync(settings)
    archive.objects.delete(blob_of(b"spikes of two"))
    prove()
    monkeypatch.setattr(http, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(http, "LONGEST_WAIT", 0.001)
    archive.s3_faults.add(Status(503), times=None)

    with pytest.raises(ArchiveDown):
        prove(now=later)

    severe = [one.where for _, one in proofs_of_dandiset(store, dandiset).complaints if one.severe]
    assert severe == [PATH_2]


def test_what_a_clock_that_was_wrong_saw_is_asked_for_again(
    archive: DemoArchive, settings: Settings, store: Store, dandiset: str, with_zarr: str
) -> None:
    sync(settings)
    years_ahead = time.time() + 3e8
    with Prover(settings, store, ("urls",), against_archive=False, now=lambda: years_ahead) as prover:
        prover.run([dandiset, with_zarr])
    asked = archive.count(server="s3", method="HEAD")
    told = Told()

    with Prover(settings, store, ("urls",), watcher=told, against_archive=False) as prover:
        prover.run([dandiset, with_zarr])

    assert archive.count(server="s3", method="HEAD") - asked == 3
    assert {one.subject for one in told.subjects} == {dandiset, with_zarr, *store.zarrs()}


def test_contents_that_nothing_names_any_more_are_forgotten(
    prove: Prove, archive: DemoArchive, settings: Settings, store: Store, dandiset: str
) -> None:
    prove()
    archive.clock.advance(60)
    archive.remove_asset(dandiset, "sub-3/sub-3_ecephys.nwb")
    sync(settings)

    prove(now=later)

    found = proofs_of(store)
    assert found is not None
    assert found.figures.all.files == 2


def test_what_was_seen_before_a_stop_is_not_asked_for_again(
    archive: DemoArchive, settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.proving.urls._AT_ONCE", 25)
    large = archive.create_dandiset("Many")
    for number in range(60):
        archive.add_asset(large, f"{number}.nwb", b"spikes %d" % number)
    sync(settings, [large])
    asked = archive.count(server="s3", method="HEAD")
    stop_after = asked + 30
    with Prover(
        settings,
        store,
        ("urls",),
        against_archive=False,
        stop=lambda: archive.count(server="s3", method="HEAD") >= stop_after,
    ) as prover:
        assert prover.run([large]).stopped

    with Prover(settings, store, ("urls",), against_archive=False) as prover:
        proved = prover.run([large])

    assert proved.checked["urls"] == 60
    assert archive.count(server="s3", method="HEAD") - asked == 60


def test_a_content_of_two_dandisets_is_asked_for_once(
    prove: Prove, archive: DemoArchive, settings: Settings, dandiset: str
) -> None:
    other = archive.create_dandiset("The same")
    archive.add_asset(other, "same.nwb", b"spikes of two")
    sync(settings)
    before = archive.count(server="s3", method="HEAD")

    told = prove(dandiset, other)

    assert [subject.checked for subject in told.subjects] == [3, 1]
    assert archive.count(server="s3", method="HEAD") - before == 3


def test_of_a_sample_so_many_are_asked_for(prove: Prove) -> None:
    assert prove(sample=Sample.parse("2")).subjects[0].checked == 2
    assert prove(sample=Sample.parse("1%")).subjects[0].checked == 1


def test_addresses_of_others_are_never_asked(archive: DemoArchive) -> None:
    looker = Looker(Content(Http(), lambda _: None), frozenset({"demo.example.org"}), Rate(1000))

    looked = looker.look("SHA256E-s1--" + "0" * 64, [f"{archive.s3_endpoint}/bucket/blobs/1"])

    assert looked.found is Found.NEVER
    assert archive.count(path="/bucket/blobs/1") == 0


def zarr_key(store: Store, path: str) -> str:
    (zarr_id,) = store.zarrs()
    return f"zarr/{zarr_id}/{path}"


def prove_zarr(settings: Settings, store: Store, identifier: str) -> Told:
    told = Told()
    with Prover(settings, store, ("urls",), watcher=told, against_archive=False) as prover:
        prover.run([identifier])
    return told


def test_a_zarr_is_proved_by_a_listing(
    archive: DemoArchive, zarr_store: Store, settings: Settings, with_zarr: str
) -> None:
    heads = archive.count(server="s3", method="HEAD")

    told = prove_zarr(settings, zarr_store, with_zarr)

    assert told.findings == []
    assert [subject.checked for subject in told.subjects] == [5, 0]
    assert archive.count(server="s3", method="HEAD") == heads
    assert figures(zarr_store, with_zarr).had.files == 5


def test_a_file_of_a_zarr_that_was_replaced_is_at_risk(
    archive: DemoArchive, zarr_store: Store, settings: Settings, with_zarr: str
) -> None:
    archive.objects.put(zarr_key(zarr_store, "0/0/1"), b"other pixels")

    told = prove_zarr(settings, zarr_store, with_zarr)

    assert told.where("non-current") == ["0/0/1"]
    now = figures(zarr_store, with_zarr)
    assert (now.archive.files, now.had.files, now.non_current.files) == (4, 4, 1)
    (zarr_id,) = zarr_store.zarrs()
    refs = zarr_store.dataset(zarr_id).refs()
    (name,) = (ref.removeprefix("refs/tags/") for ref in refs if ref.startswith("refs/tags/"))
    with Ledger(ledger_path(zarr_store.open_side)) as ledger:
        assert [file.path for file in ledger.zarr_files(zarr_id, name)] == ["0/0/1"]


def test_files_of_a_zarr_that_are_gone_are_found(
    archive: DemoArchive, zarr_store: Store, settings: Settings, with_zarr: str
) -> None:
    for path in ("0/0/0", ".zattrs"):
        key = zarr_key(zarr_store, path)
        latest = archive.objects.latest(key)
        assert latest is not None
        archive.objects.delete_version(key, latest.version_id)
    archive.objects.delete(zarr_key(zarr_store, "0/1"))

    told = prove_zarr(settings, zarr_store, with_zarr)

    assert sorted(told.where("gone")) == [".zattrs", "0/0/0"]
    assert told.where("non-current") == ["0/1"]


@pytest.fixture
def published_and_changed(archive: DemoArchive, zarr_path: str, settings: Settings, mirrored: Mirrored) -> str:
    """A Dandiset with a published version, of whose Zarr a file was replaced since, one removed and one added."""
    identifier = published_slices(archive)
    copied(mirrored(published_slices), settings)
    (zarr_id,) = Store.open(settings.store).zarrs()
    archive.clock.advance(60)
    archive.change_zarr(identifier, zarr_path, {"0/0": b"PIXELS", "1/0": b"same"})
    archive.objects.delete(f"zarr/{zarr_id}/0/1")
    archive.change_zarr(identifier, zarr_path, {"1/1": b"new"})
    sync(settings, [identifier])
    return identifier


def published_slices(archive: DemoArchive) -> str:
    """A Dandiset with a Zarr in a published version."""
    identifier = archive.create_dandiset("Slices")
    archive.add_zarr(identifier, ZARR_PATH, {".zattrs": b"{}", "0/0": b"pixels", "0/1": b"others", "0/2": b"same"})
    archive.publish(identifier, allow_zarrs=True)
    return identifier


def test_a_published_state_of_a_zarr_that_was_left_is_at_risk(published_and_changed: str, settings: Settings) -> None:
    store = Store.open(settings.store)

    told = prove_zarr(settings, store, published_and_changed)

    assert sorted(told.where("non-current")) == ["0/0", "0/1"]
    version = next(one for one in versions_in(store.repository(published_and_changed).refs()))
    now = figures(store, published_and_changed, version)
    assert (now.all.files, now.archive.files, now.had.files, now.non_current.files) == (4, 2, 2, 2)
    assert now.unknown.files == 0
    now = figures(store, published_and_changed)
    assert (now.all.files, now.had.files) == (5, 5)
    every = proofs_of(store)
    assert every is not None
    assert (every.figures.all.files, every.figures.non_current.files) == (7, 2)


def test_what_today_s_state_lacks_a_left_one_lacks_too(
    archive: DemoArchive, published_and_changed: str, settings: Settings
) -> None:
    store = Store.open(settings.store)
    key = zarr_key(store, ".zattrs")
    latest = archive.objects.latest(key)
    assert latest is not None
    archive.objects.delete_version(key, latest.version_id)

    prove_zarr(settings, store, published_and_changed)

    version = next(one for one in versions_in(store.repository(published_and_changed).refs()))
    now = figures(store, published_and_changed, version)
    assert (now.had.files, now.lost.files, now.non_current.files) == (1, 1, 2)


def test_a_left_state_of_a_zarr_that_is_held_here_is_not_lost(
    published_and_changed: str, settings: Settings, tmp_path: Path
) -> None:
    store = Store.open(settings.store)
    (zarr_id,) = store.zarrs()
    (tmp_path / "content").write_bytes(b"pixels")
    key = f"MD5E-s6--{hashlib.md5(b'pixels').hexdigest()}"
    adopt(store.dataset(zarr_id).path, key, tmp_path / "content")

    prove_zarr(settings, store, published_and_changed)

    version = next(one for one in versions_in(store.repository(published_and_changed).refs()))
    now = figures(store, published_and_changed, version)
    assert (now.had.files, now.store.files, now.non_current.files) == (3, 1, 1)
    assert figures(store, published_and_changed).store.files == 0


def test_files_of_a_zarr_that_a_backup_has_count_as_such_and_are_not_lost(
    archive: DemoArchive, published_and_changed: str, settings: Settings, tmp_path: Path
) -> None:
    store = Store.open(settings.store)
    (tmp_path / "nas").mkdir()
    remote = {"name": "nas", "type": "directory", "options": {"directory": str(tmp_path / "nas")}}
    given = json.loads(settings.model_dump_json(include={"archive", "store"})) | {"backup": [remote]}
    (tmp_path / "mirror.yaml").write_text(json.dumps(given))
    for command, what in ((populate, [f"{published_and_changed}/draft/{ZARR_PATH}"]), (backup, [])):
        said = CliRunner().invoke(command, ["-c", str(tmp_path / "mirror.yaml"), *what], catch_exceptions=False)
        assert said.exit_code == 0, said.output
    (zarr_id,) = store.zarrs()
    shutil.rmtree(store.dataset(zarr_id).path / "annex" / "objects")
    key = zarr_key(store, "0/2")
    latest = archive.objects.latest(key)
    assert latest is not None
    archive.objects.delete_version(key, latest.version_id)

    prove_zarr(settings, store, published_and_changed)

    now = figures(store, published_and_changed)
    assert (now.all.files, now.archive.files, now.store.files, now.backup.files) == (5, 4, 0, 5)
    assert (now.had.files, now.lost.files) == (5, 0)
    version = next(one for one in versions_in(store.repository(published_and_changed).refs()))
    left = figures(store, published_and_changed, version)  # of which two files are today's
    assert (left.all.files, left.backup.files, left.had.files, left.non_current.files) == (4, 2, 2, 2)


def test_of_a_zarr_that_is_proved_by_itself_its_left_states_stay_known(
    published_and_changed: str, settings: Settings
) -> None:
    store = Store.open(settings.store)
    (zarr_id,) = store.zarrs()
    prove_zarr(settings, store, published_and_changed)
    told = Told()

    with Prover(settings, store, ("urls",), watcher=told) as prover:
        prover.zarr(zarr_id)

    assert sorted(told.where("non-current")) == ["0/0", "0/1"]
    with Ledger(ledger_path(store.open_side)) as ledger:
        assert len(ledger.zarr_states(zarr_id)) == 2


def test_a_zarr_that_was_proved_before_a_stop_is_not_listed_again(
    zarr_store: Store, settings: Settings, with_zarr: str
) -> None:
    before, after = Told(), Told()
    with Prover(settings, zarr_store, ("urls",), watcher=before, stop=lambda: bool(before.subjects)) as prover:
        assert prover.run([with_zarr]).stopped

    with Prover(settings, zarr_store, ("urls",), watcher=after) as prover:
        prover.run([with_zarr])

    assert [one.subject for one in before.subjects] == zarr_store.zarrs()
    assert [one.subject for one in after.subjects] == [with_zarr]


def test_files_that_came_since_are_nothing_to_find(
    archive: DemoArchive, zarr_store: Store, settings: Settings, with_zarr: str
) -> None:
    for path in ("0/0/00", "1/0", "zzz", "-first"):
        archive.objects.put(zarr_key(zarr_store, path), b"new")

    assert prove_zarr(settings, zarr_store, with_zarr).findings == []


def test_a_zarr_held_as_a_manifest_is_proved_as_well(
    archive: DemoArchive, with_zarr: str, settings: Settings, mirrored: Mirrored
) -> None:
    store = copied(mirrored(slices, holding_manifests), settings)
    archive.objects.put(zarr_key(store, "0/0/1"), b"other pixels")

    assert prove_zarr(settings, store, with_zarr).where("non-current") == ["0/0/1"]


def test_a_round_that_was_stopped_within_its_last_contents_is_not_through(
    archive: DemoArchive, settings: Settings, store: Store, dandiset: str
) -> None:
    for number in range(20):
        archive.add_asset(dandiset, f"{number}.nwb", b"more spikes %d" % number)
    sync(settings)
    asked = archive.count(server="s3", method="HEAD")

    with Prover(
        settings,
        store,
        ("urls",),
        against_archive=False,
        stop=lambda: archive.count(server="s3", method="HEAD") > asked,
    ) as prover:
        assert prover.run([dandiset]).stopped

    assert archive.count(server="s3", method="HEAD") - asked < 23
    with Ledger(ledger_path(store.open_side)) as ledger:
        found = ledger.round(dandiset, "urls")
    assert found is not None
    assert found.last_whole is None


def test_other_bytes_of_the_same_size_are_told_of_as_changed(
    prove: Prove, archive: DemoArchive, blob_of: BlobOf
) -> None:
    latest = archive.objects.latest(blob_of(b"spikes of two"))
    assert latest is not None
    object.__setattr__(latest, "etag", "0123456789abcdef0123456789abcdef-1")

    told = prove()

    assert told.where("changed") == [PATH_2]
    assert "ETag" in told.findings[0].message


def test_an_etag_of_another_kind_says_nothing(prove: Prove, archive: DemoArchive, blob_of: BlobOf) -> None:
    for etag in ("0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef-7", "of-their-own"):
        latest = archive.objects.latest(blob_of(b"spikes of two"))
        assert latest is not None
        object.__setattr__(latest, "etag", etag)

        assert prove().findings == []


def test_what_is_held_for_another_dandiset_is_not_lost(
    prove: Prove,
    archive: DemoArchive,
    settings: Settings,
    blob_of: BlobOf,
    store: Store,
    dandiset: str,
    tmp_path: Path,
) -> None:
    other = archive.create_dandiset("The same")
    archive.add_asset(other, "same.nwb", b"spikes of two")
    sync(settings)
    key, dataset_id = f"SHA256E-s13--{hashlib.sha256(b'spikes of two').hexdigest()}.nwb", store.dataset_id(dandiset)
    (tmp_path / "content").write_bytes(b"spikes of two")
    adopt(store.repository(dandiset).path, key, tmp_path / "content")
    with Books(store) as books:
        books.of(dataset_id).add([HeldContent(dataset_id, key, 13, False)])
    blob = blob_of(b"spikes of two")
    latest = archive.objects.latest(blob)
    assert latest is not None
    archive.objects.delete_version(blob, latest.version_id)

    prove(dandiset, other)

    assert [figures(store, one).lost.files for one in (dandiset, other)] == [0, 0]
    every = proofs_of(store)
    assert every is not None
    assert (every.figures.store.files, every.figures.lost.files) == (1, 0)


def test_a_ledger_whose_damage_shows_while_a_zarr_is_proved_is_set_aside(
    zarr_store: Store, settings: Settings, with_zarr: str
) -> None:
    prove_zarr(settings, zarr_store, with_zarr)
    path = ledger_path(zarr_store.open_side)
    body = path.read_bytes()
    path.write_bytes(body[:4096] + b"\xff" * (len(body) - 4096))
    (zarr_id,) = zarr_store.zarrs()

    with pytest.raises(StoreError, match="ledger is damaged"), Prover(settings, zarr_store, ("urls",)) as prover:
        prover.zarr(zarr_id)

    assert path.with_name("ledger.sqlite.damaged").exists()


def test_a_damaged_book_of_what_is_held_is_thrown_away(prove: Prove, store: Store, dandiset: str) -> None:
    dataset_id = store.dataset_id(dandiset)
    with Books(store) as books:
        books.of(dataset_id).add(HeldContent("x", f"SHA256E-s3--{one:064x}", 3, False) for one in range(5000))
    spoil(book_path(store.open_side))

    first, second = prove(), prove(now=later)

    assert ["book of what content is held" in one.trouble for one in first.subjects] == [True]
    assert [(one.trouble, one.checked) for one in second.subjects] == [("", 3)]
    assert figures(store, dandiset).archive.files == 3
