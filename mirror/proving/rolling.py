"""A share of all is proved each time, so that within `verify_days` everything is. For the daemon.

Which Dandisets have their turn, the ledger tells: those first whose last whole round began longest ago. One that is
broken off is gone on with the next time, where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mirror.config import Settings
from mirror.proving.findings import Nobody, Stop
from mirror.proving.verify import Proved, Prover, levels_up_to
from mirror.store.ledger import Ledger, Level
from mirror.store.state import DandisetState
from mirror.store.store import Store

__all__ = ["Proved", "due", "prove_share"]

_DAY = 86_400.0
_AIMED_AT = 0.9
"""Everything is aimed at nine tenths of the time that it has: some times are missed."""
_OF_EACH = 20
"""What each Dandiset costs besides its assets, in assets."""
_NEVER = float("inf")
_RESTS = 0.1
"""What could not be gone through is tried again after such a part of the time that everything has."""


def prove_share(
    settings: Settings,
    *,
    seconds: float,
    stop: Stop,
    tell: Callable[[str], object] = lambda _: None,
    command: str = "dandi-mirror run",
    now: Callable[[], float] = time.time,
) -> Proved:
    """Prove those Dandisets whose turn it is; `seconds`: until this is done again.

    The store is not locked, so a poll need not wait; `stop` is asked every few contents. What is published is not made
    anew here: rechecks read it all from the archive again.
    """
    del command  # nobody finds the store locked by this
    store = Store.open(settings.store)
    days = settings.schedule.verify_days
    levels = levels_up_to(settings.verify.level)
    watcher = _Watcher(tell)
    with Prover(
        settings,
        store,
        levels,
        watcher=watcher,
        stop=stop,
        against_archive=False,
        goes_on_seconds=days * _DAY,
        now=now,
    ) as prover:
        chosen = due(_candidates(store, prover.ledger, levels, now()), days * _DAY, seconds)
        return prover.run([one.identifier for one in chosen])


@dataclass(frozen=True)
class Candidate:
    """A Dandiset that may have its turn."""

    identifier: str
    age: float
    """seconds since the last whole round began; infinite where there was none"""
    work: int
    """in contents"""
    begun: bool
    """a round is under way"""
    failed: float = _NEVER
    """seconds since it could not be gone through; infinite where it could the last time"""


def due(candidates: Iterable[Candidate], period: float, next_in_seconds: float) -> list[Candidate]:
    """Those to be proved now: a share of all, the oldest first, and whatever would else be too late.

    One that could not be gone through rests a while, and takes nothing of the share: the others have their turn.
    """
    awake = (one for one in candidates if one.failed + 0.5 * next_in_seconds >= period * _RESTS)
    ordered = sorted(awake, key=lambda one: (-one.age, not one.begun, one.identifier))
    share = sum(one.work for one in ordered) * min(1.0, next_in_seconds / (period * _AIMED_AT))
    chosen: list[Candidate] = []
    taken = 0
    for one in ordered:
        too_late = one.age != _NEVER and one.age + 1.2 * next_in_seconds >= period
        if taken < share or too_late:
            chosen.append(one)
            taken += one.work if one.failed == _NEVER else 0
    return chosen


def _candidates(
    store: Store, ledger: Callable[..., Ledger], levels: Sequence[Level], now: float
) -> Iterable[Candidate]:
    closed = frozenset(store.embargoed())
    for state in store.states():
        if state.holding is None:
            continue
        book = ledger(private=state.identifier in closed)
        rounds = [book.round(state.identifier, level) for level in levels]
        whole = [one.last_whole if one is not None else None for one in rounds]
        times = [began for began in whole if began is not None and began <= now]
        failures = [one.given_up for one in rounds if one is not None and 0 < one.given_up <= now]
        yield Candidate(
            state.identifier,
            now - min(times) if len(times) == len(levels) else _NEVER,
            _work(state),
            begun=any(one is not None and one.ended is None for one in rounds),
            failed=now - max(failures) if failures else _NEVER,
        )


def _work(state: DandisetState) -> int:
    return _OF_EACH + (state.holding.assets if state.holding is not None else 0)


class _Watcher(Nobody):
    """Tells how far it is, in a few words."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._subject = ""

    def begun(self, subject: str, level: Level) -> None:
        self._subject = f"proving {level} of {subject}"
        self._tell(self._subject)

    def how_far(self, text: str) -> None:
        self._tell(f"{self._subject}: {text}")
