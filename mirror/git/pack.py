"""Writing objects into a pack, in process.

A pack and its index are the fastest way to get many objects into a repository: no process, no file per object, no
delta search (`Repository.repack` does that later). Whatever happens, the repository sees either nothing or the
finished pack.
"""

from __future__ import annotations

import io
import os
import struct
import tempfile
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha1
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from zlib import adler32

from isal import isal_zlib

from mirror.git.files import sync_folder
from mirror.git.objects import BLOB, COMMIT, TAG, TREE, Oid
from mirror.git.pack_format import KINDS, OFS_DELTA, decode_entry_header, encode_distance, entry_header, pack_header
from mirror.git.pack_index import PackIndex

TEMPORARY_PREFIX: Final = "tmp_pack_mirror_"
"""Names of unfinished packs begin so: git ignores `tmp_*`, its own housekeeping removes them, and we know ours."""

PACK_MODE: Final = 0o444

# On 850 kB of text isal's level 1 takes 1.3 ms and gives 0.31 of the size; zlib's level 6 takes 13.7 ms for 0.32.
_LEVEL: Final = 1

# Git takes no shorter one: what makes an empty object, for one.
_SHORTEST_DELTA: Final = 4

# What is small is mostly digits of digests, which hardly deflate, and there are millions of it: blobs of a few hundred
# bytes, trees of one or two entries. Stored as it is, it takes 2 µs with all that belongs to it; deflated, 4 to 6 µs
# more, and two thirds of the disk. (Level 0 makes it longer: its Huffman table alone takes 100 bytes.) Trees of many
# entries are few, and their entries have more in common.
_SMALL: Final = {BLOB: 1024, TREE: 512, COMMIT: 1024, TAG: 1024, OFS_DELTA: 1024}

# Little enough that the buffer's memory never goes back to the system and has to be asked for again: with 1 MiB, that
# alone takes half a microsecond an object once the index is large.
_WRITE_AT: Final = 1 << 16

_HASH_AT_ONCE: Final = 1 << 20
_READ_AT_ONCE: Final = 1 << 12

_compress = isal_zlib.compress
_crc32 = isal_zlib.crc32


