"""Successive states of one file or tree, each stored as what makes it out of the one before.

For what grows or changes by a little a thousand times: written in full each time, a table of a megabyte would make a
pack of a gigabyte.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from mirror.git import delta
from mirror.git.delta import Copy
from mirror.git.objects import Oid
from mirror.git.pack import PackWriter

DEPTH = 50
"""So many states are stored one on the other before one is stored in full: git's own limit for what it packs."""

Parts = Sequence[Copy | bytes]
"""A state as pieces of the one before, and what is new."""


class Successive:
    """Writes the states of one object, in their order."""

    def __init__(self, writer: PackWriter, kind: bytes) -> None:
        self._writer = writer
        self._kind = kind
        self._last: Oid | None = None
        self._size = 0
        self._depth = 0

    def write(self, body: bytes, parts: Parts) -> Oid:
        """The next state. `parts` make it out of the one before; of the first, they do not matter."""
        if self._last is None or self._depth == DEPTH:
            oid = self._writer.add(self._kind, body)
            self._depth = 0
        else:
            oid = self._writer.add_delta(self._last, delta.encode(self._size, parts), body)
            self._depth += 1
        self._last, self._size = oid, len(body)
        return oid


class Pieces:
    """A text made of a head and of pieces in the order of their keys, of which now and then one changes."""

    def __init__(self, head: bytes, pieces: Mapping[bytes, bytes]) -> None:
        self._head = head
        self._keys = sorted(pieces)
        self._pieces = [pieces[key] for key in self._keys]

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def body(self) -> bytes:
        return b"".join((self._head, *self._pieces))

    def put(self, key: bytes, piece: bytes) -> Parts:
        """Put a piece in its place, or in that of the one which is there; how the text follows from the one before."""
        number = bisect_left(self._keys, key)
        known = number < len(self._keys) and self._keys[number] == key
        before, size = self._around(number, known=known)
        if known:
            self._pieces[number] = piece
        else:
            self._keys.insert(number, key)
            self._pieces.insert(number, piece)
        return self._changed(before, size, piece)

    def remove(self, key: bytes) -> Parts:
        """Take a piece away; `KeyError` if there is none."""
        number = bisect_left(self._keys, key)
        if number == len(self._keys) or self._keys[number] != key:
            raise KeyError(key)
        before, size = self._around(number, known=True)
        del self._keys[number], self._pieces[number]
        return self._changed(before, size, b"")

    def _around(self, number: int, *, known: bool) -> tuple[int, int]:
        """How much stands before a piece, and how long it is."""
        before = len(self._head) + sum(map(len, self._pieces[:number]))
        return before, len(self._pieces[number]) if known else 0

    def _changed(self, before: int, size: int, new: bytes) -> Parts:
        rest = len(self._head) + sum(map(len, self._pieces)) - before - len(new)
        return (Copy(0, before), new, Copy(before + size, rest))
