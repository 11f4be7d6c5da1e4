"""Right or not at all: Zarrs that are being uploaded, lied about, not to be had, or of which something was lost."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mirror.archive.bucket import Bucket
from mirror.archive.client import ArchiveClient
from mirror.archive.instances import content_hosts
from mirror.config import Settings
from mirror.demo import DemoArchive, documents
from mirror.demo.faults import Before, LostVersions, Reset, Status
from mirror.errors import SomeFailed
from mirror.git.repository import Repository
from mirror.store.frontier import PublishedMark
from mirror.store.store import Store
from mirror.store.zarrs import TextWriter, ZarrFolder
from mirror.sync.connection import Connection
from mirror.sync.zarr.ahead import MOST_SILENT

if TYPE_CHECKING:
    from tests.sync.conftest import Git, MirrorOnce, RepositoryOf
    from tests.sync.zarr.conftest import Addresses, Keys, Submodules, ZarrRefs

PATH = "sub-1/image.zarr"
FILES = {".zgroup": b"{}", "0/0": b"one", "0/1": b"two", "1/0": b"one"}
WRONG = f"{'0' * 32}-4--11"


@pytest.fixture
def zarr(archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce) -> str:
    """A Zarr that is mirrored; its id."""
    zarr_id = archive.add_zarr(dandiset, PATH, FILES)
    mirror_once().check()
    return zarr_id


def pending_paths(git: Git, repository: Path) -> list[str]:
    if not git(repository, "ls-tree", "draft", ".dandi/pending.jsonl"):
        return []
    return git(repository, "show", "draft:.dandi/pending.jsonl").splitlines()


class TestPending:
    """While the archive is taking a Zarr in, it has no checksum."""

    def test_it_waits_in_the_list_and_is_there_once_it_was_taken_in(
        self,
        archive: DemoArchive,
        dandiset: str,
        git: Git,
        mirror_once: MirrorOnce,
        submodules: Submodules,
        repository_of: RepositoryOf,
        store: Path,
    ) -> None:
        zarr_id = archive.add_zarr(dandiset, PATH, FILES, ingested=False)
        report = mirror_once()
        report.check()
        assert any(text.startswith("1 asset waits for the archive") for text in report.outcomes[0].warnings)
        (line,) = pending_paths(git, repository_of(dandiset))
        assert f'"path":"{PATH}"' in line
        assert zarr_id in line
        assert submodules(dandiset) == {}
        assert archive.count(server="s3", path="prefix=zarr/") == 0
        assert Store.open(store).state(dandiset).pending == 1

        assert [outcome.result for outcome in mirror_once().outcomes] == ["unchanged"]
        archive.ingest_zarr(dandiset, PATH)
        assert [outcome.message for outcome in mirror_once().outcomes] == ["draft: 1 modified; 1 Zarr written"]
        assert pending_paths(git, repository_of(dandiset)) == []
        assert submodules(dandiset).keys() == {PATH}
        assert mirror_once().still == 1

    def test_one_that_is_mirrored_stands_as_it_was_meanwhile(
        self,
        archive: DemoArchive,
        dandiset: str,
        zarr: str,
        git: Git,
        mirror_once: MirrorOnce,
        submodules: Submodules,
        zarr_refs: ZarrRefs,
        repository_of: RepositoryOf,
    ) -> None:
        before, refs = submodules(dandiset), zarr_refs(zarr)
        archive.change_zarr(dandiset, PATH, {"0/0": b"three"}, ingested=False)
        archive.add_asset(dandiset, "a.nwb", b"a")
        mirror_once().check()
        assert submodules(dandiset) == before
        archive.replace_asset(dandiset, PATH, metadata={"encodingFormat": "application/x-zarr"})
        mirror_once().check()
        assert len(pending_paths(git, repository_of(dandiset))) == 1
        assert submodules(dandiset) == before
        assert zarr_refs(zarr) == refs
        mirror_once().check()
        assert submodules(dandiset) == before
        archive.ingest_zarr(dandiset, PATH)
        mirror_once().check()
        assert submodules(dandiset) == {PATH: zarr_refs(zarr)["refs/heads/draft"]} != before

    def test_one_that_begins_to_change_while_it_is_listed_is_pending_too(
        self,
        archive: DemoArchive,
        dandiset: str,
        mirror_once: MirrorOnce,
        submodules: Submodules,
        store: Path,
    ) -> None:
        """It is not there yet, and nothing names it until it is."""
        archive.add_zarr(dandiset, PATH, FILES)
        archive.s3_faults.add(
            Before(lambda: archive.change_zarr(dandiset, PATH, {"0/0": b"three"}, ingested=False)), path="prefix=zarr/"
        )
        mirror_once().check()
        assert submodules(dandiset) == {}
        assert Store.open(store).state(dandiset).pending == 1
        mirror_once().check()
        assert submodules(dandiset) == {}
        assert Store.open(store).state(dandiset).pending == 1
        archive.ingest_zarr(dandiset, PATH)
        mirror_once().check()
        assert submodules(dandiset).keys() == {PATH}


class TestWrongChecksum:
    """What is listed does not add up to what the archive says."""

    def test_the_zarr_stays_as_it_was_and_all_else_is_mirrored(
        self,
        archive: DemoArchive,
        dandiset: str,
        zarr: str,
        git: Git,
        mirror_once: MirrorOnce,
        submodules: Submodules,
        zarr_refs: ZarrRefs,
        repository_of: RepositoryOf,
        store: Path,
    ) -> None:
        before, refs, truth = submodules(dandiset), zarr_refs(zarr), archive.zarr(zarr).checksum
        archive.ingest_zarr(dandiset, PATH, checksum=WRONG, size=11)
        archive.add_asset(dandiset, "a.nwb", b"a")
        other = archive.add_zarr(dandiset, "other.zarr", {"0": b"other"})
        archive.requests.clear()
        report = mirror_once()
        with pytest.raises(SomeFailed):
            report.check()
        (outcome,) = report.outcomes
        assert outcome.result == "failed"
        for text in (PATH, zarr, WRONG, str(truth)):
            assert text in outcome.message
        assert archive.count(server="s3", path=f"prefix=zarr/{zarr}") == 2  # it was listed again

        assert submodules(dandiset) == before | {"other.zarr": zarr_refs(other)["refs/heads/draft"]}
        assert zarr_refs(zarr) == refs
        assert git(repository_of(dandiset), "ls-tree", "--name-only", "draft", "a.nwb") == "a.nwb"
        failure = Store.open(store).state(dandiset).failure
        assert failure is not None
        assert failure.kind == "ZarrsFailed"
        git(repository_of(dandiset), "fsck", "--strict", "--full")

        # tried again though nothing moved
        assert mirror_once().count("failed") == 1
        failure = Store.open(store).state(dandiset).failure
        assert failure is not None
        assert failure.count == 2

        archive.ingest_zarr(dandiset, PATH)
        mirror_once().check()
        state = Store.open(store).state(dandiset)
        assert (state.failure, state.zarrs_failed) == (None, {})
        assert submodules(dandiset) == before | {"other.zarr": zarr_refs(other)["refs/heads/draft"]}
        assert mirror_once().still == 1

    def test_one_that_was_never_mirrored_is_not_named_until_it_is_right(
        self,
        archive: DemoArchive,
        dandiset: str,
        mirror_once: MirrorOnce,
        submodules: Submodules,
        store: Path,
    ) -> None:
        zarr_id = archive.add_zarr(dandiset, PATH, FILES)
        archive.ingest_zarr(dandiset, PATH, checksum=WRONG, size=11)
        for _ in range(2):
            assert mirror_once().count("failed") == 1
            assert submodules(dandiset) == {}
            assert not Store.open(store).dataset(zarr_id).path.exists()
            assert not Store.open(store).alias(zarr_id).is_symlink()
        archive.ingest_zarr(dandiset, PATH)
        mirror_once().check()
        assert submodules(dandiset).keys() == {PATH}

    def test_the_truth_is_found_though_no_time_moved(
        self, archive: DemoArchive, dandiset: str, zarr: str, mirror_once: MirrorOnce, keys_in: Keys
    ) -> None:
        """The bucket came to be what the archive had said."""
        archive.change_zarr(dandiset, PATH, {"0/0": b"three"})
        current = archive.objects.latest(f"zarr/{zarr}/0/0")
        assert current is not None
        archive.objects.put(f"zarr/{zarr}/0/0", b"not yet")
        assert mirror_once().count("failed") == 1
        archive.objects.put(f"zarr/{zarr}/0/0", b"three")
        mirror_once().check()
        assert keys_in(zarr)["0/0"].startswith("MD5E-s5--")

    def test_a_lost_state_does_not_name_what_is_not_there(
        self, archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, submodules: Submodules, store: Path
    ) -> None:
        """The small durable files can be lost with a disk; the repositories are the state."""
        archive.add_zarr(dandiset, PATH, FILES)
        archive.ingest_zarr(dandiset, PATH, checksum=WRONG, size=11)
        mirror_once()
        (store / "state/dandisets" / f"{dandiset}.json").unlink()
        archive.add_asset(dandiset, "a.nwb", b"a")
        mirror_once()
        assert submodules(dandiset) == {}
        archive.ingest_zarr(dandiset, PATH)
        mirror_once().check()
        assert submodules(dandiset).keys() == {PATH}

    def test_a_listing_that_lost_something_once_is_made_again(
        self, archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, keys_in: Keys
    ) -> None:
        zarr_id = archive.add_zarr(dandiset, PATH, FILES)
        rule = archive.s3_faults.add(LostVersions(2), path=f"versions.*prefix=zarr/{zarr_id}")
        mirror_once().check()
        assert rule.struck == 1
        assert keys_in(zarr_id).keys() == FILES.keys()

    def test_one_that_changes_while_it_is_listed_is_taken_as_it_is_then(
        self, archive: DemoArchive, dandiset: str, zarr: str, mirror_once: MirrorOnce, zarr_refs: ZarrRefs
    ) -> None:
        archive.change_zarr(dandiset, PATH, {"0/0": b"three"})
        archive.s3_faults.add(
            Before(lambda: archive.change_zarr(dandiset, PATH, {"0/0": b"four"})), path="prefix=zarr/"
        )
        mirror_once().check()
        assert f"refs/tags/{archive.zarr(zarr).checksum}" in zarr_refs(zarr)
        mirror_once().check()
        assert mirror_once().still == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tries, and no pauses between them."""

    def connect(settings: Settings) -> Connection:
        archive = settings.archive
        client = ArchiveClient(archive.api_url, tries=2, sleep=lambda _: None)
        hosts = content_hosts(archive.api_url, archive.s3_endpoint)
        return Connection(client, Bucket(client.http, archive.s3_endpoint), hosts)

    monkeypatch.setattr(Connection, "open", connect)


