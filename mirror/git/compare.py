"""What differs between two trees: a stream of paths, for which only the directories that differ are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from mirror.git.objects import MODE_TREE, Entry, Oid
from mirror.git.reader import Objects

Difference = tuple[bytes, Entry | None, Entry | None]
"""A path, and what stands there in the one tree and in the other; None: nothing."""


def compare(objects: Objects, before: Oid | None, after: Oid | None, prefix: bytes = b"") -> Iterator[Difference]:
    """Every file, link and submodule in which two trees differ, in the byte order of their paths.

    None is a tree without anything in it. `prefix` is put before each path as it is.
    """
    if before == after:
        return
    if before is None or after is None:
        yield from _whole(objects, before, after, prefix)
        return
    differing = _differing(objects.tree(before, (after,)), objects.tree(after))
    # They are opened one after the other, so git is asked for many of them at once.
    subtrees = deque(
        entry.oid for name, old, new in differing if name.endswith(b"/") if old and new for entry in (old, new)
    )
    for name, old, new in differing:
        if not name.endswith(b"/"):
            yield prefix + name, old, new
            continue
        if old and new:
            objects.tree(subtrees.popleft(), subtrees)
            subtrees.popleft()
        yield from compare(objects, old and old.oid, new and new.oid, prefix + name)


def _whole(objects: Objects, before: Oid | None, after: Oid | None, prefix: bytes) -> Iterator[Difference]:
    """Everything in the one of two trees that is there."""
    if before is not None:
        yield from ((path, entry, None) for path, entry in objects.list_tree(before, prefix))
    if after is not None:
        yield from ((path, None, entry) for path, entry in objects.list_tree(after, prefix))


def _differing(before: Mapping[bytes, Entry], after: Mapping[bytes, Entry]) -> list[Difference]:
    """What differs in one directory, in order. The names of its subdirectories end in a slash, and so does a file not
    stand in the place of a subdirectory of the same name: both are told, each where its paths belong."""
    found: dict[bytes, tuple[Entry | None, Entry | None]] = {}
    for name, _ in before.items() ^ after.items():
        for place, entry in enumerate((before.get(name), after.get(name))):
            if entry is not None:
                key = name + b"/" if entry.mode == MODE_TREE else name
                old, new = found.get(key, (None, None))
                found[key] = (entry, new) if place == 0 else (old, entry)
    return [(key, *found[key]) for key in sorted(found)]
