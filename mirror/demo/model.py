"""What the demo archive holds: Dandisets, their versions, assets, blobs, Zarrs, and two users."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from mirror.demo.zarr_checksums import files_in

Document = dict[str, Any]
"""a metadata document, as JSON"""

OPEN, EMBARGOED, UNEMBARGOING = "OPEN", "EMBARGOED", "UNEMBARGOING"
DRAFT = "draft"


@dataclass(frozen=True)
class User:
    username: str
    name: str
    token: str
    admin: bool = False


def user(username: str, name: str, *, admin: bool = False) -> User:
    """A user whose token looks like a real one and is always the same."""
    token = hashlib.sha1(f"demo archive token of {username}".encode(), usedforsecurity=False).hexdigest()
    return User(username, name, token, admin)


@dataclass(slots=True, eq=False)
class Blob:
    """Bytes in the bucket. Assets of equal content share one."""

    blob_id: str
    size: int
    etag: str
    sha256: str
    hashed: bool
    """whether the archive has got round to computing the sha256; until then it does not tell it"""

    @property
    def key(self) -> str:
        return f"blobs/{self.blob_id[:3]}/{self.blob_id[3:6]}/{self.blob_id}"


@dataclass(slots=True, eq=False)
class Zarr:
    """A Zarr: what the archive has ingested of it. Its files are under `key` in the bucket."""

    zarr_id: str
    name: str
    dandiset: str
    checksum: str | None
    size: int

    @property
    def key(self) -> str:
        return f"zarr/{self.zarr_id}/"

    @property
    def status(self) -> str:
        return "Complete" if self.checksum else "Pending"

    @property
    def file_count(self) -> int:
        return files_in(self.checksum) if self.checksum else 0


@dataclass(slots=True, eq=False)
class Asset:
    """A path of a Dandiset with its content and metadata. Any change makes a new one."""

    asset_id: str
    dandiset: str
    path: str
    blob: Blob | None
    zarr: Zarr | None
    stored: Document
    """metadata as the database holds it, without what is computed at each answer"""
    created: str
    modified: str
    published: bool = False
    slim_json: bytes | None = None
    full_json: bytes | None = None

    @property
    def size(self) -> int:
        return self.blob.size if self.blob else self.zarr.size if self.zarr else 0

    def forget_json(self) -> None:
        self.slim_json = self.full_json = None


@dataclass(slots=True, eq=False)
class Version:
    """The draft, or a published version, with its assets by path."""

    name: str
    stored: Document
    created: str
    modified: str
    saved_year: int
    """the year in its citation: that of the day the archive last saved it"""
    status: str = "Valid"
    release_notes: str = ""
    assets: dict[str, Asset] = field(default_factory=dict)
    size: int = 0
    summary: Document | None = None
    """the assetsSummary, computed when first asked for after a change"""
    sorted_assets: dict[str, list[Asset]] = field(default_factory=dict)
    """the assets by each order that was asked for since the last change"""

    @property
    def is_draft(self) -> bool:
        return self.name == DRAFT

    def assets_changed(self) -> None:
        self.summary = None
        self.sorted_assets.clear()


@dataclass(slots=True, eq=False)
class Dandiset:
    identifier: str
    created: str
    modified: str
    draft: Version
    embargo_status: str = OPEN
    embargoed_until: str | None = None
    owners: tuple[str, ...] = ()
    published: dict[str, Version] = field(default_factory=dict)
    """by name, in the order of publication"""
    summary_json: bytes | None = None
    """as `/dandisets/` lists it, until it changes"""

    @property
    def is_open(self) -> bool:
        return self.embargo_status == OPEN

    @property
    def latest(self) -> Version | None:
        return next(reversed(self.published.values()), None)

    def version(self, name: str) -> Version | None:
        return self.draft if name == DRAFT else self.published.get(name)


def dandi_etag(content: bytes, part_size: int = 64 << 20) -> str:
    """The archive's etag of a blob: that of an S3 upload in parts."""
    parts = [content[at : at + part_size] for at in range(0, len(content), part_size)] or [b""]
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
