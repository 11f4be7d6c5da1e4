"""The index: what is quick to look up, and can be lost.

Everything in it is in the repositories or can be asked of the archive again; a damaged or outdated file is thrown away.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from mirror.dataset.assets import Held
from mirror.store.cache import Format, discard, is_damaged, open_cache, transaction

logger = logging.getLogger(__name__)
T = TypeVar("T")

_FORMAT = Format(
    2,
    """
    CREATE TABLE IF NOT EXISTS object_version(location TEXT PRIMARY KEY, version_id TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS draft(dandiset TEXT PRIMARY KEY, oid TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS asset(
        dandiset TEXT, path TEXT, asset_id TEXT NOT NULL, modified TEXT, kind TEXT NOT NULL, blob TEXT,
        published INTEGER NOT NULL,
        PRIMARY KEY(dandiset, path)
    ) WITHOUT ROWID;
    """,
)
_LOOKUP_AT_ONCE = 500


class Index:
    """An SQLite file, made on first use. A context manager; several processes may have it open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = _opened(path)

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def version_ids(self, locations: Iterable[str]) -> dict[str, str]:
        """The S3 version ids known of these objects (`bucket/key`)."""
        wanted = list(locations)
        return self._whole(lambda: self._version_ids(wanted))

    def _version_ids(self, wanted: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for start in range(0, len(wanted), _LOOKUP_AT_ONCE):
            some = wanted[start : start + _LOOKUP_AT_ONCE]
            marks = ",".join("?" * len(some))
            found.update(
                self._db.execute(f"SELECT location, version_id FROM object_version WHERE location IN ({marks})", some)
            )
        return found

    def remember_version_ids(self, ids: Iterable[tuple[str, str]]) -> None:
        new = list(ids)
        self._whole(lambda: self._remember_version_ids(new))

    def _remember_version_ids(self, ids: list[tuple[str, str]]) -> None:
        with transaction(self._db, self._path):
            self._db.executemany("INSERT OR REPLACE INTO object_version VALUES (?, ?)", ids)

    def draft(self, dandiset: str, oid: str) -> dict[str, Held] | None:
        """The assets of a draft, if the index holds them for just this commit."""
        return self._whole(lambda: self._draft(dandiset, oid))

    def _draft(self, dandiset: str, oid: str) -> dict[str, Held] | None:
        row = self._db.execute("SELECT oid FROM draft WHERE dandiset = ?", (dandiset,)).fetchone()
        if row is None or row[0] != oid:
            return None
        rows = self._db.execute(
            "SELECT path, asset_id, modified, kind, blob, published FROM asset WHERE dandiset = ?", (dandiset,)
        )
        kinds: dict[str, str] = {}
        return {
            path: Held(asset_id, modified, kinds.setdefault(kind, kind), blob, bool(published))
            for path, asset_id, modified, kind, blob, published in rows
        }

    def remember_draft(
        self, dandiset: str, oid: str, assets: Mapping[str, Held], before: tuple[str, Mapping[str, Held]] | None
    ) -> None:
        """Keep the assets of a draft. `before` is what the index gave for an earlier commit: only what differs
        from it is written."""
        self._whole(lambda: self._remember_draft(dandiset, oid, assets, before))

    def _remember_draft(
        self, dandiset: str, oid: str, assets: Mapping[str, Held], before: tuple[str, Mapping[str, Held]] | None
    ) -> None:
        if before is not None and before[0] == oid and before[1] == assets:
            row = self._db.execute("SELECT oid FROM draft WHERE dandiset = ?", (dandiset,)).fetchone()
            if row is not None and row[0] == oid:
                return
        with transaction(self._db, self._path):
            row = self._db.execute("SELECT oid FROM draft WHERE dandiset = ?", (dandiset,)).fetchone()
            known: Mapping[str, Held] = {}
            if before is not None and row is not None and row[0] == before[0]:
                known = before[1]
                gone = [(dandiset, path) for path in known if path not in assets]
                self._db.executemany("DELETE FROM asset WHERE dandiset = ? AND path = ?", gone)
            else:
                self._db.execute("DELETE FROM asset WHERE dandiset = ?", (dandiset,))
            self._db.executemany(
                "INSERT OR REPLACE INTO asset VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (dandiset, path, held.asset_id, held.modified, held.kind, held.blob, held.published)
                    for path, held in assets.items()
                    if known.get(path) != held
                ),
            )
            self._db.execute("INSERT OR REPLACE INTO draft VALUES (?, ?)", (dandiset, oid))

    def forget_draft(self, dandiset: str) -> None:
        """Drop what is kept of a Dandiset's draft."""
        self._whole(lambda: self._forget_draft(dandiset))

    def _forget_draft(self, dandiset: str) -> None:
        with transaction(self._db, self._path):
            for table in ("asset", "draft"):
                self._db.execute(f"DELETE FROM {table} WHERE dandiset = ?", (dandiset,))

    def _whole(self, work: Callable[[], T]) -> T:
        """Do it; once more, with an empty file, should this one turn out to be damaged further inside."""
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if not is_damaged(error):
                raise
            logger.warning("%s is damaged, and made anew: %s", self._path, error)
        self._db.close()
        discard(self._path)
        self._db = _opened(self._path)
        return work()


def _opened(path: Path) -> sqlite3.Connection:
    db = open_cache(path, _FORMAT)
    # What a power cut takes of it is asked for once more.
    db.execute("PRAGMA synchronous = NORMAL")
    return db
