"""The steps by which a program changes a folder. Between any two of them, being killed may leave something else.

Python announces what it does to files and what it starts, before it does so, as audit events. Only writing into an
open file and `fsync` are not announced; the clock kills in the middle of those.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGE, PROCESS = "change", "process"
"""The kinds of steps: files and folders come, go, or take another's name; a process is started."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# Event, and where its arguments have the path and the folder's descriptor that a relative path starts from.
_PATHS = {
    "os.rename": (1, 3),
    "os.remove": (0, 1),
    "os.rmdir": (0, 1),
    "os.mkdir": (0, 2),
    "os.chmod": (0, 2),
    "os.symlink": (1, 2),
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
            if _in(arguments[path], arguments[descriptor], inside):
                step(CHANGE)

    sys.addaudithook(hook)


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
