"""Room on the disk: how much there is, what of it is left alone, and how its end is told.

What is known to be too large for what is free is not begun. What runs into the end all the same, whoever says so (the
system, SQLite, git), becomes one error, `NoRoom`: it is no trouble of the Dandiset in hand, so it ends the run.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mirror.errors import GitError, NoRoom

RESERVE_BYTES = 64 << 20
"""Left alone, so that marks, refs, logs and a transaction of SQLite's find room whatever else does not."""

RESERVE_FILES = 1_000
"""Likewise: file systems such as ext4 have room for so many files and no more."""

HINT = "make room, or move the store to a larger disk; then the next sync goes on from here"

_A_LITTLE = 1 << 16
_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
_WORDS = ("no space left on device", "disk quota exceeded")
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True)
class Room:
    """What may still be written, by this user, without touching the reserve."""

    bytes: int
    files: int | None
    """None where the file system has no limit"""


def room_at(path: Path) -> Room:
    """The room where `path` is, or will be. Quotas of users are not seen: these show only when they are reached."""
    path = _existing(path)
    found = os.statvfs(path)
    files = max(0, found.f_favail - RESERVE_FILES) if found.f_files else None
    return Room(max(0, found.f_bavail * found.f_frsize - RESERVE_BYTES), files)


def check_room(path: Path, need: int, what: str, *, files: int = 0) -> None:
    """Raise `NoRoom` unless there is room for so many bytes, and files, at `path`. `what` would be written there."""
    room = room_at(path)
    if need > room.bytes or room.bytes == 0:
        wanted = f"about {told_size(need)}" if need else "more than there is"
        raise NoRoom(
            f"{what} needs {wanted}: the disk at {_disk_of(path)} has {told_size(room.bytes)} free,"
            f" besides {told_size(RESERVE_BYTES)} kept in reserve",
            hint=HINT,
        )
    if room.files is not None and files > room.files:
        raise NoRoom(
            f"{what} needs {files:,} files: the disk at {_disk_of(path)} can take {room.files:,} more,"
            f" besides {RESERVE_FILES:,} kept in reserve",
            hint=HINT,
        )


def no_room_of(error: BaseException) -> NoRoom | None:
    """The error that tells of it, if it is for lack of room that this one came up; None if it is not."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        if isinstance(link, NoRoom):
            return link
        if _is_of_room(link):
            return NoRoom(f"there is no room left on the disk{_said_by(link)}", hint=HINT)
        seen.add(id(link))
        link = link.__cause__
    return None


def is_full(folder: Path) -> bool:
    """Whether not even a little can be written there. What the disk says of itself knows of no quota."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(_A_LITTLE))
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno in _ERRNOS
    return False


@contextmanager
def telling_of_room() -> Iterator[None]:
    """Whatever fails in this block for lack of room fails as `NoRoom`."""
    try:
        yield
    except Exception as error:
        full = no_room_of(error)
        if full is None or full is error:
            raise
        raise full from error


def told_size(size: int) -> str:
    """A size for people, to three digits."""
    number, unit = float(size), 0
    while number >= 999.5 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.3g} {_UNITS[unit]}"


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _disk_of(path: Path) -> Path:
    """Where the file system is mounted that `path` is on."""
    path = _existing(path.absolute())
    return path if path.is_mount() else _disk_of(path.parent)


def _said_by(error: BaseException) -> str:
    if isinstance(error, OSError):
        return f" for {error.filename}" if error.filename is not None else ""
    return f": {error}"


def _is_of_room(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF == sqlite3.SQLITE_FULL
    if isinstance(error, GitError):
        return any(words in error.stderr.lower() for words in _WORDS)
    return False
