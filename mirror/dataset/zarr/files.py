"""What a file of a Zarr becomes: a git-annex key, a link in the tree, addresses on the git-annex branch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from mirror.annex import keys
from mirror.dataset.names import tree_name
from mirror.dataset.zarr.folders import Row

ADDRESSES_OF = 16
"""The same bytes at several paths are one key, with the addresses of so many of these; production has one of 8,680."""


# Names like `12.34.56`, of which a Zarr may have a million: parts of what an extension may have, at most two of them.
_SHORT_PARTS = re.compile(rb"[^.%]+(?:\.[A-Za-z0-9]{1,4})*?((?:\.[A-Za-z0-9]{1,4}){1,2})").fullmatch


def extension(name: bytes) -> bytes:
    """The extension that the key of a file with this (quoted) name carries."""
    if b"." not in name:
        return b""
    found = _SHORT_PARTS(name)
    return found[1] if found is not None else _other_extension(name)


@lru_cache(maxsize=1 << 12)
def _other_extension(name: bytes) -> bytes:
    return keys.extension(true_name(name)).encode()


def key_of(row: Row) -> bytes:
    """The key of a file's content; its name may be a path."""
    name, digest, size = row[:3]
    return md5e_key(name[name.rfind(b"/") + 1 :], digest, size)


def md5e_key(name: bytes, digest: bytes, size: bytes) -> bytes:
    """The same of a file with this name. Its digest was checked when it was listed."""
    return b"MD5E-s%b--%b%b" % (size, digest, extension(name))


def true_name(quoted: bytes) -> str:
    return unquote(quoted.decode(), errors="strict")


@lru_cache(maxsize=1 << 16)
def name_in_tree(quoted: bytes, *, at_top: bool) -> bytes:
    """A name as it stands in a tree, where some are escaped."""
    return tree_name(true_name(quoted), at_top=at_top)


def path_in_tree(quoted: bytes) -> bytes:
    """A path as it stands in a tree."""
    return b"/".join([name_in_tree(name, at_top=number == 0) for number, name in enumerate(quoted.split(b"/"))])


@dataclass(frozen=True)
class Addresses:
    """Where the files of one Zarr are to be had."""

    bucket: str | None
    """the address of the Zarr in its bucket, with a slash at its end; none is given to those under embargo"""
    api: str
    """the archive's API, without one"""
    zarr_id: str

    @property
    def before_path(self) -> bytes:
        """What stands before a path in the address of its download from the API."""
        return f"{self.api}/zarr/{self.zarr_id}/files/?prefix=".encode()

    def of(self, path: bytes, version_id: bytes) -> tuple[bytes, ...]:
        """The addresses of a file (by its quoted path): at the API, in the bucket."""
        at_api = b"%b%b&download=true" % (self.before_path, path)
        if self.bucket is None:
            return (at_api,)
        version = b"?versionId=" + version_id if version_id else b""
        return at_api, b"%b%b%b" % (self.bucket.encode(), path, version)

    def of_all(self, files: Iterable[tuple[bytes, bytes]]) -> tuple[str, ...]:
        """The addresses of several files, given by path and version id."""
        return tuple(address.decode() for path, version in files for address in self.of(path, version))
