"""The git-annex branch of a repository, next to the contents that its versions need: a stream in the branch's order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from typing import NamedTuple

from mirror.annex import hashdirs, logs
from mirror.git.objects import Oid
from mirror.git.reader import Objects
from mirror.proving.records import Need

_LOG = re.compile(rb"[0-9a-f]{3}/[0-9a-f]{3}/(.+?)\.log(\.web)?", re.DOTALL).fullmatch
_AT_ONCE = 400
_REMEMBERED = 5000


class KeyLogs(NamedTuple):
    """What the branch says of a key."""

    key: str
    need: Need | None
    """None: no version names it"""
    located: bool
    """it has a location log"""
    remotes: frozenset[str]
    addressed: bool
    """it has a log of URLs"""
    urls: frozenset[str]
    unread: tuple[str, ...]
    """lines that git-annex would not understand"""


Files = dict[bytes, dict[bool, Oid]]
"""the logs of keys, by key: the location log, and (True) that of its URLs"""


def key_logs(objects: Objects, tree: Oid | None, needs: Iterable[Need]) -> Iterator[KeyLogs]:
    """Every key of the branch, and every one that is needed; `needs` come in the branch's order."""
    read = _Bodies(objects)
    pairs = _joined(_folders(objects, tree), needs)
    while batch := list(islice(pairs, _AT_ONCE)):
        yield from read.logs(batch)


def _joined(
    folders: Iterator[tuple[bytes, Files]], needs: Iterable[Need]
) -> Iterator[tuple[bytes, Need | None, Mapping[bool, Oid]]]:
    wanted = groupby(needs, key=lambda need: hashdirs.lower(need.key))
    ours, theirs = next(wanted, None), next(folders, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours[0] < theirs[0]):
            assert ours is not None
            yield from ((need.key.encode(), need, {}) for need in ours[1])
            ours = next(wanted, None)
            continue
        folder, files = theirs
        needed: dict[bytes, Need] = {}
        if ours is not None and ours[0] == folder:
            needed = {need.key.encode(): need for need in ours[1]}
            ours = next(wanted, None)
        for key in sorted(files.keys() | needed.keys()):
            yield key, needed.get(key), files.get(key, {})
        theirs = next(folders, None)


def _folders(objects: Objects, tree: Oid | None) -> Iterator[tuple[bytes, Files]]:
    """The hash folders of the branch, in order. Other files of it are passed over."""
    if tree is None:
        return
    for folder, entries in groupby(objects.list_tree(tree), key=lambda item: item[0][:7]):
        files: Files = {}
        for path, entry in entries:
            if found := _LOG(path):
                files.setdefault(found[1], {})[found[2] is not None] = entry.oid
        if files:
            yield folder, files


class _Bodies:
    """Reads logs, many at a time. Nearly all location logs are one and the same file."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[Oid, tuple[frozenset[str], tuple[str, ...]]] = {}

    def logs(self, batch: list[tuple[bytes, Need | None, Mapping[bool, Oid]]]) -> Iterator[KeyLogs]:
        wanted = {oid for _, _, files in batch for oid in files.values()} - self._known.keys()
        if len(self._known) + len(wanted) > _REMEMBERED:
            self._known = {}
            wanted = {oid for _, _, files in batch for oid in files.values()}
        for oid, _, body in self._objects.read_many(sorted(wanted)):
            self._known[oid] = _understood(body)
        nothing: tuple[frozenset[str], tuple[str, ...]] = (frozenset(), ())
        for key, need, files in batch:
            remotes, bad = self._known[files[False]] if False in files else nothing
            urls, also_bad = self._known[files[True]] if True in files else nothing
            name = key.decode("utf-8", "surrogateescape")
            yield KeyLogs(name, need, False in files, remotes, True in files, urls, bad + also_bad)


def _understood(body: bytes) -> tuple[frozenset[str], tuple[str, ...]]:
    """What a log says holds now, and its lines that say nothing."""
    said = frozenset(value.decode("utf-8", "surrogateescape") for value in logs.present(body))
    lines = [line for line in body.split(b"\n") if line and logs.statement(line) is None]
    return said, tuple(line.decode("utf-8", "backslashreplace") for line in lines)


def tree_of(objects: Objects, refs: Mapping[str, Oid], ref: str) -> Oid | None:
    """The tree of a branch; None where there is none."""
    tip = refs.get(ref)
    return objects.commit(tip).tree if tip is not None else None
