"""What is asked for, in the order in which it is fetched: in a file of its own, for there may be millions.

Each content goes into it once for each repository that is to have it. A budget is spent on the small ones first, and
on each content once, however many repositories have it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from mirror.store.content_book import body_of
from mirror.store.room import telling_of_room
from mirror.store.version_keys import VersionKey

_SCHEMA = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA cache_size = -8192;
    CREATE TABLE dataset(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
    CREATE TABLE candidate(
        dataset INTEGER NOT NULL, key TEXT NOT NULL, size INTEGER NOT NULL, body INTEGER NOT NULL,
        path TEXT NOT NULL, PRIMARY KEY(dataset, key)
    ) WITHOUT ROWID;
    CREATE TABLE asked(
        dataset INTEGER NOT NULL, key TEXT NOT NULL, size INTEGER NOT NULL, body INTEGER NOT NULL,
        path TEXT NOT NULL, rank INTEGER NOT NULL, PRIMARY KEY(dataset, key)
    ) WITHOUT ROWID;
    CREATE INDEX asked_by_body ON asked(body);
    CREATE INDEX asked_in_order ON asked(rank, dataset, size);
"""
_AT_ONCE = 10_000
_BATCH = 2_000
_CLASSES = 16
_CLASS = "+".join(f"(size > {1 << bits})" for bits in range(12, 40, 4))
"""Within a rule, contents of about the same size come together, by repository: it is told of many at once."""


class Asked(NamedTuple):
    """One content that a repository is to have."""

    dataset_id: str
    key: str
    size: int
    path: str
    """the first at which it was met, with its Dandiset"""


@dataclass(frozen=True)
class Amount:
    """So much content, each counted once."""

    keys: int = 0
    bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.keys + other.keys, self.bytes + other.bytes)


@dataclass(frozen=True)
class Taken:
    """What came of a budget."""

    within: Amount
    beyond: Amount


class Plan:
    """Made in a folder of scratch files; a context manager that leaves nothing behind."""

    def __init__(self, folder: Path, name: str = "asked") -> None:
        self._path = folder / f"plan-{name}-{os.getpid()}.sqlite"
        self._path.unlink(missing_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(self._path, isolation_level=None)
        with telling_of_room():
            self._db.executescript(_SCHEMA)
        self._numbers: dict[str, int] = {}
        self._rules = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        with suppress(FileNotFoundError):
            self._path.unlink()

    @telling_of_room()
    def ask(self, keys: Iterable[VersionKey]) -> int:
        """Add what is asked for; how many files that were."""
        given, count = iter(keys), 0
        insert = "INSERT OR IGNORE INTO candidate VALUES (?, ?, ?, ?, ?)"
        while batch := list(islice(given, _AT_ONCE)):
            rows = [(self._number(one.dataset_id), one.key, one.size, body_of(one.key), one.path) for one in batch]
            self._db.execute("BEGIN")
            self._db.executemany(insert, rows)
            self._db.execute("COMMIT")
            count += len(batch)
        return count

    @telling_of_room()
    def take(self, budget: int | None = None) -> Taken:
        """Settle on what was asked for since the last time, as far as the budget goes.

        What was settled on before costs nothing more.
        """
        # Only now: to keep it in order while a million come in takes much longer.
        self._db.execute("CREATE INDEX candidate_by_size ON candidate(size, body)")
        within, beyond, cut = self._share(budget)
        before = "" if cut is None else "WHERE (size, body) < (:size, :body)"
        self._db.execute(
            f"INSERT OR IGNORE INTO asked SELECT dataset, key, size, body, path, :first + {_CLASS} "
            f"FROM candidate {before}",
            {"first": self._rules * _CLASSES, "size": cut[0] if cut else 0, "body": cut[1] if cut else 0},
        )
        self._db.executescript("DROP INDEX candidate_by_size; DELETE FROM candidate")
        self._rules += 1
        return Taken(within, beyond)

    def _share(self, budget: int | None) -> tuple[Amount, Amount, tuple[int, int] | None]:
        """What fits, what does not, and where the first stands that does not."""
        is_new = "NOT EXISTS (SELECT * FROM asked WHERE asked.body = candidate.body)"
        each = self._db.execute(f"SELECT size, body, {is_new} FROM candidate GROUP BY size, body ORDER BY size, body")
        within, over, size_within, size_over = 0, 0, 0, 0
        cut: tuple[int, int] | None = None
        for size, body, new in each:
            cost = size if new else 0
            if cut is None and budget is not None and size_within + cost > budget:
                cut = size, body
            if cut is None:
                within, size_within = within + new, size_within + cost
            else:
                over, size_over = over + new, size_over + cost
        return Amount(within, size_within), Amount(over, size_over), cut

    def asks_for(self, dataset_id: str, key: str) -> bool:
        question = "SELECT 1 FROM asked WHERE dataset = (SELECT number FROM dataset WHERE id = ?) AND key = ?"
        return self._db.execute(question, (dataset_id, key)).fetchone() is not None

    def total(self) -> Amount:
        """Of every repository's own."""
        return Amount(*self._db.execute("SELECT count(*), ifnull(sum(size), 0) FROM asked").fetchone())

    def in_order(self) -> Iterator[list[Asked]]:
        """What is asked for, small first, some of one repository at a time."""
        ids = {number: dataset_id for dataset_id, number in self._numbers.items()}
        rows = self._db.execute("SELECT dataset, key, size, path FROM asked ORDER BY rank, dataset, size, key")
        for number, of_one in groupby(rows, itemgetter(0)):
            while batch := [Asked(ids[number], *row[1:]) for row in islice(of_one, _BATCH)]:
                yield batch

    def _number(self, dataset_id: str) -> int:
        if dataset_id not in self._numbers:
            self._numbers[dataset_id] = len(self._numbers) + 1
            self._db.execute("INSERT INTO dataset VALUES (?, ?)", (self._numbers[dataset_id], dataset_id))
        return self._numbers[dataset_id]
