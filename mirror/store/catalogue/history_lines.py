"""The two lines of a Dandiset's history in the catalogue, its published versions and its drafts: a state a commit."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import msgspec

from mirror.dataset.commits import trailers
from mirror.dataset.facts import Facts, facts_of
from mirror.errors import StoreError
from mirror.git.objects import Commit, Oid
from mirror.git.reader import MissingObject, Objects
from mirror.store.catalogue.asset_records import RecordChanges, all_records, changed_records
from mirror.store.catalogue.asset_rows import AssetRows, Line
from mirror.store.feed import Move

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class State:
    """A commit, as it is catalogued."""

    number: int
    oid: Oid
    version: str
    assets: int
    bytes: int


class HistoryLine:
    """Reads and writes one line of one Dandiset."""

    def __init__(self, db: sqlite3.Connection, dandiset: int, line: Line) -> None:
        self._db = db
        self._here = (dandiset, line)
        self._line = line

    def states(self) -> list[State]:
        """All of them, oldest first."""
        return [State(*row) for row in self._db.execute(f"{_STATES} ORDER BY number", self._here)]

    def last(self) -> State | None:
        row = self._db.execute(f"{_STATES} ORDER BY number DESC LIMIT 1", self._here).fetchone()
        return State(*row) if row is not None else None

    def add(
        self, commits: list[tuple[Oid, Commit]], objects: Objects, rows: AssetRows, base: State | None
    ) -> list[Move]:
        """Catalogue these commits, oldest first; a move for each. `base`: the release that the first draft is made
        from, so that what it has of that need not be read again."""
        moves = []
        before = self.last() if commits else None
        tree = objects.commit(before.oid).tree if before is not None else None
        for oid, commit in commits:
            number = before.number + 1 if before is not None else 0
            if before is not None and tree is not None:
                changes = changed_records(objects, tree, commit.tree)
                self._apply(changes, number, rows)
                assets, size = before.assets + changes.assets, before.bytes + changes.bytes
            else:
                changes = None
                assets, size = self._first(commit, objects, rows, base)
            state = State(number, oid, self._version(oid, commit), assets, size)
            self._write(state, commit, objects)
            moves.append(move(before, state, changes))
            before, tree = state, commit.tree
        if self._line is Line.DRAFT and before is not None:
            self._move_facts(before, _facts(objects, commits[-1][1].tree))
        return moves

    def _first(self, commit: Commit, objects: Objects, rows: AssetRows, base: State | None) -> tuple[int, int]:
        """The assets of the first state of this line; how many, and their bytes."""
        if base is not None:
            rows.take_over(0, base.number)
            self._apply(changed_records(objects, objects.commit(base.oid).tree, commit.tree), 0, rows)
        elif rows.is_empty:
            rows.add(self._line, 0, all_records(objects, commit.tree))
        else:
            for record in all_records(objects, commit.tree):
                rows.open(self._line, 0, record)
        return rows.held(self._line)

    def _apply(self, changes: RecordChanges, number: int, rows: AssetRows) -> None:
        for path, record in changes.gone.items():
            if path not in changes.come or changes.come[path].kept != record.kept:
                rows.close(self._line, number, record)
        for path, record in changes.come.items():
            if path not in changes.gone or changes.gone[path].kept != record.kept:
                rows.open(self._line, number, record)

    def _version(self, oid: Oid, commit: Commit) -> str:
        if self._line is Line.DRAFT:
            return "draft"
        version = trailers(commit.message).get("Version")
        if not version:
            raise StoreError(f"commit {oid.hex()} of the published versions has no `Version` trailer")
        return version

    def _write(self, state: State, commit: Commit, objects: Objects) -> None:
        facts = _facts(objects, commit.tree) if self._line is Line.RELEASES else None
        values = (
            *self._here,
            state.number,
            state.oid,
            state.version,
            trailers(commit.message).get("Archive-Modified"),
            state.assets,
            state.bytes,
            facts.doi if facts is not None else None,
            _encode(facts) if facts is not None else None,
        )
        self._db.execute(f"INSERT INTO state VALUES ({','.join('?' * len(values))})", values)

    def _move_facts(self, state: State, facts: Facts) -> None:
        """Of drafts only the present one has its facts here."""
        this = "dandiset = ? AND line = ? AND"
        self._db.execute(f"UPDATE state SET doi = NULL, facts = NULL WHERE {this} facts NOTNULL", self._here)
        values = (facts.doi, _encode(facts), *self._here, state.number)
        self._db.execute(f"UPDATE state SET doi = ?, facts = ? WHERE {this} number = ?", values)


_STATES = "SELECT number, oid, version, assets, bytes FROM state WHERE dandiset = ? AND line = ?"


def _facts(objects: Objects, tree: Oid) -> Facts:
    documents = []
    for path in (b"dandiset.yaml", b".dandi/version.json"):
        entry = objects.lookup(tree, path)
        if entry is None:
            raise StoreError(f"tree {tree.hex()} has no {path.decode()}")
        documents.append(objects.blob(entry.oid))
    return facts_of(*documents)


def move(before: State | None, state: State, changes: RecordChanges | None) -> Move:
    """What the feed says of the step from one state to another. `changes` are None for the first."""
    return Move(
        version=state.version,
        old=before.oid.hex() if before is not None else None,
        new=state.oid.hex(),
        added=changes.added if changes is not None else state.assets,
        modified=changes.modified if changes is not None else 0,
        removed=changes.removed if changes is not None else 0,
        renamed=changes.renamed if changes is not None else 0,
        assets=state.assets,
        bytes=state.bytes,
        bytes_changed=state.bytes - (before.bytes if before is not None else 0),
    )


def move_back(objects: Objects, former: State, state: State) -> Move:
    """The step of a branch that was set back to where it had been. Nothing may be left of what it is set back from."""
    now = objects.commit(state.oid).tree
    try:
        return move(former, state, changed_records(objects, objects.commit(former.oid).tree, now))
    except MissingObject:
        return move(None, state, None)
