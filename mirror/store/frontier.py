"""Up to when the published versions of all selected Dandisets are known: what the last poll of them all told.

The chain of all releases goes no further than that: a version that comes to light later would have no place in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from mirror.dataset.times import moment
from mirror.errors import RecordRefused
from mirror.store.files import write_file

_T = TypeVar("_T")


class Frontier(msgspec.Struct, frozen=True):
    """What a poll of everything that is selected told."""

    asked: str
    """the archive's time, less what it takes for a version to appear: all versions made before are listed"""
    selection: str
    """what was selected then"""
    unknown: Mapping[str, str] = {}
    """Dandisets whose list of versions could not be read: up to when it is known"""
    absent: Mapping[str, str] = {}
    """those of them that the archive did not show at all, since when: they are not waited for for ever"""
    awaited: Mapping[str, Mapping[str, str]] = {}
    """versions that were missing, with the time of each: what the marks of each Dandiset say, too"""

    def __post_init__(self) -> None:
        for time in (self.asked, *self.unknown.values(), *self.absent.values()):
            moment(time)
        for versions in self.awaited.values():
            for time in versions.values():
                moment(time)


class PublishedMark(msgspec.Struct, frozen=True):
    """That the superdatasets have all that is mirrored. Lost, it costs a look at them."""

    of: str
    """the settings that they were made by, in short"""
    held_back: int
    """published versions that a chain of releases does not have yet"""
    waits_for: str | None = None
    """what it waits for, where it is more than the next poll"""


def read_frontier(path: Path) -> Frontier | None:
    """None when nothing was ever polled as a whole, or nobody can read what that told: the next poll tells again."""
    return _read(path, Frontier)


def read_published(path: Path) -> PublishedMark | None:
    """None when there is something left to be done."""
    return _read(path, PublishedMark)


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, ValueError, RecordRefused):
        return None


def write_mark(path: Path, mark: Frontier | PublishedMark) -> None:
    write_file(path, msgspec.json.format(msgspec.json.encode(mark), indent=1) + b"\n")
