"""Bring the catalogue up to what a Dandiset's repository holds.

Only commits that it does not know are read, and of each only the records that differ from those of the commit before.
A catalogue made from nothing goes the same way, and comes to the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

from mirror.git.objects import Commit, Oid
from mirror.git.reader import Objects
from mirror.store.catalogue.asset_rows import AssetRows, Line
from mirror.store.catalogue.history_lines import HistoryLine, State, move_back
from mirror.store.feed import ANNEX_ONLY, Move

Told = tuple[str, str | None, str]
"""What one line of the feed is about: the version, the old and the new commit."""


def told(move: Move) -> Told:
    return move.version, move.old, move.new


@dataclass(frozen=True)
class Tips:
    """Where the branches of a Dandiset are."""

    draft: Oid | None = None
    releases: Oid | None = None
    annex: Oid | None = None

    @classmethod
    def of(cls, refs: Mapping[str, Oid]) -> Self:
        return cls(*(refs.get(f"refs/heads/{name}") for name in ("draft", "releases", "git-annex")))

    @classmethod
    def catalogued(cls, db: sqlite3.Connection, identifier: str) -> Self:
        """As they were when the catalogue was last brought up to them."""
        select = "SELECT draft, releases, annex FROM dandiset WHERE identifier = ?"
        return cls(*(db.execute(select, (identifier,)).fetchone() or ()))


class DandisetCataloguer:
    """Writes what the catalogue has of one Dandiset, within a transaction of the caller's."""

    def __init__(self, db: sqlite3.Connection, identifier: str) -> None:
        self._db = db
        self.tips = Tips.catalogued(db, identifier)
        db.execute("INSERT OR IGNORE INTO dandiset(identifier) VALUES (?)", (identifier,))
        select = "SELECT number FROM dandiset WHERE identifier = ?"
        self._number: int = db.execute(select, (identifier,)).fetchone()[0]
        self._lines = {line: HistoryLine(db, self._number, line) for line in Line}

    def update(self, objects: Objects, tips: Tips) -> list[Move]:
        """Catalogue what is between the former tips and these. The moves are those of published versions, then those
        of the draft, each in the order of its history."""
        walks = _walks(objects, self.tips, tips, self._oids(Line.RELEASES))
        if walks is None:
            return self._begin_anew(objects, tips)
        rows = AssetRows(self._db, self._number)
        moves = []
        for line, walk in walks.items():
            base = next((state for state in self._lines[Line.RELEASES].states() if state.oid == walk.end), None)
            moves += self._lines[line].add(walk.commits, objects, rows, base)
        values = (tips.draft, tips.releases, tips.annex, self._number)
        self._db.execute("UPDATE dandiset SET draft = ?, releases = ?, annex = ? WHERE number = ?", values)
        self.tips = tips
        return moves

    def _begin_anew(self, objects: Objects, tips: Tips) -> list[Move]:
        """History was rewritten. The moves that are left are those that nobody was told of."""
        former = {line: history.states() for line, history in self._lines.items()}
        known = {told for states in former.values() for told in _told(states)}
        self._forget_history()
        moves = [move for move in self.update(objects, tips) if told(move) not in known]
        for line, states in former.items():
            now = self._lines[line].last()
            if states and now is not None and now.oid in {state.oid for state in states[:-1]}:
                moves.append(move_back(objects, states[-1], now))
        return moves

    def forget(self) -> None:
        """The Dandiset is not here any more."""
        self._forget_history()
        self._db.execute("DELETE FROM dandiset WHERE number = ?", (self._number,))

    def _forget_history(self) -> None:
        for table in ("asset", "state"):
            self._db.execute(f"DELETE FROM {table} WHERE dandiset = ?", (self._number,))
        self.tips = Tips()

    def annex_move(self, before: Oid | None) -> Move:
        """The move where nothing but the git-annex branch has moved, and was there before."""
        assert self.tips.annex is not None
        draft = self._lines[Line.DRAFT].last()
        return Move(
            version=ANNEX_ONLY,
            old=before.hex() if before is not None else None,
            new=self.tips.annex.hex(),
            added=0,
            modified=0,
            removed=0,
            renamed=0,
            assets=draft.assets if draft is not None else 0,
            bytes=draft.bytes if draft is not None else 0,
            bytes_changed=0,
        )

    def _oids(self, line: Line) -> set[Oid]:
        return {state.oid for state in self._lines[line].states()}


def _told(states: list[State]) -> list[Told]:
    """What the feed tells of these."""
    before = [None, *(state.oid.hex() for state in states)]
    return [(state.version, old, state.oid.hex()) for old, state in zip(before, states, strict=False)]


@dataclass(frozen=True)
class _Walk:
    """The commits from a tip back to one that is known, oldest first."""

    commits: list[tuple[Oid, Commit]]
    end: Oid | None
    """the one before the first of them; of the first draft, the release that it was made from"""


def _walks(objects: Objects, known: Tips, tips: Tips, published: Collection[Oid | None]) -> dict[Line, _Walk] | None:
    """What is new in each line, in this order; None if what is known of one is not part of it any more."""
    releases = _walk(objects, tips.releases, {known.releases})
    published = {known.draft, *published, *(oid for oid, _ in releases.commits)}
    draft = _walk(objects, tips.draft, published)
    if (known.releases or releases.end) != releases.end or (known.draft or draft.end) != draft.end:
        return None
    return {Line.RELEASES: releases, Line.DRAFT: draft}


def _walk(objects: Objects, tip: Oid | None, ends: Collection[Oid | None]) -> _Walk:
    """Back along the first parents."""
    commits = []
    while tip is not None and tip not in ends:
        commit = objects.commit(tip)
        commits.append((tip, commit))
        tip = commit.parents[0] if commit.parents else None
    return _Walk(commits[::-1], tip)
