"""The change feed, `public/changes.jsonl`: what moved in this mirror, a line each, for whoever follows it.

Only ever added to, in whole lines that are on the disk before anybody relies on them. What a crash left of a line at
its end is no line yet: readers pass over it, and the next writer cuts it off.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from mirror.git.files import PUBLIC_FILE, sync_folder

logger = logging.getLogger(__name__)

ANNEX_ONLY = "git-annex"
"""What stands for the version where only addresses or metadata of contents moved."""


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One step in the history of a Dandiset."""

    version: str
    """`draft`, a published version's name, or `git-annex` where only addresses or metadata of contents moved"""
    old: str | None
    """the commit before, in hex; None for the first"""
    new: str
    added: int
    modified: int
    removed: int
    renamed: int
    """went from one path and came at another with the same content; counted neither as removed nor as added"""
    assets: int
    """how many there are in `new`"""
    bytes: int
    """of all of them together"""
    bytes_changed: int
    """how many more bytes that is than in `old`"""


class Change(Move, frozen=True, kw_only=True):
    """A line of the feed."""

    serial: int
    """1, 2, 3 …, never given twice"""
    time: str
    """when this mirror announced it, in UTC"""
    dandiset: str
    annex: str | None = None
    """where the branch `git-annex` was then"""


_decode = msgspec.json.Decoder(Change).decode
_encode = msgspec.json.Encoder(order="sorted").encode


class Feed:
    """The feed, open for adding to it; made when it is not there. A context manager, for one process at a time.

    What lies before `start` is known to be whole lines.
    """

    def __init__(self, path: Path, start: int = 0) -> None:
        self.path = path
        self._descriptor = _open(path)
        if os.fstat(self._descriptor).st_size < start:
            start = 0  # it is another file now
        self.end = max((end for line, end in _whole_lines(path, start) if _is_of_a_feed(line)), default=start)
        """where the next line goes"""
        self._cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def append(self, changes: Iterable[Change]) -> None:
        """Add these lines. Once this returns they survive a power cut; if it fails, none of them is there."""
        self._cut()
        try:
            _write(self._descriptor, b"".join([_encode(change) + b"\n" for change in changes]), self.end)
            os.fsync(self._descriptor)
        except BaseException:
            self._cut()
            raise
        self.end = os.fstat(self._descriptor).st_size

    def _cut(self) -> None:
        """Take away what is no whole line."""
        if os.fstat(self._descriptor).st_size != self.end:
            os.ftruncate(self._descriptor, self.end)


def _open(path: Path) -> int:
    """For everybody to read, whatever the umask."""
    options = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(path, options, PUBLIC_FILE)
    os.fchmod(descriptor, PUBLIC_FILE)
    sync_folder(path.parent)
    return descriptor


def _write(descriptor: int, data: bytes, place: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, place)
        data, place = data[written:], place + written


class _OfAFeed(msgspec.Struct):
    """What a line of any format has: one of a later dandi-mirror is nothing to be cut off."""

    serial: int
    dandiset: str
    version: str
    new: str


_of_a_feed = msgspec.json.Decoder(_OfAFeed)


def _is_of_a_feed(line: bytes) -> bool:
    try:
        _of_a_feed.decode(line)
    except ValueError:
        return False
    return True


def read_changes(path: Path, start: int = 0) -> Iterator[tuple[int, Change]]:
    """The lines from this place in the file on, each with the place behind it; none where there is no file yet."""
    for line, end in _whole_lines(path, start):
        try:
            yield end, _decode(line)
        except ValueError:
            logger.warning("%s: the line before byte %d cannot be understood: %.80r", path, end, line)


def _whole_lines(path: Path, start: int) -> Iterator[tuple[bytes, int]]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            for line in file:
                if line.endswith(b"\n"):
                    start += len(line)
                    yield line, start
    except FileNotFoundError:
        return
