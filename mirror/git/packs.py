"""The packs of a repository: which there are, announcing them, and making one of many.

A pack that was replaced by a repack stays for a while, unannounced: a client of a plain HTTP server may be half-way
through a clone, with the old list of packs in hand. `objects/info/replaced-packs` says which and since when, one
`SECONDS NAME` a line; git does not look at it. It is written once the new pack is durable. Without it, nothing is
lost: the old packs count as current and are replaced again some day.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mirror.git.files import sync_folder, write_durably, write_if_changed
from mirror.git.process import run_git
from mirror.git.refs import render_info_packs

_LOOSE = "loose"
"""Stands in the record for the loose objects of that time, which the repack packed too."""

_LOOSE_NAME = re.compile(r"[0-9a-f]{38}").fullmatch

_SUFFIXES = (".pack", ".idx")

_REPLACED = re.compile(r"^(\d{1,15}) (pack-[0-9a-f]+|loose)$", re.MULTILINE)

# What a repack may use, however large the repository is, and however many cores there are: windows are of one thread.
_SETTINGS = ("pack.threads=2", "pack.windowMemory=64m", "pack.deltaCacheSize=64m", "pack.packSizeLimit=0")
_LIMITS = tuple(part for setting in _SETTINGS for part in ("-c", setting))


def pack_folder(repository: Path) -> Path:
    return repository / "objects" / "pack"


def current_packs(repository: Path) -> list[str]:
    """The names of the finished packs that no repack has replaced."""
    return sorted(all_packs(repository) - _read_replaced(repository).keys())


def announce(repository: Path) -> bool:
    """Bring `objects/info/packs` up to date; whether it was not."""
    return write_if_changed(repository / "objects" / "info" / "packs", render_info_packs(current_packs(repository)))


def withdraw(repository: Path, name: str) -> None:
    """Take a pack away that nothing needs."""
    for suffix in (".idx", ".pack"):
        (pack_folder(repository) / f"{name}{suffix}").unlink(missing_ok=True)
    announce(repository)


def count_loose(repository: Path) -> int:
    """How many objects are files of their own; git-annex makes some when it works in the repository."""
    return sum(len(os.listdir(folder)) for folder in _loose_folders(repository))  # noqa: PTH208 - of 30,000 at a time


def loose_objects(repository: Path) -> Iterator[Path]:
    """The objects that are files of their own."""
    for folder in _loose_folders(repository):
        with os.scandir(folder) as entries:
            yield from [Path(entry.path) for entry in entries if _LOOSE_NAME(entry.name)]


def size_of_all(repository: Path) -> int:
    """The bytes of what `replace_all` makes one pack of: its result is hardly ever larger."""
    packs = (pack_folder(repository) / f"{name}{suffix}" for name in _replaceable(repository) for suffix in _SUFFIXES)
    loose = (path for folder in _loose_folders(repository) for path in folder.iterdir())
    return sum(path.stat().st_size for path in (*packs, *loose))


def has_overdue(repository: Path, now: float, keep_seconds: float) -> bool:
    """Whether anything was replaced longer ago than it is to be kept, and is still there."""
    return any(_is_overdue(since, now, keep_seconds) for since in _read_replaced(repository).values())


def _is_overdue(since: float, now: float, keep_seconds: float) -> bool:
    """What is further in the future than anything is kept was noted when the clock was wrong: nobody waits for that."""
    return not now - keep_seconds <= since <= now + keep_seconds


def replace_all(repository: Path, now: float) -> bool:
    """Make one pack, with deltas, of all packs and loose objects; those then count as replaced.

    Objects nothing refers to are kept: a crashed sync leaves some, and dropping what is wanted after all would be
    worse than keeping it.
    """
    before = _replaceable(repository)
    options = ["--all", "--reflog", "--indexed-objects", "--keep-unreachable", "--pack-loose-unreachable"]
    options += ["--non-empty", "--delta-base-offset", "-q"]
    told = _run_leaving_nothing(repository, *_LIMITS, "pack-objects", *options, str(pack_folder(repository) / "pack"))
    made = {f"pack-{line}" for line in told.decode().split()}
    for name in made:
        _make_durable(repository, name)
    sync_folder(pack_folder(repository))
    replaced = before - made
    if made:
        # An older time of the loose objects stays: theirs would never come if every repack put it off.
        record = dict.fromkeys([*replaced, _LOOSE], now) | _read_replaced(repository)
        _write_replaced(repository, {name: since for name, since in record.items() if name not in made})
    announce(repository)
    return bool(made)


def _replaceable(repository: Path) -> set[str]:
    return {name for name in current_packs(repository) if not (pack_folder(repository) / f"{name}.keep").exists()}


def _run_leaving_nothing(repository: Path, *args: str) -> bytes:
    """Run a git that writes a pack. Where it fails, as for lack of room, what it began is taken away at once."""
    before = set(_temporaries(repository))
    try:
        return run_git(repository, *args)
    except BaseException:
        for path in set(_temporaries(repository)) - before:
            path.unlink(missing_ok=True)
        raise


def _temporaries(repository: Path) -> Iterator[Path]:
    return pack_folder(repository).glob("tmp_*")


def drop_replaced(repository: Path, now: float, keep_seconds: float) -> list[str]:
    """Delete what was replaced longer ago than it is to be kept. Returns the names of the packs."""
    replaced = _read_replaced(repository)
    due = {name: since for name, since in replaced.items() if _is_overdue(since, now, keep_seconds)}
    if not due:
        return []
    dropped = sorted(due.keys() - {_LOOSE})
    for name in dropped:
        # Without its index git does not see a pack any more, and `repair` would finish what a crash left of it.
        for path in sorted(_files_of(repository, name), key=lambda path: path.suffix != ".idx"):
            path.unlink(missing_ok=True)
    if _LOOSE in due:
        _prune_loose(repository, due[_LOOSE])
    _write_replaced(repository, {name: since for name, since in replaced.items() if name not in due})
    return dropped


def _prune_loose(repository: Path, since: float) -> None:
    """Delete loose objects from before the repack of this time, if they are in a pack."""
    for line in run_git(repository, "prune-packed", "--dry-run").decode().splitlines():
        path = repository.joinpath("objects", *Path(line).parts[-2:])  # `rm -f …/objects/xx/yyyy…`
        if path.stat().st_mtime < since:
            path.unlink(missing_ok=True)


def _files_of(repository: Path, name: str) -> list[Path]:
    """The files of a pack."""
    return [path for path in pack_folder(repository).iterdir() if path.stem == name]


def _make_durable(repository: Path, name: str) -> None:
    for path in _files_of(repository, name):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def all_packs(repository: Path) -> set[str]:
    """The names of the finished packs, those that a repack has replaced included."""
    names = os.listdir(pack_folder(repository))  # noqa: PTH208
    finished = {name.removesuffix(".idx") for name in names if name.startswith("pack-") and name.endswith(".idx")}
    return finished & {name.removesuffix(".pack") for name in names}


def _loose_folders(repository: Path) -> Iterator[Path]:
    with os.scandir(repository / "objects") as entries:
        yield from [Path(entry.path) for entry in entries if len(entry.name) == 2 and entry.is_dir()]


def _record(repository: Path) -> Path:
    return repository / "objects" / "info" / "replaced-packs"


def _read_replaced(repository: Path) -> dict[str, float]:
    """A line that makes no sense is none: its pack then counts as one of the others, and is replaced once more."""
    try:
        text = _record(repository).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return {}
    return {name: float(since) for since, name in _REPLACED.findall(text)}


def _write_replaced(repository: Path, replaced: Mapping[str, float]) -> None:
    text = "".join(f"{int(since)} {name}\n" for name, since in sorted(replaced.items()))
    write_durably(_record(repository), text.encode("ascii"))