class PackWriter:
    """A pack in the making, in the `objects/pack` folder where it will stay.

    Of each object it keeps 34 bytes, and some 150 more if it can be found again: those of `add`, not those of
    `add_new`. With `deflate_small`, small objects are deflated, too: that takes longer, and less disk. Not for use by
    several threads. Leaving the `with` block without `finish` leaves nothing behind.
    """

    def __init__(self, folder: Path, *, deflate_small: bool = False) -> None:
        self.folder = folder
        self._deflate_small = deflate_small
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=folder)
        self._path = Path(name)
        self._file = io.FileIO(descriptor, "r+")
        self._buffer = bytearray(pack_header(0))
        self._flushed = 0
        self._index = PackIndex()
        self._note: Callable[[Oid, int, int], None] = self._index.add
        self._offsets: dict[Oid, int] = {}
        self._bases: dict[Oid, tuple[bytes, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.discard()

    def __contains__(self, oid: object) -> bool:
        return oid in self._offsets

    def __len__(self) -> int:
        return len(self._index)

    @property
    def size(self) -> int:
        """Bytes of the pack so far."""
        return self._flushed + len(self._buffer)

    def add_blob(self, body: bytes) -> Oid:
        return self.add(BLOB, body)

    def add(self, kind: bytes, body: bytes) -> Oid:
        """Put an object into the pack, unless it is there already, and return its name."""
        hashed, header, stored = _headers(kind, len(body))
        oid = sha1(hashed + body, usedforsecurity=False).digest()
        if oid not in self._offsets:
            if oid in self._bases:
                return oid  # it is here as a delta
            self._offsets[oid] = self._put(oid, header, stored, body)
        return oid

    def add_new(self, kind: bytes, body: bytes) -> Oid:
        """Put an object into the pack that is not there yet and will not be asked for here; return its name.

        Nothing is remembered of it but its line of the index: `in` and `read` do not know it. That it is new is the
        caller's promise, and `finish` fails if it was broken.
        """
        hashed, header, stored = _headers(kind, len(body))
        oid = sha1(hashed + body, usedforsecurity=False).digest()
        self._put(oid, header, stored, body)
        return oid

    def add_new_delta(self, base: Oid, delta: bytes, body: bytes) -> Oid:
        """As `add_new`, for an object of the kind of `base` that is stored as what makes it out of that one.

        `base` was put into this pack by `add`. That `delta` gives this body is the caller's promise: it is not tried.
        """
        kind, offset = self._bases.get(base) or self._base(base)
        hashed, _, _ = _headers(kind, len(body))
        oid = sha1(hashed + body, usedforsecurity=False).digest()
        _, header, stored = _headers(OFS_DELTA, len(delta))
        self._put(oid, header + encode_distance(self.size - offset), stored, delta)
        return oid

    def add_delta(self, base: Oid, delta: bytes, body: bytes) -> Oid:
        """As `add_new_delta`, unless the object is there already; it may be the base of further ones, but not be read.

        How long such a chain grows is the caller's concern: whoever reads the last of it reads them all.
        """
        kind, offset = self._bases.get(base) or self._base(base)
        if len(delta) < _SHORTEST_DELTA:
            return self.add(kind, body)
        hashed, _, _ = _headers(kind, len(body))
        oid = sha1(hashed + body, usedforsecurity=False).digest()
        if oid not in self._bases and oid not in self._offsets:
            _, header, stored = _headers(OFS_DELTA, len(delta))
            self._bases[oid] = kind, self._put(oid, header + encode_distance(self.size - offset), stored, delta)
        return oid

    def _base(self, oid: Oid) -> tuple[bytes, int]:
        found = self._bases[oid] = self.kind_of(oid), self._offsets[oid]
        return found

    def _put(self, oid: Oid, header: bytes, stored: bytes, body: bytes) -> int:
        """Append an object; where it stands."""
        if stored and not self._deflate_small:
            packed = b"".join((header, stored, body, adler32(body).to_bytes(4, "big")))
        else:
            packed = header + _compress(body, _LEVEL)
        buffer = self._buffer
        offset = self._flushed + len(buffer)
        self._note(oid, _crc32(packed), offset)
        buffer += packed
        if len(buffer) > _WRITE_AT:
            self._flush()
        return offset

    def kind_of(self, oid: Oid) -> bytes:
        """The kind of an object that `add` put into this pack; `KeyError` when it did not."""
        return KINDS[self._bytes(self._offsets[oid], 1)[0] >> 4 & 7]

    def read(self, oid: Oid) -> tuple[bytes, bytes]:
        """Kind and content of an object that `add` put into this pack; `KeyError` when it did not."""
        at = self._offsets[oid]
        packed = self._bytes(at, _READ_AT_ONCE)
        at += len(packed)
        stream = isal_zlib.decompressobj()
        kind, _, header_size = decode_entry_header(packed)
        parts = [stream.decompress(packed[header_size:])]
        while not stream.eof:
            more = self._bytes(at, _READ_AT_ONCE)
            if not more:
                raise OSError(f"{self._path} is cut short: object {oid.hex()} is not all there")
            at += len(more)
            parts.append(stream.decompress(more))
        return kind, b"".join(parts)

    def _bytes(self, start: int, count: int) -> bytes:
        """What stands there. No object is partly on disk, so this begins with all of it, or with as much of it."""
        if start >= self._flushed:
            start -= self._flushed
            return bytes(self._buffer[start : start + count])
        return os.pread(self._file.fileno(), count, start)

    def _flush(self) -> None:
        view = memoryview(self._buffer)
        while view:
            written = self._file.write(view)
            view = view[written:]
            self._flushed += written
        self._buffer = bytearray()

    def finish(self) -> str | None:
        """Make the pack part of the repository, durably. Its name, `pack-…`; None when nothing was added."""
        if not self._index:
            self.discard()
            return None
        self._close()
        self._index.sort()
        self._flush()
        os.pwrite(self._file.fileno(), pack_header(len(self)), 0)
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
            self._path.rename(self.folder / f"{name}.pack")
            index.rename(self.folder / f"{name}.idx")
        except BaseException:
            index.unlink(missing_ok=True)
            if not (self.folder / f"{name}.idx").exists():
                (self.folder / f"{name}.pack").unlink(missing_ok=True)
            raise
        sync_folder(self.folder)
        return name

    def _checksum(self) -> bytes:
        """SHA-1 of the whole file: the header at its front was known last, so it is read once more."""
        self._file.seek(0)
        digest = sha1(usedforsecurity=False)
        chunk = bytearray(_HASH_AT_ONCE)
        with memoryview(chunk) as view:
            while count := self._file.readinto(view):
                digest.update(view[:count])
        return digest.digest()

    def _write_index(self, path: Path, checksum: bytes) -> None:
        with path.open("xb") as file:
            os.fchmod(file.fileno(), PACK_MODE)
            for part in self._index.parts(checksum):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())

    def discard(self) -> None:
        """Drop what is not finished. Does nothing after `finish`."""
        try:
            self._file.close()  # network file systems may tell only now that there was no room
        finally:
            self._path.unlink(missing_ok=True)
        self._close()
        self._index = PackIndex()
        self._buffer = bytearray()

    def _close(self) -> None:
        """From now on, nothing is found here and nothing can be added."""
        self._offsets, self._bases = {}, {}
        self._note = _refuse


def _refuse(*_: object) -> None:
    raise ValueError("this pack is finished")


@lru_cache(maxsize=4096)
def _headers(kind: bytes, size: int) -> tuple[bytes, bytes, bytes]:
    """What stands before an object of this size: where it is hashed, in the pack, and in zlib's format.

    The last is empty for what is not small: that is deflated. What is small is stored in a single block, whose header
    is two bytes of zlib, "last block, stored", and the length twice.
    """
    stored = b"\x78\x01\x01" + struct.pack("<HH", size, size ^ 0xFFFF) if size < _SMALL[kind] else b""
    return b"%b %d\0" % (kind, size), entry_header(kind, size), stored
