"""Zarrs of which only a manifest is kept: the same commits, no repository, and one later without the archive."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.annex import logs
from mirror.demo import DemoArchive
from mirror.store.store import Store
from mirror.sync.engine import sync
from mirror.sync.zarr.materialize import materialize, zarrs_of
from tests.conftest import examples

if TYPE_CHECKING:
    from tests.sync.conftest import Git, MirrorOnce, RefsOf, RepositoryOf, SettingsOf
    from tests.sync.zarr.conftest import Addresses, Submodules, ZarrRefs

PATH = "sub-1/image.zarr"
FILES = {".zgroup": b"{}", "0/0": b"one", "0/1": b"two", "1/0": b"one", ".git/config": b"x", "100%/é": b"y"}


def without_annex(refs: dict[str, str]) -> dict[str, str]:
    return {name: oid for name, oid in refs.items() if name != "refs/heads/git-annex"}


@pytest.fixture
def both(archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, tmp_path: Path) -> tuple[str, Path, Path]:
    """A Zarr of several states, in a mirror that has its repository and in one that has its manifest only."""
    repositories, manifests = tmp_path / "repositories", tmp_path / "manifests"

    def follow() -> None:
        mirror_once(store=repositories).check()
        mirror_once(store=manifests, zarr__hold="manifest").check()
        archive.clock.advance(3600)

    zarr_id = archive.add_zarr(dandiset, PATH, FILES)
    follow()
    archive.change_zarr(dandiset, PATH, {"0/0": b"three", "2/0": b"two"}, remove=["1/0", "100%/é"])
    follow()
    archive.publish(dandiset, allow_zarrs=True)
    follow()
    archive.change_zarr(dandiset, PATH, {f"many/{number:02d}": b"two" for number in range(30)}, remove=[".git/config"])
    follow()
    archive.change_zarr(dandiset, PATH, remove=[f"many/{number:02d}" for number in range(12)])
    follow()
    archive.change_zarr(dandiset, PATH, FILES, remove=["2/0", *(f"many/{number:02d}" for number in range(12, 30))])
    follow()
    return zarr_id, repositories, manifests


def test_the_dandiset_has_the_same_hashes_and_there_is_no_repository(
    both: tuple[str, Path, Path], dandiset: str, refs_of: RefsOf, submodules: Submodules
) -> None:
    zarr_id, repositories, manifests = both
    assert refs_of(dandiset, store=manifests) == refs_of(dandiset, store=repositories)
    assert submodules(dandiset, store=manifests).keys() == {PATH}
    opened = Store.open(manifests)
    assert not opened.dataset(zarr_id).path.exists()
    assert not opened.alias(zarr_id).is_symlink()
    assert opened.zarrs() == [zarr_id]


def test_materialized_it_has_the_same_refs_and_addresses_without_the_archive(
    both: tuple[str, Path, Path],
    archive: DemoArchive,
    dandiset: str,
    git: Git,
    zarr_refs: ZarrRefs,
    addresses_in: Addresses,
) -> None:
    zarr_id, repositories, manifests = both
    archive.requests.clear()
    opened = Store.open(manifests)
    assert zarrs_of(opened, dandiset) == [zarr_id]
    done = materialize(opened, zarr_id)
    assert (done.result, len(archive.requests)) == ("written", 0), done
    refs = zarr_refs(zarr_id, store=manifests)
    assert without_annex(refs) == without_annex(zarr_refs(zarr_id, store=repositories))
    assert done.commit == refs["refs/heads/draft"]
    assert addresses_in(zarr_id, store=manifests) == addresses_in(zarr_id, store=repositories)
    remotes = [
        git(Store.open(store).alias(zarr_id), "show", "git-annex:remote.log") for store in (manifests, repositories)
    ]
    assert remotes[0] == remotes[1]
    assert git(opened.alias(zarr_id), "fsck", "--strict", "--full") == ""
    assert {path.name[:8] for path in opened.zarr(zarr_id).path.iterdir()} == {"lock", "manifest"}
    assert materialize(opened, zarr_id).result == "there"


def test_a_sync_that_wants_repositories_writes_them(
    both: tuple[str, Path, Path], mirror_once: MirrorOnce, zarr_refs: ZarrRefs
) -> None:
    zarr_id, repositories, manifests = both
    mirror_once(store=manifests, everything=True).check()
    assert without_annex(zarr_refs(zarr_id, store=manifests)) == without_annex(zarr_refs(zarr_id, store=repositories))


def test_it_goes_on_in_the_repository_whatever_the_settings(
    both: tuple[str, Path, Path],
    archive: DemoArchive,
    dandiset: str,
    mirror_once: MirrorOnce,
    zarr_refs: ZarrRefs,
    addresses_in: Addresses,
    refs_of: RefsOf,
) -> None:
    zarr_id, repositories, manifests = both
    assert materialize(Store.open(manifests), zarr_id).result == "written"
    archive.change_zarr(dandiset, PATH, {"0/0": b"five", "3/0": b"two"}, remove=["0/1"])
    mirror_once(store=repositories).check()
    mirror_once(store=manifests, zarr__hold="manifest").check()
    assert without_annex(zarr_refs(zarr_id, store=manifests)) == without_annex(zarr_refs(zarr_id, store=repositories))
    assert addresses_in(zarr_id, store=manifests) == addresses_in(zarr_id, store=repositories)
    assert refs_of(dandiset, store=manifests) == refs_of(dandiset, store=repositories)


def test_a_changed_zarr_that_is_to_get_a_repository_gets_all_its_states(
    both: tuple[str, Path, Path], archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, zarr_refs: ZarrRefs
) -> None:
    zarr_id, repositories, manifests = both
    archive.change_zarr(dandiset, PATH, {"0/0": b"five"})
    for store in (repositories, manifests):
        mirror_once(store=store).check()
    assert without_annex(zarr_refs(zarr_id, store=manifests)) == without_annex(zarr_refs(zarr_id, store=repositories))


names = st.sampled_from([f"{folder}{chunk}" for folder in ("", "a/", "a.b/", "a/b/") for chunk in ("0", "1.5", ".git")])
contents = st.sampled_from([b"", b"same", b"other"])
histories = st.lists(st.tuples(st.dictionaries(names, contents, max_size=8), st.sets(names, max_size=5)), max_size=4)


@given(st.dictionaries(names, contents, max_size=12), histories)
@examples(5)
def test_after_any_history_the_commits_are_the_same(
    settings_of: SettingsOf, first: dict[str, bytes], history: list[tuple[dict[str, bytes], set[str]]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, DemoArchive(seed=1) as archive:
        identifier = archive.create_dandiset("A Dandiset")
        zarr_id = archive.add_zarr(identifier, PATH, first)
        full = settings_of(archive, Path(folder, "repository"))
        lean = settings_of(archive, Path(folder, "manifest"), zarr__hold="manifest")
        for put, remove in [({}, set()), *history]:
            present = {file.name for file in archive.zarr_files(zarr_id)}
            archive.change_zarr(identifier, PATH, put, remove & present - put.keys())
            for mirror in (full, lean):
                sync(mirror).check()
        expected, store = Store.open(full.store), Store.open(lean.store)
        assert store.repository(identifier).refs() == expected.repository(identifier).refs()
        assert materialize(store, zarr_id).result == "written"
        refs, wanted = store.dataset(zarr_id).refs(), expected.dataset(zarr_id).refs()
        annex, annex_wanted = refs.pop("refs/heads/git-annex"), wanted.pop("refs/heads/git-annex")
        assert refs == wanted
        assert _present(store, zarr_id, annex) == _present(expected, zarr_id, annex_wanted)


def _present(store: Store, zarr_id: str, commit: bytes) -> dict[bytes, object]:
    with store.dataset(zarr_id).objects() as objects:
        files = objects.list_tree(objects.commit(commit).tree)
        return {
            path: logs.present(objects.blob(entry.oid)) if b".log" in path and path != b"remote.log" else entry
            for path, entry in files
        }


def test_above_a_number_of_files_only_the_manifest_is_kept(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path, submodules: Submodules
) -> None:
    small = archive.add_zarr(dandiset, "small.zarr", dict.fromkeys("abc", b"x"))
    large = archive.add_zarr(dandiset, "large.zarr", dict.fromkeys("abcd", b"x"))
    mirror_once(zarr__repository_max_entries=3).check()
    opened = Store.open(store)
    assert opened.dataset(small).path.exists()
    assert not opened.dataset(large).path.exists()
    assert submodules(dandiset).keys() == {"small.zarr", "large.zarr"}
    assert opened.zarrs() == sorted([small, large])

    archive.change_zarr(dandiset, "small.zarr", dict.fromkeys("defgh", b"y"))
    archive.change_zarr(dandiset, "large.zarr", remove=["a", "b"])
    mirror_once(zarr__repository_max_entries=3).check()
    assert opened.dataset(small).path.exists()  # one that has a repository keeps it
    assert opened.dataset(large).path.exists()  # and this one is small enough by now


def test_none_leaves_zarrs_out_and_says_so(
    archive: DemoArchive,
    dandiset: str,
    git: Git,
    mirror_once: MirrorOnce,
    submodules: Submodules,
    repository_of: RepositoryOf,
    store: Path,
) -> None:
    archive.add_zarr(dandiset, PATH, FILES)
    archive.add_asset(dandiset, "a.nwb", b"a")
    report = mirror_once(zarr__hold="none")
    report.check()
    assert "1 Zarr left out, as zarr.hold says" in report.outcomes[0].warnings
    assert submodules(dandiset) == {}
    assert "Layout: 2 zarr.hold=none" in git(repository_of(dandiset), "log", "-1", "--format=%B", "draft").splitlines()
    assert f'"path":"{PATH}"' in git(repository_of(dandiset), "show", "draft:.dandi/assets/sub-1/assets.jsonl")
    assert archive.count(server="s3", path="prefix=zarr/") == 0
    assert Store.open(store).zarrs() == []
    assert mirror_once(zarr__hold="none").still == 1

    mirror_once().check()
    assert submodules(dandiset).keys() == {PATH}
    mirror_once(zarr__hold="none").check()
    assert submodules(dandiset) == {}


@pytest.mark.parametrize("lost", ["manifest", "undo"])
def test_a_manifest_that_is_lost_is_told_and_nothing_wrong_is_written(
    both: tuple[str, Path, Path],
    archive: DemoArchive,
    dandiset: str,
    mirror_once: MirrorOnce,
    refs_of: RefsOf,
    lost: str,
) -> None:
    """It is what is mirrored: without it the states before cannot be had."""
    zarr_id, _, manifests = both
    folder = Store.open(manifests).zarr(zarr_id).path
    for path in folder.glob(f"{lost}-*"):
        path.unlink()
    before = refs_of(dandiset, store=manifests)
    done = materialize(Store.open(manifests), zarr_id)
    assert done.result == "failed"
    assert lost in done.message
    assert not Store.open(manifests).dataset(zarr_id).path.exists()
    if lost == "manifest":
        archive.change_zarr(dandiset, PATH, {"0/0": b"five"})
        report = mirror_once(store=manifests, zarr__hold="manifest")
        assert report.count("failed") == 1
        assert "manifest" in report.outcomes[0].message
        after = refs_of(dandiset, store=manifests)
        tags = [name for name in before if name.startswith("refs/tags/")]
        assert [after[name] for name in tags] == [before[name] for name in tags]
        shutil.rmtree(folder)
        mirror_once(store=manifests, zarr__hold="manifest").check()
        assert materialize(Store.open(manifests), zarr_id).result == "written"


def test_what_is_not_mirrored_cannot_be_materialized(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path
) -> None:
    archive.add_zarr(dandiset, PATH, FILES)
    mirror_once(zarr__hold="manifest").check()
    done = materialize(Store.open(store), "00000000-0000-0000-0000-000000000000")
    assert done.result == "failed"
