"""The asset records of a version's tree, and how those of two trees differ: what can be said of it without reading
what is equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from mirror.dataset.assets import SHA256, ZARR_CHECKSUM
from mirror.git.compare import compare
from mirror.git.objects import MODE_TREE, Oid
from mirror.git.reader import Objects

_FOLDER = b".dandi"
_PENDING = b"pending.jsonl"


class _Digest(msgspec.Struct, gc=False, rename={"sha256": SHA256, "zarr_checksum": ZARR_CHECKSUM}):
    sha256: Any = None
    zarr_checksum: Any = None


class _Metadata(msgspec.Struct, gc=False):
    digest: _Digest | None = None


class AssetRecord(msgspec.Struct, gc=False):
    """What is worth looking up of an asset."""

    asset_id: str
    path: str
    size: int
    metadata: _Metadata
    blob: str | None = None
    zarr: str | None = None

    @property
    def content(self) -> str | None:
        """The id of the blob or Zarr."""
        return self.blob or self.zarr

    @property
    def is_zarr(self) -> bool:
        return self.zarr is not None

    @property
    def sha256(self) -> str | None:
        digest = self.metadata.digest
        return digest.sha256 if digest is not None and isinstance(digest.sha256, str) else None

    @property
    def kept(self) -> tuple[object, ...]:
        """All of it that the catalogue keeps, but for the path."""
        return self.asset_id, self.content, self.sha256, self.size

    def same_as(self, other: AssetRecord) -> bool:
        """Whether nothing changed of the asset. What publishing adds to a record is no change."""
        return self.kept == other.kept and self.metadata.digest == other.metadata.digest


_record = msgspec.json.Decoder(AssetRecord)


def all_records(objects: Objects, tree: Oid) -> Iterator[AssetRecord]:
    """Every asset that a tree has a record of, folder by folder."""
    for _, body in _differing(objects, None, tree):
        yield from _record.decode_lines(body)


class RecordChanges:
    """What differs between the records of two trees. It has only those that do."""

    def __init__(self, gone: dict[str, AssetRecord], come: dict[str, AssetRecord]) -> None:
        self.gone = gone
        """by path: what the one tree has, and the other does not have so"""
        self.come = come
        self.modified = len(gone.keys() & come.keys())
        self.renamed = _renamed(gone, come)
        self.added = len(come) - self.modified - self.renamed
        self.removed = len(gone) - self.modified - self.renamed
        self.assets = len(come) - len(gone)
        self.bytes = sum(one.size for one in come.values()) - sum(one.size for one in gone.values())


def _renamed(gone: dict[str, AssetRecord], come: dict[str, AssetRecord]) -> int:
    """How many went from one path and came at another with the same content."""
    left = Counter(_content(record) for path, record in gone.items() if path not in come)
    arrived = Counter(_content(record) for path, record in come.items() if path not in gone)
    return (left & arrived).total()


def _content(record: AssetRecord) -> str | None:
    return record.sha256 or record.content


def changed_records(objects: Objects, before: Oid, after: Oid) -> RecordChanges:
    """How the records of two trees differ."""
    gone: dict[str, AssetRecord] = {}
    come: dict[str, AssetRecord] = {}
    for old_body, new_body in _differing(objects, before, after):
        old, new = _changed_lines(old_body, new_body)
        _take_out_equal(old, new)
        gone.update(old)
        come.update(new)
    # A folder that grows has its records in other files: they leave the one and come in another.
    _take_out_equal(gone, come)
    return RecordChanges(gone, come)


def _changed_lines(before: bytes, after: bytes) -> tuple[dict[str, AssetRecord], dict[str, AssetRecord]]:
    """The records that only the one or the other file has, by path."""
    old, new = before.splitlines(), after.splitlines()
    sides = (_without(old, new), _without(new, old)) if old and new else (old, new)
    gone, come = ({record.path: record for record in map(_record.decode, lines)} for lines in sides)
    return gone, come


def _without(lines: list[bytes], others: list[bytes]) -> list[bytes]:
    known = set(others)
    return [line for line in lines if line not in known]


def _take_out_equal(gone: dict[str, AssetRecord], come: dict[str, AssetRecord]) -> None:
    for path in [path for path, record in come.items() if path in gone and gone[path].same_as(record)]:
        del gone[path], come[path]


def _differing(objects: Objects, before: Oid | None, after: Oid) -> Iterator[tuple[bytes, bytes]]:
    """The files of records in which two trees differ; nothing where one has no such file."""
    files = [
        (old and old.oid, new and new.oid)
        for path, old, new in compare(objects, _folder(objects, before), _folder(objects, after))
        if path.startswith(b"assets/") or path == _PENDING
    ]
    bodies = objects.read_many(oid for pair in files for oid in pair if oid is not None)
    for old_oid, new_oid in files:
        old_body = next(bodies)[2] if old_oid is not None else b""
        yield old_body, next(bodies)[2] if new_oid is not None else b""


def _folder(objects: Objects, tree: Oid | None) -> Oid | None:
    entry = objects.lookup(tree, _FOLDER) if tree is not None else None
    return entry.oid if entry is not None and entry.mode == MODE_TREE else None
