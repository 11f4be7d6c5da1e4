"""What was pushed to a host, and when: the one thing that is remembered of it.

`state/hosts/NAME.jsonl`: a line of the host, and a line for each repository; of several lines for one, the last
counts. What happens is appended and synced at once, so that a kill loses at most the push in flight, however many
repositories there are; a run that ends replaces the file by one without the older lines. Losing it costs pushes that
find everything there already.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from mirror.git.files import make_folders
from mirror.store.files import FILE_MODE, remove_temporaries, write_file
from mirror.store.state import Failure

_PRIVATE_MODE = 0o600


class Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="repository"):
    """One repository, as we left it on the host."""

    name: str
    refs: str = ""
    """the digest of the refs that were pushed"""
    pushed: str = ""
    """when"""
    settings: str = ""
    """the digest of description, homepage and visibility that the host was told"""
    default_branch: str = ""
    private: bool = False
    """nobody but its owner sees it there"""
    hidden_by_us: bool = False
    """we made it so: then we may open it, too"""
    closed: bool = False
    """a push was begun under embargo: its history there is not for everybody, also when the embargo has ended"""
    releases: tuple[str, ...] = ()
    """the tags that have a release"""
    released: str = ""
    """the digest of the refs of which all releases were made"""
    failure: Failure | None = None

    @property
    def is_there(self) -> bool:
        """Whether the host has anything of it, as far as we know."""
        return bool(self.refs or self.settings)


class HostMark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="host"):
    """The host itself."""

    place: str
    """where that was: marks of another place say nothing of this one"""
    until: str | None = None
    """do not ask before, it said"""
    failure: Failure | None = None


class Marks:
    """The marks of one host, for reading and, inside `with`, for writing."""

    def __init__(self, folder: Path, host: str, place: str, *, private: bool = False) -> None:
        """`private`: what is under embargo goes there, too, so nobody else may read of it."""
        self._path = folder / f"{host}.jsonl"
        self._mode = _PRIVATE_MODE if private else FILE_MODE
        self._descriptor: int | None = None
        self.host = HostMark(place=place)
        self._marks: dict[str, Mark] = {}
        self._superseded = False
        self.was_tried = False
        """whether there was a run before that had this host, at this place"""
        self._read()

    def _read(self) -> None:
        self._superseded = not self._path.exists()
        of_this_place = False
        for line in _lines(self._path):
            if isinstance(line, HostMark):
                of_this_place = line.place == self.host.place
                self.host = line if of_this_place else self.host
                self.was_tried |= of_this_place
            elif line is not None and of_this_place:
                self._superseded |= line.name in self._marks
                self._marks[line.name] = line
            self._superseded |= line is None or not of_this_place

    def __getitem__(self, name: str) -> Mark:
        return self._marks.get(name) or Mark(name=name)

    def any_pushed(self) -> bool:
        return any(mark.refs for mark in self._marks.values())

    def __enter__(self) -> Self:
        make_folders(self._path.parent)
        remove_temporaries(self._path.parent, self._path.name)
        self._fold()
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.fchmod(self._descriptor, self._mode)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._descriptor is not None
        os.close(self._descriptor)
        self._descriptor = None
        self._fold()

    def note(self, mark: Mark) -> Mark:
        """Remember this, durably."""
        if self._marks.get(mark.name) != mark:
            self._marks[mark.name] = mark
            self._append(mark)
        return mark

    def note_host(self, mark: HostMark) -> None:
        if mark != self.host:
            self.host = mark
            self._append(mark)

    def _append(self, mark: Mark | HostMark) -> None:
        assert self._descriptor is not None
        end, line = os.fstat(self._descriptor).st_size, msgspec.json.encode(mark) + b"\n"
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
            os.fsync(self._descriptor)
        except BaseException:
            # Half a line would spoil the next one.
            os.ftruncate(self._descriptor, end)
            raise
        self._superseded = True

    def _fold(self) -> None:
        """Replace the file by one that holds what counts, in order of names."""
        if self._superseded:
            marks: list[Mark | HostMark] = [self.host, *(mark for _, mark in sorted(self._marks.items()))]
            write_file(self._path, b"".join(msgspec.json.encode(mark) + b"\n" for mark in marks), self._mode)
            self._superseded = False


_DECODER: msgspec.json.Decoder[Mark | HostMark] = msgspec.json.Decoder(Mark | HostMark)


def _lines(path: Path) -> Iterator[Mark | HostMark | None]:
    """The lines of the file; None for one that makes no sense, as the last one of a killed run may."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        for line in path.read_bytes().splitlines():
            try:
                yield _DECODER.decode(line)
            except msgspec.DecodeError:
                yield None


def failed_again(before: Failure | None, kind: str, message: str, now: str) -> Failure:
    """The next failure after `before`, counted."""
    since, count = (before.since, before.count + 1) if before else (now, 1)
    return Failure(kind=kind, message=message, since=since, last=now, count=count)
