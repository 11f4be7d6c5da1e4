"""What the archive says, as typed records.

Field by field what the REST API answers, times as the strings it wrote. An asset's `metadata` stays raw bytes:
most of it is only ever copied.
"""

from __future__ import annotations

import msgspec


class Instance(msgspec.Struct, frozen=True):
    """The archive instance, from `/info/`."""

    name: str
    """`DANDI`, `DANDI-SANDBOX`, `EMBER-DANDI` …; the prefix of its identifiers"""
    url: str
    """the instance's web address without trailing slash; dataset ids derive from it"""
    doi_prefix: str | None = None
    """None where the instance mints no DOIs"""
    api_url: str | None = None
    """where the instance says its API is, without trailing slash; None where it gives no plain http(s) URL"""


class VersionSummary(msgspec.Struct, frozen=True):
    """A version, draft or published, as lists show it."""

    version: str
    name: str
    asset_count: int
    size: int
    status: str
    created: str
    modified: str


class DandisetSummary(msgspec.Struct, frozen=True):
    """A Dandiset as `/dandisets/` lists it: enough to tell whether anything moved."""

    identifier: str
    created: str
    modified: str
    embargo_status: str
    draft_version: VersionSummary | None = None
    most_recent_published_version: VersionSummary | None = None


class Unreadable(msgspec.Struct, frozen=True):
    """An entry of a list that is not what it should be: the entries beside it still count."""

    identifier: str | None
    """which Dandiset it is about, where that much can be read"""
    reason: str


class VersionInfo(VersionSummary, frozen=True):
    """A version's record with its metadata document, from `…/versions/{v}/info/`."""

    metadata: msgspec.Raw


class SlimAsset(msgspec.Struct, frozen=True, gc=False):
    """An asset without its metadata. `(path, asset_id, modified)` tells whether it changed."""

    asset_id: str
    path: str
    size: int
    created: str
    modified: str
    blob: str | None = None
    zarr: str | None = None


class Asset(SlimAsset, frozen=True, gc=False, kw_only=True):
    """An asset with its metadata as the archive wrote it."""

    metadata: msgspec.Raw


class ZarrRecord(msgspec.Struct, frozen=True):
    """A Zarr, from `/zarr/{id}/`."""

    zarr_id: str
    status: str
    checksum: str | None
    """None while files are being uploaded, or taken in"""
    file_count: int
    size: int
