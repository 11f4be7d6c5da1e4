"""Writing objects into a pack, in process.

A pack and its index are the fastest way to get many objects into a repository: no process, no file per object, no
delta search (`Repository.repack` does that later). Whatever happens, the repository sees either nothing or the
finished pack.
"""

from __future__ import annotations

import io
import os
import struct
import sys
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from hashlib import sha1
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from isal import isal_zlib

from mirror.git.files import sync_folder
from mirror.git.objects import BLOB, COMMIT, TAG, TREE, Oid

TEMPORARY_PREFIX: Final = "tmp_pack_mirror_"
"""Names of unfinished packs begin so: git ignores `tmp_*`, its own housekeeping removes them, and we know ours."""

PACK_MODE: Final = 0o444

# On 850 kB of text isal's level 1 takes 1.3 ms and gives 0.31 of the size; zlib's level 6 takes 13.7 ms for 0.32.
_LEVEL: Final = 1

# What is small is mostly digits of digests, which hardly deflate, and there are hundreds of thousands of it. Measured
# on 100,000 assets: level 1 takes 4.0 µs a link (0.55 of its size), 4.7 µs a URL log (0.66), 8.0 µs a small tree
# (0.51), half the time of all writing. Not to deflate blobs takes 0.4 µs, level 0 on trees 0.9 µs (0.85): a third off
# the time of writing, a third more on disk, which is 0.3 KB an asset.
_SMALL: Final = 1024
_SMALL_TREE_LEVEL: Final = 0

_CODES: Final = {COMMIT: 1, TREE: 2, BLOB: 3, TAG: 4}
_KINDS: Final = {code: kind for kind, code in _CODES.items()}
_WRITE_AT: Final = 1 << 20
_BIG_OFFSET: Final = 1 << 31
_PREPARED: Final = 1024
_OIDS_AT_ONCE: Final = 1 << 16

_compress = isal_zlib.compress
_adler32 = isal_zlib.adler32
_crc32 = isal_zlib.crc32

# A zlib stream of one stored block, up to its content: two bytes of zlib, "last block, stored", the length twice.
_STORED: Final = [b"\x78\x01\x01" + struct.pack("<HH", size, size ^ 0xFFFF) for size in range(_SMALL)]


