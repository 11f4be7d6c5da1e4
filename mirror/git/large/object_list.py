"""The objects of some packs, listed in a file: there may be millions of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

from mirror.git.large.checks import Named
from mirror.git.large.lists import open_list
from mirror.git.large.unpacking import Packed
from mirror.git.objects import Oid
from mirror.git.pack_index import Row

_AT_ONCE: Final = 5_000


class ObjectList:
    """What is in one pack after the other, and what should be there besides. A context manager."""

    def __init__(self, file: Path) -> None:
        self._db = open_list(
            file,
            """
            CREATE TABLE came (oid BLOB, kind BLOB, crc INTEGER, place INTEGER);
            CREATE TABLE pack (oid BLOB PRIMARY KEY, kind BLOB, crc INTEGER, place INTEGER) WITHOUT ROWID;
            CREATE TABLE there (oid BLOB, kind BLOB, PRIMARY KEY (oid, kind)) WITHOUT ROWID;
            CREATE TABLE named (oid BLOB, kind BLOB);
            BEGIN;
            """,
        )
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
        came = self._count("came")
        self._db.execute("DELETE FROM pack")
        self._db.execute("INSERT OR IGNORE INTO pack SELECT * FROM came ORDER BY oid")
        self._db.execute("INSERT OR IGNORE INTO there SELECT oid, kind FROM pack ORDER BY oid")
        self._db.execute("DELETE FROM came")
        if self._count("pack") != came:
            raise ValueError("an object is in it twice")

    def _count(self, table: str) -> int:
        count: int = self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return count

    def rows(self) -> Iterator[Row]:
        """What the index says of the last pack, in the order of the names."""
        return self._db.cursor().execute("SELECT oid, crc, place FROM pack ORDER BY oid")

    def missing(self) -> Iterator[Named]:
        """Those that are named and in no pack, or are something else there."""
        wanted = "SELECT oid, kind FROM named GROUP BY oid, kind"
        there = "SELECT 1 FROM there WHERE oid = one.oid AND kind = ifnull(one.kind, kind)"
        return self._db.cursor().execute(f"SELECT oid, kind FROM ({wanted}) AS one WHERE NOT EXISTS ({there})")
