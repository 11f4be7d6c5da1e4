"""What is to happen when, in a week pressed into seconds. Pure: the same seed gives the same week."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from simulation.scale import Scale

Kind = Literal["storm", "outage", "hang", "kill", "full"]

STORMY = ("503", "429", "504", "reset", "slow", "truncated", "html", "nonsense")
"""Faults that a server may have at any time, for moments."""
DRIZZLE = 0.003
"""Of all requests, so many are struck by each of them even in fine weather,"""
MIST = 0.0003
"""and so many while there is nothing yet: first mirrors ask a hundred times as often."""
_OUT = ("503", "reset", "html", "504")
_TROUBLED_UNTIL = 0.85
"""After this share of the week there is no more trouble: so it can be seen how things go on after it."""
_KILLED_UNTIL = 0.4
"""Nor are daemons killed after this share of it: what one takes of memory is to be seen over a long life."""


@dataclass(frozen=True)
class Event:
    """Something that happens so many seconds into the week."""

    at: float
    kind: Kind
    seconds: float = 0.0
    """how long it lasts"""
    what: str = ""
    """the fault, or the mirror"""
    share: float = 0.0
    """of the requests it strikes"""
    alone: bool = False
    """whether what the killed mirror had started lives on"""

    @property
    def until(self) -> float:
        return self.at + self.seconds

    def lasts_at(self, when: float) -> bool:
        return self.at <= when < self.until


@dataclass(frozen=True)
class Plan:
    """Events by their time, and the times at which contributors change something."""

    events: tuple[Event, ...]
    changes: tuple[float, ...]
    publications: tuple[float, ...]


def drawn(scale: Scale, seed: int) -> Plan:
    """The week of this seed."""
    chance = random.Random(f"{seed} plan")
    week = scale.seconds
    events = [
        *(_storm(chance, week) for _ in range(scale.storms)),
        *(_outage(chance, week, number, scale.outages) for number in range(scale.outages)),
        *(Event(chance.uniform(0.1, 0.6) * week, "hang") for _ in range(scale.hangs)),
        *(_kill(chance, week, name) for name in ("daemon", "timer") for _ in range(scale.kills)),
        *(_full(chance, week) for _ in range(scale.fillings)),
    ]
    return Plan(
        events=tuple(sorted(events, key=lambda event: event.at)),
        changes=_times(chance, scale.changes, week),
        publications=_times(chance, scale.publications, week),
    )


def _times(chance: random.Random, count: int, week: float) -> tuple[float, ...]:
    return tuple(sorted(chance.uniform(0, week) for _ in range(count)))


def _storm(chance: random.Random, week: float) -> Event:
    seconds = min(chance.uniform(3, 12), 0.15 * week)
    at = chance.uniform(0, _TROUBLED_UNTIL * week - seconds)
    return Event(at, "storm", seconds, chance.choice(STORMY), chance.uniform(0.04, 0.2))


def _outage(chance: random.Random, week: float, number: int, count: int) -> Event:
    """One in each part of the week, so that there is time to recover between two."""
    seconds = min(chance.uniform(8, 30), 0.15 * week)
    part = _TROUBLED_UNTIL * week / count
    at = number * part + chance.uniform(0, max(0.0, part - seconds))
    return Event(at, "outage", seconds, chance.choice(_OUT), 1.0)


def _kill(chance: random.Random, week: float, name: str) -> Event:
    latest = _KILLED_UNTIL if name == "daemon" else _TROUBLED_UNTIL
    return Event(chance.uniform(0, latest) * week, "kill", what=name, alone=chance.random() < 0.25)


def _full(chance: random.Random, week: float) -> Event:
    seconds = min(chance.uniform(8, 25), 0.15 * week)
    return Event(chance.uniform(0.1 * week, _TROUBLED_UNTIL * week - seconds), "full", seconds, "timer")
