"""What a store takes of its disk, how much room is left there, and how old its caches are: for people and figures."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from mirror.store.job_marks import JobMark, JobName

CacheName = Literal["index", "catalogue"]
CACHES: tuple[CacheName, ...] = ("index", "catalogue")


@dataclass(frozen=True)
class Disk:
    """All of that at one moment. None: it is not known."""

    store_bytes: int | None
    measured: str | None
    """when that was"""
    free_bytes: int | None
    written: Mapping[CacheName, str | None]
    """when index and catalogue were last written to; None: there is none"""


def disk_of(root: Path, marks: Mapping[JobName, JobMark]) -> Disk:
    """How it is now. The size was measured by the last maintenance: to measure it takes its time."""
    mark = marks.get("maintain")
    size = mark.store_bytes if mark is not None else None
    written = {name: _text(moment) if (moment := cache_written(root, name)) else None for name in CACHES}
    return Disk(size, mark.ended if mark is not None and size is not None else None, free_bytes_at(root), written)


def free_bytes_at(folder: Path) -> int | None:
    """Room for us on that disk."""
    found = file_system_of(folder)
    return found.f_bavail * found.f_frsize if found is not None else None


def file_system_of(folder: Path) -> os.statvfs_result | None:
    """What is known of the file system that this folder is on, or will be."""
    for path in (folder, *folder.absolute().parents):
        with contextlib.suppress(OSError):
            return os.statvfs(path)
    return None


def cache_written(root: Path, name: CacheName) -> float:
    """When one of the caches was last written to, in seconds since 1970; 0: there is none."""
    times = []
    for suffix in ("", "-wal"):
        with contextlib.suppress(OSError):
            times.append((root / "state" / f"{name}.sqlite{suffix}").stat().st_mtime)
    return max(times, default=0.0)


def _text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
