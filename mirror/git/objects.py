"""The objects of git as values: names, trees, commits and tags, to bytes and back.

What we write ourselves survives the round trip byte for byte. What others wrote (git-annex, a user) is decoded with
the headers we know; further ones, a signature for one, are dropped, so never re-encode somebody else's commit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha1
from typing import NamedTuple, Self

Oid = bytes
"""The name of an object: 20 raw bytes. `oid.hex()` is what people see."""

BLOB = b"blob"
TREE = b"tree"
COMMIT = b"commit"
TAG = b"tag"

MODE_FILE = b"100644"
MODE_EXEC = b"100755"
MODE_LINK = b"120000"
MODE_TREE = b"40000"
MODE_GITLINK = b"160000"

# Decoded trees share these few strings, so that large trees do not hold one per entry.
_MODES = {mode: mode for mode in (MODE_FILE, MODE_EXEC, MODE_LINK, MODE_TREE, MODE_GITLINK)}

OID_SIZE = 20
_LINE_SIZE = len(b" \0") + OID_SIZE
_tree_lines = re.compile(rb"([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL).findall
_new = tuple.__new__
_ZONE = re.compile(r"[+-]\d{4}", re.ASCII)
_SIGNATURE = re.compile(
    r"(?P<name>[^<]*?) ?<(?P<email>[^>]*)>(?: (?P<seconds>-?\d+))?(?: (?P<zone>[+-]\d{4}))?.*", re.S
)


class Entry(NamedTuple):
    """One line of a tree, without its name."""

    mode: bytes
    oid: Oid


def hash_object(kind: bytes, body: bytes) -> Oid:
    """The name git gives to this content."""
    return sha1(b"%b %d\0%b" % (kind, len(body), body), usedforsecurity=False).digest()


def encode_tree(entries: Mapping[bytes, Entry]) -> bytes:
    """A tree in git's order, in which a directory sorts as if its name ended in a slash."""
    ordered: list[tuple[bytes, Entry]]
    for mode, _ in entries.values():
        if mode == MODE_TREE:
            ordered = sorted(entries.items(), key=_tree_order)
            break
    else:
        # Without directories it is the order of the names, which is found in half the time.
        ordered = sorted(entries.items())
    return b"".join([b"%b %b\0%b" % (mode, name, oid) for name, (mode, oid) in ordered])


def _tree_order(item: tuple[bytes, Entry]) -> bytes:
    name, (mode, _) = item
    return name + b"/" if mode == MODE_TREE else name


def decode_tree(body: bytes) -> dict[bytes, Entry]:
    """The entries of a tree, in git's order."""
    lines = tree_lines(body)
    # Without the detour through `Entry.__new__`, in half the time: trees have millions of entries.
    return {name: _new(Entry, (_MODES.get(mode, mode), oid)) for mode, name, oid in lines}


def tree_lines(body: bytes) -> list[tuple[bytes, bytes, Oid]]:
    """Mode, name and object of each entry of a tree, as they come."""
    lines: list[tuple[bytes, bytes, Oid]] = _tree_lines(body)
    if sum([len(mode) + len(name) for mode, name, _ in lines]) + _LINE_SIZE * len(lines) != len(body):
        raise ValueError("a tree object is cut short")
    return lines


@dataclass(frozen=True, slots=True)
class Signature:
    """Who, and when."""

    name: str
    email: str
    seconds: int
    offset: str = "+0000"

    def encode(self) -> bytes:
        if any(char in text for text in (self.name, self.email) for char in "<>\n\0"):
            raise ValueError(f"git cannot hold this name or address: {self.name!r} {self.email!r}")
        if not _ZONE.fullmatch(self.offset):
            raise ValueError(f"not an offset from UTC such as +0000: {self.offset!r}")
        return _to_bytes(f"{self.name} <{self.email}> {self.seconds} {self.offset}")

    @classmethod
    def decode(cls, line: bytes) -> Self:
        match = _SIGNATURE.fullmatch(_to_text(line))
        if match is None:
            raise ValueError(f"not a name, an address and a time: {line!r}")
        return cls(match["name"], match["email"], int(match["seconds"] or 0), match["zone"] or "+0000")


@dataclass(frozen=True, slots=True)
class Commit:
    """A state of a tree, who made it, and from what."""

    tree: Oid
    parents: tuple[Oid, ...]
    author: Signature
    committer: Signature
    message: str

    def encode(self) -> bytes:
        lines = [b"tree " + self.tree.hex().encode()]
        lines += [b"parent " + parent.hex().encode() for parent in self.parents]
        lines += [b"author " + self.author.encode(), b"committer " + self.committer.encode()]
        return _with_message(lines, self.message)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        headers, message = _headers(body)
        return cls(
            tree=_oid(_only(headers, b"tree")),
            parents=tuple(_oid(value) for key, value in headers if key == b"parent"),
            author=Signature.decode(_only(headers, b"author")),
            committer=Signature.decode(_only(headers, b"committer")),
            message=message,
        )


@dataclass(frozen=True, slots=True)
class Tag:
    """An annotated tag."""

    target: Oid
    kind: bytes
    """what the target is: COMMIT, nearly always"""
    name: str
    tagger: Signature
    message: str

    def encode(self) -> bytes:
        if "\n" in self.name:
            raise ValueError(f"not a name for a tag: {self.name!r}")
        lines = [b"object " + self.target.hex().encode(), b"type " + self.kind]
        lines += [b"tag " + _to_bytes(self.name), b"tagger " + self.tagger.encode()]
        return _with_message(lines, self.message)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        headers, message = _headers(body)
        return cls(
            target=_oid(_only(headers, b"object")),
            kind=_only(headers, b"type"),
            name=_to_text(_only(headers, b"tag")),
            tagger=Signature.decode(_only(headers, b"tagger")),
            message=message,
        )


def _with_message(lines: list[bytes], message: str) -> bytes:
    if "\0" in message:
        raise ValueError("a message cannot hold a NUL character")
    return b"\n".join([*lines, b"", _to_bytes(message)])


def _headers(body: bytes) -> tuple[list[tuple[bytes, bytes]], str]:
    """The header lines, those with continuation lines (gpgsig, mergetag) cut to their first, and the message."""
    head, _, message = body.partition(b"\n\n")
    pairs = []
    for line in head.split(b"\n"):
        if not line.startswith(b" "):
            key, _, value = line.partition(b" ")
            pairs.append((key, value))
    return pairs, _to_text(message)


def _only(headers: list[tuple[bytes, bytes]], key: bytes) -> bytes:
    for found, value in headers:
        if found == key:
            return value
    raise ValueError(f"an object without its {key.decode()} line")


def _oid(text: bytes) -> Oid:
    oid = bytes.fromhex(text.decode("ascii"))
    if len(oid) != OID_SIZE:
        raise ValueError(f"not the name of an object: {text!r}")
    return oid


# Messages and names are UTF-8 here; what others wrote in another encoding comes back as the same bytes.
def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _to_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
