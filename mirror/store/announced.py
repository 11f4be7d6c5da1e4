"""What the catalogue remembers of the feed, so that everything is announced once and only once.

The feed is added to first, and then the catalogue told. Where a crash came between, or the catalogue was lost, the feed
has lines that the catalogue does not know of: they are taken up before anything is added, and kept until their
Dandiset has been followed.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from mirror.git.objects import Oid
from mirror.store.catalogue.cataloguing import Told
from mirror.store.feed import Change, Feed, read_changes


@dataclass(frozen=True)
class Earlier:
    """What was announced of a Dandiset, but is not catalogued."""

    told: set[Told]
    annex: Oid | None
    """where its branch `git-annex` was at the last of that"""


class Announced:
    """Reads and writes it, within transactions of the caller's."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def mark(self) -> tuple[int, int]:
        """The last serial that was given, and where in the feed its line ends."""
        serial, end = self._db.execute("SELECT serial, feed_end FROM mark").fetchone()
        return serial, end

    def note(self, serial: int, end: int) -> None:
        """All up to here is catalogued, or kept here."""
        self._db.execute("UPDATE mark SET serial = ?, feed_end = ?", (serial, end))

    def take_up(self, feed: Feed) -> None:
        """Keep what the feed has, and the catalogue does not know of."""
        serial, end = self.mark()
        if feed.end == end:
            return
        start = end if end < feed.end else 0  # a shorter one is another
        for _, change in read_changes(feed.path, start):
            if change.serial > serial:
                self._keep(change)
                serial = change.serial
        self.note(serial, feed.end)

    def earlier(self, identifier: str) -> Earlier | None:
        select = "SELECT version, old, new, annex FROM announced WHERE dandiset = ? ORDER BY rowid"
        rows = self._db.execute(select, (identifier,)).fetchall()
        if not rows:
            return None
        annex = rows[-1][3]
        return Earlier({row[:3] for row in rows}, bytes.fromhex(annex) if annex is not None else None)

    def keep_all(self, identifier: str, feed: Feed) -> None:
        """Keep all that the feed has of a Dandiset which leaves the catalogue: should it return, that is not announced
        again."""
        self.forget(identifier)
        for _, change in read_changes(feed.path):
            if change.dandiset == identifier:
                self._keep(change)

    def _keep(self, change: Change) -> None:
        values = (change.dandiset, change.version, change.old, change.new, change.annex)
        self._db.execute("INSERT INTO announced VALUES (?, ?, ?, ?, ?)", values)

    def forget(self, identifier: str) -> None:
        self._db.execute("DELETE FROM announced WHERE dandiset = ?", (identifier,))
