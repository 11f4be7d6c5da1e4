"""Going through the folders of a Zarr, next to what was held of it: its checksum, its tree, its manifest, and what
differs.

Folders come each after those in it, and so do the held ones; neither are kept longer than they are needed. A folder
that is as it was costs the comparison of its lines, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from mirror.dataset.names import warnings_for
from mirror.dataset.zarr.checksum import Checksum, checksum_of
from mirror.dataset.zarr.documents import ZarrFacts
from mirror.dataset.zarr.files import true_name
from mirror.dataset.zarr.folders import Folder, true_order
from mirror.dataset.zarr.manifest import Change, HeldFolder, block, changed_files
from mirror.git.objects import Entry, Oid
from mirror.sync.zarr.trees import FolderTrees

_REMARKS_KEPT = 20

# Names that trouble nobody, nor differ only in case from another such.
_QUIET_NAME = re.compile(rb"[a-z0-9_.-]{1,60}").fullmatch


@dataclass(frozen=True)
class Recorded:
    """A Zarr gone through to its end."""

    checksum: Checksum
    tree: Oid
    modified: str
    """when the latest of its files was written; empty: it has none"""
    remarks: tuple[str, ...]
    """what may trouble somebody about names in folders that differ from what was held"""


class _Done(NamedTuple):
    """A folder that was gone through."""

    name: bytes
    checksum: Checksum
    tree: Oid


@dataclass
class Recorder:
    """Records one Zarr. `manifest` takes pieces of its text, `changed` each file that differs from what was `held`.

    Without `held` every file is new, and `changed` is told of none: `FolderTrees` tells of their keys.
    """

    facts_for: Callable[[Checksum], ZarrFacts]
    own: Callable[[ZarrFacts], Mapping[bytes, Entry]]
    trees: FolderTrees
    head: bytes
    """of the manifest"""
    manifest: Callable[[bytes], object]
    held: Iterator[HeldFolder] | None = None
    changed: Callable[[Change], None] | None = None
    trusted: bool = True
    """whether the trees that are held are those of this layout"""
    _modified: bytes = b""
    _remarks: list[str] = field(default_factory=list)
    _inner: dict[bytes, list[_Done]] = field(default_factory=dict)
    """folders done, by the path of the folder they are in, until that one's turn comes"""
    _inner_held: dict[bytes, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    """name and checksum of the held ones, likewise"""

    def record(self, folders: Iterable[Folder]) -> Recorded:
        """Go through all of them."""
        self.manifest(self.head)
        done = None
        for folder, held in _side_by_side(folders, self.held):
            if folder is None:
                assert held is not None
                self._compare(held.folder, None)
                self._pass(held)
            else:
                done = self._one(folder, held)
        if done is None or self._inner:
            raise AssertionError("the folders of a Zarr end with the Zarr")
        return Recorded(done.checksum, done.tree, self._modified.decode(), tuple(self._remarks))

    def _one(self, folder: Folder, held: HeldFolder | None) -> _Done:
        inner = self._inner.pop(folder.path, [])
        same_files = held is not None and held.folder.lines == folder.lines
        if held is not None and same_files and self.trusted and self._same_inner(folder.path, inner):
            checksum, tree = Checksum.parse(held.checksum.decode()), bytes.fromhex(held.tree.decode())
            latest = held.latest
        else:
            self._look_at_names(folder, inner)
            fresh = self._fresh(folder, held, same_files=same_files)
            inner.sort(key=lambda done: true_order(done.name))  # they came as the bucket lists them: `a.b/` before `a/`
            latest = max((row[4] for row in folder.rows()), default=b"")
            checksum = checksum_of(folder.rows(), [(done.name, done.checksum) for done in inner])
            own = self.own(self.facts_for(checksum)) if not folder.path else None
            tree = self.trees.tree(folder, [(done.name, done.tree) for done in inner], fresh=fresh, own=own)
        for piece in block(folder, checksum, tree, latest):
            self.manifest(piece)
        self._modified = max(self._modified, latest)
        parent, _, name = folder.path.rpartition(b"/")
        done = _Done(name, checksum, tree)
        if folder.path:
            self._inner.setdefault(parent, []).append(done)
        if held is not None:
            self._pass(held)
        return done

    def _look_at_names(self, folder: Folder, inner: list[_Done]) -> None:
        """Nearly no folder gives reason to look twice, which is found out without holding a million names."""
        quiet, rows = _QUIET_NAME, folder.rows()
        if all(quiet(row[0]) for row in rows) and all(quiet(done.name) for done in inner):
            return
        above = true_name(folder.path) + "/" if folder.path else ""
        names = [row[0] for row in folder.rows()] + [done.name for done in inner]
        paths = [above + true_name(name) for name in names]
        found = islice(warnings_for(paths), _REMARKS_KEPT - len(self._remarks))
        self._remarks += [f"{path!r}: {reason}" for path, reason in found]

    def _same_inner(self, path: bytes, inner: list[_Done]) -> bool:
        """Whether the folders in this one are what they were."""
        before = self._inner_held.get(path, [])
        return len(before) == len(inner) and [(done.name, str(done.checksum).encode()) for done in inner] == before

    def _fresh(self, folder: Folder, held: HeldFolder | None, *, same_files: bool) -> Container[bytes] | None:
        """The files of a folder that the repository may not have; None: any of them."""
        if self.held is None:
            return None
        fresh = () if same_files else self._compare(held.folder if held is not None else None, folder)
        return fresh if self.trusted else None

    def _compare(self, before: Folder | None, after: Folder | None) -> frozenset[bytes]:
        """Tell of what differs in a folder; the names of files whose bytes do."""
        fresh: list[bytes] = []
        for change in changed_files(before, after):
            if change.after is not None and not change.same_bytes:
                fresh.append(change.path[change.path.rfind(b"/") + 1 :])
            if self.changed is not None:
                self.changed(change)
        return frozenset(fresh)

    def _pass(self, held: HeldFolder) -> None:
        """A held folder was dealt with: it counts towards the one it is in."""
        self._inner_held.pop(held.folder.path, None)
        if held.folder.path:
            parent, _, name = held.folder.path.rpartition(b"/")
            self._inner_held.setdefault(parent, []).append((name, held.checksum))


def _side_by_side(
    folders: Iterable[Folder], held: Iterator[HeldFolder] | None
) -> Iterator[tuple[Folder | None, HeldFolder | None]]:
    """Each folder with the held one of the same path; None where there is none on one side."""
    if held is None:
        yield from ((folder, None) for folder in folders)
        return
    other = next(held, None)
    for folder in folders:
        while other is not None and other.folder.path != folder.path and other.folder.order < folder.order:
            yield None, other
            other = next(held, None)
        if other is not None and other.folder.path == folder.path:
            yield folder, other
            other = next(held, None)
        else:
            yield folder, None
    while other is not None:
        yield None, other
        other = next(held, None)
