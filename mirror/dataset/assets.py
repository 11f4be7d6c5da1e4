"""The archive's asset records, checked and turned into what a tree needs of them.

`describe` is the one place where a record of the archive is judged: what it lacks or says wrongly is an error that
names the asset.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from mirror.archive.records import Asset, SlimAsset
from mirror.dataset.canonical import Document, read_document
from mirror.dataset.fields import Fields, annex_fields
from mirror.dataset.layout import Layout
from mirror.errors import RecordRefused

ANNEXED, TEXT, PENDING, ZARR = "annexed", "text", "pending", "zarr"
"""What an asset becomes in the tree: an annex symlink, a file in git, nothing as yet, a dataset of its own."""

LEFT_OUT = frozenset({"access", "contentUrl"})
"""Fields of an asset's metadata that the archive computes anew for each answer, or that the annex branch holds."""

SHA256, ZARR_CHECKSUM = "dandi:sha2-256", "dandi:dandi-zarr-checksum"
"""What digests are called in an asset's metadata."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Of Zarrs: chosen by chance, and so never the id that we derive for the dataset of a Dandiset (version 5).
_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_encode = msgspec.json.Encoder().encode


class Held(msgspec.Struct, frozen=True, gc=False):
    """What is remembered of an asset from one sync to the next: enough to tell whether it changed."""

    asset_id: str
    modified: str | None
    """None where it is not known: records of published assets do not have it, for the server may move it"""
    kind: str
    blob: str | None
    published: bool = False

    def still_is(self, asset: SlimAsset, *, release: bool) -> bool:
        """Whether the archive's slim record says that nothing changed since, so that the line stands as it is.

        An asset the archive has not hashed yet is never the same: its digest appears without any time moving. An
        unpublished asset's line is another in a release than in a draft.
        """
        return (
            self.asset_id == asset.asset_id
            and self.modified == asset.modified
            and self.kind != PENDING
            and (self.published or not release)
            # A release names the state that a Zarr was published in, a draft the Zarr as it goes on.
            and not (release and self.kind == ZARR)
        )


class AssetEntry(msgspec.Struct, frozen=True, gc=False):
    """One new or changed asset, ready to be written."""

    path: str
    held: Held
    size: int
    is_zarr: bool
    sha256: str | None
    """None for Zarrs, and while the archive has not hashed it"""
    zarr_checksum: str | None
    """None for all but Zarrs, and while the archive has not taken it in"""
    s3_url: str | None
    api: tuple[str, str] | None
    """what stands before and after the asset's id in its API download address: nearly always the same"""
    fields: Fields
    """git-annex metadata"""
    line_at: int
    line_length: int

    @property
    def api_url(self) -> str | None:
        return self.held.asset_id.join(self.api) if self.api is not None else None

    @property
    def line(self) -> tuple[int, int]:
        """Where the record's line was put: what `keep` returned, and its length."""
        return self.line_at, self.line_length


def describe(asset: Asset, layout: Layout, *, release: bool, keep: Callable[[bytes], int]) -> AssetEntry:
    """Check an asset's record; give its line (with newline) to `keep`, which says where it put it."""
    document = _metadata(asset)
    metadata = document.value
    published = metadata.get("datePublished") is not None
    sha256, zarr_checksum = _sha256(asset, metadata), _zarr_checksum(asset, metadata)
    kind = _kind(asset, sha256 or zarr_checksum, layout)
    if kind == PENDING and release:
        raise RecordRefused(f"asset {asset.path!r} is published without a digest of its content")
    api, s3_url = _content_urls(asset, metadata, kind)
    line = _line(asset, document, with_modified=not (release or published))
    return AssetEntry(
        path=asset.path,
        held=Held(
            asset.asset_id,
            _modified(asset, kind, published, release=release),
            kind,
            asset.blob or asset.zarr,
            published,
        ),
        size=asset.size,
        is_zarr=asset.zarr is not None,
        sha256=sha256,
        zarr_checksum=zarr_checksum,
        s3_url=s3_url,
        api=api,
        fields=_shared(annex_fields(metadata)) if kind == ANNEXED else (),
        line_at=keep(line),
        line_length=len(line),
    )


def _modified(asset: Asset, kind: str, published: bool, *, release: bool) -> str | None:
    """The time to remember; None: whoever compares with this reads the asset again.

    So it is where a draft cannot take the line over. And a release's Zarr is to look the same whether it was just
    observed or is read back from its tree.
    """
    if release and (not published or kind == ZARR):
        return None
    return asset.modified


T = TypeVar("T", bound=tuple[Any, ...])
_known: dict[tuple[Any, ...], tuple[Any, ...]] = {}
_KNOWN_AT_MOST = 20_000


def _shared(value: T) -> T:
    """One and the same object for equal values: many assets have the same fields, and 100,000 are in memory."""
    found = _known.get(value)
    if found is None:
        if len(_known) >= _KNOWN_AT_MOST:
            _known.clear()
        _known[value] = found = value
    return found  # type: ignore[return-value]


def _metadata(asset: Asset) -> Document:
    try:
        return read_document(bytes(asset.metadata))
    except RecordRefused as error:
        raise RecordRefused(f"asset {asset.path!r}: its metadata {error.message}") from None


