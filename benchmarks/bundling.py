"""The processes that are measured: what is reached in a repository as a bundle, a bundle unpacked, all looked through.

`python -m benchmarks.bundling write REPOSITORY BUNDLE`, `unpack BUNDLE REPOSITORY`, `look REPOSITORY`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from mirror.git.large.bundle import unpack_bundle, write_bundle
from mirror.git.large.looking_through import look_through
from mirror.git.repository import Repository


def write(repository: Path, bundle: Path) -> None:
    """All refs of a repository as a bundle."""
    kept = Repository(repository)
    with bundle.open("wb") as out, kept.objects() as objects:
        write_bundle(out, objects, "refs/heads/draft", kept.refs(), bundle.parent)


def unpack(bundle: Path, repository: Path) -> None:
    """A new repository of all that is in a bundle, every object looked at."""
    with bundle.open("rb") as source:
        unpack_bundle(source, Repository.create(repository, head="draft"), bundle.parent)


def look(repository: Path) -> None:
    """What is wrong with a repository: nothing."""
    with tempfile.TemporaryDirectory() as folder:
        found = list(look_through(Repository(repository), Path(folder), lambda: None))
    if found:
        raise SystemExit("\n".join(found))


DEEDS: dict[str, Callable[..., None]] = {"write": write, "unpack": unpack, "look": look}

if __name__ == "__main__":
    DEEDS[sys.argv[1]](*map(Path, sys.argv[2:]))
