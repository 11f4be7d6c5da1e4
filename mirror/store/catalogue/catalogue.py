"""The catalogue: which versions there are and what they say of themselves, and where every asset is, or ever was.

All of it is in the repositories and the feed; a damaged or outdated file is thrown away. `Chronicle` writes it.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from mirror.dataset.facts import Facts
from mirror.errors import CatalogueDamaged, StoreError
from mirror.store.cache import Format, is_damaged, open_cache, transaction
from mirror.store.catalogue.asset_rows import (
    ASSET_SCHEMA,
    DELETE_IT,
    Line,
    Packed,
    head,
    packed_id,
    packed_sha256,
    path_hash,
    unpacked,
)

_FORMAT = Format(
    1,
    f"""
    CREATE TABLE dandiset(
        number INTEGER PRIMARY KEY, identifier TEXT NOT NULL UNIQUE, draft BLOB, releases BLOB, annex BLOB
    );
    CREATE TABLE state(
        dandiset INTEGER NOT NULL, line INTEGER NOT NULL, number INTEGER NOT NULL,
        oid BLOB NOT NULL, version TEXT NOT NULL, modified TEXT, assets INTEGER NOT NULL, bytes INTEGER NOT NULL,
        doi TEXT COLLATE NOCASE, facts BLOB,
        PRIMARY KEY(dandiset, line, number)
    );
    CREATE INDEX state_by_doi ON state(doi) WHERE doi IS NOT NULL;
    {ASSET_SCHEMA}
    CREATE TABLE announced(dandiset TEXT NOT NULL, version TEXT NOT NULL, old TEXT, new TEXT NOT NULL, annex TEXT);
    CREATE INDEX announced_of ON announced(dandiset);
    CREATE TABLE behind(identifier TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE mark(
        only INTEGER PRIMARY KEY CHECK (only = 1), serial INTEGER NOT NULL, feed_end INTEGER NOT NULL,
        finished INTEGER NOT NULL
    );
    INSERT INTO mark VALUES (1, 0, 0, 0);
    """,
)

_facts = msgspec.json.Decoder(Facts).decode


@dataclass(frozen=True)
class Standing:
    """A version as it is mirrored: the draft, or a published version."""

    commit: str
    """in hex; of a published version the commit, not its tag"""
    facts: Facts


@dataclass(frozen=True)
class Occurrence:
    """One asset at one path of one Dandiset, as long as it was there."""

    identifier: str
    path: str
    asset_id: str
    content: str | None
    """the id of its blob or Zarr"""
    is_zarr: bool
    sha256: str | None
    size: int
    """of a Zarr that changed: the latest"""
    versions: tuple[tuple[str, str], ...]
    """the published versions that have it, oldest first, each with its commit"""
    draft: str | None
    """the draft's commit, if it has it at present"""
    last_draft: tuple[str, str] | None
    """if a draft had it, but none has it now: the commit of the last that did, and when that was modified"""


class Catalogue:
    """The file, made when it is not there. A context manager; one process may write while others read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.db = open_cache(path, _FORMAT)
        """for those who write it"""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What is written in this block is there whole, or not at all."""
        try:
            with transaction(self.db, self._path):
                yield
        except sqlite3.Error as error:
            kind = CatalogueDamaged if isinstance(error, sqlite3.DatabaseError) and is_damaged(error) else StoreError
            raise kind(f"{self._path} cannot be written: {error}", hint=DELETE_IT) from error

    @property
    def is_complete(self) -> bool:
        """Whether it tells of all that is mirrored: no run is under way or was broken off, nothing was passed over."""
        ((finished, behind),) = self._rows("SELECT finished, EXISTS (SELECT * FROM behind) FROM mark")
        return bool(finished and not behind)

    def standings(self) -> Iterator[Standing]:
        """Every version: by Dandiset, published versions in the order of their history, the draft last."""
        return map(_standing, self._rows(f"{_STANDINGS} ORDER BY identifier, line, state.number"))

    def standing(self, identifier: str, version: str = "draft") -> Standing | None:
        where = "identifier = ? AND version = ? ORDER BY state.number DESC LIMIT 1"
        return next(map(_standing, self._rows(f"{_STANDINGS} AND {where}", identifier, version)), None)

    def by_doi(self, doi: str) -> Standing | None:
        """The version with this DOI, in any case of its letters. A published one, if there is one."""
        found = self._rows(f"{_STANDINGS} AND doi = ? ORDER BY line, identifier, state.number LIMIT 1", doi)
        return next(map(_standing, found), None)

    def zarr_ids(self, identifier: str) -> set[str]:
        """The Zarrs that the present draft, or any published version, names."""
        rows = self._rows(
            "SELECT DISTINCT content FROM asset INDEXED BY asset_of_zarr "
            "WHERE is_zarr AND dandiset = (SELECT number FROM dandiset WHERE identifier = ?) "
            "AND (release_from NOTNULL OR (draft_from NOTNULL AND draft_to IS NULL))",
            identifier,
        )
        return {unpacked(content) or "" for (content,) in rows}

    def assets(
        self,
        *,
        asset_id: str | None = None,
        content: str | None = None,
        sha256: str | None = None,
        path: str | None = None,
        identifier: str | None = None,
    ) -> Iterator[Occurrence]:
        """Where an asset is or was: by its id, the id of its blob or Zarr, its digest, or its path. Exactly one of
        these is given, and with it, or not, the Dandiset to look in.

        By Dandiset and path; at one path first what the draft has, then what was there last.
        """
        questions: dict[str, tuple[Packed, ...] | None] = {
            "substr(asset_id, 1, 6) = ? AND asset_id = ?": _by_head(packed_id(_lower(asset_id))),
            "substr(content, 1, 6) = ? AND content = ?": _by_head(packed_id(_lower(content))),
            "substr(sha256, 1, 6) = ? AND sha256 = ?": _by_head(packed_sha256(_lower(sha256))),
            "path_hash = ? AND path = ?": (path_hash(path), path) if path is not None else None,
        }
        ((where, values),) = ((where, values) for where, values in questions.items() if values is not None)
        if identifier is not None:
            where, values = f"{where} AND identifier = ?", (*values, identifier)
        order = "identifier, path, asset_id, content, sha256"
        with self._standing_still():
            rows = (_Row(*row) for row in self._rows(f"{_ASSETS} WHERE {where} ORDER BY {order}", *values))
            by_dandiset = groupby(rows, attrgetter("identifier"))
            return iter([one for _, found in by_dandiset for one in self._occurrences(list(found))])

    def _occurrences(self, rows: list[_Row]) -> Iterator[Occurrence]:
        """The assets of one Dandiset, whose rows come in order."""
        history = self._history(rows[0].dandiset)
        for _, at_path in groupby(rows, attrgetter("path")):
            assets = groupby(at_path, attrgetter("asset_id", "content", "sha256"))
            stays = [_Stay(list(found)) for _, found in assets]
            stays.sort(key=attrgetter("age"), reverse=True)
            yield from (stay.occurrence(history) for stay in stays)

    def _history(self, dandiset: int) -> _History:
        states = "SELECT version, oid, modified FROM state WHERE dandiset = ? AND line = ?"
        releases = self._rows(f"{states} ORDER BY number", dandiset, Line.RELEASES)
        return _History(
            [(version, oid.hex()) for version, oid, _ in releases],
            lambda number: next(
                (oid.hex(), modified or "")
                for _, oid, modified in self._rows(f"{states} AND number = ?", dandiset, Line.DRAFT, number)
            ),
            next(
                (oid.hex() for _, oid, _ in self._rows(f"{states} ORDER BY number DESC LIMIT 1", dandiset, Line.DRAFT)),
                None,
            ),
        )

    @contextmanager
    def _standing_still(self) -> Iterator[None]:
        """Several questions get answers from one and the same moment, whatever is written meanwhile."""
        if self.db.in_transaction:
            yield
            return
        self.db.execute("BEGIN")
        try:
            yield
        finally:
            self.db.execute("ROLLBACK")

    def _rows(self, question: str, *values: object) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self.db.execute(question, values)
        except UnicodeEncodeError:
            return  # nothing here is called what is no text
        except sqlite3.DatabaseError as error:
            kind = CatalogueDamaged if is_damaged(error) else StoreError
            raise kind(f"{self._path} cannot be read: {error}", hint=DELETE_IT) from None


_STANDINGS = """
    SELECT oid, facts FROM state JOIN dandiset ON dandiset.number = state.dandiset WHERE facts NOTNULL
"""
"""Of drafts, only the present one has its facts there."""


def _standing(row: tuple[bytes, bytes]) -> Standing:
    return Standing(row[0].hex(), _facts(row[1]))


_ASSETS = """
    SELECT identifier, path, asset_id, content, sha256, dandiset, is_zarr, size,
           release_from, release_to, draft_from, draft_to
    FROM asset CROSS JOIN dandiset ON dandiset.number = asset.dandiset
"""
"""In this order: the index finds the assets, and only then is asked whose they are."""


class _Row(NamedTuple):
    identifier: str
    path: str
    asset_id: Any
    content: Any
    sha256: Any
    dandiset: int
    is_zarr: int
    size: int
    release_from: int | None
    release_to: int | None
    draft_from: int | None
    draft_to: int | None

    @property
    def in_draft(self) -> bool:
        return self.draft_from is not None and self.draft_to is None

    @property
    def age(self) -> tuple[bool, float, int]:
        """The greater, the later it was there last. What the draft has now comes before all else."""
        released = -1 if self.release_from is None else math.inf if self.release_to is None else self.release_to
        return self.in_draft, released, self.draft_to or 0


def _lower(text: str | None) -> str | None:
    return text.lower() if text is not None else None


def _by_head(packed: Packed) -> tuple[Packed, ...] | None:
    return None if packed is None else (head(packed), packed)


@dataclass(frozen=True)
class _History:
    """What the numbers in the rows of a Dandiset stand for."""

    releases: list[tuple[str, str]]
    draft_state: Callable[[int], tuple[str, str]]
    """its commit, and when it was modified"""
    draft: str | None


class _Stay:
    """The rows of one asset at one path, together."""

    def __init__(self, rows: list[_Row]) -> None:
        self._rows = rows
        self._latest = max(rows, key=attrgetter("age"))
        self.age = self._latest.age

    def occurrence(self, history: _History) -> Occurrence:
        latest = self._latest
        return Occurrence(
            latest.identifier,
            latest.path,
            unpacked(latest.asset_id) or "",
            unpacked(latest.content),
            bool(latest.is_zarr),
            unpacked(latest.sha256),
            latest.size,
            tuple(history.releases[number] for number in self._numbers_of_releases(len(history.releases))),
            history.draft if latest.in_draft else None,
            None if latest.in_draft else self._last_draft(history),
        )

    def _numbers_of_releases(self, count: int) -> list[int]:
        held: set[int] = set()
        for row in self._rows:
            if row.release_from is not None:
                held.update(range(row.release_from, count if row.release_to is None else row.release_to))
        return sorted(held)

    def _last_draft(self, history: _History) -> tuple[str, str] | None:
        left = max((row.draft_to or 0 for row in self._rows), default=0)
        return history.draft_state(left - 1) if left else None
