"""The comparison at the end of the week: what it is to find, it finds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crashtest.looking import git
from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.demo.samples import fill
from mirror.publish.publishing import Publisher
from mirror.store.store import Store
from mirror.sync.dandiset import layout_of
from mirror.sync.engine import sync
from simulation.comparing import Compared, compare

PUBLISHED, DRAFT_ONLY = "000001", "000004"


@pytest.fixture(scope="module")
def archive() -> Iterator[DemoArchive]:
    with DemoArchive(seed=2) as archive:
        fill(archive, dandisets=3, assets=60, versions=0, seed=2)
        archive.publish(PUBLISHED)
        archive.replace_asset(PUBLISHED, "README.md", content=b"# Another\n")
        archive.publish(PUBLISHED)
        zarr = archive.create_dandiset("With a Zarr")
        assert zarr == DRAFT_ONLY
        archive.add_asset(zarr, "one.nwb", b"one")
        archive.add_zarr(zarr, "two.zarr", {"0": b"0", ".zarray": b"{}"})
        yield archive


@pytest.fixture(scope="module")
def pristine(archive: DemoArchive, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two mirrors of it."""
    folder = tmp_path_factory.mktemp("mirrors")
    where = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
    roots = [folder / "first", folder / "second"]
    for root in roots:
        given = {"archive": {**where, "settle_seconds": 0}, "store": str(root), "jobs": 1}
        settings = Settings.model_validate(given)
        with Publisher(settings, layout_of(settings)) as publisher:
            sync(settings, follower=publisher).check()
    return roots


@pytest.fixture
def stores(pristine: list[Path], tmp_path: Path) -> list[Store]:
    """These, for one test alone."""
    for root in pristine:
        shutil.copytree(root, tmp_path / root.name, symlinks=True)
    return [Store.open(tmp_path / root.name) for root in pristine]


def compared(archive: DemoArchive, stores: list[Store]) -> Compared:
    return compare(archive.inventory, sorted(archive.standing()), stores)


def test_mirrors_that_hold_what_the_archive_holds_are_right(archive: DemoArchive, stores: list[Store]) -> None:
    found = compared(archive, stores)
    assert found.wrong == ()
    assert (found.dandisets, found.versions) == (4, 2)
    assert found.assets == sum(len(entries) for one in archive.dandisets for entries in archive.inventory(one).values())
    assert found.repositories == 2 * (4 + 1 + 1)


def _versions(store: Store) -> list[str]:
    return git(f"--git-dir={store.repository(PUBLISHED).path}", "tag", "--list", "0.*").split()


def _a_tag_moved(store: Store) -> None:
    repository = store.repository(PUBLISHED).path
    first, second = _versions(store)
    git(f"--git-dir={repository}", "update-ref", f"refs/tags/{second}", f"refs/tags/{first}")


def _a_release_missing(store: Store) -> None:
    git(f"--git-dir={store.repository(PUBLISHED).path}", "update-ref", "-d", f"refs/tags/{_versions(store)[-1]}")


def _the_chain_cut(store: Store) -> None:
    repository = store.repository(PUBLISHED).path
    git(f"--git-dir={repository}", "update-ref", "refs/heads/releases", "refs/heads/releases~1")


def _the_superdataset_cut(store: Store) -> None:
    repository = store.alias("dandisets").resolve()
    git(f"--git-dir={repository}", "update-ref", "refs/heads/releases", "refs/heads/releases~1")


