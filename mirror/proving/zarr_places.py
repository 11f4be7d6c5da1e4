"""Where the files of a Zarr are besides the archive: in its repository here, and in backups, by what is recorded."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from mirror.annex import logs
from mirror.annex.logs import WEB_UUID
from mirror.git.objects import Oid
from mirror.git.reader import Objects
from mirror.git.repository import Repository
from mirror.proving.branch import tree_of
from mirror.proving.findings import Stopped
from mirror.proving.records import ANNEX
from mirror.store.contents import has
from mirror.store.locations import annex_uuid

_LOG = b".log"
_AT_ONCE = 1000
_REMEMBERED = 5000


def _nothing() -> array[int]:
    return array("Q")


@dataclass(frozen=True)
class ZarrPlaces:
    """Of which contents of a Zarr there are copies."""

    here: Path | None = None
    """the repository, if any content is in it"""
    in_backups: array[int] = field(default_factory=_nothing)
    """eight bytes for each content that a backup has, in order: a Zarr may have a million"""

    def is_here(self, key: str) -> bool:
        return self.here is not None and has(self.here, key)

    def is_in_backup(self, key: str) -> bool:
        number = _number(key.encode())
        place = bisect_left(self.in_backups, number)
        return place < len(self.in_backups) and self.in_backups[place] == number


def places_of(repository: Repository, stop: Callable[[], bool]) -> ZarrPlaces:
    """Those of a Zarr, by its git-annex branch; of one that has no repository, none."""
    if not repository.path.is_dir():
        return ZarrPlaces()
    here = repository.path if (repository.path / "annex" / "objects").is_dir() else None
    with repository.objects() as objects:
        root = tree_of(objects, repository.peeled_refs(), ANNEX)
        if root is None or not _has_backups(objects, root):
            return ZarrPlaces(here)
        ours = {WEB_UUID.encode(), annex_uuid(repository).encode()}
        numbers = (_number(key) for key, remotes in _located(objects, root, stop) if remotes - ours)
        return ZarrPlaces(here, array("Q", sorted(array("Q", numbers))))


def _has_backups(objects: Objects, root: Oid) -> bool:
    """Whether the branch tells clones of a remote that is not another name of the web."""
    entry = objects.tree(root).get(b"remote.log")
    lines = objects.blob(entry.oid).splitlines() if entry is not None else []
    return any(b" sameas-uuid=" not in line for line in lines)


def _located(objects: Objects, root: Oid, stop: Callable[[], bool]) -> Iterator[tuple[bytes, set[bytes]]]:
    """Each key that has a location log, and the remotes in it."""
    known: dict[Oid, set[bytes]] = {}
    found = ((path, entry.oid) for path, entry in objects.list_tree(root) if path.endswith(_LOG) and b"/" in path)
    while batch := list(islice(found, _AT_ONCE)):
        if stop():
            raise Stopped
        if len(known) > _REMEMBERED:
            known = {}
        unread = sorted({oid for _, oid in batch} - known.keys())
        known |= {oid: logs.present(body) for oid, _, body in objects.read_many(unread)}
        for path, oid in batch:
            yield path.rpartition(b"/")[2].removesuffix(_LOG), known[oid]


def _number(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest())
