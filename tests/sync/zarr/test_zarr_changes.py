"""Zarrs that change, come, go, and return: what is asked of the archive then, and what is written."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.annex import hashdirs, logs
from mirror.demo import DemoArchive
from mirror.store.store import Store
from mirror.sync.engine import sync
from tests.conftest import examples

if TYPE_CHECKING:
    from tests.sync.conftest import Git, MirrorOnce, RefsOf, RepositoryOf, SettingsOf
    from tests.sync.zarr.conftest import Addresses, AddressesOf, Keys, Submodules, ZarrRefs

PATH = "sub-1/image.zarr"
FILES = {".zgroup": b"{}", "0/0": b"one", "0/1": b"two", "1/0": b"one"}


def key(content: bytes) -> str:
    return f"MD5E-s{len(content)}--{md5(content, usedforsecurity=False).hexdigest()}"


@pytest.fixture
def zarr(archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce) -> str:
    """A Zarr that is mirrored; its id."""
    zarr_id = archive.add_zarr(dandiset, PATH, FILES)
    archive.add_asset(dandiset, "a.nwb", b"a")
    mirror_once().check()
    return zarr_id


def test_a_zarr_that_did_not_change_is_not_listed(
    archive: DemoArchive, dandiset: str, zarr: str, mirror_once: MirrorOnce, zarr_refs: ZarrRefs
) -> None:
    before = zarr_refs(zarr)
    archive.requests.clear()
    archive.add_asset(dandiset, "b.nwb", b"b")
    archive.replace_asset(dandiset, PATH, metadata={"encodingFormat": "application/x-zarr", "note": "described"})
    assert [outcome.message for outcome in mirror_once().outcomes] == ["draft: 1 added, 1 modified"]
    assert archive.count(server="s3", path="prefix=zarr/") == 0
    assert zarr_refs(zarr) == before


def test_a_change_is_told_and_listed_once(
    archive: DemoArchive, dandiset: str, zarr: str, mirror_once: MirrorOnce, submodules: Submodules, keys_in: Keys
) -> None:
    before = submodules(dandiset)
    archive.requests.clear()
    archive.change_zarr(dandiset, PATH, {"0/0": b"three", "2/0": b"four"}, remove=["1/0"])
    report = mirror_once()
    report.check()
    assert [outcome.message for outcome in report.outcomes] == ["draft: 1 modified; 1 Zarr written"]
    assert archive.count(server="s3", path=f"prefix=zarr/{zarr}") == 1
    assert submodules(dandiset) != before
    assert keys_in(zarr) == {".zgroup": key(b"{}"), "0/0": key(b"three"), "0/1": key(b"two"), "2/0": key(b"four")}
    assert mirror_once().still == 1


def test_only_what_differs_is_written(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    files = {f"{folder}/{chunk}": b"%d %d" % (folder, chunk) for folder in range(20) for chunk in range(20)}
    zarr_id = archive.add_zarr(dandiset, PATH, files)
    mirror_once().check()
    packs = repository_of(zarr_id) / "objects/pack"
    known = set(packs.glob("*.idx"))
    assert len(_objects(git, known)) > 1500
    archive.change_zarr(dandiset, PATH, {"7/7": b"another"})
    mirror_once().check()
    new = _objects(git, set(packs.glob("*.idx")) - known)
    # A link, three trees and two commits; zarr.json and its folder; two logs in four trees, and their commit; the few
    # files that every state has.
    assert len(new) < 25


def _objects(git: Git, packs: set[Path]) -> list[str]:
    told = [line for pack in packs for line in git(pack.parent, "verify-pack", "-v", str(pack)).splitlines()]
    return [line for line in told if line.split()[1:2] and line.split()[1] in ("blob", "tree", "commit", "tag")]


def test_a_key_has_the_addresses_of_the_first_sixteen_paths_and_no_others(
    archive: DemoArchive,
    dandiset: str,
    mirror_once: MirrorOnce,
    addresses_in: Addresses,
    addresses_of: AddressesOf,
) -> None:
    """Also after changes: those that have it now count."""
    names = [f"{folder}/{chunk}" for folder in "abc" for chunk in range(10)]
    zarr_id = archive.add_zarr(dandiset, PATH, dict.fromkeys(names, b"same"))
    mirror_once().check()
    assert addresses_in(zarr_id) == {key(b"same"): addresses_of(zarr_id, *names[:16])}

    archive.change_zarr(dandiset, PATH, {"a/3": b"other", "A": b"same"}, remove=["b/0"])
    mirror_once().check()
    now = ["A", *(name for name in names if name not in ("a/3", "b/0"))]
    assert addresses_in(zarr_id)[key(b"same")] == addresses_of(zarr_id, *now[:16])
    assert addresses_in(zarr_id)[key(b"other")] == addresses_of(zarr_id, "a/3")

    archive.change_zarr(dandiset, PATH, remove=now[:-2])
    mirror_once().check()
    assert addresses_in(zarr_id)[key(b"same")] == addresses_of(zarr_id, *now[-2:])


def test_content_that_left_keeps_the_addresses_it_had(
    archive: DemoArchive,
    dandiset: str,
    zarr: str,
    mirror_once: MirrorOnce,
    addresses_in: Addresses,
    addresses_of: AddressesOf,
) -> None:
    """The bucket still has the bytes, and so an earlier state can be had."""
    held = addresses_of(zarr, "0/0", "1/0")
    archive.change_zarr(dandiset, PATH, {"0/0": b"x"}, remove=["1/0"])
    mirror_once().check()
    assert addresses_in(zarr)[key(b"one")] == held


names = st.sampled_from([f"{folder}{chunk}" for folder in ("", "a/", "b/") for chunk in range(9)])
contents = st.sampled_from([b"", b"same", b"other"])
histories = st.lists(st.tuples(st.dictionaries(names, contents, max_size=24), st.sets(names, max_size=9)), max_size=4)


@given(st.dictionaries(names, contents, max_size=27), histories)
@examples(8)
def test_addresses_are_those_of_the_present_files_whatever_happened_before(
    settings_of: SettingsOf, first: dict[str, bytes], history: list[tuple[dict[str, bytes], set[str]]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, DemoArchive(seed=1) as archive:
        identifier = archive.create_dandiset("A Dandiset")
        zarr_id = archive.add_zarr(identifier, PATH, first)
        followed = settings_of(archive, Path(folder, "followed"))
        sync(followed).check()
        present = dict(first)
        for put, remove in history:
            gone = remove & present.keys() - put.keys()
            checksum = archive.zarr(zarr_id).checksum
            archive.change_zarr(identifier, PATH, put, gone)
            present = {name: body for name, body in (present | put).items() if name not in gone}
            sync(followed).check()
            if archive.zarr(zarr_id).checksum == checksum:
                break  # it was not listed, and rightly so
            paths: dict[str, list[str]] = defaultdict(list)
            for name in sorted(present):
                paths[key(present[name])].append(name)
            repository = Store.open(followed.store).dataset(zarr_id)
            with repository.objects() as objects:
                branch = objects.commit(repository.refs()["refs/heads/git-annex"]).tree
                for name, having in paths.items():
                    log = objects.lookup(branch, hashdirs.lower(name) + b"/" + name.encode() + b".log.web")
                    assert log is not None
                    found = {url for url in logs.present(objects.blob(log.oid)) if b"versionId" in url}
                    wanted = set()
                    for path in having[:16]:
                        current = archive.objects.latest(f"zarr/{zarr_id}/{path}")
                        assert current is not None
                        wanted.add(f"/zarr/{zarr_id}/{path}?versionId={current.version_id}")
                    assert {url.decode().partition(archive.bucket)[2] for url in found} == wanted


def test_a_zarr_that_returns_to_an_earlier_state_keeps_its_tag_and_goes_on_in_its_draft(
    archive: DemoArchive,
    dandiset: str,
    zarr: str,
    git: Git,
    mirror_once: MirrorOnce,
    zarr_refs: ZarrRefs,
    submodules: Submodules,
    repository_of: RepositoryOf,
) -> None:
    first = zarr_refs(zarr)
    for content in (b"x", b"one"):
        archive.change_zarr(dandiset, PATH, {"0/0": content})
        mirror_once().check()
    tag = f"refs/tags/{archive.zarr(zarr).checksum}"
    now = zarr_refs(zarr)
    assert now[tag] == first[tag]
    assert submodules(dandiset)[PATH] == now["refs/heads/draft"]
    assert len(git(repository_of(zarr), "log", "-3", "--first-parent", "--format=%H", "draft").splitlines()) == 3
    assert git(repository_of(zarr), "rev-parse", "draft^{tree}") == git(
        repository_of(zarr), "rev-parse", tag + "^{tree}"
    )


def test_a_zarr_that_is_removed_leaves_the_tree_and_its_dataset_stays(
    archive: DemoArchive, dandiset: str, zarr: str, mirror_once: MirrorOnce, submodules: Submodules, zarr_refs: ZarrRefs
) -> None:
    before = zarr_refs(zarr)
    archive.remove_asset(dandiset, PATH)
    mirror_once().check()
    assert submodules(dandiset) == {}
    assert submodules(dandiset, "draft^").keys() == {PATH}
    assert zarr_refs(zarr) == before


def test_a_renamed_zarr_is_the_same_dataset_elsewhere(
    archive: DemoArchive, dandiset: str, zarr: str, mirror_once: MirrorOnce, submodules: Submodules, zarr_refs: ZarrRefs
) -> None:
    archive.requests.clear()
    archive.rename_asset(dandiset, PATH, "elsewhere/b.zarr")
    mirror_once().check()
    assert submodules(dandiset) == {"elsewhere/b.zarr": zarr_refs(zarr)["refs/heads/draft"]}
    assert archive.count(server="s3", path="prefix=zarr/") == 0


@pytest.mark.parametrize(
    "path", ["x.zarr", "-x.zarr", "--upload-pack=x/y.zarr", "a/-x.zarr", '"\\ #;.zarr', "a\nb.zarr"]
)
def test_a_zarr_and_a_file_take_each_others_place(
    archive: DemoArchive,
    dandiset: str,
    git: Git,
    mirror_once: MirrorOnce,
    submodules: Submodules,
    repository_of: RepositoryOf,
    tmp_path: Path,
    path: str,
) -> None:
    where = path if not path.startswith("-") else f"%2D{path[1:]}"
    archive.add_asset(dandiset, path, b"a file")
    mirror_once().check()
    repository = repository_of(dandiset)
    for turn in range(2):
        archive.remove_asset(dandiset, path)
        archive.add_zarr(dandiset, path, {"0": b"%d" % turn})
        mirror_once().check()
        assert submodules(dandiset).keys() == {where}
        assert _assets(git, repository) == {f"160000 {where}"}

        archive.remove_asset(dandiset, path)
        archive.add_asset(dandiset, path, b"a file again")
        mirror_once().check()
        assert submodules(dandiset) == {}
        assert _assets(git, repository) == {f"120000 {path}"}
    assert git(repository, "fsck", "--strict", "--full") == ""
    mirror_once(store=tmp_path / "made now").check()
    tree = git(repository_of(dandiset, store=tmp_path / "made now"), "rev-parse", "draft^{tree}")
    assert git(repository, "rev-parse", "draft^{tree}") == tree


def _assets(git: Git, repository: Path) -> set[str]:
    lines = [line.partition("\t") for line in git(repository, "ls-tree", "-rz", "draft").split("\0")[:-1]]
    own = (".dandi/", ".datalad/", ".gitattributes", ".gitmodules", "dandiset.yaml")
    return {f"{facts[:6]} {path}" for facts, _, path in lines if not path.startswith(own)}


def test_a_zarr_replaced_by_another_at_its_path(
    archive: DemoArchive, dandiset: str, zarr: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    archive.remove_asset(dandiset, PATH)
    other = archive.add_zarr(dandiset, PATH, FILES)
    assert archive.zarr(other).checksum == archive.zarr(zarr).checksum
    mirror_once().check()
    told = git(repository_of(dandiset), "config", "--blob", "draft:.gitmodules", f"submodule.{PATH}.datalad-id")
    assert told == other
    link = git(repository_of(dandiset), "rev-parse", f"draft:{PATH}")
    assert link == git(repository_of(other), "rev-parse", "draft")
    assert link != git(repository_of(zarr), "rev-parse", "draft")


def test_equal_bytes_uploaded_again_move_the_addresses_at_a_full_sync_and_nothing_else(
    archive: DemoArchive,
    dandiset: str,
    zarr: str,
    mirror_once: MirrorOnce,
    refs_of: RefsOf,
    zarr_refs: ZarrRefs,
    addresses_in: Addresses,
    addresses_of: AddressesOf,
) -> None:
    before, dandiset_before = zarr_refs(zarr), refs_of(dandiset)
    old = addresses_of(zarr, "0/1")
    archive.clock.advance(60)
    archive.change_zarr(dandiset, PATH, {"0/1": FILES["0/1"]})
    mirror_once().check()
    assert zarr_refs(zarr) == before
    assert addresses_in(zarr)[key(b"two")] == old

    mirror_once(everything=True).check()
    after = zarr_refs(zarr)
    assert {name for name in after if after[name] != before.get(name)} == {"refs/heads/git-annex"}
    assert addresses_in(zarr)[key(b"two")] == addresses_of(zarr, "0/1") != old
    assert refs_of(dandiset)["refs/heads/git-annex"] == dandiset_before["refs/heads/git-annex"]

    mirror_once(everything=True).check()
    assert zarr_refs(zarr) == after