def _a_pack_damaged(store: Store) -> None:
    pack = next(store.repository(DRAFT_ONLY).path.glob("objects/pack/*.pack"))
    body = bytearray(pack.read_bytes())
    body[len(body) // 2] ^= 0xFF
    pack.chmod(0o644)
    pack.write_bytes(body)


def _a_draft_missing(store: Store) -> None:
    git(f"--git-dir={store.repository(DRAFT_ONLY).path}", "update-ref", "-d", "refs/heads/draft")


def _a_digest_changed(store: Store) -> None:
    """One character of the key that the draft has for a file."""
    repository = store.repository(DRAFT_ONLY).path
    link = git(f"--git-dir={repository}", "cat-file", "blob", "draft:one.nwb")
    other = link[:-5] + ("0" if link[-5] != "0" else "1") + link[-4:]
    _replace_in_draft(repository, "one.nwb", other, mode="120000")


def _a_record_changed(store: Store) -> None:
    repository = store.repository(DRAFT_ONLY).path
    path = ".dandi/assets/assets.jsonl"
    first, *others = git(f"--git-dir={repository}", "cat-file", "blob", f"draft:{path}").splitlines()
    record = {**json.loads(first), "asset_id": "another"}
    _replace_in_draft(repository, path, "\n".join([json.dumps(record), *others, ""]), mode="100644")


def _replace_in_draft(repository: Path, path: str, content: str, *, mode: str) -> None:
    """A draft whose tree has something else at a path, and the same history."""
    at = f"--git-dir={repository}"
    scratch = repository.parent / "content"
    scratch.write_text(content)
    oid = git(at, "hash-object", "-w", "--no-filters", scratch).strip()
    index = f"--work-tree={repository.parent}"
    git(at, index, "read-tree", "draft")
    git(at, index, "update-index", "--cacheinfo", f"{mode},{oid},{path}")
    tree = git(at, index, "write-tree").strip()
    commit = git(at, "-c", "user.name=A", "-c", "user.email=a@b", "commit-tree", tree, "-p", "draft", "-m", "x").strip()
    git(at, "update-ref", "refs/heads/draft", commit)
    scratch.unlink()
    (repository / "index").unlink()


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_a_tag_moved, "the mirrors differ: refs/tags/0."),
        (_a_release_missing, f"{PUBLISHED}: not mirrored: 0."),
        (_the_chain_cut, "the mirrors differ: refs/heads/releases is"),
        (_the_superdataset_cut, "the superdatasets differ: refs/heads/releases is"),
        (_a_pack_damaged, f"{DRAFT_ONLY}: `git "),
        (_a_draft_missing, f"{DRAFT_ONLY}: not mirrored: draft"),
        (_a_digest_changed, "one.nwb"),
        (_a_record_changed, "assets.jsonl"),
    ],
)
def test_damage_in_either_mirror_is_found(
    archive: DemoArchive, stores: list[Store], which: int, damage: Callable[[Store], None], told: str
) -> None:
    damage(stores[which])
    found = compared(archive, stores)
    assert any(told in one for one in found.wrong), found.wrong


@pytest.mark.parametrize(
    ("damage", "told"), [(_a_digest_changed, "one.nwb is ('"), (_a_record_changed, "is ('another', ")]
)
def test_what_both_mirrors_have_wrong_is_found_all_the_same(
    archive: DemoArchive, stores: list[Store], damage: Callable[[Store], None], told: str
) -> None:
    for store in stores:
        damage(store)
    found = compared(archive, stores)
    assert any(told in one for one in found.wrong), found.wrong


def test_a_mirror_that_is_behind_the_archive_is_found(archive: DemoArchive, stores: list[Store]) -> None:
    inventories = {identifier: archive.inventory(identifier) for identifier in archive.standing()}
    path, asset_id, content, size = inventories["000002"]["draft"][0]
    inventories["000002"]["draft"][0] = ("renamed.nwb", asset_id, content, size)
    inventories["000003"]["0.990101.0000"] = []
    found = compare(inventories.__getitem__, sorted(inventories), stores)
    assert any("000002, draft: 1 assets are not there, the first is renamed.nwb" in one for one in found.wrong)
    assert any(f"000002, draft: 1 assets are not in the archive, the first is {path}" in one for one in found.wrong)
    assert sum("000003: not mirrored: 0.990101.0000" in one for one in found.wrong) == 2
