"""What is to be done now, and in which order.

Whoever knows that a job's time has come notes it here; one thread takes what is noted, and does it. So one job is done
at a time, one run of each, and times missed meanwhile are made up once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mirror.store.job_marks import JOB_NAMES, JobName

Clock = Callable[[], float]

SHORTEST_SLICE = 30.0


class Agenda:
    """A set of jobs that are due. Any thread may note one; `noted` is called then."""

    def __init__(self, noted: Callable[[], None] = lambda: None, clock: Clock = time.monotonic) -> None:
        self._noted = noted
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[JobName, float] = {}
        """with the time before which it is not to be tried"""
        self._served: dict[JobName, int] = dict.fromkeys(JOB_NAMES, 0)
        self._turns = 0

    def due(self, job: JobName) -> None:
        """Note that a job's time has come. One that is noted already stays as it is."""
        with self._lock:
            self._due.setdefault(job, self._clock())
        self._noted()

    def postpone(self, job: JobName, seconds: float = 0.0) -> None:
        """Note a job to be tried, or gone on with, in so many seconds."""
        with self._lock:
            self._due[job] = self._clock() + seconds
        self._noted()

    def hurry(self) -> None:
        """Have what was postponed be tried now."""
        with self._lock:
            self._due = dict.fromkeys(self._due, self._clock())
        self._noted()

    def take(self) -> JobName | None:
        """What is to be done now, if anything: of what is due, the one whose last turn is longest ago.

        So a poll that is always due leaves room for the others, and they for it.
        """
        with self._lock:
            ready = [job for job in JOB_NAMES if self._is_ready(job)]
            if not ready:
                return None
            job = min(ready, key=self._served.__getitem__)
            del self._due[job]
            self._turns += 1
            self._served[job] = self._turns
            return job

    def waits(self, job: JobName) -> bool:
        """Whether this job could begin now."""
        with self._lock:
            return self._is_ready(job)

    def seconds_to_wait(self) -> float | None:
        """How long until something is to be done; None: nothing is noted."""
        with self._lock:
            return max(0.0, min(self._due.values()) - self._clock()) if self._due else None

    def _is_ready(self, job: JobName) -> bool:
        return job in self._due and self._due[job] <= self._clock()


class Slices:
    """How long a recheck or a maintenance that takes hours may go on before it makes room for a poll.

    At least as long as the last poll took: neither starves. Twice as long each time it made room: even one that has to
    start over comes to its end.
    """

    def __init__(self) -> None:
        self._poll_seconds = 0.0
        self._made_room: dict[JobName, int] = {}

    def seconds(self, job: JobName) -> float:
        return max(SHORTEST_SLICE, self._poll_seconds) * 2.0 ** min(self._made_room.get(job, 0), 20)

    def polled(self, seconds: float) -> None:
        self._poll_seconds = seconds

    def made_room(self, job: JobName) -> None:
        self._made_room[job] = self._made_room.get(job, 0) + 1

    def ended(self, job: JobName) -> None:
        self._made_room.pop(job, None)


class Pauses:
    """How long to wait before a job is tried again: each time twice as long, up to the longest."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._next: dict[JobName, float] = {}

    def after_one_more(self, job: JobName) -> float:
        pause = self._next.get(job, self._first)
        self._next[job] = min(2 * pause, self._longest)
        return pause

    def over(self, job: JobName) -> None:
        self._next.pop(job, None)