def _kind(asset: Asset, digest: str | None, layout: Layout) -> str:
    if asset.blob is None and asset.zarr is None:
        raise RecordRefused(f"asset {asset.path!r} has neither a blob nor a Zarr")
    if digest is None:
        return PENDING
    if asset.zarr is not None:
        return ZARR
    return TEXT if layout.is_text(asset.path, asset.size) else ANNEXED


def _sha256(asset: Asset, metadata: dict[str, Any]) -> str | None:
    """The asset's SHA-256, None where the archive has not computed it; a Zarr has none."""
    if not _UUID.fullmatch(asset.asset_id):
        raise RecordRefused(f"asset {asset.path!r} has a malformed id, {asset.asset_id!r}")
    if asset.size < 0:
        raise RecordRefused(f"asset {asset.path!r} has an impossible size, {asset.size}")
    if asset.zarr is not None:
        return None
    sha256 = _digest(asset, metadata, SHA256)
    if sha256 is None:
        return None
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise RecordRefused(f"asset {asset.path!r} has a malformed SHA-256 digest, {sha256!r}")
    size = metadata.get("contentSize", asset.size)
    if size != asset.size:
        raise RecordRefused(f"asset {asset.path!r} has two sizes, {asset.size} and {size!r}")
    return sha256


def _zarr_checksum(asset: Asset, metadata: dict[str, Any]) -> str | None:
    """A Zarr's checksum, None where the archive has not computed it; a blob has none."""
    if asset.zarr is None:
        return None
    if not _UUID4.fullmatch(asset.zarr):
        raise RecordRefused(f"asset {asset.path!r} has a malformed Zarr id, {asset.zarr!r}")
    checksum = _digest(asset, metadata, ZARR_CHECKSUM)
    # Whether it makes sense is asked where the Zarr is: its trouble is not that of the whole Dandiset.
    if checksum is not None and not isinstance(checksum, str):
        raise RecordRefused(f"asset {asset.path!r} has a malformed Zarr checksum, {checksum!r}")
    return checksum


def _digest(asset: Asset, metadata: dict[str, Any], name: str) -> object:
    digests = metadata.get("digest")
    if digests is not None and not isinstance(digests, dict):
        raise RecordRefused(f"asset {asset.path!r}: its digest is not an object")
    return digests.get(name) if digests else None


def _content_urls(asset: Asset, metadata: dict[str, Any], kind: str) -> tuple[tuple[str, str] | None, str | None]:
    """The API download address, in two parts, and the S3 address; whether they may be used is judged elsewhere."""
    urls = metadata.get("contentUrl")
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        if kind != PENDING:
            raise RecordRefused(f"asset {asset.path!r} has no contentUrl")
        return None, None
    api = [url for url in urls if f"/assets/{asset.asset_id}/" in url]
    s3 = [url for url in urls if url not in api]
    if kind != PENDING and len(s3) != 1:
        raise RecordRefused(f"asset {asset.path!r} has {len(s3)} S3 addresses among its contentUrl, not one")
    if any(mark in url for url in (*s3, *api) for mark in "?#"):
        # It may be signed, and nobody is to know the signature; nor can a version id be put behind it.
        raise RecordRefused(f"asset {asset.path!r} has a contentUrl with a query or a fragment")
    before, _, after = api[0].partition(asset.asset_id) if api else ("", "", "")
    return (_shared((before, after)) if api else None), (s3[0] if s3 else None)


def _line(asset: Asset, document: Document, *, with_modified: bool) -> bytes:
    """The record as one line of canonical JSON: a white list of fields, and the metadata."""
    parts = [b'{"asset_id":', _encode(asset.asset_id)]
    if asset.blob is not None:
        parts += b',"blob":', _encode(asset.blob)
    parts += b',"created":', _encode(asset.created), b',"metadata":', document.canonical(drop=LEFT_OUT)
    if with_modified:
        parts += b',"modified":', _encode(asset.modified)
    parts += b',"path":', _encode(asset.path), b',"size":', str(asset.size).encode()
    if asset.zarr is not None:
        parts += b',"zarr":', _encode(asset.zarr)
    parts.append(b"}\n")
    return b"".join(parts)


class _HeldMetadata(msgspec.Struct):
    digest: dict[str, Any] | None = None
    datePublished: Any = None


class _HeldLine(msgspec.Struct):
    asset_id: str
    path: str
    size: int
    metadata: _HeldMetadata
    modified: str | None = None
    blob: str | None = None
    zarr: str | None = None


_held_line = msgspec.json.Decoder(_HeldLine).decode


def held_from_line(line: bytes, layout: Layout) -> tuple[str, Held]:
    """What `describe` remembered of an asset, read back from its line: the way back when the index is lost."""
    record = _held_line(line)
    digests = record.metadata.digest or {}
    if digests.get(SHA256 if record.zarr is None else ZARR_CHECKSUM) is None:
        kind = PENDING
    elif record.zarr is not None:
        kind = ZARR
    else:
        kind = TEXT if layout.is_text(record.path, record.size) else ANNEXED
    return record.path, Held(
        record.asset_id, record.modified, kind, record.blob or record.zarr, record.metadata.datePublished is not None
    )
