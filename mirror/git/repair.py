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


def leftovers(repository: Path) -> Iterator[Path]:
    """What `clear_away` would delete, some of it perhaps only because a live git has it at this moment."""
    yield from _existing(repository, _OURS)
    yield from _own_packs(repository)
    yield from _old_temporaries(repository)
    yield from _locks(repository)
    yield from _half_packs(repository)


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
    # Of a thousand repositories at every sync: no `Path` is made for what is not there.
    return [repository / name for name in names if os.path.exists(f"{repository}/{name}")]  # noqa: PTH110


def _locks(repository: Path) -> Iterator[Path]:
    yield from _existing(repository, _LOCKS)
    for folder, _, files in os.walk(repository / "refs"):
        for name in files:
            if name.endswith(".lock"):
                yield Path(folder, name)


def _half_packs(repository: Path) -> Iterator[Path]:
    """Packs without index, which git does not see, and whatever else belongs to no pack."""
    names = {name for name in _in_pack_folder(repository) if name.startswith("pack-")}
    for name in names:
        stem = name.rpartition(".")[0] or name
        if not (f"{stem}.pack" in names and f"{stem}.idx" in names) and f"{stem}.keep" not in names:
            yield pack_folder(repository) / name


def _own_packs(repository: Path) -> list[Path]:
    folder = pack_folder(repository)
    return [folder / name for name in _in_pack_folder(repository) if name.startswith(TEMPORARY_PREFIX)]


def _old_temporaries(repository: Path) -> Iterator[Path]:
    limit = time.time() - TEMPORARY_SECONDS
    for name in _in_pack_folder(repository):
        if name.startswith(_GIT_TEMPORARY) and not name.startswith(TEMPORARY_PREFIX):
            path = pack_folder(repository) / name
            try:
                if path.stat().st_mtime < limit:
                    yield path
            except FileNotFoundError:
                continue


def _in_pack_folder(repository: Path) -> list[str]:
    return os.listdir(pack_folder(repository))  # noqa: PTH208 - names, as above
