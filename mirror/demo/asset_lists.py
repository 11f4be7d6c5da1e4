"""`…/assets/`: filters, orders and pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mirror.demo import records
from mirror.demo.model import Asset, Version
from mirror.demo.paging import boolean, page_of
from mirror.demo.problems import Problem
from mirror.demo.publishing import Publishing


def _collated(path: str) -> tuple[str, str]:
    """The order of a database with a locale: case counts last. Clients cannot rely on the order of bytes."""
    return path.casefold(), path.swapcase()


_ORDERS: dict[str, Callable[[Asset], Any]] = {
    "path": lambda asset: asset.path,
    "created": lambda asset: asset.created,
    "modified": lambda asset: asset.modified,
}


def assets_page(archive: Publishing, version: Version, parameters: dict[str, str], address: str) -> bytes:
    metadata = boolean(parameters, "metadata", False)
    assets = _ordered(version, parameters.get("order") or "created", collated=archive.path_order == "locale")
    if prefix := parameters.get("path", "").lower():
        assets = [asset for asset in assets if asset.path.lower().startswith(prefix)]
    if glob := parameters.get("glob"):
        # Only the star is special, and it crosses slashes.
        pattern = re.compile(re.escape(glob).replace(r"\*", ".*"), re.IGNORECASE | re.DOTALL)
        assets = [asset for asset in assets if pattern.fullmatch(asset.path)]
    if boolean(parameters, "zarr", False):
        assets = [asset for asset in assets if asset.zarr]

    def render(asset: Asset) -> bytes:
        return records.full_asset_json(asset, archive) if metadata else records.slim_asset_json(asset)

    return page_of(assets, render, parameters, address, lenient=True)


def _ordered(version: Version, order: str, *, collated: bool) -> list[Asset]:
    """The version's assets in this order, sorted anew only after they changed."""
    field = order.removeprefix("-")
    if field not in _ORDERS:
        raise Problem(400, {"order": [f"Select a valid choice. {order} is not one of the available choices."]})
    key = (lambda asset: _collated(asset.path)) if collated and field == "path" else _ORDERS[field]
    if order not in version.sorted_assets:
        version.sorted_assets[order] = sorted(version.assets.values(), key=key, reverse=order.startswith("-"))
    return version.sorted_assets[order]
