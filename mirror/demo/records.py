"""The archive's records as its API writes them: same fields, same order."""

from __future__ import annotations

from typing import Any

import msgspec

from mirror.demo import documents
from mirror.demo.holdings import Holdings
from mirror.demo.model import Asset, Dandiset, Document, Version, Zarr

MOST_KEPT = 150_000
"""Of so many assets what was answered is kept."""


def to_json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def asset_record(asset: Asset) -> Document:
    """An asset as lists show it."""
    return {
        "asset_id": asset.asset_id,
        "blob": asset.blob.blob_id if asset.blob else None,
        "zarr": asset.zarr.zarr_id if asset.zarr else None,
        "path": asset.path,
        "size": asset.size,
        "created": asset.created,
        "modified": asset.modified,
    }


def slim_asset_json(asset: Asset) -> bytes:
    if asset.slim_json is None:
        asset.slim_json = to_json(asset_record(asset))
    return asset.slim_json


def full_asset_json(asset: Asset, holdings: Holdings) -> bytes:
    """An asset with its metadata. Kept, because a page of a thousand of them is to cost a few milliseconds; but of no
    more assets than fit into a few hundred MiB."""
    if asset.full_json is not None:
        return asset.full_json
    dandiset = holdings.dandisets[asset.dandiset]
    metadata = documents.asset_document(asset, dandiset, holdings.addresses)
    full = to_json({**asset_record(asset), "metadata": metadata})
    if holdings.kept_json < MOST_KEPT:
        holdings.kept_json += 1
        asset.full_json = full
    return full


def dandiset_summary_json(dandiset: Dandiset) -> bytes:
    """A Dandiset as `/dandisets/` lists it."""
    if dandiset.summary_json is None:
        latest = dandiset.latest
        dandiset.summary_json = to_json(
            {
                **_dandiset_head(dandiset),
                "most_recent_published_version": _version_summary(latest) if latest else None,
                "draft_version": _version_summary(dandiset.draft),
            }
        )
    return dandiset.summary_json


def dandiset_record(dandiset: Dandiset) -> Document:
    """A Dandiset as its own page shows it: with more about each version."""
    latest = dandiset.latest
    return {
        **_dandiset_head(dandiset),
        "most_recent_published_version": _version_detail(latest) if latest else None,
        "draft_version": _version_detail(dandiset.draft),
    }


def version_record(version: Version, dandiset: Dandiset) -> Document:
    """A version as the list of versions shows it."""
    detail = _version_detail(version)
    notes = detail.pop("release_notes")
    return {**detail, "dandiset": _dandiset_head(dandiset), "release_notes": notes}


def version_info(version: Version, dandiset: Dandiset, holdings: Holdings) -> Document:
    """A version with its document and what validation found."""
    waiting = [
        {"field": "", "message": "asset is currently being validated, please wait.", "path": asset.path}
        for asset in holdings.unhashed(version)
    ]
    return {
        **version_record(version, dandiset),
        "asset_validation_errors": waiting,
        "version_validation_errors": [],
        "metadata": holdings.document(dandiset, version),
        "contact_person": documents.contact_person(version),
    }


def zarr_record(zarr: Zarr) -> Document:
    return {
        "name": zarr.name,
        "dandiset": zarr.dandiset,
        "zarr_id": zarr.zarr_id,
        "status": zarr.status,
        "checksum": zarr.checksum,
        "file_count": zarr.file_count,
        "size": zarr.size,
    }


def _dandiset_head(dandiset: Dandiset) -> Document:
    return {
        "identifier": dandiset.identifier,
        "created": dandiset.created,
        "modified": dandiset.modified,
        "contact_person": documents.contact_person(dandiset.latest or dandiset.draft),
        "embargo_status": dandiset.embargo_status,
        "star_count": 0,
        "is_starred": False,
    }


def _version_summary(version: Version) -> Document:
    return {
        "version": version.name,
        "name": version.stored.get("name"),
        "asset_count": len(version.assets),
        "size": version.size,
        "status": version.status,
        "created": version.created,
        "modified": version.modified,
    }


def _version_detail(version: Version) -> Document:
    summary = _version_summary(version)
    size_and_rest = {key: summary.pop(key) for key in ("size", "status", "created", "modified")}
    return {**summary, "active_uploads": 0, **size_and_rest, "release_notes": version.release_notes}
