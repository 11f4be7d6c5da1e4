"""Whether the daemon is well, for whoever restarts it when it is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mirror import errors
from mirror.daemon.listening import JobReport, Listener
from mirror.store.job_marks import JobName
from mirror.timetable import interval_seconds, trigger

if TYPE_CHECKING:
    from mirror.config import Settings
    from mirror.sync.poll import Poll
    from mirror.sync.turn import Outcome

STUCK_SECONDS = 3600.0
"""A job of which nothing is heard for so long is stuck: what a Dandiset waits for gives up long before."""

_MISSED = 3
_SLACK_SECONDS = 600.0
_FIRES_LOOKED_AT = 24


@dataclass(frozen=True)
class Verdict:
    """How it is, and what is wrong with it, if anything."""

    problems: tuple[str, ...]
    facts: dict[str, Any]

    @property
    def well(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        return {"status": "ok" if self.well else "unwell", "problems": list(self.problems), **self.facts}


class Health(Listener):
    """Follows the jobs. An archive that is down does not make us unwell; it is told.

    `is_alive`: whether the daemon's main thread shows signs of life.
    """

    def __init__(
        self,
        settings: Settings,
        is_alive: Callable[[], bool] = lambda: True,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._is_alive = is_alive
        self._clock = clock
        self._now = now
        self._moved = self._polled = clock()
        self._polled_at: float | None = None
        self._job: JobName | None = None
        self._trouble: dict[JobName, str] = {}

    def job_began(self, job: JobName, settings: Settings) -> None:
        self._settings, self._job = settings, job
        self._moves()

    def job_put_off(self, job: JobName, why: str) -> None:
        self._job = None
        self._trouble[job] = why
        if job == "poll":
            self._polled = self._clock()  # somebody else is at work

    def polled(self, found: Poll) -> None:  # noqa: ARG002 - as every listener has it
        self._moves()

    def begun(self, identifier: str) -> None:  # noqa: ARG002
        self._moves()

    def working(self, identifier: str, how_far: str) -> None:  # noqa: ARG002
        self._moves()

    def done(self, outcome: Outcome) -> None:  # noqa: ARG002
        self._moves()

    def publishing(self, how_far: str) -> None:  # noqa: ARG002
        self._moves()

    def maintaining(self, how_far: str) -> None:  # noqa: ARG002
        self._moves()

    def job_ended(self, report: JobReport) -> None:
        self._moves()
        self._job = None
        if report.trouble and not report.stopped:
            self._trouble[report.job] = report.trouble
        else:
            self._trouble.pop(report.job, None)
        if report.job == "poll" and (not report.trouble or _is_of_archive(report)):
            self._polled = self._clock()
            self._polled_at = self._polled_at if report.trouble else self._now()

    def verdict(self) -> Verdict:
        """How it is now."""
        problems, now = [], self._clock()
        if not self._is_alive():
            problems.append("the daemon's main thread shows no sign of life")
        if self._job is not None and (stuck := now - self._moved) > STUCK_SECONDS:
            problems.append(f"{self._job} is at work, and nothing of it has moved for {stuck:.0f} s")
        longest = _MISSED * seconds_between(self._settings.schedule.poll) + _SLACK_SECONDS
        if self._job is None and (passed := now - self._polled) > longest:
            problems.append(f"no poll went well for {passed:.0f} s")
        return Verdict(
            tuple(problems),
            {"job": self._job, "last_poll": _time(self._polled_at), "trouble": {**self._trouble}},
        )

    def _moves(self) -> None:
        self._moved = self._clock()


@lru_cache(maxsize=4)
def seconds_between(when: str) -> float:
    """The longest time between two starts of a job."""
    seconds = interval_seconds(when)
    if seconds is not None:
        return seconds
    fires: list[datetime] = []
    timer, last, now = trigger(when), None, datetime.now().astimezone()
    while len(fires) < _FIRES_LOOKED_AT and (fire := timer.get_next_fire_time(last, now)) is not None:
        fires.append(fire)
        last, now = fire, fire + timedelta(microseconds=1)
    return max(((later - earlier).total_seconds() for earlier, later in pairwise(fires)), default=0.0)


def _is_of_archive(report: JobReport) -> bool:
    kind = getattr(errors, report.kind, None)
    return isinstance(kind, type) and issubclass(kind, errors.ArchiveError)


def _time(moment: float | None) -> str | None:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds") if moment is not None else None
