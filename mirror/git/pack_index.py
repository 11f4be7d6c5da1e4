"""The index of a pack: where in the pack each object stands. Git's version 2, made in little memory.

A pack may hold millions of objects, so what is kept of each is 32 bytes and nothing else: no dictionary, no Python
object. Git wants the index in the order of names, column by column; rows are put into 256 bins by the first byte of
the name as they come, and from then on a bin at a time is worked on.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator
from hashlib import sha1
from itertools import accumulate, chain, islice, pairwise
from operator import eq
from pathlib import Path
from struct import Struct
from typing import Any, Final, Protocol

from mirror.git.objects import Oid

_MAGIC: Final = b"\377tOc\0\0\0\2"
_BINS: Final = 256
_BIG_OFFSET: Final = 1 << 31
_ROWS_AT_ONCE: Final = 4096

# Name, CRC-32 of what stands in the pack, offset there: big endian, as in the index.
_ROW: Final = Struct(">20sIQ")
_WHOLE: Final = Struct("32s")
_NAME: Final = Struct("20s12x")
_CRC: Final = Struct("20x4s8x")
_OFFSET: Final = Struct(">24xQ")

_pack_row = _ROW.pack


class Writable(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> object: ...


Row = tuple[Oid, int, int]
"""An object's name, the CRC-32 of what stands in the pack, and where."""


class PackIndex:
    """An index in the making: `add` each object, then `sort`, then `parts`."""

    def __init__(self) -> None:
        self._bins = [bytearray() for _ in range(_BINS)]

    def __len__(self) -> int:
        return sum(map(len, self._bins)) // _ROW.size

    def add(self, oid: Oid, crc: int, offset: int) -> None:
        self._bins[oid[0]] += _pack_row(oid, crc, offset)

    def sort(self) -> None:
        """Bring the objects into git's order; `ValueError` when one is there twice.

        Git never makes a pack with duplicates, and `git index-pack --strict` refuses one.
        """
        for rows in self._bins:
            rows[:] = b"".join(sorted(_column(_WHOLE, rows)))
            names: list[Oid] = list(_column(_NAME, rows))
            if any(map(eq, names, names[1:])):
                twice = next(name for name, after in pairwise(names) if name == after)
                raise ValueError(f"object {twice.hex()} was put twice into one pack")

    def parts(self, pack_checksum: bytes) -> Iterator[bytes]:
        """The index of the pack that ends with this checksum, piece by piece, after `sort`."""
        digest = sha1(usedforsecurity=False)
        for part in self._tables():
            digest.update(part)
            yield part
        digest.update(pack_checksum)
        yield pack_checksum
        yield digest.digest()

    def _tables(self) -> Iterator[bytes]:
        yield _MAGIC
        yield _big_endian(array("I", accumulate(len(rows) // _ROW.size for rows in self._bins)))
        for column in (_NAME, _CRC):
            for rows in self._bins:
                yield b"".join(_column(column, rows))
        # Offsets that do not fit in 31 bits stand in a second table; the first then holds their number there.
        large = array("Q")
        for rows in self._bins:
            yield _big_endian(array("I", _first_offsets(_column(_OFFSET, rows), large)))
        yield _big_endian(large)


def count_of(index: Path) -> int:
    """How many objects this index lists."""
    with index.open("rb") as file:
        head = file.read(len(_MAGIC) + _BINS * 4)
    if len(head) != len(_MAGIC) + _BINS * 4 or not head.startswith(_MAGIC):
        raise ValueError("not an index of git's version 2, or cut short")
    return int.from_bytes(head[-4:], "big")


def write_index(out: Writable, rows: Callable[[], Iterator[Row]], pack_checksum: bytes) -> None:
    """Write the index of a pack whose objects are listed somewhere: `rows` begins anew with them, in git's order."""
    digest = sha1(usedforsecurity=False)
    for part in chain(_listed_tables(rows), (pack_checksum,)):
        digest.update(part)
        out.write(part)
    out.write(digest.digest())


def _listed_tables(rows: Callable[[], Iterator[Row]]) -> Iterator[bytes]:
    counts = [0] * _BINS
    for oid, _, _ in rows():
        counts[oid[0]] += 1
    yield _MAGIC
    yield _big_endian(array("I", accumulate(counts)))
    yield from (b"".join([oid for oid, _, _ in some]) for some in _in_turn(rows()))
    yield from (_big_endian(array("I", [crc for _, crc, _ in some])) for some in _in_turn(rows()))
    large = array("Q")
    for some in _in_turn(rows()):
        yield _big_endian(array("I", _first_offsets((offset for _, _, offset in some), large)))
    yield _big_endian(large)


def _in_turn(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        yield some


def _column(column: Struct, rows: bytearray) -> Iterator[Any]:
    return chain.from_iterable(column.iter_unpack(rows))


def _first_offsets(offsets: Iterator[int], large: array[int]) -> list[int]:
    """What the first table says; offsets too large for it are appended to `large`."""
    first = list(offsets)
    if max(first, default=0) >= _BIG_OFFSET:
        for place, offset in enumerate(first):
            if offset >= _BIG_OFFSET:
                first[place] = _BIG_OFFSET | len(large)
                large.append(offset)
    return first


def _big_endian(numbers: array[int]) -> bytes:
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()
