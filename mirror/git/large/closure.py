"""All that some refs reach: every object once, in an order that depends on the objects alone.

A commit comes after its parents, and of its tree only what they do not have: so a walk through a long history reads
little, and of most objects it is known what they took the place of. There may be millions of them, so they are listed
in a file.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from mirror.errors import StoreError
from mirror.git.large.lists import open_list
from mirror.git.objects import BLOB, COMMIT, MODE_GITLINK, MODE_TREE, TAG, TREE, Commit, Oid, Tag, tree_lines
from mirror.git.reader import Objects

_MOST_TREES: Final = 256
_ENTRIES_AT_ONCE: Final = 4096

# What is in another repository is not reached; everything else is a blob. Others than git write a 0 before a directory.
_KINDS: Final = {MODE_TREE: TREE, b"0" + MODE_TREE: TREE, MODE_GITLINK: None}
_NOTHING: Final = (None, None)

Line = tuple[bytes, bytes, Oid]
"""Mode, name and object of an entry."""


class Reached(NamedTuple):
    """An object that is to be reached."""

    oid: Oid
    kind: bytes
    """what it is by whatever names it"""
    before: Oid | None
    """what stood in its place in the commit before"""


class Closure:
    """What some refs of a repository reach, in a temporary file. A context manager."""

    def __init__(self, file: Path) -> None:
        self._db = open_list(
            file,
            """
            CREATE TABLE reached (number INTEGER PRIMARY KEY, oid BLOB, kind BLOB, before BLOB);
            CREATE TABLE firsts (number INTEGER PRIMARY KEY);
            """,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def fill(self, objects: Objects, tips: Iterable[Oid]) -> None:
        """List all that is reached from these commits and tags. `MissingObject` when a commit, tag or tree is not
        there, `StoreError` when it is no such thing; what is in files is not looked at."""
        self._db.execute("BEGIN")
        try:
            self._db.executemany("INSERT INTO reached (oid, kind, before) VALUES (?, ?, ?)", _walk(objects, tips))
        except ValueError as error:
            raise StoreError(f"{objects.place}: an object is damaged: {error}") from None
        # Changed back, or moved: reached a second time.
        self._db.execute("INSERT INTO firsts SELECT min(number) FROM reached GROUP BY oid ORDER BY min(number)")
        self._db.execute("COMMIT")

    def __len__(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM firsts").fetchone()[0]
        return count

    def __iter__(self) -> Iterator[Reached]:
        rows = self._db.cursor().execute(
            "SELECT oid, kind, before FROM firsts JOIN reached USING (number) ORDER BY number"
        )
        return map(Reached._make, rows)


def _walk(objects: Objects, tips: Iterable[Oid]) -> Iterator[Reached]:
    """Everything, now and then more than once."""
    trees: dict[Oid, Oid] = {}
    walked, latest = set[Oid](), None
    for tip in tips:
        while (found := objects.read(tip))[0] == TAG:
            yield Reached(tip, TAG, None)
            tip = Tag.decode(found[1]).target
        for oid, commit in _history(objects, tip, trees):
            yield Reached(oid, COMMIT, None)
            if commit.tree not in walked:
                # One without parents is compared as well, with anything: all that is in there has been listed.
                yield from _changed(objects, trees[commit.parents[0]] if commit.parents else latest, commit.tree)
            trees[oid] = latest = commit.tree
            walked.add(latest)


def _history(objects: Objects, tip: Oid, known: Mapping[Oid, object]) -> Iterator[tuple[Oid, Commit]]:
    """The commits up to there that are not known, parents before children. Those taken are to be known."""
    waiting = [tip]
    while waiting:
        oid = waiting[-1]
        if oid in known:
            waiting.pop()
            continue
        commit = objects.commit(oid)
        further = [parent for parent in reversed(commit.parents) if parent not in known]
        waiting += further
        if not further:
            yield oid, commit


Pair = tuple[Oid | None, Oid]
"""A tree, and the one that stood in its place before."""


def _changed(objects: Objects, before: Oid | None, tree: Oid) -> Iterator[Reached]:
    """The trees and blobs of a tree that do not stand in the one before at the same place."""
    if tree == before:
        return
    yield Reached(tree, TREE, before)
    # Git is asked for some directories at once, of some thousand entries together; what is below these comes next.
    waiting, at_once = [deque[Pair]([(before, tree)])], defaultdict[int, int](lambda: 1)
    while waiting:
        depth, pairs = len(waiting), waiting[-1]
        batch = [pairs.popleft() for _ in range(min(at_once[depth], len(pairs)))]
        if not pairs:
            waiting.pop()
        below, entries = deque[Pair](), 0
        for old, new in _read(objects, batch):
            entries += len(new)
            for reached in _differing(old, new):
                if reached.kind == TREE:
                    below.append((reached.before, reached.oid))
                yield reached
        if below:
            waiting.append(below)
        at_once[depth] = max(1, min(_MOST_TREES, _ENTRIES_AT_ONCE * len(batch) // (entries + 1)))


def _read(objects: Objects, pairs: Sequence[Pair]) -> Iterator[tuple[list[Line], list[Line]]]:
    """The entries of each tree before, and of that in its place."""
    bodies = objects.read_many(oid for pair in pairs for oid in pair if oid is not None)
    for before, _ in pairs:
        old = _lines(*next(bodies)) if before is not None else []
        yield old, _lines(*next(bodies))


def _lines(oid: Oid, kind: bytes, body: bytes) -> list[Line]:
    if kind != TREE:
        raise StoreError(f"object {oid.hex()} is a {kind.decode()} where a tree is needed")
    return tree_lines(body)


def _differing(old: list[Line], new: list[Line]) -> Iterator[Reached]:
    known = {name: (_KINDS.get(mode, BLOB), oid) for mode, name, oid in old}
    for mode, name, oid in new:
        kind = _KINDS.get(mode, BLOB)
        was, before = known.get(name, _NOTHING)
        if kind is not None and (kind, oid) != (was, before):
            yield Reached(oid, kind, before if kind == was else None)
