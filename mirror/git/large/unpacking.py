"""Reading a pack from front to end, without an index and without git: every object once, and its index from that.

For packs that came from somewhere: nothing in them is believed. Of each object a line is kept, in a file; of those that
others are made out of, the last few megabytes.
"""

from __future__ import annotations

import os
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from hashlib import sha1
from pathlib import Path
from typing import Final, NamedTuple, Self

from mirror.git import delta
from mirror.git.objects import OID_SIZE, Oid, hash_object
from mirror.git.pack_format import (
    CHECKSUM_SIZE,
    LONGEST_HEADER,
    OFS_DELTA,
    PACK_HEADER_SIZE,
    REF_DELTA,
    decode_distance,
    decode_entry_header,
    decode_pack_header,
)

_READ_AT_ONCE: Final = 1 << 20
_MOST_KEPT: Final = 16 << 20
_OVERHEAD: Final = 256


class Packed(NamedTuple):
    """An object of a pack."""

    oid: Oid
    kind: bytes
    body: bytes
    base: bytes | None
    """another one of the same kind, that came before and that it is made out of"""
    offset: int
    """where it stands"""
    crc: int
    """of what stands there"""


class PackFile:
    """A pack that is read from front to end. A context manager.

    `by_name` reads the objects that deltas name, instead of saying where they stand; without, such deltas are refused.
    Of those, only packs have any that were sent to git by somebody.
    """

    def __init__(self, path: Path, by_name: Callable[[Oid], tuple[bytes, bytes]] | None = None) -> None:
        self._by_name = by_name
        self._file = path.open("rb", buffering=0)
        self._size = path.stat().st_size
        self._bases = _Bases()
        self._window, self._elsewhere = _Window(self._file.fileno()), _Window(self._file.fileno(), 1 << 14)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def checksum(self) -> bytes:
        """What the pack ends with; `ValueError` where that is not the sum of all before it."""
        digest = sha1(usedforsecurity=False)
        end = self._size - CHECKSUM_SIZE
        for start in range(0, end, _READ_AT_ONCE):
            digest.update(self._window.bytes(start, min(_READ_AT_ONCE, end - start)))
        if end < PACK_HEADER_SIZE or self._window.bytes(end, CHECKSUM_SIZE) != digest.digest():
            raise ValueError("not as its checksum says, or cut short")
        return digest.digest()

    def __iter__(self) -> Iterator[Packed]:
        """Every object. `ValueError` where it is damaged."""
        at = PACK_HEADER_SIZE
        for _ in range(decode_pack_header(self._window.bytes(0, PACK_HEADER_SIZE))):
            entry = self._entry(self._window, at)
            kind, body, base = self._whole(entry)
            self._bases.keep(at, kind, body)
            yield Packed(hash_object(kind, body), kind, body, base, at, self._crc(at, entry.end))
            at = entry.end
        if at != self._size - CHECKSUM_SIZE:
            raise ValueError("something stands behind its objects")

    def _whole(self, entry: _Entry) -> tuple[bytes, bytes, bytes | None]:
        """Kind and content, and what that was made out of."""
        if entry.base is None:
            return entry.kind, entry.data, None
        kind, base = self._read(entry.base)
        return kind, delta.apply(base, entry.data), base

    def _read(self, at: int | Oid) -> tuple[bytes, bytes]:
        """Kind and content of the object that stands there, or has this name."""
        deltas: list[bytes] = []
        while (known := self._known(at)) is None:
            assert isinstance(at, int)  # of others it is known
            entry = self._entry(self._elsewhere, at)
            if entry.base is None:
                known = entry.kind, entry.data
                break
            deltas.append(entry.data)
            at = entry.base
        kind, body = known
        for made in reversed(deltas):
            body = delta.apply(body, made)
        return kind, body

    def _known(self, at: int | Oid) -> tuple[bytes, bytes] | None:
        if isinstance(at, int):
            return self._bases.get(at)
        if self._by_name is None:
            raise ValueError("a delta that names its base, which only unfinished packs have")
        return self._by_name(at)

    def _entry(self, window: _Window, at: int) -> _Entry:
        head = window.bytes(at, LONGEST_HEADER)
        try:
            kind, size, length = decode_entry_header(head)
            base: int | Oid | None = None
            if kind == OFS_DELTA:
                distance, more = decode_distance(head[length:])
                base, length = at - distance, length + more
                if not PACK_HEADER_SIZE <= base < at:
                    raise ValueError("a delta of something that is not in it")
            elif kind == REF_DELTA:
                base, length = head[length : length + OID_SIZE], length + OID_SIZE
        except IndexError:
            raise ValueError("cut short") from None
        data, end = _inflated(window, at + length, size)
        return _Entry(kind, data, base, end)

    def _crc(self, at: int, end: int) -> int:
        crc = 0
        for start in range(at, end, _READ_AT_ONCE):
            crc = zlib.crc32(self._window.bytes(start, min(_READ_AT_ONCE, end - start)), crc)
        return crc


