"""What a job leaves behind for the next, and for whoever asks: its mark."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from mirror.daemon.listening import JobReport
from mirror.errors import MirrorError
from mirror.store.job_marks import JOB_NAMES, JobMark, JobName, read_job_marks, write_job_mark

logger = logging.getLogger(__name__)

_MOST_PROBLEMS = 1000
"""so many are remembered: a host that refuses everything refuses tens of thousands of repositories"""


class Marks:
    """The marks of a store's jobs. Where they cannot be written, the disk being full, we know them all the same."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self.marks: dict[JobName, JobMark] = {}

    def read(self, now: datetime, jobs: Collection[JobName] = JOB_NAMES) -> None:
        """Take up what is noted. One of `jobs` that is not has been on the timetable from now on."""
        self.marks = read_job_marks(self._state)
        for job in jobs:
            if job not in self.marks:
                self._note(JobMark(job=job, since=_text(now)))

    def ended(self, report: JobReport) -> JobMark:
        """Note how a job went."""
        mark = marked(self.marks.get(report.job), report, datetime.now(UTC))
        self._note(mark)
        return mark

    def _note(self, mark: JobMark) -> None:
        self.marks[mark.job] = mark
        if not self._state.is_dir():
            return  # there is no store yet
        try:
            write_job_mark(self._state, mark)
        except (OSError, MirrorError) as error:
            logger.debug("the mark of the %s cannot be written: %s", mark.job, error)


def marked(before: JobMark | None, report: JobReport, now: datetime) -> JobMark:
    """The mark of a job after it was done once more."""
    troubled = bool(report.trouble) and not report.stopped
    since, count = (before.troubled_since, before.troubled_count) if before is not None else (None, 0)
    return JobMark(
        job=report.job,
        since=before.since if before is not None else report.started,
        started=report.started,
        ended=_text(now),
        seconds=round(report.seconds, 3),
        ok=not report.trouble and not report.failed,
        unfinished=bool(report.trouble),
        kind=report.kind,
        trouble=report.trouble,
        troubled_since=(since or report.started) if troubled else None,
        troubled_count=count + 1 if troubled else 0,
        problems=_problems(before, report),
        counts={name: count for name, count in (report.counts | report.amounts).items() if count},
        requests=_requests(report),
        store_bytes=_store_bytes(before, report),
    )


def _requests(report: JobReport) -> dict[str, int]:
    answers = report.sync.asked.answers if report.sync is not None else {}
    return {f"{kind} {status}": count for (kind, status), count in sorted(answers.items())}


def _store_bytes(before: JobMark | None, report: JobReport) -> int | None:
    if report.maintained is not None:
        return report.maintained.store_bytes
    return before.store_bytes if before is not None else None


def _problems(before: JobMark | None, report: JobReport) -> dict[str, str]:
    """What failed besides, and since when; a job that did not come to its end may not have come to what did before."""
    known = before.problems if before is not None else {}
    found = {problem: known.get(problem, report.started) for problem in report.problems}
    return dict(islice({**(known if report.trouble else {}), **found}.items(), _MOST_PROBLEMS))


def _text(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="seconds")
