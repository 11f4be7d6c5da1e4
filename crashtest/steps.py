"""The steps by which a program changes a folder. Between any two of them, being killed may leave something else.

Python announces what it does to files and what it starts, before it does so, as audit events. What it does not announce
is seen otherwise: `fsync`, before and after which is a step, and the commits of SQLite. Only in the middle of writing
into an open file nothing is seen; there the clock kills.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGE, PROCESS = "change", "process"
"""The kinds of steps: what is in files and folders, or their names, is another after it; a process is started."""

_COMMITS = ("COMMIT", "UPDATE mark")
"""How the statements begin by which what SQLite wrote is there: one that is no transaction, too."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# Event, and where its arguments have the path and the folder's descriptor that a relative path starts from.
_PATHS = {
    "os.rename": (1, 3),
    "os.remove": (0, 1),
    "os.rmdir": (0, 1),
    "os.mkdir": (0, 2),
    "os.chmod": (0, 2),
    "os.symlink": (1, 2),
    "os.truncate": (0, None),
}


def watch(folder: Path, step: Callable[[str], None]) -> None:
    """Call `step` before each step in `folder`, for as long as this process lives: Python has no way to stop it."""
    inside = os.fspath(folder) + os.sep

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if isinstance(arguments[2], int) and arguments[2] & _WRITING and _in(arguments[0], -1, inside):
                step(CHANGE)
        elif event == "subprocess.Popen":
            step(PROCESS)
        elif event in _PATHS:
            path, descriptor = _PATHS[event]
            if _in(arguments[path], -1 if descriptor is None else arguments[descriptor], inside):
                step(CHANGE)

    sys.addaudithook(hook)
    _watch_fsync(inside, step)
    _watch_commits(inside, step)


def _watch_fsync(inside: str, step: Callable[[str], None]) -> None:
    fsync = os.fsync

    def watched(fd: int) -> None:
        is_inside = _in(fd, -1, inside)
        if is_inside:
            step(CHANGE)
        fsync(fd)
        if is_inside:
            step(CHANGE)

    os.fsync = watched  # type: ignore[assignment]


def _watch_commits(inside: str, step: Callable[[str], None]) -> None:
    connect = sqlite3.connect

    def executing(statement: str) -> None:
        if statement.startswith(_COMMITS):
            step(CHANGE)

    def watched(database: Any, *arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(database, *arguments, **options)
        if _in(database, -1, inside):
            connection.set_trace_callback(executing)
        return connection

    sqlite3.connect = watched  # type: ignore[assignment]


def _in(path: object, descriptor: object, inside: str) -> bool:
    if isinstance(path, int):
        descriptor, path = path, ""
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    name = os.fsdecode(path)
    if isinstance(descriptor, int) and descriptor >= 0:
        try:
            name = os.path.join(os.readlink(f"/proc/self/fd/{descriptor}"), name)  # noqa: PTH115, PTH118 - in a hook
        except OSError:
            return False
    return name.startswith(inside)
