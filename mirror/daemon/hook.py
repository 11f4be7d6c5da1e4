"""`on_failure`: a command of the operator's that is handed what went wrong, and that it is over.

It is given one JSON document on its standard input: the job's report, with `ok`, `recovered` (what had been handed over
before, and works again), `store` and `host`. What goes on failing, as the archive's being down does at each poll,
is handed over at once and then once an hour; a Dandiset each time it was tried, which happens after growing pauses.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mirror.daemon.bounded_command import run_bounded
from mirror.daemon.failing import failing, is_well
from mirror.daemon.listening import JobReport, Listener
from mirror.git.process import is_secret
from mirror.json_lines import json_line
from mirror.store.job_marks import JobMark, JobName, moment_of, read_job_marks

if TYPE_CHECKING:
    from mirror.config import Settings
    from mirror.sync.turn import Outcome

logger = logging.getLogger(__name__)

COMMAND_SECONDS = 60.0
TOLD_AGAIN_SECONDS = 3600.0

_MOST_WAITING = 100
_LONGEST_LINE = 200
"""characters of the last that a command said, which tells why it failed"""
_LEAST_AT_THE_END = 1.0
"""However little time is left, a command has so much of it."""
_NOT_ITS_OWN = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM"}
)


@dataclass(frozen=True)
class _Call:
    command: str
    document: bytes
    environment: Mapping[str, str]


class Hook(Listener):
    """Runs the command, one at a time, in a thread of its own: jobs do not wait for it. `close` does.

    `seconds_left`: how long the process may still be there, where it was told to stop.
    """

    def __init__(
        self,
        *,
        seconds: float = COMMAND_SECONDS,
        seconds_left: Callable[[], float | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._seconds_left = seconds_left
        self._closed_at = float("inf")
        self._clock = clock
        self._settings: Settings | None = None
        self._ailing: dict[str, float] | None = None
        """what was handed over and is not known to be well, with the time of that"""
        self._waiting: queue.Queue[_Call | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._recovered: list[str] = []

    def job_began(self, job: JobName, settings: Settings) -> None:  # noqa: ARG002 - as every listener has it
        self._settings, self._recovered = settings, []
        if self._ailing is None:
            self._ailing = dict.fromkeys(sorted(failing(settings)), float("-inf")) | self._told_before(settings)
        else:
            self._look_who_is_well(settings, self._ailing)

    def _look_who_is_well(self, settings: Settings, ailing: dict[str, float]) -> None:
        """Somebody may have typed a sync of one of them meanwhile."""
        self._recovered = [one for one in ailing if one.isdecimal() and is_well(settings, one)]
        for identifier in self._recovered:
            del ailing[identifier]

    def _told_before(self, settings: Settings) -> dict[str, float]:
        """What ailed the jobs of the process before, with the time at which that was told for the last time: at once,
        and then once an hour."""
        marks, now = read_job_marks(settings.store / "state").values(), datetime.now(UTC)
        ailed = {f"{mark.job}: {what}": (mark, since) for mark in marks for what, since in _ailments(mark).items()}
        return {key: self._clock() - _since_told(mark, since, now) for key, (mark, since) in ailed.items()}

    def done(self, outcome: Outcome) -> None:
        # The archive that does not have it any more cannot make it fail any more.
        if outcome.result != "failed" and self._ailing and self._ailing.pop(outcome.identifier, None) is not None:
            self._recovered.append(outcome.identifier)

    def job_ended(self, report: JobReport) -> None:
        settings = self._settings
        # While nobody is to be told, nothing counts as told.
        if settings is None or settings.on_failure is None or not (self._news(report) or self._recovered):
            return
        document = {
            "store": str(settings.store),
            "host": socket.gethostname(),
            "ok": not report.failed,
            "recovered": self._recovered,
            **report.as_dict(settings.alarm_after),
        }
        call = _Call(settings.on_failure, json_line(document).encode() + b"\n", clean_environment(settings))
        self._hand_over(call)

    def close(self) -> None:
        """Let what is under way come to its end, as long as there is time for it."""
        if self._thread is None:
            return
        self._closed_at = time.monotonic()
        self._waiting.put(None)
        self._thread.join(self._seconds + 5)

    def _news(self, report: JobReport) -> bool:
        """Whether there is something to hand over; keeps in mind what is."""
        ailing, now = self._ailing if self._ailing is not None else {}, self._clock()
        lasting = {f"{report.job}: {problem}" for problem in report.problems}
        if report.stopped:
            pass  # what it did not come to may be as bad as it was
        elif report.trouble:
            lasting.add(f"{report.job}: {report.kind}")
        elif over := [key for key in ailing if key.startswith(f"{report.job}: ") and key not in lasting]:
            self._recovered += over
            for key in over:
                del ailing[key]
        due = [key for key in lasting if now - ailing.get(key, float("-inf")) >= TOLD_AGAIN_SECONDS]
        failed = [outcome.identifier for outcome in report.failures]
        ailing.update(dict.fromkeys([*due, *failed], now))
        return bool(due or failed)

    def _hand_over(self, call: _Call) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="on-failure", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(call)
        except queue.Full:
            logger.warning("on_failure: the command is too slow: a report is not handed over")

    def _work(self) -> None:
        while (call := self._waiting.get()) is not None:
            if self._has_given_up():
                logger.warning("on_failure: the mirror ends: a report is not handed over")
                continue
            try:
                self._run(call)
            except Exception:
                logger.exception("on_failure")

    def _run(self, call: _Call) -> None:
        try:
            ended = run_bounded(
                call.command, call.document, call.environment, seconds=self._seconds, given_up=self._has_given_up
            )
        except subprocess.TimeoutExpired:
            why = "the mirror ends" if self._has_given_up() else f"it took more than {self._seconds:g} s"
            logger.warning("on_failure: the command was ended: %s", why)
            return
        except OSError as error:
            logger.warning("on_failure: the command cannot be run: %s", error.strerror or error)
            return
        said = ended.output.decode(errors="replace").rstrip()
        if said:
            logger.debug("on_failure: the command said: %s", said)
        if ended.returncode:
            last = f": {said.splitlines()[-1][:_LONGEST_LINE]}" if said else ""
            logger.warning("on_failure: the command ended with %d%s", ended.returncode, last)

    def _has_given_up(self) -> bool:
        left = self._seconds_left()
        return left is not None and left <= _LEAST_AT_THE_END <= time.monotonic() - self._closed_at


def clean_environment(settings: Settings) -> dict[str, str]:
    """Our environment without tokens, and without what is between us and whoever started us."""
    return {
        name: value
        for name, value in os.environ.items()
        if not is_secret(name) and name not in _NOT_ITS_OWN and name not in set(_tokens(settings))
    }


def _tokens(settings: Settings) -> Iterable[str]:
    for host in settings.publish.hosts:
        variable: Any = getattr(host, "token_variable", None)
        if variable:
            yield variable


def _ailments(mark: JobMark) -> dict[str, str | None]:
    """What was wrong with a job, with the time since when."""
    return {**mark.problems, **({mark.kind: mark.troubled_since} if mark.failed else {})}


def _since_told(mark: JobMark, began: str | None, now: datetime) -> float:
    """How many seconds ago it was handed over what ailed a job since then, as it is each full hour that it lasts."""
    since, last = moment_of(began), moment_of(mark.ended)
    if since is None or last is None:
        return float("inf")
    told_after = max(0.0, (last - since).total_seconds()) // TOLD_AGAIN_SECONDS * TOLD_AGAIN_SECONDS
    return max(0.0, (now - since).total_seconds() - told_after)
