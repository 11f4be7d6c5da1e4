"""Editing a tree: a stream of changes in, a new tree out, reading and writing only the directories touched."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice

from mirror.git.objects import MODE_TREE, TREE, Entry, Oid, encode_tree
from mirror.git.pack import PackWriter
from mirror.git.reader import Objects

Change = tuple[bytes, Entry | None]
"""A path and what shall stand there; None: nothing."""

_SLASH = ord("/")
# Subdirectories opened in a row, give or take a few, are read ahead, ever more of them.
_CLOSE = 4
_MOST_AHEAD = 63
_NOT_NAMES = frozenset((b"", b".", b".."))


def edit_tree(objects: Objects, writer: PackWriter, base: Oid | None, changes: Iterable[Change]) -> Oid | None:
    """The tree that `base` becomes by these changes; None when nothing is left of it.

    Changes come strictly ascending by path, as bytes. Each means the same as if it were made alone, one after
    another:

    - Putting replaces what stands there, a whole directory too, and files where the path needs directories.
      Putting a tree (`MODE_TREE`) hangs it there; later changes below it apply to it.
    - Removing takes away what stands there, a whole directory too; removing what is not there changes nothing.
    - Directories that became empty vanish.

    Putting both a file and something below it contradicts itself and raises `ValueError`, as do wrong order and
    paths that no tree can hold.

    Memory is that of the directories on the way to the current path; directories no change touches are not read.
    """
    return _Edit(objects, writer, base).apply(changes)


class _Folder:
    """A directory open for changes."""

    __slots__ = ("_ahead", "_opened", "_subtrees", "base", "entries", "name", "oid", "prefix")

    def __init__(self, prefix: bytes, name: bytes, oid: Oid | None, base: Mapping[bytes, Entry]) -> None:
        self.prefix = prefix
        self.name = name
        self.oid = oid
        self.base = base
        self.entries = dict(base)
        self._opened = False
        self._ahead = 0
        self._subtrees: deque[tuple[bytes, Oid]] | None = None

    def following(self, name: bytes) -> list[Oid]:
        """The subdirectories probably opened after this one: none until several close to each other were."""
        if not self._opened:
            self._opened = True
            return []
        if self._subtrees is None:
            self._subtrees = deque((name, entry.oid) for name, entry in self.base.items() if entry.mode == MODE_TREE)
        subtrees, passed = self._subtrees, 0
        while subtrees and subtrees[0][0] + b"/" <= name + b"/":
            subtrees.popleft()
            passed += 1
        self._ahead = min(2 * self._ahead + 1, _MOST_AHEAD) if passed <= _CLOSE else 0
        return [oid for _, oid in islice(subtrees, self._ahead)]


class _Edit:
    def __init__(self, objects: Objects, writer: PackWriter, base: Oid | None) -> None:
        self._objects = objects
        self._writer = writer
        # From the root to the directory of the current path.
        self._open = [self._folder(b"", b"", base)]

    def apply(self, changes: Iterable[Change]) -> Oid | None:
        previous = b""
        # Paths put whose last byte the current path may still go on from: `a`, `a.b` … until `a/` has passed.
        puts: list[bytes] = []
        prefix, entries = b"", self._open[-1].entries
        for path, entry in changes:
            if path <= previous:
                raise ValueError(f"paths out of order or empty: {previous!r}, then {path!r}")
            previous = path
            folder, slash, name = path.rpartition(b"/")
            if folder + slash != prefix:
                prefix = folder + slash
                entries = self._enter(prefix)
            if name in _NOT_NAMES or b"\0" in name:
                raise ValueError(f"no tree can hold this path: {path!r}")
            if entry is None:
                entries.pop(name, None)
                continue
            while puts and not path.startswith(puts[-1]):
                puts.pop()
            for above in puts:
                if path[len(above)] == _SLASH:
                    raise ValueError(f"both {above!r} and {path!r} are put")
            if entry.mode != MODE_TREE:
                puts.append(path)
            entries[name] = entry
        while len(self._open) > 1:
            self._close()
        return self._written(self._open[0])

    def _enter(self, prefix: bytes) -> dict[bytes, Entry]:
        """Open the directory of this path (ending in a slash), closing those it is not in."""
        while not prefix.startswith(self._open[-1].prefix):
            self._close()
        folder = self._open[-1]
        rest = prefix[len(folder.prefix) : -1]
        for name in rest.split(b"/") if rest or prefix != folder.prefix else ():
            if name in _NOT_NAMES or b"\0" in name:
                raise ValueError(f"no tree can hold this directory: {prefix!r}")
            entry = folder.entries.get(name)
            oid = entry.oid if entry is not None and entry.mode == MODE_TREE else None
            following = folder.following(name) if oid is not None else ()
            folder = self._folder(folder.prefix + name + b"/", name, oid, following)
            self._open.append(folder)
        return folder.entries

    def _folder(self, prefix: bytes, name: bytes, oid: Oid | None, following: Iterable[Oid] = ()) -> _Folder:
        return _Folder(prefix, name, oid, self._objects.tree(oid, following) if oid is not None else {})

    def _close(self) -> None:
        folder = self._open.pop()
        oid = self._written(folder)
        above = self._open[-1].entries
        if oid is not None:
            above[folder.name] = Entry(MODE_TREE, oid)
        elif folder.oid is not None:
            del above[folder.name]
        # Otherwise something was removed below what is no directory: it stays as it is.

    def _written(self, folder: _Folder) -> Oid | None:
        if not folder.entries:
            return None
        # An unchanged directory is not written again.
        if folder.oid is not None and folder.entries == folder.base:
            return folder.oid
        return self._writer.add(TREE, encode_tree(folder.entries))
