"""The catalogue's table of assets: what was where in a Dandiset, and from when to when.

Time is counted in two lines: published versions and draft states, each from 0 on. A row is one asset record at one
path. It has at most one interval of each line; an asset that left and came back has a further row. Ids and digests are
kept as bytes, and the indexes hold the first bytes of what they find, for a million assets to take little.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from enum import IntEnum
from hashlib import blake2b
from uuid import UUID

from mirror.errors import StoreError
from mirror.store.catalogue.asset_records import AssetRecord

_HEAD = 6
"""How many bytes of an id, a digest or a hash the indexes have. They are random, and so nearly never the same."""

ASSET_SCHEMA = f"""
    CREATE TABLE asset(
        dandiset INTEGER NOT NULL, number INTEGER NOT NULL,
        path TEXT NOT NULL, path_hash BLOB NOT NULL, asset_id NOT NULL, content, sha256,
        is_zarr INTEGER NOT NULL, size INTEGER NOT NULL,
        release_from INTEGER, release_to INTEGER, draft_from INTEGER, draft_to INTEGER,
        PRIMARY KEY(dandiset, number)
    ) WITHOUT ROWID;
    CREATE INDEX asset_by_path ON asset(path_hash);
    CREATE INDEX asset_by_id ON asset(substr(asset_id, 1, {_HEAD}));
    CREATE INDEX asset_by_content ON asset(substr(content, 1, {_HEAD}));
    CREATE INDEX asset_by_sha256 ON asset(substr(sha256, 1, {_HEAD})) WHERE sha256 IS NOT NULL;
    CREATE INDEX asset_of_zarr ON asset(dandiset) WHERE is_zarr;
"""

DELETE_IT = "if it is damaged, delete it: the next `dandi-mirror sync` makes it anew"

Packed = bytes | str | None

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch

_INSERT = "INSERT INTO asset VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, NULL)"
_THIS = """
    path_hash = ? AND dandiset = ? AND path = ? AND asset_id = ? AND content IS ? AND sha256 IS ? AND size = ?
"""


class Line(IntEnum):
    """A line of history."""

    RELEASES = 0
    DRAFT = 1

    @property
    def column(self) -> str:
        return ("release", "draft")[self]


class AssetRows:
    """Writes the rows of one Dandiset."""

    def __init__(self, db: sqlite3.Connection, dandiset: int) -> None:
        self._db = db
        self._dandiset = dandiset
        last = db.execute("SELECT max(number) FROM asset WHERE dandiset = ?", (dandiset,)).fetchone()[0]
        self._next = 0 if last is None else last + 1
        self.is_empty = last is None

    def add(self, line: Line, number: int, records: Iterable[AssetRecord]) -> None:
        """Assets of which there is no row, held from this state on."""
        self._db.executemany(_INSERT, (self._new(line, number, record) for record in records))

    def open(self, line: Line, number: int, record: AssetRecord) -> None:
        """An asset comes: this state is the first of this line to hold it, or to hold it again."""
        column, this = line.column, self._this(record)
        opened = self._db.execute(
            f"UPDATE asset SET {column}_from = ? WHERE dandiset = ? AND number = ("
            f"SELECT min(number) FROM asset INDEXED BY asset_by_path WHERE {_THIS} AND {column}_from IS NULL)",
            (number, self._dandiset, *this),
        )
        if not opened.rowcount:
            self._db.execute(_INSERT, self._new(line, number, record))

    def close(self, line: Line, number: int, record: AssetRecord) -> None:
        """An asset goes: this state is the first that does not hold it any more."""
        column = line.column
        # What was only taken over from a release was never there.
        closed = self._db.execute(
            f"UPDATE asset INDEXED BY asset_by_path SET {column}_from = nullif({column}_from, ?), "
            f"{column}_to = nullif(?, {column}_from) WHERE {_THIS} AND {column}_from NOTNULL AND {column}_to IS NULL",
            (number, number, *self._this(record)),
        )
        if closed.rowcount != 1:
            raise StoreError(
                f"{record.path!r} goes, but catalogue.sqlite has it {closed.rowcount} times", hint=DELETE_IT
            )

    def take_over(self, number: int, release: int) -> None:
        """This draft state holds what a release holds."""
        self._db.execute(
            "UPDATE asset SET draft_from = ? WHERE dandiset = ? AND release_from <= ? AND ifnull(release_to > ?, 1)",
            (number, self._dandiset, release, release),
        )

    def held(self, line: Line) -> tuple[int, int]:
        """How many assets the last state of a line holds, and their bytes."""
        counted: tuple[int, int] = self._db.execute(
            f"SELECT count(*), ifnull(sum(size), 0) FROM asset "
            f"WHERE dandiset = ? AND {line.column}_from NOTNULL AND {line.column}_to IS NULL",
            (self._dandiset,),
        ).fetchone()
        return counted

    def _this(self, record: AssetRecord) -> tuple[object, ...]:
        return (
            path_hash(record.path),
            self._dandiset,
            record.path,
            packed_id(record.asset_id),
            packed_id(record.content),
            packed_sha256(record.sha256),
            record.size,
        )

    def _new(self, line: Line, number: int, record: AssetRecord) -> tuple[object, ...]:
        place = self._next
        self._next += 1
        return (
            self._dandiset,
            place,
            record.path,
            path_hash(record.path),
            packed_id(record.asset_id),
            packed_id(record.content),
            packed_sha256(record.sha256),
            record.is_zarr,
            record.size,
            number if line is Line.RELEASES else None,
            number if line is Line.DRAFT else None,
        )


def head(packed: Packed) -> Packed:
    """What the indexes have of an id or digest."""
    return None if packed is None else packed[:_HEAD]


def path_hash(path: str) -> bytes:
    return blake2b(path.encode(errors="surrogatepass"), digest_size=_HEAD).digest()


def packed_id(text: str | None) -> Packed:
    """An id as it is kept: a UUID in 16 bytes, anything else as it is."""
    return bytes.fromhex(text.replace("-", "")) if text is not None and _UUID(text) else text


def packed_sha256(text: str | None) -> Packed:
    return bytes.fromhex(text) if text is not None and _SHA256(text) else text


def unpacked(packed: Packed) -> str | None:
    """The id or digest that was packed."""
    if isinstance(packed, bytes):
        return str(UUID(bytes=packed)) if len(packed) == 16 else packed.hex()
    return packed
