"""What processes take of memory, and whether that grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from crashtest.killing import living

GROWTH = 1.10
"""The median of the last third of a life may be so many times that of the second third,"""
SLACK_MIB = 8.0
"""and so much more."""
FEWEST = 15
"""Of fewer samples nothing can be said."""


@dataclass
class Life:
    """One process, from its start to its end: what it took of memory, in MiB, sampled at even times."""

    pid: int
    own: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    """with all that it started"""

    def sample(self) -> None:
        parts = {pid: resident(pid) for pid in living(self.pid)}
        if parts.get(self.pid):
            self.own.append(parts[self.pid])
            self.whole.append(sum(parts.values()))


def resident(pid: int) -> float:
    """In MiB; 0 of a process that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    kib = next((line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")), "0")
    return int(kib) / 1024


@dataclass(frozen=True)
class Trend:
    """The medians of the second and the last third of a life."""

    second: float
    last: float

    @property
    def flat(self) -> bool:
        return self.last <= GROWTH * self.second + SLACK_MIB


def trend(samples: Sequence[float]) -> Trend | None:
    """None when there are too few: the first third is not looked at, for that is when caches fill."""
    if len(samples) < FEWEST:
        return None
    third = len(samples) // 3
    return Trend(median(samples[third : 2 * third]), median(samples[2 * third :]))