class TestNotToBeHad:
    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("fault", [Status(503), Reset(), Status(404)], ids=["503", "reset", "404"])
    def test_a_bucket_that_does_not_answer_fails_its_zarrs_and_nothing_else(
        self,
        archive: DemoArchive,
        dandiset: str,
        git: Git,
        mirror_once: MirrorOnce,
        submodules: Submodules,
        repository_of: RepositoryOf,
        fault: Any,
    ) -> None:
        archive.add_zarr(dandiset, "a.zarr", FILES)
        archive.add_zarr(dandiset, "b.zarr", {"0": b"b"})
        archive.add_asset(dandiset, "a.nwb", b"a")
        archive.s3_faults.add(fault, path="prefix=zarr/", times=None)
        report = mirror_once()
        assert report.count("failed") == 1
        assert "all but 2 Zarrs was mirrored" in report.outcomes[0].message
        assert submodules(dandiset) == {}
        assert git(repository_of(dandiset), "ls-tree", "--name-only", "draft", "a.nwb") == "a.nwb"
        archive.s3_faults.clear()
        mirror_once().check()
        assert submodules(dandiset).keys() == {"a.zarr", "b.zarr"}

    @pytest.mark.usefixtures("impatient")
    def test_a_zarr_that_never_gets_an_answer_keeps_no_other_from_being_recorded(
        self, archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, submodules: Submodules
    ) -> None:
        silent = archive.add_zarr(dandiset, "a.zarr", FILES)
        archive.add_zarr(dandiset, "b.zarr", {"0": b"b"})
        archive.s3_faults.add(Status(503), path=f"prefix=zarr/{silent}", times=None)
        assert mirror_once().outcomes[0].message.startswith("all but one Zarr was mirrored; a.zarr: ")
        assert submodules(dandiset).keys() == {"b.zarr"}

    @pytest.mark.usefixtures("impatient")
    def test_a_bucket_that_is_silent_is_not_asked_for_every_zarr(
        self, archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path
    ) -> None:
        zarrs = [archive.add_zarr(dandiset, f"{number}.zarr", {"0": b"%d" % number}) for number in range(6)]
        archive.s3_faults.add(Status(503), path="prefix=zarr/", times=None)
        mirror_once()
        asked = [archive.count(server="s3", path=f"prefix=zarr/{zarr}") > 0 for zarr in zarrs]
        assert asked == [True] * MOST_SILENT + [False] * 3
        reasons = list(Store.open(store).state(dandiset).zarrs_failed.values())
        assert ["not asked for, since" in reason for reason in reasons] == [not each for each in asked]

    @pytest.mark.parametrize(
        "address",
        [
            "https://evil.example.org/zarr/{zarr}/",
            "{bucket}/zarr/00000000-0000-0000-0000-000000000000/",
            "{bucket}/zarr/{zarr}",
            "{bucket}/blobs/",
            "{bucket}/zarr/{zarr}/../",
            "file:///zarr/{zarr}/",
        ],
    )
    def test_an_address_that_is_not_this_zarrs_is_refused(
        self,
        archive: DemoArchive,
        dandiset: str,
        mirror_once: MirrorOnce,
        submodules: Submodules,
        monkeypatch: pytest.MonkeyPatch,
        address: str,
    ) -> None:
        zarr_id = archive.add_zarr(dandiset, PATH, FILES)
        archive.add_asset(dandiset, "a.nwb", b"a")
        honest = documents.asset_document
        bucket = f"{archive.s3_endpoint}/{archive.bucket}"

        def lying(asset: Any, *rest: Any) -> dict[str, Any]:
            document = honest(asset, *rest)
            if asset.zarr is not None:
                urls = document["contentUrl"]
                document["contentUrl"] = [urls[0], address.format(bucket=bucket, zarr=zarr_id)]
            return document

        monkeypatch.setattr(documents, "asset_document", lying)
        archive.requests.clear()
        report = mirror_once()
        assert report.count("failed") == 1
        assert PATH in report.outcomes[0].message
        assert archive.count(server="s3", path="prefix=") == 0
        assert submodules(dandiset) == {}

    @pytest.mark.parametrize("name", ["a/../b", "a//b", "..", "/a", "a/.", "a\0b"])
    def test_a_zarr_with_a_file_that_no_tree_can_hold_fails_alone(
        self, archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, submodules: Submodules, name: str
    ) -> None:
        archive.add_zarr(dandiset, PATH, {"0": b"0", name: b"bad"})
        archive.add_zarr(dandiset, "good.zarr", {"0": b"0"})
        report = mirror_once()
        assert report.count("failed") == 1
        assert PATH in report.outcomes[0].message
        assert submodules(dandiset).keys() == {"good.zarr"}

    def test_a_file_where_others_need_a_folder_fails_its_zarr_alone(
        self, archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, submodules: Submodules
    ) -> None:
        archive.add_zarr(dandiset, PATH, {"a": b"file", "a/b": b"in it"})
        archive.add_zarr(dandiset, "good.zarr", {"0": b"0"})
        report = mirror_once()
        assert report.count("failed") == 1
        assert "is a file where other files need a folder" in report.outcomes[0].message
        assert submodules(dandiset).keys() == {"good.zarr"}


