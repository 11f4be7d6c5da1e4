"""An SQLite file that can be lost: made when it is missing, thrown away when it is damaged or of another format.

One process may write while others read. Whoever may only read, as other users of the machine do, finds it as it is.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from mirror.errors import StoreError
from mirror.git.files import PUBLIC_FILE

_TIMEOUT = 60.0


@dataclass(frozen=True)
class Format:
    """What is in such a file: SQL that makes its tables, and the number to know it by."""

    number: int
    schema: str


def open_cache(path: Path, form: Format) -> sqlite3.Connection:
    """The file at this path. What is committed to it survives a power cut."""
    if not os.access(path.parent, os.W_OK):
        return _open_to_read(path, form)
    try:
        return _connect(path, form)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise
        discard(path)
        return _connect(path, form)


def is_damaged(error: sqlite3.DatabaseError) -> bool:
    """Whether this says that the file is damaged, rather than locked, or out of room."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    )


def discard(path: Path) -> None:
    """Throw the file away."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """What is written in the block is there whole, or not at all."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite has given up already what it found no room for.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _connect(path: Path, form: Format) -> sqlite3.Connection:
    # SQLite gives the files beside it the mode of this one.
    with contextlib.suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PUBLIC_FILE)
        os.fchmod(handle, PUBLIC_FILE)
        os.close(handle)
    db = sqlite3.connect(path, timeout=_TIMEOUT, isolation_level=None)
    try:
        use_wal(db)
        db.execute("PRAGMA synchronous = FULL")
        if _number(db) == 0:
            db.executescript(f"BEGIN IMMEDIATE; {form.schema} PRAGMA user_version = {form.number}; COMMIT;")
        _check(db, form)
    except BaseException:
        db.close()
        raise
    return db


def use_wal(db: sqlite3.Connection) -> None:
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
        raise sqlite3.DatabaseError(f"it is of another format, {number}")


def _number(db: sqlite3.Connection) -> int:
    found: int = db.execute("PRAGMA user_version").fetchone()[0]
    return found
