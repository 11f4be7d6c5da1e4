"""The ledger, `state/ledger.sqlite`: what was last seen of each content, where, when and how.

A row for each content of a Dandiset; of a Zarr's files, of which there are hundreds of millions, a row for each state
of the Zarr, and one for each file that is not as it should be. Besides: how much of each version could be had, and
which rounds of proving were begun and ended.

Losing it costs proving again, nothing else. A damaged one is set aside, and another is begun.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

import msgspec

from mirror.store.cache import Format, find_damage, is_damaged, open_cache, transaction
from mirror.store.sides import Side

logger = logging.getLogger(__name__)

Level = Literal["names", "urls", "bytes"]
LEVELS: tuple[Level, ...] = ("names", "urls", "bytes")


class Found(IntEnum):
    """What was found of a content at a place."""

    NEVER = 0
    """nobody looked, or no answer was had"""
    OK = 1
    NON_CURRENT = 2
    """there, but not the version of today: a bucket deletes such versions after a time"""
    GONE = 3
    CHANGED = 4
    """something else is there"""
    DAMAGED = 5

    @property
    def word(self) -> str:
        return self.name.lower().replace("_", "-")


class KeyRow(NamedTuple):
    """What is known of one content."""

    key: str
    size: int
    archive: Found = Found.NEVER
    archive_at: int = 0
    store: Found = Found.NEVER
    store_at: int = 0
    hashed_at: int = 0
    """when it was last read and hashed there; seeing that it is there and has its size is less"""
    backup: Found = Found.NEVER
    backup_at: int = 0


class Amount(msgspec.Struct, frozen=True, array_like=True):
    """So many files, of so many bytes together."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.files + other.files, self.bytes + other.bytes)


NOTHING = Amount()