def empty(path: Path) -> None:
    for file in path.iterdir():
        file.unlink()


def cut_manifest(path: Path) -> None:
    (manifest,) = path.glob("manifest-*.gz")
    manifest.write_bytes(manifest.read_bytes()[:-9])


def falsify_manifest(path: Path) -> None:
    (manifest,) = path.glob("manifest-*.gz")
    manifest.write_bytes(b"not a manifest")


def shorten_manifest(path: Path) -> None:
    """Whole as a file, and not as a manifest."""
    (manifest,) = path.glob("manifest-*.gz")
    text = gzip.decompress(manifest.read_bytes())
    manifest.write_bytes(gzip.compress(text[: text.rindex(b"\n/\t")]))


def lose_manifest(path: Path) -> None:
    (manifest,) = path.glob("manifest-*.gz")
    manifest.unlink()


@pytest.mark.parametrize(
    "damage",
    [shutil.rmtree, empty, cut_manifest, falsify_manifest, shorten_manifest, lose_manifest],
    ids=lambda damage: damage.__name__,
)
def test_what_is_kept_beside_a_repository_can_be_lost(
    archive: DemoArchive,
    dandiset: str,
    mirror_once: MirrorOnce,
    submodules: Submodules,
    zarr_refs: ZarrRefs,
    addresses_in: Addresses,
    store: Path,
    tmp_path: Path,
    damage: Any,
) -> None:
    """Nothing breaks, and the next states are, commit for commit, those of a mirror that lost nothing."""
    whole = tmp_path / "whole"
    zarr_id = archive.add_zarr(dandiset, PATH, FILES)
    for at in (store, whole):
        mirror_once(store=at).check()
    for step in range(2):
        damage(Store.open(store).zarr(zarr_id).path)
        mirror_once().check()
        archive.clock.advance(60)
        archive.change_zarr(
            dandiset, PATH, {"0/0": b"%d" % step, f"2/{step}": b"one"}, remove=["1/0"] if not step else []
        )
        for at in (store, whole):
            mirror_once(store=at).check()
        refs, expected = zarr_refs(zarr_id), zarr_refs(zarr_id, store=whole)
        for found in (refs, expected):
            del found["refs/heads/git-annex"]
        assert refs == expected
        assert addresses_in(zarr_id) == addresses_in(zarr_id, store=whole)
        assert submodules(dandiset) == submodules(dandiset, store=whole)


