"""How objects stand in a pack: the few bytes before each of them, and those before and behind all. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mirror.git.objects import BLOB, COMMIT, TAG, TREE

OFS_DELTA: Final = b"ofs-delta"
"""An object stored as what makes it out of another one, that stands so many bytes before it."""
REF_DELTA: Final = b"ref-delta"
"""The same, with the name of the other one."""

_CODES: Final = {COMMIT: 1, TREE: 2, BLOB: 3, TAG: 4, OFS_DELTA: 6, REF_DELTA: 7}
KINDS: Final = {code: kind for kind, code in _CODES.items()}

CHECKSUM_SIZE: Final = 20
"""A pack ends with the SHA-1 of all before it."""

LONGEST_HEADER: Final = 40
"""Nothing that stands before an object is longer: its kind and size, and where its base is."""

_MAGIC: Final = b"PACK\0\0\0\2"
PACK_HEADER_SIZE: Final = len(_MAGIC) + 4


def pack_header(count: int) -> bytes:
    """What stands before so many objects."""
    return _MAGIC + count.to_bytes(4, "big")


def decode_pack_header(header: bytes) -> int:
    """How many objects follow."""
    if len(header) != PACK_HEADER_SIZE or not header.startswith(_MAGIC):
        raise ValueError("not a pack of git's version 2")
    return int.from_bytes(header[len(_MAGIC) :], "big")


def entry_header(kind: bytes, size: int) -> bytes:
    """What stands before an object, or a delta, of this size: four bits of it, then seven a byte, the lowest first."""
    packed = bytearray()
    byte, rest = _CODES[kind] << 4 | size & 15, size >> 4
    while rest:
        packed.append(byte | 0x80)
        byte, rest = rest & 0x7F, rest >> 7
    packed.append(byte)
    return bytes(packed)


def decode_entry_header(packed: Sequence[int]) -> tuple[bytes, int, int]:
    """Kind and size, and how many bytes said so. `ValueError`, or `IndexError` where it is cut short."""
    byte = packed[0]
    kind = KINDS.get(byte >> 4 & 7)
    if kind is None:
        raise ValueError(f"there is no kind of object with the number {byte >> 4 & 7}")
    size, shift, length = byte & 15, 4, 1
    while byte & 0x80:
        byte = packed[length]
        size |= (byte & 0x7F) << shift
        shift += 7
        length += 1
    return kind, size, length


def encode_distance(distance: int) -> bytes:
    """How far before a delta its base begins: seven bits a byte, the highest first, each further byte adding one."""
    encoded = bytearray((distance & 0x7F,))
    while distance := distance >> 7:
        distance -= 1
        encoded.append(distance & 0x7F | 0x80)
    encoded.reverse()
    return bytes(encoded)


def decode_distance(packed: Sequence[int]) -> tuple[int, int]:
    """The distance, and how many bytes said so. `IndexError` where it is cut short."""
    byte = packed[0]
    distance, length = byte & 0x7F, 1
    while byte & 0x80:
        byte = packed[length]
        distance = (distance + 1) << 7 | byte & 0x7F
        length += 1
    return distance, length
