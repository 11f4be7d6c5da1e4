"""What a sync tells: how it went, and, while it runs, to those who watch it or go on with what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mirror.archive.http import Tally
from mirror.errors import MirrorError, NotFound, SomeFailed, Stopped
from mirror.store.state import DandisetState
from mirror.store.store import Store
from mirror.sync.poll import Poll
from mirror.sync.turn import Outcome, Result


@dataclass
class Report:
    """How a sync went."""

    outcomes: list[Outcome] = field(default_factory=list)
    still: int = 0
    """Dandisets of which the poll told that nothing moved"""
    resting: int = 0
    """those that failed, or were left open, and are not due yet to be tried again"""
    left: int = 0
    """those that had no turn, since the run was cut short"""
    cut_short: MirrorError | None = None
    """why it was: the archive is down, the disk is full, or somebody asked for it"""
    asked: Tally = field(default_factory=Tally)
    seconds: float = 0.0

    def count(self, *results: Result) -> int:
        return sum(outcome.result in results for outcome in self.outcomes)

    def check(self) -> None:
        """Raise if it was cut short for a reason, or if a Dandiset failed."""
        if self.cut_short is not None and not isinstance(self.cut_short, Stopped):
            raise self.cut_short
        if number := self.count("failed"):
            rest = len(self.outcomes) + self.still - number
            raise SomeFailed(
                f"{number} Dandiset{'s' if number > 1 else ''} failed, {rest} did not",
                hint=self._hint(),
            )

    def _hint(self) -> str:
        """What to do. Of a Dandiset that the archive does not have, nothing was noted that could be shown later."""
        failed = [outcome for outcome in self.outcomes if outcome.result == "failed"]
        if all(outcome.kind == NotFound.__name__ and not outcome.path for outcome in failed):
            return "the archive's site lists what it has; what is under embargo takes a token of someone entitled"
        return "`dandi-mirror status` shows why; the next sync tries again"


class Follower(Protocol):
    """Goes on with what a sync wrote, under the same lock."""

    def begin(self, store: Store) -> None: ...

    def moved(self, identifier: str) -> None:
        """A Dandiset's repository may have changed."""

    def end(self, states: Mapping[str, DandisetState]) -> None:
        """Every Dandiset had its turn; `states` are the marks of all of them."""


class Watcher(Protocol):
    """Is told how a sync gets on."""

    def asked(self, tally: Tally) -> None:
        """What was asked of the archive since this was last told: with each item that is done."""

    def polled(self, found: Poll) -> None: ...

    def begun(self, identifier: str) -> None:
        """Its turn begins. This and the next may come from another thread."""

    def working(self, identifier: str, how_far: str) -> None:
        """Something to show while a Dandiset is being worked on."""

    def done(self, outcome: Outcome) -> None: ...