def unpack_loose(data: bytes) -> tuple[Oid, bytes, bytes]:
    """Name, kind and content of an object that is a file of its own. `ValueError` where it is damaged."""
    stream = zlib.decompressobj()
    try:
        whole = stream.decompress(data)
    except zlib.error as error:
        raise ValueError(f"it cannot be inflated: {error}") from None
    if not stream.eof or stream.unused_data:
        raise ValueError("it cannot be inflated: it is cut short, or something stands behind it")
    head, _, body = whole.partition(b"\0")
    kind, _, size = head.partition(b" ")
    if size != b"%d" % len(body):
        raise ValueError("of another size than it says")
    return hash_object(kind, body), kind, body


class _Entry(NamedTuple):
    """What stands in a pack for an object."""

    kind: bytes
    data: bytes
    base: int | Oid | None
    """where the object stands that `data` makes it out of, or its name; None: it is in full"""
    end: int


def _inflated(window: _Window, at: int, size: int) -> tuple[bytes, int]:
    """So much that was deflated there, and where that ends."""
    stream, parts, missing = zlib.decompressobj(), list[bytes](), size
    while not stream.eof:
        packed = window.bytes(at, min(missing + 64, _READ_AT_ONCE))
        # One byte more than there should be tells of those that are too many.
        try:
            part = stream.decompress(packed, min(missing + 1, _READ_AT_ONCE))
        except zlib.error as error:
            raise ValueError(f"an object that cannot be inflated: {error}") from None
        # At the end, what was left over earlier may stand in both.
        taken = len(packed) - len(stream.unused_data if stream.eof else stream.unconsumed_tail)
        at, missing = at + taken, missing - len(part)
        parts.append(part)
        if missing < 0 or not (taken or part):
            break
    if missing or not stream.eof:
        raise ValueError("an object of another size than it says")
    return b"".join(parts), at


class _Window:
    """Some of a file in memory, read as it is needed."""

    def __init__(self, descriptor: int, at_once: int = _READ_AT_ONCE) -> None:
        self._descriptor = descriptor
        self._at_once = at_once
        self._start = 0
        self._held = b""

    def bytes(self, at: int, count: int) -> bytes:
        """What stands there, or as much of it as there is."""
        start = at - self._start
        if start < 0 or start + count > len(self._held):
            self._held = os.pread(self._descriptor, max(count, self._at_once), at)
            self._start, start = at, 0
        return self._held[start : start + count]


class _Bases:
    """The objects read last, by where they stand."""

    def __init__(self) -> None:
        self._bases: OrderedDict[int, tuple[bytes, bytes]] = OrderedDict()
        self._kept = 0

    def get(self, at: int) -> tuple[bytes, bytes] | None:
        if at in self._bases:
            self._bases.move_to_end(at)
        return self._bases.get(at)

    def keep(self, at: int, kind: bytes, body: bytes) -> None:
        self._bases[at] = kind, body
        self._kept += len(body) + _OVERHEAD
        while self._kept > _MOST_KEPT:
            _, (_, dropped) = self._bases.popitem(last=False)
            self._kept -= len(dropped) + _OVERHEAD
