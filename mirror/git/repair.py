"""Clearing away what a dead process left in a repository: lock files, unfinished packs, halves of packs.

The caller holds our lock, so nothing of ours is at work in there. A git-annex may be: whatever looks like the doing of
a live git gets time to vanish by itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mirror.git.pack import TEMPORARY_PREFIX
from mirror.git.packs import pack_folder

GRACE_SECONDS = 2.0
"""Git holds a lock, and leaves a pack without its index, for milliseconds. What stands longer is dead."""

TEMPORARY_SECONDS = 3600.0
"""Git writes a temporary pack for minutes, but not without touching it for an hour."""

_LOCKS = (
    "packed-refs.lock",
    "packed-refs.new",
    "HEAD.lock",
    "config.lock",
    "info/refs.lock",
    "objects/info/packs.lock",
)
_OURS = ("info/refs.new", "objects/info/packs.new", "objects/info/replaced-packs.new")
_GIT_TEMPORARY = ("tmp_", ".tmp-")


def clear_away(repository: Path, grace: float = GRACE_SECONDS) -> list[str]:
    """Delete what the dead left. Returns the paths in the repository, for the log."""
    dead = [*_existing(repository, _OURS), *_own_packs(repository), *_old_temporaries(repository)]
    for candidates in (_locks, _half_packs):
        dead += _outlasting(candidates, repository, grace)
    for path in dead:
        path.unlink(missing_ok=True)
    return [path.relative_to(repository).as_posix() for path in dead]


def _outlasting(candidates: Callable[[Path], Iterator[Path]], repository: Path, grace: float) -> list[Path]:
    """Those that are there, and are still the same files when the youngest has had its time."""
    seen = dict(_identified(candidates(repository)))
    if not seen:
        return []
    youngest = max(changed for _, changed in seen.values())
    time.sleep(min(grace, max(0.0, grace - (time.time() - youngest))))
    later = dict(_identified(candidates(repository)))
    return [path for path, identity in seen.items() if later.get(path) == identity]


def _identified(paths: Iterator[Path]) -> Iterator[tuple[Path, tuple[int, float]]]:
    for path in paths:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        # The time of a rename is that of the last status change.
        yield path, (status.st_ino, status.st_ctime)


def _existing(repository: Path, names: tuple[str, ...]) -> list[Path]:
    return [repository / name for name in names if (repository / name).exists()]


def _locks(repository: Path) -> Iterator[Path]:
    yield from _existing(repository, _LOCKS)
    for folder, _, files in os.walk(repository / "refs"):
        for name in files:
            if name.endswith(".lock"):
                yield Path(folder, name)


def _half_packs(repository: Path) -> Iterator[Path]:
    """Packs without index, which git does not see, and whatever else belongs to no pack."""
    files = [path for path in pack_folder(repository).iterdir() if path.name.startswith("pack-")]
    names = {path.name for path in files}
    for path in files:
        if not {f"{path.stem}.pack", f"{path.stem}.idx"} <= names and f"{path.stem}.keep" not in names:
            yield path


def _own_packs(repository: Path) -> list[Path]:
    return [path for path in pack_folder(repository).iterdir() if path.name.startswith(TEMPORARY_PREFIX)]


def _old_temporaries(repository: Path) -> Iterator[Path]:
    limit = time.time() - TEMPORARY_SECONDS
    for path in pack_folder(repository).iterdir():
        if path.name.startswith(_GIT_TEMPORARY) and not path.name.startswith(TEMPORARY_PREFIX):
            try:
                if path.stat().st_mtime < limit:
                    yield path
            except FileNotFoundError:
                continue