class Killed(BaseException):
    """Not an `Exception`: nothing is to catch it."""


@pytest.mark.parametrize("first", [True, False], ids=["first sync", "later sync"])
@pytest.mark.parametrize(
    ("where", "method", "after"),
    [
        (Repository, "publish", False),
        (Repository, "publish", True),
        (TextWriter, "keep", False),
        (TextWriter, "keep", True),
        (ZarrFolder, "forget_manifests", False),
        (ZarrFolder, "forget_manifests", True),
        (Store, "publish_as", False),
    ],
)
def test_a_sync_that_dies_between_two_steps_is_made_good_by_the_next(
    archive: DemoArchive,
    dandiset: str,
    git: Git,
    mirror_once: MirrorOnce,
    submodules: Submodules,
    zarr_refs: ZarrRefs,
    addresses_in: Addresses,
    repository_of: RepositoryOf,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: type,
    method: str,
    after: bool,
    first: bool,
) -> None:
    whole = tmp_path / "whole"
    zarr_id = archive.add_zarr(dandiset, PATH, FILES)
    mirror_once(store=whole).check()
    if not first:
        mirror_once().check()
        archive.clock.advance(60)
        archive.change_zarr(dandiset, PATH, {"0/0": b"three"}, remove=["1/0"])
        mirror_once(store=whole).check()
    honest = getattr(where, method)

    def dying(*args: Any, **named: Any) -> None:
        if after:
            honest(*args, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, method, dying)
        with pytest.raises(Killed):
            mirror_once()
    for _ in range(2):
        mirror_once().check()
        refs = zarr_refs(zarr_id)
        assert refs == zarr_refs(zarr_id, store=whole)
        assert addresses_in(zarr_id) == addresses_in(zarr_id, store=whole)
        assert submodules(dandiset) == submodules(dandiset, store=whole)
    git(repository_of(zarr_id), "fsck", "--strict", "--full")
    left = {path.name for path in Store.open(store).zarr(zarr_id).path.iterdir()}
    assert f"manifest-{refs['refs/heads/draft']}.gz" in left
    assert {name.split("-")[0] for name in left} == {"manifest", "lock"}


def test_a_failed_attempt_leaves_nothing_behind(
    archive: DemoArchive, dandiset: str, zarr: str, mirror_once: MirrorOnce, store: Path, repository_of: RepositoryOf
) -> None:
    folder = Store.open(store).zarr(zarr).path
    held = {path.name: path.read_bytes() for path in folder.iterdir()}
    packs = sorted((repository_of(zarr) / "objects/pack").iterdir())
    archive.ingest_zarr(dandiset, PATH, checksum=WRONG, size=11)
    assert mirror_once().count("failed") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == held
    assert sorted((repository_of(zarr) / "objects/pack").iterdir()) == packs


@pytest.mark.usefixtures("zarr")
def test_a_dandiset_that_is_open_again_returns_to_the_superdatasets_though_a_zarr_of_it_fails(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path
) -> None:
    ours = Store.open(store)
    archive.embargo(dandiset)
    mirror_once()
    assert ours.state(dandiset).embargoed is not None
    ours.save_published(PublishedMark("without it", 0))
    archive.unembargo(dandiset)
    archive.ingest_zarr(dandiset, PATH, checksum=WRONG, size=11)
    assert mirror_once().count("failed") == 1
    assert ours.state(dandiset).embargoed is None
    assert ours.published() is None
