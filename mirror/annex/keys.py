"""Keys: the names git-annex gives to contents.

A key of a backend whose name ends in `E` carries the extension of the file it was made for, so that a program which
is handed the content sees a name of the right kind. `BACKEND-sSIZE--DIGEST.EXT`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mirror.errors import RecordRefused

_LONGEST_PART = 4
"""bytes in one part of an extension"""
_MOST_PARTS = 2

_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
_MD5 = re.compile(r"[0-9a-f]{32}").fullmatch
_NOT_IN_EXTENSIONS = re.compile(r"[\x00-/:-@\[-`{-\x7f]").search
_KEY = re.compile(r"([A-Z0-9_]+)-s([0-9]+)(?:-[mSC][0-9]+)*--([^/\n.]+)((?:\.[^/\n]*)?)")


class ParsedKey(NamedTuple):
    """What a key says of its content."""

    backend: str
    size: int
    digest: str
    extension: str
    """with its dots, empty when there is none"""


def extension(name: str) -> str:
    """The extension that a key made for a file of this name (or path) carries: `.nii.gz`, `.nwb`, or none.

    From the end, parts between dots are taken as long as they are short; a part with anything but letters and digits
    is passed over; at most two are taken. What is outside ASCII counts as a letter.
    """
    _, dot, rest = name[name.rfind("/") + 1 :].lstrip(".").partition(".")
    if not dot:
        return ""
    if len(rest) <= _LONGEST_PART and rest.isascii() and rest.isalnum():
        return "." + rest
    return _composed(rest)


def _composed(rest: str) -> str:
    taken: list[str] = []
    for part in reversed(rest.split(".")):
        if len(part.encode()) > _LONGEST_PART or len(taken) == _MOST_PARTS:
            break
        if not _NOT_IN_EXTENSIONS(part):
            taken.append(part)
    return "".join(["." + part for part in reversed(taken) if part])


def sha256e_key(path: str, size: int, sha256: str) -> str:
    """The key of a file's content by its SHA-256, in lower case hex."""
    if not _SHA256(sha256):
        raise RecordRefused(f"{path!r} has a malformed SHA-256 digest, {sha256!r}")
    return f"SHA256E-s{size}--{sha256}{extension(path)}"


def md5e_key(path: str, size: int, md5: str) -> str:
    """The key of a file's content by its MD5, in lower case hex: what a bucket knows of the files of a Zarr."""
    if not _MD5(md5):
        raise RecordRefused(f"{path!r} has a malformed MD5 digest, {md5!r}")
    return f"MD5E-s{size}--{md5}{extension(path)}"


def parse_key(key: str) -> ParsedKey:
    """The parts of a key that states its size. ValueError where it is none.

    Other fields that git-annex knows (a modification time, a chunk) are passed over.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"not a git-annex key with a size: {key!r}")
    backend, size, digest, ending = match.groups()
    return ParsedKey(backend, int(size), digest, ending)
