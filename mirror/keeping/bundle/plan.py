"""What a bundle is to hold of a version: which content was chosen, and which of that the store has.

The keys of a version may be a million, so they are listed in a file, in the order in which the bundle has them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Self
from uuid import UUID, uuid5

from mirror.annex import hashdirs
from mirror.dataset.submodules import GITMODULES, dataset_ids
from mirror.errors import UsageError
from mirror.git.objects import Oid
from mirror.store.contents import found
from mirror.store.store import Store
from mirror.store.version_keys import commit_keys

_AT_ONCE = 5_000

LEFT_OUT = "not chosen"
LACKING = "not held by the store"
DAMAGED = "damaged in the store"
MANIFEST = "held as a manifest, of which no bundle can be made"
"""Reasons why something named in the version is not in the bundle."""


class Wanted(NamedTuple):
    """Content to be put into a bundle."""

    key: str
    size: int
    file: Path


class Missing(NamedTuple):
    """Something that the version names and the bundle does not have."""

    reason: str
    path: str
    key: str | None
    """None: it is a whole Zarr"""
    zarr: str | None


@dataclass(frozen=True)
class Choice:
    """Which content of a version is asked for."""

    patterns: tuple[str, ...] = ()
    """paths, folders, or patterns of paths, in which `*` stands for slashes, too; none: all"""
    content: bool = True

    def takes(self, path: str) -> bool:
        """Whether this file's content is chosen."""
        return self.content and (not self.patterns or any(_matches(path, pattern) for pattern in self.patterns))


ALL = Choice()


def _matches(path: str, pattern: str) -> bool:
    folder = pattern.rstrip("/")
    return path == folder or path.startswith(f"{folder}/") or fnmatchcase(path, pattern)


def _zarr_ids(store: Store, identifier: str, commit: Oid) -> list[str]:
    """The Zarrs of a version, those too that hold no file."""
    with store.repository(identifier).objects() as objects:
        return list(dict.fromkeys(dataset_ids(objects.blob_at(objects.commit(commit).tree, GITMODULES))))


