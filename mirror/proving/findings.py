"""What proving finds, and who is told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mirror.store.ledger import Complaint, Level

Kind = Literal[
    "repository",  # git finds something missing or broken in it
    "published",  # what web servers hand out does not tell what is there
    "address",  # its alias does not lead to it
    "history",  # a tag, a commit or what it says of itself does not fit the others
    "tree",  # a tree and the records in it do not agree
    "logs",  # the git-annex branch does not tell where a content is
    "zarr",  # a Zarr is not there in the state that is named, or is not what its checksum says
    "differs",  # the archive gives another hash
    "behind",  # the archive has something newer
    "non-current",  # the archive has it only as a version that is not today's
    "gone",  # the archive has it no more
    "changed",  # the archive has something else there
    "damaged",  # the bytes here are not what they should be
    "missing",  # they are said to be here and are not
    "unknown",  # no answer was had
]
HARMLESS: frozenset[Kind] = frozenset({"behind", "unknown"})


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be, or could not be told."""

    subject: str
    """the identifier of a Dandiset, or the id of a Zarr"""
    level: Level
    kind: Kind
    where: str
    """a path, a ref, a key"""
    message: str
    version: str | None = None
    key: str | None = None

    @property
    def severe(self) -> bool:
        return self.kind not in HARMLESS

    @property
    def complaint(self) -> Complaint:
        return Complaint(self.level, self.kind, self.where, self.message, self.severe)


@dataclass
class SubjectProved:
    """What came of proving one dataset at one level."""

    subject: str
    level: Level
    path: str
    private: bool = False
    checked: int = 0
    """files, addresses or contents that were looked at"""
    bytes: int = 0
    """of contents that were read"""
    counts: Counter[str] = field(default_factory=Counter)
    """findings, by kind"""
    trouble: str = ""
    """why it could not be gone through to its end"""
    unfinished: bool = False
    """it was stopped, and goes on from there"""

    @property
    def severe(self) -> int:
        return sum(count for kind, count in self.counts.items() if kind not in HARMLESS)

    @property
    def unknown(self) -> int:
        return self.counts["unknown"]


class Watcher(Protocol):
    """Is told, in the thread that proves."""

    def begun(self, subject: str, level: Level) -> None: ...
    def how_far(self, text: str) -> None: ...
    def found(self, finding: Finding) -> None: ...
    def proved(self, subject: SubjectProved) -> None: ...


class Nobody:
    """A watcher that does nothing."""

    def begun(self, subject: str, level: Level) -> None:
        pass

    def how_far(self, text: str) -> None:
        pass

    def found(self, finding: Finding) -> None:
        pass

    def proved(self, subject: SubjectProved) -> None:
        pass


MOST_TOLD = 1000
"""So many findings of one dataset at one level, severe ones and others, are told one by one; the rest is counted."""


@dataclass
class Teller:
    """Counts the findings of one dataset at one level, tells the watcher, and keeps them for the ledger."""

    result: SubjectProved
    watcher: Watcher
    kept: list[Complaint] = field(default_factory=list)
    _told: Counter[bool] = field(default_factory=Counter)
    """how many were told of: of severe ones, and of others"""

    def find(
        self, kind: Kind, where: str, message: str, *, version: str | None = None, key: str | None = None
    ) -> Finding:
        finding = Finding(self.result.subject, self.result.level, kind, where, message, version, key)
        self.result.counts[kind] += 1
        if self._told[finding.severe] < MOST_TOLD:
            self._told[finding.severe] += 1
            self.kept.append(finding.complaint)
            self.watcher.found(finding)
        return finding


Stop = Callable[[], bool]


class Stopped(Exception):
    """Told to stop, between two steps."""
