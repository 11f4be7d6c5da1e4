"""Zarrs in published versions, should the archive ever publish them: the state that was published, for good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mirror.demo import DemoArchive
from mirror.store.store import Store

if TYPE_CHECKING:
    from tests.sync.conftest import Git, MirrorOnce, RefsOf, RepositoryOf
    from tests.sync.zarr.conftest import Submodules, ZarrRefs

PATH = "sub-1/image.zarr"
FILES = {".zgroup": b"{}", "0/0": b"one", "0/1": b"two"}
HOLDS = pytest.mark.parametrize("hold", ["repository", "manifest"])


@HOLDS
def test_a_release_has_the_snapshot_and_the_draft_the_draft(
    archive: DemoArchive,
    dandiset: str,
    git: Git,
    mirror_once: MirrorOnce,
    submodules: Submodules,
    repository_of: RepositoryOf,
    zarr_refs: ZarrRefs,
    hold: str,
) -> None:
    zarr_id = archive.add_zarr(dandiset, PATH, FILES)
    version = archive.publish(dandiset, allow_zarrs=True)
    published = archive.zarr(zarr_id).checksum
    mirror_once(zarr__hold=hold).check()
    archive.clock.advance(60)
    archive.change_zarr(dandiset, PATH, {"0/0": b"three"})
    mirror_once(zarr__hold=hold).check()
    again = archive.publish(dandiset, allow_zarrs=True)
    mirror_once(zarr__hold=hold).check()
    mirror_once(everything=True).check()  # it has a repository, from here on at the latest

    refs = zarr_refs(zarr_id)
    assert submodules(dandiset, version) == {PATH: refs[f"refs/tags/{published}"]}
    assert submodules(dandiset, again) == {PATH: refs[f"refs/tags/{archive.zarr(zarr_id).checksum}"]}
    assert submodules(dandiset) == {PATH: refs["refs/heads/draft"]}
    git(repository_of(dandiset), "fsck", "--strict", "--full")


def test_releases_with_zarrs_are_the_same_in_every_mirror(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, refs_of: RefsOf, tmp_path: Path
) -> None:
    archive.add_zarr(dandiset, PATH, FILES)
    for content in (b"three", b"four"):
        archive.change_zarr(dandiset, PATH, {"0/0": content})
        mirror_once().check()
    archive.publish(dandiset, allow_zarrs=True)
    for store in (None, tmp_path / "made now"):
        mirror_once(store=store).check()
    manifests = tmp_path / "manifests"
    mirror_once(store=manifests, zarr__hold="manifest").check()
    published = [
        {name: oid for name, oid in refs_of(dandiset, store=store).items() if "tags" in name or "releases" in name}
        for store in (None, tmp_path / "made now", manifests)
    ]
    assert published[0] == published[1] == published[2]
    assert len(published[0]) == 3


def test_one_whose_state_is_gone_waits_and_says_why(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, submodules: Submodules, store: Path, refs_of: RefsOf
) -> None:
    archive.add_zarr(dandiset, PATH, FILES)
    version = archive.publish(dandiset, allow_zarrs=True)
    archive.change_zarr(dandiset, PATH, {"0/0": b"three"})
    listings = []
    for _ in range(2):
        report = mirror_once()
        report.check()
        waiting = Store.open(store).state(dandiset).waiting
        assert waiting.keys() == {version}
        assert waiting[version].startswith(f"{PATH}: ")
        assert "not in the state that was published any more" in waiting[version]
        assert any(PATH in text for text in report.outcomes[0].warnings)
        assert f"refs/tags/{version}" not in refs_of(dandiset)
        assert submodules(dandiset).keys() == {PATH}
        listings.append(archive.count(server="s3", path="prefix=zarr/"))
    assert listings[0] == listings[1]  # what cannot be had is not looked for again and again

    archive.change_zarr(dandiset, PATH, {"0/0": FILES["0/0"]})
    mirror_once().check()
    assert f"refs/tags/{version}" in refs_of(dandiset)
    assert Store.open(store).state(dandiset).waiting == {}


def test_one_whose_state_was_seen_before_it_was_published_is_taken(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, submodules: Submodules, zarr_refs: ZarrRefs
) -> None:
    zarr_id = archive.add_zarr(dandiset, PATH, FILES)
    mirror_once().check()
    snapshot = zarr_refs(zarr_id)[f"refs/tags/{archive.zarr(zarr_id).checksum}"]
    version = archive.publish(dandiset, allow_zarrs=True)
    archive.change_zarr(dandiset, PATH, {"0/0": b"three"})
    mirror_once().check()
    assert submodules(dandiset, version) == {PATH: snapshot}
    assert submodules(dandiset) == {PATH: zarr_refs(zarr_id)["refs/heads/draft"]}


def test_one_that_is_being_uploaded_at_its_time_waits_too(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path
) -> None:
    archive.add_zarr(dandiset, PATH, FILES)
    version = archive.publish(dandiset, allow_zarrs=True)
    archive.change_zarr(dandiset, PATH, {"0/0": b"three"}, ingested=False)
    mirror_once().check()
    assert Store.open(store).state(dandiset).waiting == {version: f"{PATH}: the archive is taking the Zarr in"}
