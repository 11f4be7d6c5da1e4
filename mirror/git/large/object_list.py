"""The objects of some packs, listed in a file: there may be millions of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

from mirror.git.large.checks import Named
from mirror.git.large.unpacking import Packed
from mirror.git.objects import Oid
from mirror.git.pack_index import Row

_AT_ONCE: Final = 5_000


class ObjectList:
    """What is in one pack after the other, and what should be there besides. A context manager."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.executescript(
            """
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8000;
            CREATE TABLE came (oid BLOB, kind BLOB, crc INTEGER, place INTEGER);
            CREATE TABLE named (oid BLOB, kind BLOB);
            BEGIN;
            """
        )
        self._packs: list[str] = []
        self._came: list[tuple[Oid, bytes, int, int]] = []
        self._named: list[Named] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, found: Packed, named: Iterable[Named]) -> None:
        """List an object of the pack at hand, and what it names."""
        self._came.append((found.oid, found.kind, found.crc, found.offset))
        self.want(named)

    def want(self, named: Iterable[Named]) -> None:
        """List what is to be in one of the packs."""
        self._named += named
        if len(self._came) + len(self._named) > _AT_ONCE:
            self._write()

    def _write(self) -> None:
        self._db.executemany("INSERT INTO came VALUES (?, ?, ?, ?)", self._came)
        self._db.executemany("INSERT INTO named VALUES (?, ?)", self._named)
        self._came.clear()
        self._named.clear()

    def sort(self) -> None:
        """That was one pack. `ValueError` when an object was in it twice."""
        self._write()
        table = f"pack_{len(self._packs)}"
        self._packs.append(table)
        self._db.execute(
            f"CREATE TABLE {table} (oid BLOB PRIMARY KEY, kind BLOB, crc INTEGER, place INTEGER) WITHOUT ROWID"
        )
        try:
            self._db.execute(f"INSERT INTO {table} SELECT * FROM came ORDER BY oid")
        except sqlite3.IntegrityError:
            raise ValueError("an object is in it twice") from None
        finally:
            self._db.execute("DELETE FROM came")

    def rows(self) -> Iterator[Row]:
        """What the index says of the last pack, in the order of the names."""
        return self._db.cursor().execute(f"SELECT oid, crc, place FROM {self._packs[-1]} ORDER BY oid")

    def missing(self) -> Iterator[Named]:
        """Those that are named and in no pack, or are something else there."""
        absent = "".join(
            f" AND NOT EXISTS (SELECT 1 FROM {table} WHERE oid = one.oid AND kind = ifnull(one.kind, kind))"
            for table in self._packs
        )
        wanted = "SELECT oid, kind FROM named GROUP BY oid, kind"
        return self._db.cursor().execute(f"SELECT oid, kind FROM ({wanted}) AS one WHERE true{absent}")
