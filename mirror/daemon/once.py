"""One round, for cron and timers: a poll, and what else is due by the marks."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from mirror.config import Settings
from mirror.daemon.activity_listener import ActivityNotes
from mirror.daemon.agenda import SHORTEST_SLICE
from mirror.daemon.hook import Hook
from mirror.daemon.listening import JobReport, Listeners
from mirror.daemon.log_lines import LogLines
from mirror.daemon.marking import Marks
from mirror.daemon.rounds import Job
from mirror.daemon.service import perform
from mirror.daemon.signals import Dropped, Signals
from mirror.daemon.times import is_missed, planned, seconds_until_next
from mirror.errors import Interrupted, MirrorError, SomeFailed
from mirror.store.job_marks import JobName

logger = logging.getLogger("mirror.daemon")

COMMAND = "dandi-mirror run --once"

_ASK: frozenset[JobName] = frozenset({"recheck", "content", "verify"})
"""The jobs that ask the archive, and may take hours."""


def once(settings: Settings, tell: Callable[[JobReport], None] | None = None) -> None:
    """Do what is due now. Raises what it came to, as a sync typed by hand does; `Locked` if somebody is at work.

    Each job takes the store's lock for its own time. Told to stop, it ends as the daemon does.
    """
    signals = Signals(lambda: settings.stop_seconds)
    listeners = Listeners(
        [LogLines(), ActivityNotes(settings.store, COMMAND), Hook(seconds_left=lambda: signals.seconds_left)]
    )
    stop = _Stop(signals)
    job = Job(settings, listeners, stop, COMMAND)
    marks = Marks(settings.store / "state")
    errors: list[MirrorError] = []
    with signals, closing(listeners):  # the hook, too, may have to end in time
        try:
            with signals.may_drop():
                for name in _due(settings, marks):
                    if errors and name in _ASK and not isinstance(errors[0], SomeFailed):
                        continue  # what the poll ran into, they would, too
                    stop.at = _end_of_turn(settings) if name in _ASK else float("inf")
                    report = perform(job, name)
                    marks.ended(report)
                    if report.raised is not None:
                        logger.error("the %s", name, exc_info=report.raised)
                    if tell is not None:
                        tell(report)
                    errors += _errors(report)
                    if signals.stopping is not None:
                        break
        except Dropped:
            logger.warning("what was in hand was dropped; the next run goes on with it")
    if signals.stopping is signal.SIGINT:
        raise Interrupted("interrupted")
    # That something failed is the least of what may have happened.
    if errors:
        raise min(errors, key=lambda error: isinstance(error, SomeFailed))


@dataclass
class _Stop:
    """Told to stop; or, for what would take hours, the time of the next poll: what is left waits for that."""

    signals: Signals
    at: float = float("inf")

    def __call__(self) -> bool:
        return self.signals.stopping is not None or time.monotonic() >= self.at


def _end_of_turn(settings: Settings) -> float:
    until_poll = seconds_until_next(settings.schedule, "poll", datetime.now(UTC))
    return time.monotonic() + max(until_poll, SHORTEST_SLICE)


def _due(settings: Settings, marks: Marks) -> list[JobName]:
    now = datetime.now(UTC)
    jobs = planned(settings)
    marks.read(now, jobs)
    others = [job for job in jobs if job != "poll" and is_missed(settings.schedule, marks.marks.get(job), now, job)]
    return ["poll", *others]


def _errors(report: JobReport) -> list[MirrorError]:
    """What is wrong with how a job went."""
    try:
        if report.sync is not None:
            report.sync.check()
        if report.published is not None:
            report.published.check()
    except MirrorError as error:
        return [error]
    if report.trouble and not report.stopped:
        trouble = MirrorError(report.trouble)
        trouble.exit_code = report.code
        return [trouble]
    return [SomeFailed("; ".join(report.problems))] if report.problems else []
