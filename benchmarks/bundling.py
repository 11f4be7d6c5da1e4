"""The processes that are measured: what is reached in a repository as a bundle, a bundle unpacked, all looked through.

`python -m benchmarks.bundling write REPOSITORY BUNDLE`, `unpack BUNDLE REPOSITORY`, `look REPOSITORY`. Each prints the
MiB that it took itself, without the git that reads objects for it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import own_peak_mib
from mirror.git.large.looking_through import look_through
from mirror.git.repository import Repository
from mirror.keeping.bundle.git import Contents, refs_of_zarr, unpack_git_bundle, write_git_bundle


def write(repository: Path, bundle: Path) -> None:
    """All states of a Zarr as a bundle, without its content."""
    zarr = Repository(repository)
    nothing = Contents("00000000-0000-0000-0000-0000000000ff", ())
    write_git_bundle(zarr, bundle.with_name("borrower"), bundle, refs_of_zarr(zarr), nothing)


def unpack(bundle: Path, repository: Path) -> None:
    """A new repository of all that is in a bundle, every object looked at."""
    unpack_git_bundle(bundle, repository)


def look(repository: Path) -> None:
    """What is wrong with a repository: nothing."""
    with tempfile.TemporaryDirectory() as folder:
        found = list(look_through(Repository(repository), Path(folder), lambda: None))
    if found:
        raise SystemExit("\n".join(found))


DEEDS: dict[str, Callable[..., None]] = {"write": write, "unpack": unpack, "look": look}

if __name__ == "__main__":
    DEEDS[sys.argv[1]](*map(Path, sys.argv[2:]))
    print(own_peak_mib())
