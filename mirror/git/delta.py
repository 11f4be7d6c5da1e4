"""Git's delta format: an object as pieces of another one, its base, and what is new. Pure functions.

A delta is the two sizes and then instructions, one after the other: copy so much from there of the base, or insert
these bytes. What is common to the two the caller knows, or `between` looks for it in whole pieces: lines, or entries
of trees.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_MOST_COPIED: Final = 0x10000
"""What git itself copies at most in one instruction, and what one that gives no size copies."""

_MOST_INSERTED: Final = 127

_LEAST_COPIED: Final = 8
"""What an instruction to copy takes at most, and to insert what comes after it."""

# What stands before up to 127 new bytes; nothing before none, since a 0 there is reserved.
_INSERT: Final = [b"", *(bytes([size]) for size in range(1, _MOST_INSERTED + 1))]


@dataclass(frozen=True, slots=True)
class Copy:
    """A piece of the base."""

    offset: int
    size: int


def encode(base_size: int, parts: Iterable[Copy | bytes]) -> bytes:
    """The delta that makes an object of these pieces, one behind the other, out of a base of this size."""
    parts = list(parts)
    size = sum(part.size if isinstance(part, Copy) else len(part) for part in parts)
    instructions = (_copy(part) if isinstance(part, Copy) else _insert(part) for part in parts)
    return b"".join((_size(base_size), _size(size), *instructions))


def between(base: bytes, pieces: Iterable[bytes], new: Iterable[bytes]) -> list[Copy | bytes]:
    """How the object of the pieces `new` is made out of `base`, which is `pieces` one behind the other."""
    places, start = dict[bytes, int](), 0
    for piece in pieces:
        places.setdefault(piece, start)
        start += len(piece)
    parts: list[Copy | bytes] = []
    inserted: list[bytes] = []
    first, end = 0, 0  # what is being copied, at first nothing from the front; `end` < 0: nothing is
    for piece in new:
        # What goes on where the last one ended needs no further instruction.
        if end >= 0 and base.startswith(piece, end):
            end += len(piece)
            continue
        at = places.get(piece) if len(piece) >= _LEAST_COPIED else None
        if end > first:
            parts.append(Copy(first, end - first))
        elif inserted and at is not None:
            parts.append(b"".join(inserted))
            inserted.clear()
        if at is None:
            inserted.append(piece)
            end = -1
        else:
            first, end = at, at + len(piece)
    parts.append(Copy(first, end - first) if end > first else b"".join(inserted))
    return parts


def apply(base: bytes, delta: bytes) -> bytes:
    """The object that a delta makes out of its base. `ValueError` where it does not fit, or is none."""
    parts: list[bytes] = []
    try:
        base_size, at = _decode_size(delta, 0)
        missing, at = _decode_size(delta, at)
        if base_size != len(base):
            raise ValueError("a delta does not fit its base")
        while at < len(delta):
            part, at = _follow(base, delta, at)
            missing -= len(part)
            if missing < 0:  # before it is all put together: a few bytes can ask for any amount
                break
            parts.append(part)
    except IndexError:
        raise ValueError("a delta is cut short") from None
    if missing:
        raise ValueError("a delta makes an object of another size than it says")
    return b"".join(parts)


def _follow(base: bytes, delta: bytes, at: int) -> tuple[bytes, int]:
    """What the instruction that stands there gives, and where the next one stands."""
    code, at = delta[at], at + 1
    if not code:
        raise ValueError("a delta has an instruction that git reserves")
    if not code & 0x80:
        if at + code > len(delta):
            raise IndexError
        return delta[at : at + code], at + code
    offset = size = 0
    for bit in range(7):
        if code >> bit & 1:
            value, at = delta[at], at + 1
            if bit < 4:
                offset |= value << 8 * bit
            else:
                size |= value << 8 * (bit - 4)
    size = size or _MOST_COPIED
    if offset + size > len(base):
        raise ValueError("a delta copies what its base does not have")
    return base[offset : offset + size], at


def _decode_size(delta: bytes, at: int) -> tuple[int, int]:
    size = shift = 0
    while True:
        byte, at = delta[at], at + 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return size, at


class Template:
    """Objects that are alike but for a few places, as deltas of one of them. Made to be filled a million times.

    `texts` is what they have in common: what stands before the first place, between it and the second, and so on, up
    to what stands behind the last one. `base` is the object that has `values` in these places.
    """

    def __init__(self, texts: Sequence[bytes], values: Sequence[bytes]) -> None:
        if len(texts) != len(values) + 1:
            raise ValueError(f"{len(values)} values stand between {len(values) + 1} texts, not {len(texts)}")
        self._body = _alternate(texts, values)
        self.base: Final = b"".join(self._body)
        starts = [len(b"".join(self._body[: 2 * number])) for number in range(len(texts))]
        copies = [_copy(Copy(start, len(text))) for start, text in zip(starts, texts, strict=True)]
        # The sizes, then a copy after each value and what says how many bytes are new.
        self._delta = [b"", copies[0], *(part for copy in copies[1:] for part in (b"", b"", copy))]
        self._base_size = _size(len(self.base))

    def fill(self, values: Sequence[bytes]) -> tuple[bytes, bytes]:
        """The object that has these values in its places, and the delta that makes it out of `base`."""
        parts = self._body
        parts[1::2] = values
        body = b"".join(parts)
        delta = self._delta
        delta[0] = self._base_size + _size(len(body))
        try:
            delta[2::3] = [_INSERT[len(value)] for value in values]
            delta[3::3] = values
        except IndexError:  # a value too long for one instruction
            delta[2::3] = [b""] * len(values)
            delta[3::3] = [_insert(value) for value in values]
        return body, b"".join(delta)


def _alternate(texts: Sequence[bytes], values: Sequence[bytes]) -> list[bytes]:
    parts = [b""] * (len(texts) + len(values))
    parts[::2] = texts
    parts[1::2] = values
    return parts


@lru_cache(maxsize=4096)
def _size(size: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    encoded = bytearray()
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)


def _copy(part: Copy) -> bytes:
    end = part.offset + part.size
    starts = range(part.offset, end, _MOST_COPIED)
    return b"".join(_one_copy(start, min(end - start, _MOST_COPIED)) for start in starts)


def _one_copy(offset: int, size: int) -> bytes:
    """A first byte whose bits tell which bytes of offset and size follow: those that are not 0."""
    flags, said = 0x80, bytearray()
    for bit, byte in enumerate(offset.to_bytes(4, "little") + (size % _MOST_COPIED).to_bytes(2, "little")):
        if byte:
            flags |= 1 << bit
            said.append(byte)
    return bytes([flags]) + said


def _insert(new: bytes) -> bytes:
    pieces = (new[start : start + _MOST_INSERTED] for start in range(0, len(new), _MOST_INSERTED))
    return b"".join(_INSERT[len(piece)] + piece for piece in pieces)
