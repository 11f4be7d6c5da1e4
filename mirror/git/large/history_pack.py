"""A pack of all that some refs reach, written from front to end: the same bytes wherever the objects come from.

For handing on. What is in a commit is stored as what makes it out of what stood there before, where that is known and
not too far back: no search, and no memory of what has been written but for the last few megabytes of it.
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict, deque
from collections.abc import Iterator
from hashlib import sha1
from typing import IO, Final, NamedTuple

from mirror.errors import StoreError
from mirror.git import delta
from mirror.git.large.closure import Closure, Reached
from mirror.git.objects import TREE, Oid
from mirror.git.pack_format import OFS_DELTA, encode_distance, entry_header, pack_header
from mirror.git.reader import Objects
from mirror.git.successive import DEPTH

_LEAST: Final = 200
"""What is smaller is stored in full: a delta would save little."""

_SMALL: Final = 512
"""What is smaller is made out of its like rather than of what it took the place of: nearly all of it is new, logs that
say the same of another key."""

_FRONT: Final = 8
"""bytes that the like have in common"""

_MOST_KEPT: Final = 16 << 20
"""bytes of objects that later ones may be made out of"""
_OVERHEAD: Final = 256
_LARGE: Final = _MOST_KEPT // 4
"""What is larger is stored in full, and nothing is made out of it."""

# zlib's own, not isal's, which deflates differently on different processors.
_LEVEL: Final = 6

_words_of = re.compile(rb"[^-/?&=.\n\0]*[-/?&=.\n\0]?").findall
_entries_of = re.compile(rb"[0-7]+ [^\0]+\0.{20}", re.DOTALL).findall


def write_pack(out: IO[bytes], objects: Objects, closure: Closure) -> None:
    """Write all objects of the closure, which are read from `objects`."""
    pack, asked = _Pack(out, len(closure)), deque[Reached]()

    def oids() -> Iterator[Oid]:
        for reached in closure:
            asked.append(reached)
            yield reached.oid

    for oid, kind, body in objects.read_many(oids()):
        reached = asked.popleft()
        if kind != reached.kind:
            raise StoreError(f"object {oid.hex()} is a {kind.decode()} where a {reached.kind.decode()} is needed")
        pack.put(oid, kind, body, reached.before)
    pack.finish()


class _Pack:
    """A pack on its way to somewhere that is written once, from front to end."""

    def __init__(self, out: IO[bytes], count: int) -> None:
        self._out = out
        self._digest = sha1(usedforsecurity=False)
        self._size = 0
        self._bases = _Bases()
        self._write(pack_header(count))

    def put(self, oid: Oid, kind: bytes, body: bytes, before: Oid | None) -> None:
        """Append an object; `before`: what stood in its place."""
        if len(body) < _LEAST:
            self._put(kind, body)
            return
        name, small = (kind + body[:_FRONT], True) if len(body) < _SMALL else (oid, False)
        base = self._bases.get(name if small else before)
        made = _delta(kind, base.body, body) if base is not None else None
        if base is None or made is None:
            self._bases.keep(name, _Base(self._put(kind, body), 0, body))
            return
        at = self._put(OFS_DELTA, made, encode_distance(self._size - base.offset))
        if not small:
            self._bases.keep(name, _Base(at, base.depth + 1, body))

    def _put(self, kind: bytes, body: bytes, distance: bytes = b"") -> int:
        """Where it stands then."""
        at = self._size
        self._write(b"".join((entry_header(kind, len(body)), distance, zlib.compress(body, _LEVEL))))
        return at

    def _write(self, data: bytes) -> None:
        self._out.write(data)
        self._digest.update(data)
        self._size += len(data)

    def finish(self) -> None:
        self._out.write(self._digest.digest())


def _delta(kind: bytes, base: bytes, body: bytes) -> bytes | None:
    """None where it saves too little."""
    if len(body) > _LARGE:
        return None
    made = delta.encode(len(base), delta.between(base, _pieces(kind, base), _pieces(kind, body)))
    return made if len(made) < len(body) // 2 else None


def _pieces(kind: bytes, body: bytes) -> list[bytes]:
    """The parts of an object that may be in another one as well."""
    if len(body) < _SMALL:
        return _words_of(body)
    return _entries_of(body) if kind == TREE else body.splitlines(keepends=True)


class _Base(NamedTuple):
    """An object that others may be made out of."""

    offset: int
    depth: int
    """how many deltas must be followed to read it"""
    body: bytes


class _Bases:
    """The last of them, the small ones by what they are and begin with."""

    def __init__(self) -> None:
        self._bases: OrderedDict[bytes, _Base] = OrderedDict()
        self._kept = 0

    def get(self, name: bytes | None) -> _Base | None:
        base = self._bases.get(name) if name is not None else None
        return base if base is not None and base.depth < DEPTH else None

    def keep(self, name: bytes, base: _Base) -> None:
        if len(base.body) > _LARGE:
            return
        self._drop(self._bases.pop(name, None))
        self._bases[name] = base
        self._kept += len(base.body) + _OVERHEAD
        while self._kept > _MOST_KEPT:
            self._drop(self._bases.popitem(last=False)[1])

    def _drop(self, base: _Base | None) -> None:
        if base is not None:
            self._kept -= len(base.body) + _OVERHEAD
