"""Which Dandisets a recheck re-reads in full: a share of all, so that everyone's turn comes in time.

The share is chosen from the marks alone. What was read already counts, so that a recheck that was broken off goes on
where it was, and one that was missed is made up by those that follow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from mirror.dataset.times import moment
from mirror.errors import RecordRefused
from mirror.store.state import DandisetState

_DAY = 86_400.0
_MARGIN = 0.9
"""Quiet Dandisets are aimed at nine tenths of the time that they have: nights are missed."""
_BUSY = 0.5
"""Those that changed since they were last read are aimed at half of it."""
_LOOKED_BACK = 3
"""What so many times did more or less than they should is taken into account, one part in so many each time."""
_CLOCKS_DIFFER = timedelta(hours=1)
"""Later than so much from now, a mark was made by a clock that was wrong."""
_OF_EACH = 20
"""What each Dandiset costs besides its assets, in assets."""


@dataclass(frozen=True)
class _Candidate:
    identifier: str
    age: float
    """seconds since it was last read in full; infinite when nobody knows"""
    period: float
    """seconds in which it is aimed to be read again"""
    work: int
    failing: bool

    @property
    def urgency(self) -> float:
        return self.age / self.period


def due_for_recheck(
    states: Iterable[DandisetState], now: datetime, recheck_days: int, next_in_seconds: float
) -> list[str]:
    """The Dandisets to be re-read in full now, the most urgent first.

    Each is read again within `recheck_days`, whatever its timestamps say, if no recheck is missed; the next one begins
    in `next_in_seconds`. What is to be done is spread evenly, counted in assets.
    """
    longest = recheck_days * _DAY
    candidates = sorted(_candidates(states, now, longest), key=lambda one: (-one.urgency, one.identifier))
    share = _share(candidates, next_in_seconds)
    chosen, taken = [], 0.0
    for one in candidates:
        # A fifth more than until the next, which may be a little late, or get to it late.
        overdue_at_the_next = one.age + 1.2 * next_in_seconds >= longest
        if taken < share or (overdue_at_the_next and one.age < float("inf")):
            chosen.append(one.identifier)
            # One that fails is tried again and again, and must not keep the others from their turn.
            taken += 0 if one.failing else one.work
    return chosen


def _candidates(states: Iterable[DandisetState], now: datetime, longest: float) -> Iterable[_Candidate]:
    for state in states:
        if state.synced is None or state.vanished is not None or state.embargoed is not None:
            continue
        checked = _time(state.checked)
        if checked is not None and checked > now + _CLOCKS_DIFFER:
            checked = None
        age = float("inf") if checked is None else max(0.0, (now - checked).total_seconds())
        yield _Candidate(
            identifier=state.identifier,
            age=age,
            period=longest * (_BUSY if _is_busy(state, checked) else _MARGIN),
            work=_work(state),
            failing=state.failure is not None,
        )


def _share(candidates: Iterable[_Candidate], next_in_seconds: float) -> float:
    """How much is to be read now: what one time has to do, more after times that did less, less after those that did
    more."""
    a_time, now, lately = 0.0, 0, 0
    for one in candidates:
        a_time += one.work * next_in_seconds / one.period
        if one.age < 0.5 * next_in_seconds:
            now += one.work  # before it was broken off
        elif one.age < (_LOOKED_BACK + 0.5) * next_in_seconds:
            lately += one.work
    return a_time + (_LOOKED_BACK * a_time - lately) / _LOOKED_BACK - now


def _is_busy(state: DandisetState, checked: datetime | None) -> bool:
    modified = _time(state.draft_modified)
    return checked is not None and modified is not None and modified > checked


def _work(state: DandisetState) -> int:
    if state.holding is None:
        return _OF_EACH
    return _OF_EACH + state.holding.assets * (1 + len(state.holding.releases))


def _time(text: str | None) -> datetime | None:
    """A time in the marks; one that nobody can read counts as none."""
    try:
        return moment(text) if text is not None else None
    except RecordRefused:
        return None
