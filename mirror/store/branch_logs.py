"""Reading the logs of many keys from a git-annex branch: in the order of their folders, which is much faster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from mirror.annex import hashdirs
from mirror.git.objects import MODE_TREE, Entry, Oid
from mirror.git.reader import Objects

_AHEAD = 64


def in_branch_order(keys: Iterable[str]) -> list[str]:
    """Each key once, in the order in which their logs stand on the branch."""
    return sorted(set(keys), key=lambda key: (hashdirs.lower(key), key))


def logs_of(objects: Objects, root: Oid, keys: Sequence[str], ending: bytes) -> Iterator[tuple[str, Oid | None]]:
    """The blob of each key's log with this ending (`.log`, `.log.web`), None where it has none.

    The keys come in the order of the branch, and only a few thousand at a time: something is kept of each.
    """
    top = objects.tree(root)
    places = [hashdirs.lower(key) for key in keys]
    firsts = [_subtree(top.get(place[:3])) for place in places]
    seconds = [_subtree(tree.get(place[4:])) for place, tree in zip(places, _trees(objects, firsts), strict=True)]
    for key, tree in zip(keys, _trees(objects, seconds), strict=True):
        entry = tree.get(key.encode() + ending)
        yield key, entry.oid if entry is not None else None


def _subtree(entry: Entry | None) -> Oid | None:
    return entry.oid if entry is not None and entry.mode == MODE_TREE else None


def _trees(objects: Objects, oids: Sequence[Oid | None]) -> Iterator[Mapping[bytes, Entry]]:
    for place, oid in enumerate(oids):
        if oid is None:
            yield {}
        else:
            # Those that follow are read along; the same one several times in a row is remembered.
            yield objects.tree(oid, dict.fromkeys(filter(None, islice(oids, place + 1, place + _AHEAD))))
