"""How large the archive is, and how long its week takes."""

from __future__ import annotations

from dataclasses import dataclass

_SHORT = 3.0
"""Below so many minutes the pauses of the mirrors, and what starting a process takes, count for more than the size."""


@dataclass(frozen=True)
class Scale:
    """The size of a simulation. `seconds` is how long the week takes."""

    dandisets: int
    assets: int
    versions: int
    seconds: float
    changes: int
    publications: int
    storms: int
    outages: int
    kills: int
    """of each mirror"""
    fillings: int
    """how often the disk of one of the mirrors is full"""
    hangs: int
    """how often a server says nothing until the client gives up: each costs minutes"""
    patience: float
    """for so many seconds nothing may move in a mirror that is not in trouble"""


WHOLE = Scale(
    dandisets=2000,
    assets=600_000,
    versions=2000,
    seconds=1500,
    changes=1800,
    publications=250,
    storms=50,
    outages=4,
    kills=10,
    fillings=2,
    hangs=2,
    patience=300,
)


def of_minutes(minutes: float) -> Scale:
    """What fits into so many minutes on two cores: filling, first mirrors and the comparison among them."""
    if minutes <= _SHORT:
        return _short(minutes)
    dandisets = min(WHOLE.dandisets, round(100 * minutes))
    seconds = 60 * minutes * 0.4
    return Scale(
        dandisets=dandisets,
        assets=300 * dandisets,
        versions=dandisets,
        seconds=seconds,
        changes=round(1.2 * seconds),
        publications=round(seconds / 6),
        storms=round(seconds / 30),
        outages=max(1, round(seconds / 150)),
        kills=max(2, round(seconds / 60)),
        fillings=1,
        hangs=0,
        patience=180,
    )


def _short(minutes: float) -> Scale:
    seconds = 15 * minutes
    return Scale(
        dandisets=10,
        assets=400,
        versions=10,
        seconds=seconds,
        changes=round(40 * minutes),
        publications=round(5 * minutes),
        storms=3,
        outages=1,
        kills=1,
        fillings=1,
        hangs=0,
        patience=90,
    )
