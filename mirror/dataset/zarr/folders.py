"""The files of a Zarr, folder by folder.

A file is a line: its name, MD5, size, S3 version id and time of writing, between tabs. Names are quoted as in an
address, so no name can break a line, and an address is made of them by putting them together. What was listed and what
is read back from a manifest are the same lines, and to compare a folder with what was known of it is to compare bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import NamedTuple, Protocol
from urllib.parse import quote, unquote, unquote_to_bytes

from mirror.errors import PathRefused, RecordRefused

Row = list[bytes]
"""A file's line, split: name (quoted), MD5, size, version id (quoted; empty: none), time."""

_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch
_MD5 = re.compile(r"[0-9a-f]{32}").fullmatch
_TIME = re.compile(r"[0-9TZ:.+-]+").fullmatch
_NOT_NAMES = frozenset({"", ".", ".."})
_SPLIT_AT_ONCE = 1 << 18
_TEXTS_AT_ONCE = 1000


class Listed(Protocol):
    """What a bucket says of an object."""

    @property
    def key(self) -> str: ...
    @property
    def version_id(self) -> str | None: ...
    @property
    def etag(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def last_modified(self) -> str: ...


class Folder(NamedTuple):
    """A folder of a Zarr and the files right in it."""

    path: bytes
    """quoted; nothing for the Zarr itself, else without slash at its end"""
    lines: bytes
    """a line each file, in the byte order of their true names, with newlines between them"""

    def rows(self) -> Iterator[Row]:
        """The files. Few of them at a time are in memory: there are folders of a million."""
        return (line.split(b"\t") for line in self.each_line())

    def each_line(self) -> Iterator[bytes]:
        lines = self.lines
        start, size = 0, len(lines)
        while start < size:
            end = lines.rfind(b"\n", start, start + _SPLIT_AT_ONCE) if size - start > _SPLIT_AT_ONCE else size
            if end < 0:
                end = lines.find(b"\n", start)
                end = end if end >= 0 else size
            yield from lines[start:end].split(b"\n")
            start = end + 1

    @property
    def order(self) -> bytes:
        """Folders come in the order of this: each after those in it, and else as the bucket lists them."""
        return order_of(self.path)


def true_order(quoted: bytes) -> bytes:
    """What names are ordered by: the bytes of the true name."""
    return unquote_to_bytes(quoted) if b"%" in quoted else quoted


def order_of(path: bytes) -> bytes:
    """What folders are ordered by, of the quoted path of one."""
    true = true_order(path)
    return true + b"/\xff" if true else b"\xff"  # after everything below it: no UTF-8 has that byte


class _Open:
    """A folder of which files are still to come."""

    __slots__ = ("folders", "lines", "path", "texts")

    def __init__(self, path: str) -> None:
        self.path = path
        """true; with a slash at its end, but for the Zarr itself"""
        self.texts: list[str] = []
        self.lines = BytesIO()
        """the texts of before, encoded: that takes a third of the memory"""
        self.folders: set[str] = set()

    def pack(self) -> None:
        if self.texts:
            if self.lines.tell():
                self.lines.write(b"\n")
            self.lines.write("\n".join(self.texts).encode())
            self.texts.clear()

    def closed(self) -> Folder:
        self.pack()
        folder = Folder(quote(self.path.removesuffix("/")).encode(), self.lines.getvalue())
        if self.folders:
            for name, *_ in folder.rows():
                if (true := unquote(name.decode())) in self.folders:
                    raise PathRefused(f"{self.path}{true} is a file where other files need a folder")
        return folder


def folders_of(pages: Iterable[Iterable[Listed]], prefix: str) -> Iterator[Folder]:
    """The folders of the Zarr whose files a bucket lists under `prefix`, in the byte order of their keys.

    The last is the Zarr itself, even if it is empty. PathRefused where no tree can hold a path.
    """
    way = [_Open("")]  # from the top to the folder of the current file
    start, current, texts, modified = len(prefix), "", way[0].texts, None
    for page in pages:
        if len(texts) > _TEXTS_AT_ONCE:
            way[-1].pack()
        for seen in page:
            key = seen.key
            cut = key.rfind("/", start) + 1 or start
            if key[start:cut] != current:
                current = key[start:cut]
                yield from _enter(way, current)
                texts = way[-1].texts
            name = key[cut:]
            if not _PLAIN(name) or name in _NOT_NAMES:
                name = _quoted_name(current, name)
            if not _MD5(seen.etag):
                raise RecordRefused(f"{seen.key!r} has no MD5 for an ETag, but {seen.etag!r}")
            version = seen.version_id or ""
            if not _PLAIN(version):
                version = quote(version, safe="")
            if seen.last_modified != modified and not _TIME(modified := seen.last_modified):
                raise RecordRefused(f"{seen.key!r} was written at {modified!r}, which is no time")
            texts.append(f"{name}\t{seen.etag}\t{seen.size}\t{version}\t{modified}")
    while way:
        yield way.pop().closed()


def _enter(way: list[_Open], path: str) -> Iterator[Folder]:
    """Open a folder (its path ends in a slash, but for the top); those that it is not in are complete."""
    while not path.startswith(way[-1].path):
        yield way.pop().closed()
    above = way[-1].path
    for name in path[len(above) : -1].split("/") if path != above else ():
        _check_name(above, name)
        way[-1].folders.add(name)
        above = f"{above}{name}/"
        way.append(_Open(above))


def _quoted_name(folder: str, name: str) -> str:
    _check_name(folder, name)
    return quote(name, safe="")


def _check_name(folder: str, name: str) -> None:
    if name in _NOT_NAMES or "\0" in name:
        raise PathRefused(f"no tree can hold the path {folder + name!r}")
