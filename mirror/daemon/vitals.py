"""What the watchdog and systemd's status line are told of the jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mirror.daemon.listening import JobReport, Listener
from mirror.daemon.liveness import Liveness
from mirror.daemon.notify import Notifier
from mirror.store.job_marks import JobName

if TYPE_CHECKING:
    from mirror.config import Settings
    from mirror.publish.hosts import HostOutcome
    from mirror.publish.superdatasets import Written
    from mirror.sync.poll import Poll
    from mirror.sync.turn import Outcome

_STATUS_SECONDS = 10.0


class Vitals(Listener):
    """Whatever is told shows that the work gets on."""

    def __init__(self, notifier: Notifier, liveness: Liveness, clock: Callable[[], float] = time.monotonic) -> None:
        self._notifier = notifier
        self._liveness = liveness
        self._clock = clock
        self._job: JobName = "poll"
        self._to_go = self._done = 0
        self._told_at = float("-inf")

    def job_began(self, job: JobName, settings: Settings) -> None:  # noqa: ARG002 - as every listener has it
        self._job, self._to_go, self._done = job, 0, 0
        self._sign(job, at_once=True)

    def polled(self, found: Poll) -> None:
        self._to_go = len(found.moved)
        self._sign(self._how_far())

    def begun(self, identifier: str) -> None:
        self._sign(f"{self._how_far()}, {identifier}")

    def working(self, identifier: str, how_far: str) -> None:  # noqa: ARG002
        self._sign(f"{self._how_far()}, {identifier}")

    def done(self, outcome: Outcome) -> None:  # noqa: ARG002
        self._done += 1
        self._sign(self._how_far())

    def publishing(self, how_far: str) -> None:
        self._sign(f"{self._job}: {how_far}")

    def superdataset(self, written: Written) -> None:
        self._sign(f"{self._job}: {written.name}")

    def host(self, outcome: HostOutcome) -> None:
        self._sign(f"{self._job}: {outcome.host}")

    def maintaining(self, how_far: str) -> None:
        self._sign(f"{self._job}: {how_far}")

    def job_ended(self, report: JobReport) -> None:
        self._sign(f"{report.job} ended", at_once=True)

    def _how_far(self) -> str:
        return f"{self._job}: {self._done} of {self._to_go} Dandisets"

    def _sign(self, status: str, *, at_once: bool = False) -> None:
        now = self._clock()
        self._liveness.told(now)
        if at_once or now - self._told_at >= _STATUS_SECONDS:
            self._told_at = now
            self._notifier.status(status)
