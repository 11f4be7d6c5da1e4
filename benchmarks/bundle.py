"""A Zarr's repository handed on: as a bundle, unpacked again, and looked through, next to what git does with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Cost, run
from benchmarks.results import Results
from benchmarks.zarr_load import ZARR_ID
from mirror.store.store import Store

FULL = 1_000_000
"""What the limits are for; of fewer files, starting is too large a part of it, and caches are not full."""
_MOST_MIB = 128
_GROWTH = 1.25
"""times the memory that a tenth of the files takes"""

# As git makes the same bytes of the same objects.
_ALIKE = ("-c", "pack.compression=6", "-c", "pack.writeBitmaps=false")
_OPTIONS = ("--stdout", "-q", "--delta-base-offset", "--threads=1", "--no-reuse-delta", "--no-reuse-object")


@dataclass(frozen=True)
class Costs:
    """What the three took."""

    write: Cost
    unpack: Cost
    look: Cost
    size: int
    """of the bundle"""


def benchmark(folder: Path, count: int) -> Iterator[Results]:
    """One Zarr of `count` files, next to a tenth of it, and to git."""
    small = _ours(folder / "small", _made(folder / "small", count // 10))
    repository = _made(folder / "full", count)
    ours, theirs = _ours(folder / "full", repository), _theirs(folder / "full", repository)
    growth = _GROWTH if count >= FULL else None
    for deed, title, peer in _DEEDS:
        mine, other = getattr(ours, deed), getattr(theirs, deed)
        results = Results(f"{title} a Zarr of {count:,} files")
        results.add("seconds", mine.wall, "s")
        results.add(f"times what git takes ({peer})", mine.wall / other.wall)
        results.add("peak memory of our process", _own(mine), "MiB", limit=_MOST_MIB)
        results.add(f"times that of {count // 10:,} files", _own(mine) / _own(getattr(small, deed)), limit=growth)
        results.add("or of the git that reads for it, with the index of the pack mapped", mine.peak_mib, "MiB")
        results.add("peak memory, git", other.peak_mib, "MiB")
        if deed == "write":
            results.add("the bundle, bytes a file", ours.size / count)
            results.add("… of git", theirs.size / count)
        yield results


_DEEDS = (
    ("write", "Bundling", "rev-list, then pack-objects"),
    ("unpack", "Unpacking, looking at every object of", "index-pack --strict"),
    ("look", "Looking through the repository of", "fsck --strict"),
)


def _own(cost: Cost) -> float:
    """What it printed."""
    return float(cost.printed)


def _made(folder: Path, count: int) -> Path:
    run([sys.executable, "-m", "benchmarks.zarr_writing", "repository", folder / "store", str(count)])
    return Store.open(folder / "store").dataset(ZARR_ID).path


def _ours(folder: Path, repository: Path) -> Costs:
    bundle = folder / "bundle"
    write = _do("write", repository, bundle)
    unpack = _do("unpack", bundle, folder / "unpacked")
    _check_same(repository, folder / "unpacked")
    return Costs(write, unpack, _do("look", repository), bundle.stat().st_size)


def _theirs(folder: Path, repository: Path) -> Costs:
    """Git, by the commands that a bundle is made of: packed with the same care, on one core."""
    reached, pack, index = (folder / name for name in ("reached", "git.pack", "git.idx"))
    git = ["git", f"--git-dir={repository}"]
    with reached.open("wb") as out:
        subprocess.run([*git, "rev-list", "--objects", "--all"], stdout=out, check=True)
    script = f'exec "$@" < {reached} > {pack}'
    packed = run(["sh", "-c", script, "sh", *git, *_ALIKE, "pack-objects", *_OPTIONS])
    listed = run([*git, "rev-list", "--objects", "--all", "--quiet"])
    write = Cost(packed.wall + listed.wall, packed.cpu + listed.cpu, max(packed.peak_mib, listed.peak_mib), "")
    unpack = run(["git", "-c", "pack.threads=1", "index-pack", "--strict", "-o", index, pack])
    return Costs(write, unpack, run([*git, "fsck", "--strict", "--no-dangling"]), pack.stat().st_size)


def _check_same(one: Path, other: Path) -> None:
    """The refs of both are the same, and git reads what they reach."""
    names = [run(["git", f"--git-dir={path}", "show-ref"]).printed for path in (one, other)]
    if names[0] != names[1]:
        raise SystemExit(f"{other} has other refs than {one}")
    run(["git", f"--git-dir={other}", "rev-list", "--objects", "--all", "--quiet"])


def _do(deed: str, *paths: Path) -> Cost:
    words: Iterable[str | Path] = (sys.executable, "-m", "benchmarks.bundling", deed, *paths)
    return run(list(words))
