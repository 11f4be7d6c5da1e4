"""How long each change takes to be in each mirror, and whether anything moves at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from crashtest.looking import refs
from mirror.store.store import Store
from simulation.contributors import Change
from simulation.mirrors import Mirror

MEDIAN_ROUNDS, MOST_ROUNDS = 2, 8
"""A change that no trouble came between is there within so many rounds: one in two, and every one."""
MEDIAN_SECONDS, MOST_SECONDS = 20.0, 120.0
"""And within so many seconds."""

ENOUGH_OF, MANY = 0.1, 50
"""Of so many changes and more at least this share must be out of trouble, or nothing is said by all this."""


class Stuck(Exception):
    """Nothing moved in a mirror for too long: a dead lock."""


@dataclass(frozen=True)
class Lag:
    """How long a change took to be in a mirror."""

    change: Change
    since: float
    until: float

    @property
    def seconds(self) -> float:
        return self.until - self.since


@dataclass
class Trouble:
    """A time in which a mirror cannot be expected to follow: an outage, a full disk, a kill."""

    since: float
    until: float


@dataclass
class Following:
    """What one mirror has yet to see, and how long it took for what it saw."""

    mirror: Mirror
    patience: float
    lags: list[Lag] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    _awaited: dict[str, list[tuple[float, Change]]] = field(default_factory=dict)
    _progress: tuple[object, ...] = ()
    _moved: float = field(default_factory=time.time)

    def noted(self, change: Change) -> None:
        """This has just happened in the archive."""
        self._awaited.setdefault(change.identifier, []).append((time.time(), change))

    @property
    def awaited(self) -> int:
        return sum(map(len, self._awaited.values()))

    def look(self) -> None:
        """See what arrived; `Stuck` when nothing moved for longer than is to be borne."""
        self.mirror.look()
        now = time.time()
        if (store := self.mirror.store()) is not None:
            for identifier in list(self._awaited):
                self._look_at(store, identifier, now)
        progress = self.mirror.progress()
        if progress != self._progress or any(one.since <= now <= one.until for one in self.troubles):
            self._progress, self._moved = progress, now
        if now - self._moved > self.patience:
            raise Stuck(f"{self.mirror.name}: nothing moved for {now - self._moved:.0f} s: {self.mirror.said()}")

    def _look_at(self, store: Store, identifier: str, now: float) -> None:
        awaited = self._awaited[identifier]
        seen = store.state(identifier).draft_modified or ""
        tags = refs(store.repository(identifier).path) if any(one.version for _, one in awaited) else {}
        left = []
        for since, change in awaited:
            there = f"refs/tags/{change.version}" in tags if change.version else seen >= change.modified
            if there:
                self.lags.append(Lag(change, since, now))
            else:
                left.append((since, change))
        if left:
            self._awaited[identifier] = left
        else:
            del self._awaited[identifier]

    def rounds(self, lag: Lag) -> int:
        """How many rounds began from a change until it was there."""
        return self.mirror.rounds_within(lag.since, lag.until)

    def undisturbed(self) -> list[Lag]:
        """Those of changes that no trouble came between, nor what it took to recover from it."""
        spans = [(one.since, self.mirror.round_after(one.until)) for one in self.troubles]
        return [lag for lag in self.lags if not any(lag.since <= end and begin <= lag.until for begin, end in spans)]

    def complaints(self) -> Iterator[str]:
        """What took longer than it may."""
        lags = self.undisturbed()
        if len(lags) < ENOUGH_OF * len(self.lags) and len(self.lags) >= MANY:
            yield f"{self.mirror.name}: only {len(lags)} of {len(self.lags)} changes were out of trouble: too few"
        if not lags:
            return
        seconds, rounds = [one.seconds for one in lags], [self.rounds(one) for one in lags]
        if median(rounds) > MEDIAN_ROUNDS or median(seconds) > MEDIAN_SECONDS:
            yield f"{self.mirror.name}: one change in two took {median(rounds)} rounds, {median(seconds):.0f} s or more"
        for lag, number in zip(lags, rounds, strict=True):
            if number > MOST_ROUNDS or lag.seconds > MOST_SECONDS:
                yield f"{self.mirror.name}: {lag.change} took {number} rounds, {lag.seconds:.0f} s"
