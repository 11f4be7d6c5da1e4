"""Which of many repositories has a commit."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from struct import unpack_from

from mirror.errors import GitError, StoreError
from mirror.git.objects import COMMIT, TAG, Commit, Oid, Tag
from mirror.git.repository import Repository

_HEADER = 8
_FANOUT = 256 * 4
_OID_SIZE = 20


def find_commit(repository: Repository, oid: Oid) -> tuple[Oid, Commit] | None:
    """The commit of this name, or that an annotated tag of this name is about; None where there is none.

    Git is started only where an index of a pack has the name: so thousands of repositories are asked in a second.
    """
    if not _has(repository.path, oid):
        return None
    try:
        with repository.objects() as objects:
            kind, body = objects.read(oid)
            if kind == TAG:
                oid = Tag.decode(body).target
                kind, body = objects.read(oid)
            return (oid, Commit.decode(body)) if kind == COMMIT else None
    except (GitError, StoreError):  # a repack took the pack away, or it is no commit that could be read
        return None


def _has(repository: Path, oid: Oid) -> bool:
    name = oid.hex()
    if (repository / "objects" / name[:2] / name[2:]).is_file():
        return True
    return any(_listed(index, oid) for index in _indexes(repository))


def _indexes(repository: Path) -> Iterator[Path]:
    return (repository / "objects/pack").glob("*.idx")


def _listed(index: Path, oid: Oid) -> bool:
    """Whether an index of git's version 2 has this name: bisection among those of the same first byte."""
    try:
        with index.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            low = unpack_from(">I", data, _HEADER + 4 * (oid[0] - 1))[0] if oid[0] else 0
            high = unpack_from(">I", data, _HEADER + 4 * oid[0])[0]
            while low < high:
                middle = (low + high) // 2
                start = _HEADER + _FANOUT + _OID_SIZE * middle
                found = data[start : start + _OID_SIZE]
                if found == oid:
                    return True
                low, high = (middle + 1, high) if found < oid else (low, middle)
            return False
    except (FileNotFoundError, ValueError):  # it was replaced just now, or is still empty
        return False
