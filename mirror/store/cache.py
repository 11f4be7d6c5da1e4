"""An SQLite file that can be lost: made when it is missing, thrown away when it is damaged or of another format.

One process may write while others read. Whoever may only read, as other users of the machine do, finds it as it is.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from mirror.errors import NoRoom, StoreError
from mirror.git.files import PUBLIC_FILE
from mirror.store.room import HINT, check_room, is_full, no_room_of

IN_MEMORY = Path(":memory:")
"""The path of a file that is none."""

_TIMEOUT = 60.0
_LARGE = 64 << 20


@dataclass(frozen=True)
class Format:
    """What is in such a file: SQL that makes its tables, and the number to know it by."""

    number: int
    schema: str


def open_cache(path: Path, form: Format) -> sqlite3.Connection:
    """The file at this path. What is committed to it survives a power cut."""
    if path != IN_MEMORY and not os.access(path.parent, os.W_OK):
        return _open_to_read(path, form)
    try:
        return _connect(path, form)
    except sqlite3.DatabaseError as error:
        raise_for_room(path, error)
        if not (is_damaged(error) or isinstance(error, _Unknown) or _code(error) == sqlite3.SQLITE_ERROR):
            raise
        discard(path)
        return _connect(path, form)


def is_damaged(error: sqlite3.DatabaseError) -> bool:
    """Whether this says that the file is damaged, rather than locked, or out of room."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF


def raise_for_room(path: Path, error: sqlite3.Error) -> None:
    """Raise `NoRoom` if this came up because the disk is full.

    Not always does SQLite say so: of the file for its readers, and of a quota, it tells as of a broken disk. So the
    disk is asked.
    """
    if no_room_of(error) is None and not (
        _code(error) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and is_full(path.parent)
    ):
        return
    raise NoRoom(f"there is no room left on the disk for {path}: {error}", hint=HINT) from error


class _Unknown(sqlite3.DatabaseError):
    """It is of another format."""


def find_damage(path: Path) -> str | None:
    """What is wrong with such a file, by SQLite's own check; None if nothing is, or if there is none."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path, timeout=_TIMEOUT, isolation_level=None)) as db:
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise_for_room(path, error)
        if not is_damaged(error):
            raise
        found = error
    return None if found == "ok" else str(found)


def shrink(path: Path) -> bool:
    """Give back to the disk what is free in such a file, where that is most of a large one; whether that was done."""
    with closing(sqlite3.connect(path, timeout=_TIMEOUT, isolation_level=None)) as db:
        free, all_pages, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count", "page_size")
        )
        if all_pages * size < _LARGE or 2 * free < all_pages:
            return False
        # Once in a file of its own, and once more in the log.
        check_room(path, 2 * (all_pages - free) * size, f"a smaller {path.name}")
        try:
            db.execute("VACUUM")
        except sqlite3.Error as error:
            raise_for_room(path, error)
            raise
    return True


def discard(path: Path) -> None:
    """Throw the file away."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def transaction(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    """What is written in the block is there whole, or not at all. `NoRoom` where the disk is full."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except BaseException as error:
        # SQLite has given up already what it found no room for.
        if db.in_transaction:
            db.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise_for_room(path, error)
        raise


def _connect(path: Path, form: Format) -> sqlite3.Connection:
    if path != IN_MEMORY:
        _make(path)
    db = sqlite3.connect(path, timeout=_TIMEOUT, isolation_level=None)
    try:
        _use_wal(db)
        db.execute("PRAGMA synchronous = FULL")
        if _number(db) == 0:
            db.executescript(f"BEGIN IMMEDIATE; {form.schema} PRAGMA user_version = {form.number}; COMMIT;")
        _check(db, form)
    except BaseException:
        db.close()
        raise
    return db


def _make(path: Path) -> None:
    """An empty file; SQLite gives those beside it the mode of this one."""
    with contextlib.suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PUBLIC_FILE)
        os.fchmod(handle, PUBLIC_FILE)
        os.close(handle)


def _use_wal(db: sqlite3.Connection) -> None:
    """SQLite does not wait for its turn to do this, as it does elsewhere: two that make the file collide."""
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _open_to_read(path: Path, form: Format) -> sqlite3.Connection:
    """For those who may not write in there."""
    # Without a writer there is no log beside it, and SQLite could not make one here.
    alone = not path.with_name(path.name + "-wal").exists()
    address = f"file:{quote(str(path))}?mode=ro" + ("&immutable=1" if alone else "")
    try:
        db = sqlite3.connect(address, uri=True, timeout=_TIMEOUT, isolation_level=None)
        try:
            _check(db, form)
        except BaseException:
            db.close()
            raise
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"{path} cannot be read: {error}", hint="the next `dandi-mirror sync` by the owner of the store makes it"
        ) from None
    return db


def _check(db: sqlite3.Connection, form: Format) -> None:
    if (number := _number(db)) != form.number:
        raise _Unknown(f"it is of another format, {number}")


def _number(db: sqlite3.Connection) -> int:
    found: int = db.execute("PRAGMA user_version").fetchone()[0]
    return found
