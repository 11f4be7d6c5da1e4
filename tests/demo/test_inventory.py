"""What the archive says of itself to who compares a mirror with it."""

from __future__ import annotations

import hashlib

from mirror.demo import DemoArchive
from mirror.demo.samples import fill, sizes


def test_it_lists_the_assets_of_every_version(archive: DemoArchive) -> None:
    identifier = archive.create_dandiset("One")
    asset_id = archive.add_asset(identifier, "a.nwb", b"one")
    version = archive.publish(identifier)
    zarr_id = archive.add_zarr(identifier, "b.zarr", {"0": b"0"})
    later = archive.replace_asset(identifier, "a.nwb", content=b"other")
    found = archive.inventory(identifier)
    assert found.keys() == {"draft", version}
    assert found[version] == [("a.nwb", asset_id, hashlib.sha256(b"one").hexdigest(), 3)]
    assert ("a.nwb", later, hashlib.sha256(b"other").hexdigest(), 5) in found["draft"]
    assert ("b.zarr", archive.asset(identifier, "b.zarr").asset_id, f"zarr:{zarr_id}", 1) in found["draft"]
    assert archive.draft_paths(identifier, limit=5) == ["a.nwb"]


def test_it_tells_when_versions_of_open_dandisets_were_saved(archive: DemoArchive) -> None:
    shown, closed = archive.create_dandiset("Open"), archive.create_dandiset("Closed", embargoed=True)
    version = archive.publish(shown)
    found = archive.standing()
    assert list(found) == [shown]
    assert list(found[shown]) == ["draft", version]
    assert found[shown]["draft"] == archive.dandiset(shown).draft.modified
    assert archive.standing([closed]) == {}


def test_few_dandisets_have_most_of_the_assets() -> None:
    found = sizes(200, 20_000, seed=3)
    assert (len(found), sum(found), min(found) >= 1) == (200, 20_000, True)
    assert sum(sorted(found, reverse=True)[:20]) > 0.3 * 20_000
    assert found == sizes(200, 20_000, seed=3) != sizes(200, 20_000, seed=4)


def test_filling_makes_so_many_assets_and_versions(archive: DemoArchive) -> None:
    identifiers = fill(archive, dandisets=20, assets=500, versions=30, seed=1)
    dandisets = [archive.dandiset(identifier) for identifier in identifiers]
    assert len(dandisets) == 20
    assert sum(len(one.draft.assets) for one in dandisets) == 500
    assert sum(len(one.published) for one in dandisets) == 30
