"""What the archive holds, told without its API: for who compares a mirror with it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from mirror.demo.model import Asset, Dandiset, Version
from mirror.demo.publishing import Publishing

Entry = tuple[str, str, str, int]
"""an asset: its path, its id, its content (a sha256, or `zarr:` and the id of a Zarr), its size"""


class Inventory(Publishing):
    """Tells what there is."""

    def inventory(self, identifier: str) -> dict[str, list[Entry]]:
        """The assets of each version of a Dandiset, the draft among them."""
        with self.lock:
            dandiset = self.dandiset(identifier)
            versions = [dandiset.draft, *dandiset.published.values()]
            return {version.name: [_entry(asset) for asset in version.assets.values()] for version in versions}

    def draft_paths(self, identifier: str, *, limit: int) -> list[str]:
        """Some paths of a draft, files' only, those that are there the longest first."""
        with self.lock:
            assets = self.dandiset(identifier).draft.assets.values()
            return list(islice((asset.path for asset in assets if asset.blob), limit))

    def standing(self, identifiers: Iterable[str] | None = None) -> dict[str, dict[str, str]]:
        """When each version of these Dandisets, or of all that are open, was last saved; the draft is the first."""
        with self.lock:
            names = self.dandisets if identifiers is None else identifiers
            found = {name: self.dandiset(name) for name in names}
            return {name: _saved(one) for name, one in found.items() if one.is_open}


def _entry(asset: Asset) -> Entry:
    if asset.zarr:
        return asset.path, asset.asset_id, f"zarr:{asset.zarr.zarr_id}", asset.size
    return asset.path, asset.asset_id, asset.blob.sha256 if asset.blob else "", asset.size


def _saved(dandiset: Dandiset) -> dict[str, str]:
    versions: list[Version] = [dandiset.draft, *dandiset.published.values()]
    return {version.name: version.modified for version in versions}