class Figures(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much of some files can be had, by what was last seen of them."""

    all: Amount = NOTHING
    in_git: Amount = NOTHING
    """texts: whoever clones has them"""
    archive: Amount = NOTHING
    """the archive has them, as the version of today"""
    store: Amount = NOTHING
    backup: Amount = NOTHING
    had: Amount = NOTHING
    """at one of these places at least"""
    non_current: Amount = NOTHING
    """only the archive has them, and only as a version that is not today's"""
    changed: Amount = NOTHING
    """what the archive has at their address is something else, and no other place has them"""
    lost: Amount = NOTHING
    """gone from the archive, and at no other place"""
    unknown: Amount = NOTHING
    """nobody looked yet"""
    since: int | None = None
    """the oldest of what was seen, in seconds since 1970"""

    def __add__(self, other: Figures) -> Figures:
        sums = {name: getattr(self, name) + getattr(other, name) for name in _AMOUNTS}
        times = [one.since for one in (self, other) if one.since is not None]
        return Figures(**sums, since=min(times, default=None))

    @property
    def at_risk(self) -> Amount:
        return self.non_current + self.changed + self.lost


_AMOUNTS = tuple(name for name in Figures.__struct_fields__ if name != "since")
AMOUNTS: Sequence[str] = _AMOUNTS


class VersionFigures(NamedTuple):
    """The figures of one version of a Dandiset."""

    dandiset: str
    version: str
    at: int
    figures: Figures


class ZarrState(msgspec.Struct, frozen=True):
    """What was last seen of the files of a Zarr in one state."""

    zarr_id: str
    checksum: str
    at: int
    figures: Figures
    own: Figures
    """of the files that the state of today does not have: all of them, if it is that"""


class ZarrFile(NamedTuple):
    """A file of a Zarr that is not as it should be."""

    path: str
    key: str
    found: Found


class Complaint(NamedTuple):
    """Something that was found in the last round that came to its end, or since."""

    level: str
    kind: str
    where: str
    message: str
    severe: bool


class Round(NamedTuple):
    """How far the proving of one dataset is, at one level. Times are seconds since 1970."""

    subject: str
    level: str
    began: int
    ended: int | None
    """None: it is not through yet"""
    ended_before: int | None
    """when the one before was begun that came to its end"""
    reached: str = ""
    """how far it is, in words of whoever proves"""
    given_up: int = 0
    """when it last could not be gone through, if it was not since"""

    @property
    def last_whole(self) -> int | None:
        """When the last round was begun that came to its end: what is there was seen since."""
        return self.began if self.ended is not None else self.ended_before


_FORMAT = Format(
    2,
    """
    CREATE TABLE keys (
        key TEXT PRIMARY KEY, size INTEGER NOT NULL,
        archive INTEGER NOT NULL, archive_at INTEGER NOT NULL,
        store INTEGER NOT NULL, store_at INTEGER NOT NULL, hashed_at INTEGER NOT NULL,
        backup INTEGER NOT NULL, backup_at INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE zarrs (
        zarr_id TEXT NOT NULL, checksum TEXT NOT NULL, at INTEGER NOT NULL, figures BLOB NOT NULL,
        own BLOB NOT NULL, PRIMARY KEY (zarr_id, checksum)
    ) WITHOUT ROWID;
    CREATE TABLE zarr_files (
        zarr_id TEXT NOT NULL, checksum TEXT NOT NULL, path TEXT NOT NULL, key TEXT NOT NULL, found INTEGER NOT NULL,
        PRIMARY KEY (zarr_id, checksum, path)
    ) WITHOUT ROWID;
    CREATE TABLE versions (
        dandiset TEXT NOT NULL, version TEXT NOT NULL, at INTEGER NOT NULL, figures BLOB NOT NULL,
        PRIMARY KEY (dandiset, version)
    ) WITHOUT ROWID;
    CREATE TABLE total (figures BLOB NOT NULL);
    CREATE TABLE complaints (
        subject TEXT NOT NULL, level TEXT NOT NULL, kind TEXT NOT NULL, place TEXT NOT NULL, message TEXT NOT NULL,
        severe INTEGER NOT NULL, old INTEGER NOT NULL
    );
    CREATE UNIQUE INDEX complaints_of ON complaints (subject, level, kind, place, message);
    CREATE TABLE zarrs_in (
        dandiset TEXT NOT NULL, zarr_id TEXT NOT NULL, PRIMARY KEY (dandiset, zarr_id)
    ) WITHOUT ROWID;
    CREATE INDEX zarrs_in_of ON zarrs_in (zarr_id);
    CREATE TABLE rounds (
        subject TEXT NOT NULL, level TEXT NOT NULL, began INTEGER NOT NULL, ended INTEGER, ended_before INTEGER,
        reached TEXT NOT NULL, given_up INTEGER NOT NULL, PRIMARY KEY (subject, level)
    ) WITHOUT ROWID;
    """,
)

_KEPT = "(store = 1 OR backup = 1)"
_CONDITIONS = (
    ("archive", "archive = 1"),
    ("store", "store = 1"),
    ("backup", "backup = 1"),
    ("had", f"(archive = 1 OR {_KEPT})"),
    ("non_current", f"(archive = 2 AND NOT {_KEPT})"),
    ("changed", f"(archive = 4 AND NOT {_KEPT})"),
    ("lost", f"(archive = 3 AND NOT {_KEPT})"),
    ("unknown", f"(archive = 0 AND NOT {_KEPT})"),
)
"""Which contents each of the figures counts, by the numbers of `Found`."""

_MOST_FILES = 10_000
"""So many files of one state of a Zarr are named; of the others there is the count."""
_MOST_COMPLAINTS = 1000
"""So many are kept of one dataset at one level: the newest of them, and of these the severe ones first."""
_AT_ONCE = 500

_figures = msgspec.msgpack.Decoder(Figures).decode
_packed = msgspec.msgpack.Encoder().encode


class Ledger:
    """The ledger at a path; a context manager. One process writes, others may read meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        set_aside_if_damaged(path)
        self._db = open_cache(path, _FORMAT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        # It may be another one that the error came of.
        if damage_in(error) is not None and (damage := find_damage(self.path)) is not None:
            _set_aside(self.path, damage)

    # --- contents -----------------------------------------------------------------------------------------------

    def rows(self, keys: Iterable[str]) -> dict[str, KeyRow]:
        """What is known of these contents; those of which nothing is are left out."""
        wanted, found = list(keys), dict[str, KeyRow]()
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            for row in self._db.execute(f"SELECT * FROM keys WHERE key IN ({marks})", some):
                found[row[0]] = _row(row)
        return found

    def note(self, rows: Iterable[KeyRow]) -> None:
        """Remember what was seen. A place at which a row says `NEVER` keeps what was known of it."""
        with transaction(self._db, self.path):
            self._db.executemany(
                """INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET
                archive = iif(excluded.archive = 0, archive, excluded.archive),
                archive_at = iif(excluded.archive = 0, archive_at, excluded.archive_at),
                hashed_at = max(excluded.hashed_at, hashed_at),
                store = iif(excluded.store = 0, store, excluded.store),
                store_at = iif(excluded.store = 0, store_at, excluded.store_at),
                backup = iif(excluded.backup = 0, backup, excluded.backup),
                backup_at = iif(excluded.backup = 0, backup_at, excluded.backup_at)""",
                rows,
            )

    def figures(self) -> Figures:
        """How much of all that is known can be had, as it was last summed up."""
        row = self._db.execute("SELECT figures FROM total").fetchone()
        return _figures(row[0]) if row is not None else self._summed_up()

    def sum_up(self) -> None:
        """Reckon the figures of everything anew: of 600,000 contents that takes a second, so it is done once a run."""
        figures = self._summed_up()
        with transaction(self._db, self.path):
            self._db.execute("DELETE FROM total")
            self._db.execute("INSERT INTO total VALUES (?)", (_packed(figures),))

    def _summed_up(self) -> Figures:
        """Each content of a Dandiset once, and the files of Zarrs."""
        parts = [
            f"sum({condition}), sum(iif({condition}, size, 0))" for condition in ("1", *(sql for _, sql in _CONDITIONS))
        ]
        row = self._db.execute(
            f"SELECT {', '.join(parts)}, min(iif(archive = 1, archive_at, NULL)) FROM keys"
        ).fetchone()
        values = [Amount(row[place] or 0, row[place + 1] or 0) for place in range(0, len(row) - 1, 2)]
        names = ["all", *(name for name, _ in _CONDITIONS)]
        total = Figures(**dict(zip(names, values, strict=True)), since=row[-1])
        for (packed,) in self._db.execute("SELECT own FROM zarrs"):
            total += _figures(packed)
        return total

    def forget_before(self, moment: int) -> int:
        """Forget contents of which nothing was seen since: nothing names them any more. How many those were."""
        with transaction(self._db, self.path):
            gone = self._db.execute("DELETE FROM keys WHERE max(archive_at, store_at, backup_at) < ?", (moment,))
            return gone.rowcount

    # --- Zarrs --------------------------------------------------------------------------------------------------

    def note_zarr(self, state: ZarrState, files: Iterable[ZarrFile], others: Iterable[ZarrState] = ()) -> None:
        """Remember what was seen of a Zarr in its state of today, and which of its files are not as they should be;
        and of other states that are still named."""
        named = (state.zarr_id, state.checksum)
        rows = [(one.zarr_id, one.checksum, one.at, _packed(one.figures), _packed(one.own)) for one in (state, *others)]
        with transaction(self._db, self.path):
            # Of a state that nothing names any more, what was seen is not so any more.
            for table in ("zarrs", "zarr_files"):
                self._db.execute(f"DELETE FROM {table} WHERE zarr_id = ?", (state.zarr_id,))
            self._db.executemany("REPLACE INTO zarrs VALUES (?, ?, ?, ?, ?)", rows)
            for count, file in enumerate(files):
                if count < _MOST_FILES:
                    self._db.execute("REPLACE INTO zarr_files VALUES (?, ?, ?, ?, ?)", (*named, *file))

    def zarr(self, zarr_id: str, checksum: str) -> ZarrState | None:
        """What was last seen of a Zarr in this state."""
        row = self._db.execute(
            "SELECT at, figures, own FROM zarrs WHERE zarr_id = ? AND checksum = ?", (zarr_id, checksum)
        ).fetchone()
        return ZarrState(zarr_id, checksum, row[0], _figures(row[1]), _figures(row[2])) if row is not None else None

    def zarr_states(self, zarr_id: str) -> list[str]:
        """The checksums of the states of a Zarr of which something is known."""
        query = "SELECT checksum FROM zarrs WHERE zarr_id = ? ORDER BY checksum"
        return [row[0] for row in self._db.execute(query, (zarr_id,))]

    def zarr_files(self, zarr_id: str, checksum: str) -> Iterator[ZarrFile]:
        """The files of a Zarr in this state that are not as they should be."""
        query = "SELECT path, key, found FROM zarr_files WHERE zarr_id = ? AND checksum = ? ORDER BY path"
        for path, key, found in self._db.execute(query, (zarr_id, checksum)):
            yield ZarrFile(path, key, Found(found))

    # --- versions -----------------------------------------------------------------------------------------------

    def note_versions(self, dandiset: str, at: int, versions: Mapping[str, Figures]) -> None:
        """The figures of all versions of a Dandiset; those of versions that it has no more are forgotten."""
        with transaction(self._db, self.path):
            self._db.execute("DELETE FROM versions WHERE dandiset = ?", (dandiset,))
            self._db.executemany(
                "INSERT INTO versions VALUES (?, ?, ?, ?)",
                [(dandiset, version, at, _packed(figures)) for version, figures in versions.items()],
            )

    def versions(self, dandiset: str | None = None) -> Iterator[VersionFigures]:
        """The figures of every version, of one Dandiset or of all, in order."""
        where, values = ("WHERE dandiset = ?", (dandiset,)) if dandiset is not None else ("", ())
        query = f"SELECT dandiset, version, at, figures FROM versions {where} ORDER BY dandiset, version"
        for identifier, version, at, figures in self._db.execute(query, values):
            yield VersionFigures(identifier, version, at, _figures(figures))

    # --- what was complained of, and how far it is --------------------------------------------------------------

    def note_complaints(self, subject: str, level: str, complaints: Sequence[Complaint]) -> None:
        """What was found wrong with a dataset in this round. What the round before found stays until this one ends."""
        with transaction(self._db, self.path):
            self._db.executemany(
                "INSERT INTO complaints VALUES (?, ?, ?, ?, ?, ?, 0) "
                "ON CONFLICT DO UPDATE SET severe = excluded.severe, old = 0",
                [(subject, *complaint) for complaint in complaints],
            )
            of_it = "FROM complaints WHERE subject = ? AND level = ?"
            beyond = f"SELECT rowid {of_it} ORDER BY old, severe DESC, rowid LIMIT -1 OFFSET ?"
            self._db.execute(f"DELETE FROM complaints WHERE rowid IN ({beyond})", (subject, level, _MOST_COMPLAINTS))

    def complaints(self, subject: str | None = None) -> Iterator[tuple[str, Complaint]]:
        """What is wrong, with one dataset or with all, each with the dataset."""
        where, values = ("WHERE subject = ?", (subject,)) if subject is not None else ("", ())
        query = f"SELECT subject, level, kind, place, message, severe FROM complaints {where} ORDER BY subject, rowid"
        for name, level, kind, place, message, severe in self._db.execute(query, values):
            yield name, Complaint(level, kind, place, message, bool(severe))

    def complaint_counts(self) -> Mapping[str, int]:
        """How many severe things are wrong, by level."""
        query = "SELECT level, count(*) FROM complaints WHERE severe GROUP BY 1"
        return dict.fromkeys(LEVELS, 0) | dict(self._db.execute(query))

    def begin_round(self, subject: str, level: str, now: int, *, oldest: int = 0) -> int:
        """When the round began that is not through yet; a new one, if the last is through, or began before `oldest`."""
        known = self.round(subject, level)
        if known is not None and known.ended is None and oldest <= known.began <= now:
            return known.began
        before = known.last_whole if known is not None else None
        with transaction(self._db, self.path):
            given_up = known.given_up if known is not None else 0
            row = (subject, level, now, before, given_up)
            self._db.execute("REPLACE INTO rounds VALUES (?, ?, ?, NULL, ?, '', ?)", row)
            self._db.execute("UPDATE complaints SET old = 1 WHERE subject = ? AND level = ?", (subject, level))
        return now

    def note_reached(self, subject: str, level: str, reached: str) -> None:
        """How far the round is that is not through yet: from there it is gone on with."""
        with transaction(self._db, self.path):
            self._db.execute("UPDATE rounds SET reached = ? WHERE subject = ? AND level = ?", (reached, subject, level))

    def end_round(self, subject: str, level: str, now: int) -> None:
        """It was gone through: what was wrong before and was not found again is so no more."""
        of_it = "WHERE subject = ? AND level = ?"
        with transaction(self._db, self.path):
            self._db.execute(f"UPDATE rounds SET ended = ?, given_up = 0 {of_it}", (now, subject, level))
            self._db.execute(f"DELETE FROM complaints {of_it} AND old", (subject, level))

    def give_up_round(self, subject: str, level: str, now: int) -> None:
        """It could not be gone through: the next one begins anew."""
        set_it = "UPDATE rounds SET began = -1, given_up = ? WHERE subject = ? AND level = ?"
        with transaction(self._db, self.path):
            self._db.execute(set_it, (now, subject, level))

    def round(self, subject: str, level: str) -> Round | None:
        row = self._db.execute("SELECT * FROM rounds WHERE subject = ? AND level = ?", (subject, level)).fetchone()
        return Round(*row) if row is not None else None

    def rounds(self) -> Iterator[Round]:
        return (Round(*row) for row in self._db.execute("SELECT * FROM rounds ORDER BY subject, level"))

    def oldest_rounds(self, dandisets: Collection[str]) -> dict[Level, int]:
        """When the last whole round began of what was proved longest ago of these Dandisets and their Zarrs, by level;
        0: something never was. Levels at which nothing was begun are left out."""
        named, oldest = set(dandisets), dict[Level, int]()
        for level in LEVELS:
            query = "SELECT *, subject IN (SELECT zarr_id FROM zarrs_in) FROM rounds WHERE level = ?"
            rounds = [(Round(*row[:-1]), row[-1]) for row in self._db.execute(query, (level,))]
            begun = {one.subject: one.last_whole or 0 for one, is_zarr in rounds if is_zarr or one.subject in named}
            if begun:
                oldest[level] = min([*begun.values(), *(0 for one in named if one not in begun)])
        return oldest

    def note_zarrs_in(self, dandiset: str, zarr_ids: Iterable[str]) -> None:
        """Which Zarrs the versions of a Dandiset name. One that nothing names any more is forgotten."""
        named = set(zarr_ids)
        left = set(self.zarrs_in(dandiset)) - named
        with transaction(self._db, self.path):
            self._db.execute("DELETE FROM zarrs_in WHERE dandiset = ?", (dandiset,))
            self._db.executemany("INSERT INTO zarrs_in VALUES (?, ?)", [(dandiset, one) for one in sorted(named)])
        for zarr_id in sorted(left):
            if self._db.execute("SELECT 1 FROM zarrs_in WHERE zarr_id = ?", (zarr_id,)).fetchone() is None:
                self.forget(zarr_id)

    def zarrs_in(self, dandiset: str) -> list[str]:
        """The Zarrs that the versions of a Dandiset named when it was proved last."""
        query = "SELECT zarr_id FROM zarrs_in WHERE dandiset = ? ORDER BY zarr_id"
        return [row[0] for row in self._db.execute(query, (dandiset,))]

    def forget(self, subject: str) -> None:
        """Forget all but the contents of a dataset that is not on this side of the store any more."""
        with transaction(self._db, self.path):
            for table, column in _OF_SUBJECTS.items():
                self._db.execute(f"DELETE FROM {table} WHERE {column} = ?", (subject,))


_OF_SUBJECTS = {
    "rounds": "subject",
    "complaints": "subject",
    "versions": "dandiset",
    "zarrs_in": "dandiset",
    "zarrs": "zarr_id",
    "zarr_files": "zarr_id",
}


def ledger_path(side: Side) -> Path:
    """The ledger of one side of the store: what is under embargo is not for others to read of."""
    return side.state / "ledger.sqlite"


def damage_in(error: BaseException | None) -> sqlite3.DatabaseError | None:
    """What SQLite said, if this error comes of a damaged ledger."""
    for one in (error, error.__cause__ if error is not None else None):
        if isinstance(one, sqlite3.DatabaseError) and is_damaged(one):
            return one
    return None


def set_aside_if_damaged(path: Path) -> None:
    """Have a file that is no ledger, or a broken one, out of the way; what it knew is found out again."""
    if not path.is_file() or not os.access(path.parent, os.W_OK):
        return
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        if is_damaged(error):
            _set_aside(path, str(error))


def _set_aside(path: Path, why: str) -> None:
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    logger.warning("the ledger %s is damaged (%s): set aside as %s, another is begun", path, why, aside.name)


def _row(row: tuple[str, int, int, int, int, int, int, int, int]) -> KeyRow:
    key, size, archive, archive_at, store, store_at, hashed_at, backup, backup_at = row
    return KeyRow(key, size, Found(archive), archive_at, Found(store), store_at, hashed_at, Found(backup), backup_at)