class Plan:
    """The list of a version's keys in a temporary file. A context manager."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.executescript(
            """
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000;
            CREATE TABLE entries (
                place TEXT, key TEXT, dataset TEXT, path TEXT, size INTEGER, reason TEXT, file TEXT,
                PRIMARY KEY (place, key, dataset)
            ) WITHOUT ROWID;
            CREATE INDEX by_dataset ON entries (dataset, place, key);
            CREATE TABLE zarrs (id TEXT PRIMARY KEY, path TEXT, reason TEXT) WITHOUT ROWID;
            """
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def fill(self, store: Store, identifier: str, commit: Oid, choice: Choice) -> None:
        """List what this commit names, and where the store has it."""
        own = store.dataset_id(identifier)
        keys = commit_keys(store, identifier, commit, passed=self._passed)
        rows: list[tuple[object, ...]] = []
        folders = {own: store.repository(identifier).path}
        for path, key, size, dataset_id in keys:
            if dataset_id not in folders:
                folders[dataset_id] = store.dataset(dataset_id).path
            takes = choice.takes(path)
            file = found(folders[dataset_id], key) if takes else None
            reason = None if file is not None else LACKING if takes else LEFT_OUT
            place = hashdirs.lower(key).decode()
            rows.append((place, key, dataset_id, path, size, reason, str(file) if file is not None else None))
            if len(rows) == _AT_ONCE:
                self._list(rows)
                rows = []
        self._list(rows)
        self._check(choice)
        zarrs = dict.fromkeys([*folders, *_zarr_ids(store, identifier, commit)])
        self._list_zarrs((zarr_id for zarr_id in zarrs if zarr_id != own), choice)

    def _list(self, rows: Sequence[tuple[object, ...]]) -> None:
        """A key chosen under any of its paths is chosen."""
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " path = excluded.path, reason = excluded.reason, file = excluded.file"
            f" WHERE entries.reason = '{LEFT_OUT}' AND excluded.reason IS NOT '{LEFT_OUT}'",
            rows,
        )
        self._db.execute("COMMIT")

    def _check(self, choice: Choice) -> None:
        """Patterns that choose nothing are not what anybody meant."""
        if not (choice.content and choice.patterns):
            return
        chosen = f"SELECT EXISTS (SELECT 1 FROM entries WHERE reason IS NOT '{LEFT_OUT}')"
        if not self._db.execute(chosen).fetchone()[0]:
            raise UsageError(
                f"nothing that has content is at {' or '.join(choice.patterns)}",
                hint="texts that are in git itself are in every bundle; --no-content leaves out everything else",
            )

    def _passed(self, path: str, zarr_id: str) -> None:
        self._db.execute("INSERT OR IGNORE INTO zarrs VALUES (?, ?, ?)", (zarr_id, path, MANIFEST))

    def _list_zarrs(self, zarrs: Iterable[str], choice: Choice) -> None:
        """With patterns, only the Zarrs of which something was chosen are carried along."""
        for zarr_id in zarrs:
            first, chosen = self._db.execute(
                f"SELECT min(path), sum(reason IS NOT '{LEFT_OUT}') FROM entries WHERE dataset = ?", (zarr_id,)
            ).fetchone()
            out = choice.content and choice.patterns and not chosen
            row = zarr_id, first or zarr_id, LEFT_OUT if out else None
            self._db.execute("INSERT OR IGNORE INTO zarrs VALUES (?, ?, ?)", row)

    @property
    def zarrs(self) -> list[str]:
        """The ids of the Zarrs that the bundle has."""
        return [found for (found,) in self._db.execute("SELECT id FROM zarrs WHERE reason IS NULL ORDER BY id")]

    def wanted(self) -> Iterator[Wanted]:
        """The content that goes into the bundle, each once, in the order of its places there."""
        rows = self._db.cursor().execute(
            "SELECT key, size, min(file) FROM entries WHERE reason IS NULL GROUP BY place, key ORDER BY place, key"
        )
        return (Wanted(key, size, Path(file)) for key, size, file in rows)

    def spoil(self, key: str, reason: str) -> None:
        """Say of a key why its content is not in the bundle after all."""
        row = reason, hashdirs.lower(key).decode(), key
        self._db.execute("UPDATE entries SET reason = ? WHERE place = ? AND key = ?", row)

    def amount(self) -> tuple[int, int]:
        """How many contents go into the bundle, and how large they are together."""
        inner = "SELECT size FROM entries WHERE reason IS NULL GROUP BY place, key"
        count, size = self._db.execute(f"SELECT count(*), coalesce(sum(size), 0) FROM ({inner})").fetchone()
        return count, size

    def keys_of(self, dataset_id: str) -> Iterator[str]:
        """The keys of a dataset whose content is in the bundle, be it from another dataset, in the branch's order."""
        # A key that two datasets have is in the bundle if either of them has its content.
        rows = self._db.cursor().execute(
            "SELECT key FROM entries AS one WHERE dataset = ? AND EXISTS"
            " (SELECT 1 FROM entries WHERE place = one.place AND key = one.key AND reason IS NULL) ORDER BY place, key",
            (dataset_id,),
        )
        return (key for (key,) in rows)

    def missing(self) -> Iterator[Missing]:
        """What the version names and the bundle does not have: Zarrs first."""
        zarrs = self._db.cursor().execute("SELECT reason, path, id FROM zarrs WHERE reason IS NOT NULL ORDER BY path")
        for reason, path, zarr_id in zarrs:
            yield Missing(reason, path, None, zarr_id)
        rows = self._db.cursor().execute(
            "SELECT reason, path, key FROM entries AS one WHERE reason IS NOT NULL AND NOT EXISTS"
            " (SELECT 1 FROM entries WHERE place = one.place AND key = one.key AND reason IS NULL)"
            " AND dataset NOT IN (SELECT id FROM zarrs WHERE reason IS NOT NULL)"
            " ORDER BY place, key, dataset"
        )
        for reason, path, key in rows:
            yield Missing(reason, path, key, None)

    def counts(self) -> dict[str, int]:
        """How many are missing, by the reason."""
        counts: dict[str, int] = {}
        for missing in self.missing():
            counts[missing.reason] = counts.get(missing.reason, 0) + 1
        return counts

    def uuid(self, dataset_id: str, commit: Oid) -> str:
        """The annex uuid of the bundle: another one for another version, or other content."""
        digest = sha256()
        for wanted in self.wanted():
            digest.update(wanted.key.encode() + b"\n")
        return str(uuid5(UUID(dataset_id), f"bundle/{commit.hex()}/{digest.hexdigest()}"))
