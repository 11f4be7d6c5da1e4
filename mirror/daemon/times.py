"""When jobs are due: APScheduler keeps the times, and calls whoever notes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from mirror.config import Schedule, Settings
from mirror.store.job_marks import JOB_NAMES, JobMark, JobName, moment_of
from mirror.timetable import trigger

logger = logging.getLogger(__name__)


def planned(settings: Settings) -> tuple[JobName, ...]:
    """The jobs that these settings ask for."""
    unasked = ({"content"} if not settings.content else set()) | ({"verify"} if not settings.schedule.verify else set())
    return tuple(job for job in JOB_NAMES if job not in unasked)


def when(schedule: Schedule, job: JobName) -> str:
    """The interval or cron expression of a job that is planned."""
    text: str = getattr(schedule, job)
    return text


def is_missed(schedule: Schedule, mark: JobMark | None, now: datetime, job: JobName) -> bool:
    """Whether a job's time has passed since it was last done, or that is not known."""
    last = _last(mark)
    if mark is None or last is None or last > now or mark.unfinished:
        return True
    following: datetime | None = trigger(when(schedule, job)).get_next_fire_time(last, now)
    return following is not None and following <= now


def seconds_until_next(schedule: Schedule, job: JobName, now: datetime) -> float:
    """How long until a job's next time, if it is done now."""
    following: datetime | None = trigger(when(schedule, job)).get_next_fire_time(now, now)
    return max(1.0, (following - now).total_seconds()) if following is not None else 86_400.0


def _last(mark: JobMark | None) -> datetime | None:
    return moment_of(mark.started or mark.since) if mark is not None else None


class Times:
    """A context manager. `due` is called, from a thread, whenever the time of a job has come."""

    def __init__(self, due: Callable[[JobName], None]) -> None:
        self._due = due
        self._scheduler = BackgroundScheduler(
            # What a job does here takes no time: no threads are needed for it.
            executors={"default": DebugExecutor()},
            job_defaults={"coalesce": True, "misfire_grace_time": None},
            timezone=UTC,  # the triggers know the machine's, whatever that is called
        )

    def __enter__(self) -> Self:
        self._scheduler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scheduler.shutdown()

    def plan(self, schedule: Schedule, marks: Mapping[JobName, JobMark], jobs: Collection[JobName] = JOB_NAMES) -> None:
        """Reckon the next time of each of these jobs anew. One whose time has passed since it was last done is due at
        once. Other jobs have no times any more."""
        now = datetime.now(UTC)
        for job in JOB_NAMES:
            if job not in jobs:
                if self._scheduler.get_job(job) is not None:
                    self._scheduler.remove_job(job)
                continue
            times = trigger(when(schedule, job), schedule.jitter_seconds)
            if is_missed(schedule, marks.get(job), now, job):
                self._due(job)
                following = times.get_next_fire_time(now, now)
            else:
                following = times.get_next_fire_time(_last(marks.get(job)), now)
            self._scheduler.add_job(
                self._due, times, args=[job], id=job, next_run_time=following, replace_existing=True
            )

    def look_again(self) -> None:
        """Look at the clock: while the machine slept, the scheduler did, too."""
        self._scheduler.wakeup()

    def next_times(self) -> dict[JobName, datetime]:
        """When each job is due next."""
        jobs = {job: self._scheduler.get_job(job) for job in JOB_NAMES}
        return {job: found.next_run_time for job, found in jobs.items() if found is not None}