class PackWriter:
    """A pack in the making, in the `objects/pack` folder where it will stay.

    Per object it keeps a dictionary entry and 12 bytes, about 150 bytes in all. Not for use by several threads.
    Leaving the `with` block without `finish` leaves nothing behind.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=folder)
        self._path = Path(name)
        self._file = io.FileIO(descriptor, "r+")
        self._buffer = bytearray(_pack_header(0))
        self._flushed = 0
        self._numbers: dict[Oid, int] = {}
        self._offsets = array("Q")
        self._crcs = array("I")
        self._prepared: dict[bytes, list[tuple[bytes, bytes]]] = {
            kind: [_headers(kind, size) for size in range(_PREPARED)] for kind in (BLOB, TREE)
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.discard()

    def __contains__(self, oid: object) -> bool:
        return oid in self._numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def size(self) -> int:
        """Bytes of the pack so far."""
        return self._flushed + len(self._buffer)

    def add_blob(self, body: bytes) -> Oid:
        return self.add(BLOB, body)

    def add(self, kind: bytes, body: bytes) -> Oid:
        """Put an object into the pack, unless it is there already, and return its name."""
        size = len(body)
        if size < _PREPARED and kind in self._prepared:
            hashed, header = self._prepared[kind][size]
        else:
            hashed, header = _headers(kind, size)
        oid = sha1(hashed + body, usedforsecurity=False).digest()
        numbers = self._numbers
        if oid in numbers:
            return oid
        if self._file.closed:
            raise ValueError("this pack is finished")
        if size >= _SMALL:
            packed = header + _compress(body, _LEVEL)
        elif kind == TREE:
            packed = header + _compress(body, _SMALL_TREE_LEVEL)
        else:
            packed = b"%b%b%b%b" % (header, _STORED[size], body, _adler32(body).to_bytes(4, "big"))
        buffer = self._buffer
        self._offsets.append(self._flushed + len(buffer))
        self._crcs.append(_crc32(packed))
        numbers[oid] = len(numbers)
        buffer += packed
        if len(buffer) > _WRITE_AT:
            self._flush()
        return oid

    def kind_of(self, oid: Oid) -> bytes:
        """The kind of an object of this pack; `KeyError` when it is not in it."""
        return _KINDS[self._packed(oid)[0] >> 4 & 7]

    def read(self, oid: Oid) -> tuple[bytes, bytes]:
        """Kind and content of an object of this pack; `KeyError` when it is not in it."""
        packed = self._packed(oid)
        start = 0
        while packed[start] & 0x80:
            start += 1
        return _KINDS[packed[0] >> 4 & 7], isal_zlib.decompress(packed[start + 1 :])

    def _packed(self, oid: Oid) -> bytes:
        number = self._numbers[oid]
        start = self._offsets[number]
        end = self._offsets[number + 1] if number + 1 < len(self._offsets) else self.size
        if start >= self._flushed:
            return bytes(self._buffer[start - self._flushed : end - self._flushed])
        return os.pread(self._file.fileno(), end - start, start)

    def _flush(self) -> None:
        view = memoryview(self._buffer)
        while view:
            written = self._file.write(view)
            view = view[written:]
            self._flushed += written
        self._buffer = bytearray()

    def finish(self) -> str | None:
        """Make the pack part of the repository, durably. Its name, `pack-…`; None when nothing was added."""
        if not self._numbers:
            self.discard()
            return None
        self._flush()
        os.pwrite(self._file.fileno(), _pack_header(len(self)), 0)
        checksum = self._checksum()
        self._file.write(checksum)
        os.fchmod(self._file.fileno(), PACK_MODE)
        os.fsync(self._file.fileno())
        self._file.close()
        index = self._path.with_name(self._path.name + ".idx")
        name = f"pack-{checksum.hex()}"
        try:
            self._write_index(index, checksum)
            # Git opens a pack when it sees the index, so the index comes last.
            self._path.rename(self._folder / f"{name}.pack")
            index.rename(self._folder / f"{name}.idx")
        except BaseException:
            index.unlink(missing_ok=True)
            raise
        sync_folder(self._folder)
        return name

    def _checksum(self) -> bytes:
        """SHA-1 of the whole file: the header at its front was known last, so it is read once more."""
        self._file.seek(0)
        digest = sha1(usedforsecurity=False)
        chunk = bytearray(_WRITE_AT)
        with memoryview(chunk) as view:
            while count := self._file.readinto(view):
                digest.update(view[:count])
        return digest.digest()

    def _write_index(self, path: Path, checksum: bytes) -> None:
        oids = sorted(self._numbers)
        order = array("I", map(self._numbers.__getitem__, oids))
        self._numbers = {}
        crcs = array("I", map(self._crcs.__getitem__, order))
        offsets = array("Q", map(self._offsets.__getitem__, order))
        with path.open("xb") as file:
            os.fchmod(file.fileno(), PACK_MODE)
            for part in index_parts(oids, crcs, offsets, checksum):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())

    def discard(self) -> None:
        """Drop what is not finished. Does nothing after `finish`."""
        self._file.close()
        self._path.unlink(missing_ok=True)
        self._numbers = {}
        self._buffer = bytearray()


def index_parts(
    oids: Sequence[Oid], crcs: Sequence[int], offsets: Sequence[int], pack_checksum: bytes
) -> Iterator[bytes]:
    """A pack index, version 2, piece by piece, for objects given in the order of their names."""
    digest = sha1(usedforsecurity=False)
    for part in _index_tables(oids, crcs, offsets):
        digest.update(part)
        yield part
    digest.update(pack_checksum)
    yield pack_checksum
    yield digest.digest()


def _index_tables(oids: Sequence[Oid], crcs: Sequence[int], offsets: Sequence[int]) -> Iterator[bytes]:
    yield b"\377tOc\0\0\0\2"
    yield _big_endian(array("I", [bisect_left(oids, bytes([first + 1])) for first in range(255)] + [len(oids)]))
    for start in range(0, len(oids), _OIDS_AT_ONCE):
        yield b"".join(oids[start : start + _OIDS_AT_ONCE])
    yield _big_endian(array("I", crcs))
    # Offsets that do not fit in 31 bits stand in a second table; the first then holds their number there.
    large = array("Q", (offset for offset in offsets if offset >= _BIG_OFFSET))
    numbers = iter(range(len(large)))
    yield _big_endian(array("I", (o if o < _BIG_OFFSET else _BIG_OFFSET | next(numbers) for o in offsets)))
    yield _big_endian(large)


def _big_endian(numbers: array[int]) -> bytes:
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers.tobytes()


def _pack_header(count: int) -> bytes:
    return b"PACK\0\0\0\2" + count.to_bytes(4, "big")


def _headers(kind: bytes, size: int) -> tuple[bytes, bytes]:
    """What stands before an object of this size: where it is hashed, and in the pack."""
    packed = bytearray()
    byte, rest = _CODES[kind] << 4 | size & 15, size >> 4
    while rest:
        packed.append(byte | 0x80)
        byte, rest = rest & 0x7F, rest >> 7
    packed.append(byte)
    return b"%b %d\0" % (kind, size), bytes(packed)
