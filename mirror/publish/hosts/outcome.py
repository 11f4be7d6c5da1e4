"""What came of one host in one run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass
class HostOutcome:
    """Filled as the run goes on."""

    host: str
    pushed: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    up_to_date: int = 0
    """repositories of which nothing had moved"""
    releases: int = 0
    """releases made"""
    opened: list[str] = field(default_factory=list)
    """made public, now that their embargo is over"""
    hidden: list[str] = field(default_factory=list)
    """made private, as they were embargoed again"""
    embargoed: list[str] = field(default_factory=list)
    """left out, as this host takes no private repositories"""
    failures: dict[str, str] = field(default_factory=dict)
    """name, and what went wrong"""
    held_back: dict[str, str] = field(default_factory=dict)
    """name, and what it points into that is not there"""
    stopped: str | None = None
    """why the host was left, if it was: out of reach, no token, rate limited"""

    @property
    def ok(self) -> bool:
        return not (self.failures or self.held_back or self.stopped)


class Watcher(Protocol):
    """Is told as it goes."""

    def working(self, host: str, name: str) -> None:
        """There is something to be done for this repository at this host."""

    def done(self, outcome: HostOutcome) -> None:
        """That was all of this host."""
