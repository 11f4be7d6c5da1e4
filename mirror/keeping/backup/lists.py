"""What is to be copied, and how it went, in a temporary file: a store may hold a million contents."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self

Result = Literal["copied", "there", "failed"]


class Copy(NamedTuple):
    """One content to be copied."""

    number: int
    """goes up along the list"""
    key: str
    size: int
    dataset_id: str
    """of a dataset that holds it"""


@dataclass(frozen=True)
class Tally:
    """How it went with one dataset."""

    copied: int
    bytes: int
    """of those that were copied"""
    there: int
    """that the remote had, though it was not known, or was to be asked"""
    known: int
    """that the remote is known to have, and was not asked for"""
    failed: int
    left: int
    """that were not tried"""
    error: str | None
    """of the first that failed"""


class CopyList:
    """Every content of every dataset that a backup is to have. A context manager."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.executescript(
            """
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000;
            CREATE TABLE contents (
                number INTEGER PRIMARY KEY, key TEXT UNIQUE, size INTEGER, dataset TEXT, result TEXT, error TEXT
            );
            CREATE TABLE places (
                dataset TEXT, number INTEGER, noted INTEGER DEFAULT 0, PRIMARY KEY (dataset, number)
            ) WITHOUT ROWID;
            CREATE INDEX by_number ON places (number);
            CREATE TABLE known (dataset TEXT PRIMARY KEY, count INTEGER) WITHOUT ROWID;
            """
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, dataset_id: str, contents: Iterable[tuple[str, int]]) -> None:
        """Contents of a dataset that are to be copied, with their sizes."""
        self._db.execute("BEGIN")
        try:
            for key, size in contents:
                row = key, size, dataset_id
                self._db.execute("INSERT OR IGNORE INTO contents (key, size, dataset) VALUES (?, ?, ?)", row)
                self._db.execute(
                    "INSERT OR IGNORE INTO places (dataset, number) SELECT ?, number FROM contents WHERE key = ?",
                    (dataset_id, key),
                )
        finally:
            self._db.execute("COMMIT")

    def add_known(self, dataset_id: str, count: int) -> None:
        """So many of a dataset's contents need nothing."""
        self._db.execute("INSERT INTO known VALUES (?, ?)", (dataset_id, count))

    def amount(self) -> tuple[int, int]:
        """How many there are to be copied, and how large they are together."""
        count, size = self._db.execute("SELECT count(*), coalesce(sum(size), 0) FROM contents").fetchone()
        return count, size

    def after(self, number: int, most: int) -> list[Copy]:
        """The next ones."""
        rows = self._db.execute(
            "SELECT number, key, size, dataset FROM contents WHERE number > ? ORDER BY number LIMIT ?", (number, most)
        )
        return [Copy(*row) for row in rows]

    def holders(self, number: int) -> Iterator[str]:
        """The datasets that hold this content."""
        rows = self._db.execute("SELECT dataset FROM places WHERE number = ? ORDER BY dataset", (number,)).fetchall()
        return (dataset_id for (dataset_id,) in rows)

    def say(self, results: Sequence[tuple[int, Result, str | None]]) -> None:
        """How it went with some of them."""
        rows = [(result, error, number) for number, result, error in results]
        self._db.executemany("UPDATE contents SET result = ?, error = ? WHERE number = ?", rows)

    def is_there(self, key: str) -> bool:
        """Whether the remote has this content, as was found now."""
        row = self._db.execute("SELECT result FROM contents WHERE key = ?", (key,)).fetchone()
        return row is not None and row[0] in ("copied", "there")

    def to_note(self) -> list[str]:
        """The datasets of which the remote has something that they do not know yet."""
        rows = self._db.execute(
            "SELECT DISTINCT places.dataset FROM places JOIN contents USING (number)"
            " WHERE NOT noted AND result IN ('copied', 'there') ORDER BY 1"
        )
        return [dataset_id for (dataset_id,) in rows]

    def unnoted(self, dataset_id: str) -> Iterator[str]:
        """The keys of those."""
        rows = self._db.cursor().execute(
            "SELECT key FROM places JOIN contents USING (number)"
            " WHERE places.dataset = ? AND NOT noted AND result IN ('copied', 'there')",
            (dataset_id,),
        )
        return (key for (key,) in rows)

    def noted(self, dataset_id: str) -> None:
        """The dataset knows of all that the remote has by now."""
        self._db.execute(
            "UPDATE places SET noted = 1 WHERE dataset = ? AND number IN"
            " (SELECT number FROM contents WHERE result IN ('copied', 'there'))",
            (dataset_id,),
        )

    def total(self) -> tuple[int, int, int, int]:
        """How many were copied, how large these are together, how many were there, and how many were neither; each
        counted once."""
        copied, size, there, others = self._db.execute(
            "SELECT coalesce(sum(result IS 'copied'), 0), coalesce(sum(CASE result WHEN 'copied' THEN size END), 0),"
            " coalesce(sum(result IS 'there'), 0), coalesce(sum(result IS NULL OR result = 'failed'), 0) FROM contents"
        ).fetchone()
        return copied, size, there, others

    def tally(self, dataset_id: str) -> Tally:
        copied, size, there, failed, left, error = self._db.execute(
            "SELECT coalesce(sum(result IS 'copied'), 0), coalesce(sum(CASE result WHEN 'copied' THEN size END), 0),"
            " coalesce(sum(result IS 'there'), 0), coalesce(sum(result IS 'failed'), 0),"
            " coalesce(sum(result IS NULL), 0), min(error)"
            " FROM places JOIN contents USING (number) WHERE places.dataset = ?",
            (dataset_id,),
        ).fetchone()
        known = self._db.execute("SELECT count FROM known WHERE dataset = ?", (dataset_id,)).fetchone()
        return Tally(copied, size, there, known[0] if known else 0, failed, left, error)
