"""The processes that we started, and those that they started: what time they used, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """All that descend from this process now; none where the machine has no `/proc`."""
    children: dict[int, list[int]] = {}
    for one, parent, _ in _all():
        children.setdefault(parent, []).append(one)
    found = list(children.get(pid, []))
    for one in found:  # grows while we go through it
        found += children.get(one, [])
    return found


def seconds_used_by_descendants(pid: int) -> float:
    """The processor time that they, and those of their children that have ended, used."""
    wanted = set(descendants(pid))
    return sum(used for one, _, used in _all() if one in wanted)


def kill_descendants(pid: int) -> None:
    """End them, and leave them no time for it."""
    for one in descendants(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(one, signal.SIGKILL)


def _all() -> Iterator[tuple[int, int, float]]:
    """Every process: its number, its parent's, the processor time used."""
    with contextlib.suppress(OSError):
        for folder in os.scandir(_PROC):
            if folder.name.isdecimal():
                with contextlib.suppress(OSError, ValueError):
                    # proc(5): what comes after the name, which may hold anything, brackets and blanks as well
                    fields = (_PROC / folder.name / "stat").read_text(errors="replace").rpartition(")")[2].split()
                    yield int(folder.name), int(fields[1]), sum(map(int, fields[11:15])) / _TICKS
