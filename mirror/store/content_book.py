"""The book of what content is held: what is found in `annex/objects`, without walking through it.

One for what is public, `state/contents.sqlite`, and one for what is embargoed. It can be lost: it is made anew from the
repositories. A row comes last, after the content is in place and noted in the location log, and it goes last. So what
the book has is there and known to be right; what is there and not in the book is looked at before it is trusted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from mirror.annex.keys import parse_key
from mirror.store.cache import Format, open_cache, transaction
from mirror.store.sides import Side

_FORMAT = Format(
    1,
    """
    CREATE TABLE dataset(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
    CREATE TABLE content(
        dataset INTEGER NOT NULL, key TEXT NOT NULL, size INTEGER NOT NULL, body INTEGER NOT NULL,
        by_hand INTEGER NOT NULL, PRIMARY KEY(dataset, key)
    ) WITHOUT ROWID;
    CREATE INDEX content_by_body ON content(body);
    CREATE TABLE mark(only INTEGER PRIMARY KEY CHECK (only = 1), complete INTEGER NOT NULL);
    INSERT INTO mark VALUES (1, 0);
    """,
)
_AT_ONCE = 10_000
_SOME = 20


class HeldContent(NamedTuple):
    """Content of which the store has a copy."""

    dataset_id: str
    key: str
    size: int
    by_hand: bool
    """somebody asked for it; otherwise a rule did"""


@dataclass(frozen=True)
class Holding:
    """What all of it comes to."""

    keys: int = 0
    bytes: int = 0
    """each file counted, though some may be the same one on disk"""
    distinct_bytes: int = 0
    """each content counted once"""


class ContentBook:
    """The file, made when it is not there. A context manager; one process may write while others read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = open_cache(path, _FORMAT)
        self._numbers: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    @property
    def is_complete(self) -> bool:
        """Whether it has all that is held; one that was just made has nothing as yet."""
        return bool(self._db.execute("SELECT complete FROM mark").fetchone()[0])

    def completed(self) -> None:
        self._db.execute("UPDATE mark SET complete = 1")

    def get(self, dataset_id: str, key: str) -> HeldContent | None:
        """A content, if it is held."""
        where = "dataset = (SELECT number FROM dataset WHERE id = ?) AND key = ?"
        row = self._db.execute(f"SELECT size, by_hand FROM content WHERE {where}", (dataset_id, key)).fetchone()
        return HeldContent(dataset_id, key, row[0], bool(row[1])) if row is not None else None

    def same_as(self, key: str) -> Iterator[tuple[str, str]]:
        """Some places where the same bytes are held: the ids of datasets, with the keys they have there. An empty
        chunk may be in a million."""
        rows = self._db.execute(
            "SELECT id, key FROM content JOIN dataset ON number = content.dataset WHERE body = ? LIMIT ?",
            (body_of(key), _SOME),
        )
        wanted = parse_key(key)[:3]
        return ((dataset_id, other) for dataset_id, other in rows.fetchall() if parse_key(other)[:3] == wanted)

    def datasets(self) -> list[str]:
        """The datasets of which some content is held."""
        held = "EXISTS (SELECT * FROM content WHERE content.dataset = dataset.number)"
        return [row[0] for row in self._db.execute(f"SELECT id FROM dataset WHERE {held} ORDER BY id")]

    def held(self, dataset_id: str) -> Iterator[HeldContent]:
        """The content of a dataset, by key. It may be written meanwhile."""
        after = ""
        question = (
            "SELECT key, size, by_hand FROM content "
            "WHERE dataset = (SELECT number FROM dataset WHERE id = ?) AND key > ? ORDER BY key LIMIT ?"
        )
        while rows := self._db.execute(question, (dataset_id, after, _AT_ONCE)).fetchall():
            yield from (HeldContent(dataset_id, key, size, bool(by_hand)) for key, size, by_hand in rows)
            after = rows[-1][0]

    def holding(self, dataset_id: str | None = None) -> Holding:
        """What is held in sum: of one dataset, or of all."""
        where = "WHERE dataset = (SELECT number FROM dataset WHERE id = ?)" if dataset_id is not None else ""
        values = (dataset_id,) if dataset_id is not None else ()
        keys, size = self._db.execute(f"SELECT count(*), ifnull(sum(size), 0) FROM content {where}", values).fetchone()
        each_once = f"SELECT max(size) AS size FROM content {where} GROUP BY body"
        distinct = self._db.execute(f"SELECT ifnull(sum(size), 0) FROM ({each_once})", values).fetchone()[0]
        return Holding(keys, size, distinct)

    def add(self, held: Iterable[HeldContent]) -> None:
        """Content that is in place, and noted. What was asked for by hand once stays so."""
        insert = (
            "INSERT INTO content VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET size = excluded.size, by_hand = by_hand OR excluded.by_hand"
        )
        self._many(insert, ((self._number(one[0]), one[1], one[2], body_of(one[1]), one[3]) for one in held))

    def set_by_hand(self, keys: Iterable[tuple[str, str]], by_hand: bool) -> None:
        """Say of content that is held, by dataset and key, whether somebody asked for it."""
        update = "UPDATE content SET by_hand = ? WHERE dataset = ? AND key = ? AND by_hand != ?"
        self._many(update, ((by_hand, self._number(one), key, by_hand) for one, key in keys))

    def remove(self, keys: Iterable[tuple[str, str]]) -> None:
        """Content that is gone, by dataset and key."""
        delete = "DELETE FROM content WHERE dataset = ? AND key = ?"
        self._many(delete, ((self._number(dataset_id), key) for dataset_id, key in keys))

    def _many(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        given = iter(rows)
        while batch := list(islice(given, _AT_ONCE)):
            with transaction(self._db, self.path):
                self._db.executemany(statement, batch)

    def _number(self, dataset_id: str) -> int:
        if dataset_id not in self._numbers:
            with self._db:
                self._db.execute("INSERT OR IGNORE INTO dataset(id) VALUES (?)", (dataset_id,))
            row = self._db.execute("SELECT number FROM dataset WHERE id = ?", (dataset_id,)).fetchone()
            self._numbers[dataset_id] = row[0]
        return self._numbers[dataset_id]


def book_path(side: Side) -> Path:
    """The book of one side of the store."""
    return side.state / "contents.sqlite"


def body_of(key: str) -> int:
    """A number that is the same for keys of the same bytes, whatever their extensions, and nearly never for others."""
    backend, size, digest, _ = parse_key(key)
    digested = blake2b(f"{backend}-{size}-{digest}".encode(), digest_size=8).digest()
    return int.from_bytes(digested, "big", signed=True)
