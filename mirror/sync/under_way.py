"""How far a sync is: kept up as it goes, for a terminal, for `status`, for metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mirror.store.activity import Standing, Turn

if TYPE_CHECKING:
    from mirror.sync.poll import Poll
    from mirror.sync.turn import Outcome

TURN_WEIGHS = 200
"""What a Dandiset costs before its first asset (requests, refs, a pack), counted in assets: for the time to go."""

_SURE_AFTER = 3.0
"""seconds; a guess from less would jump about"""


class UnderWay:
    """Follows a sync, as its watcher; its methods may be called from any thread."""

    def __init__(self, doing: str = "asking the archive", *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._doing = doing
        self._weights: dict[str, int] = {}
        """of those whose turn is to come, or is under way"""
        self._turns: dict[str, Turn] = {}
        self._total = self._still = self._resting = self._had = self._changed = self._failed = 0
        self._weight = 0
        self._began = clock()

    def polled(self, found: Poll) -> None:
        weights = {identifier: TURN_WEIGHS + _assets(found, identifier) for identifier in found.moved}
        with self._lock:
            self._doing = ""
            self._weights, self._weight = weights, sum(weights.values())
            self._still, self._resting = len(found.still), len(found.resting)
            self._total = len(weights) + self._still + self._resting
            self._began = self._clock()

    def begun(self, identifier: str) -> None:
        with self._lock:
            self._turns[identifier] = Turn(identifier, datetime.now(UTC).isoformat(timespec="seconds"))

    def working(self, identifier: str, how_far: str) -> None:
        with self._lock:
            if (turn := self._turns.get(identifier)) is not None:  # not what comes late, after its end
                self._turns[identifier] = Turn(identifier, turn.since, how_far.removeprefix(f"{identifier} "))

    def done(self, outcome: Outcome) -> None:
        with self._lock:
            self._turns.pop(outcome.identifier, None)
            self._changed += outcome.result == "changed"
            self._failed += outcome.result == "failed"
            if self._weights.pop(outcome.identifier, None) is not None:
                self._had += 1

    def publishing(self, how_far: str) -> None:
        """The Dandisets are done; something else is being done."""
        with self._lock:
            self._doing = how_far

    def standing(self) -> Standing:
        """How things stand now."""
        with self._lock:
            passed = self._clock() - self._began
            left = sum(self._weights.values())
            sure = self._had > 0 and passed >= _SURE_AFTER
            return Standing(
                doing=self._doing,
                total=self._total,
                done=self._still + self._had,
                still=self._still,
                resting=self._resting,
                changed=self._changed,
                failed=self._failed,
                per_minute=60 * self._had / passed if sure else None,
                seconds_to_go=passed * left / (self._weight - left) if sure and left else None,
                current=tuple(self._turns.values()),
            )


def _assets(found: Poll, identifier: str) -> int:
    summary = found.listed.get(identifier)
    return summary.draft_version.asset_count if summary is not None and summary.draft_version is not None else 0
