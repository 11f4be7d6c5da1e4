"""What is remembered of the daemon's jobs over restarts: when each was last done, and how it went.

One small file, `state/jobs.json`. Losing it costs a job that was missed, never data.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from mirror.store.files import remove_temporaries, write_file

JobName = Literal["poll", "recheck", "maintain", "content", "verify"]
JOB_NAMES: tuple[JobName, ...] = ("poll", "recheck", "maintain", "content", "verify")
"""In the order in which they are done when all are due."""

COUNTED = ("changed", "unchanged", "failed", "vanished", "embargoed", "resting", "left")
"""What a round has counts of, in the order in which they are told."""

_FILE = "jobs.json"
_writing = threading.Lock()


class JobMark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job, as it last was."""

    job: JobName
    since: str
    """when it was first on the timetable: from then on its times count"""
    started: str | None = None
    """None: it was never done"""
    ended: str | None = None
    seconds: float = 0.0
    ok: bool = True
    """it came to its end, and nothing failed"""
    unfinished: bool = False
    """it did not come to its end, and is due at once at the next start"""
    kind: str = ""
    """the kind of error that ended it"""
    trouble: str = ""
    """why it did not come to its end"""
    troubled_since: str | None = None
    """when it first did not, of the times in a row"""
    troubled_count: int = 0
    """how many times in a row it did not"""
    problems: dict[str, str] = {}
    """what failed besides, hosts and so on, with the time since when"""
    counts: dict[str, int] = {}
    """how many Dandisets changed, failed and so on"""
    requests: dict[str, int] = {}
    """how many were made, by how they were answered: `api 200`, `s3 503`, `s3 none`"""
    store_bytes: int | None = None
    """what the store took of the disk when this job last measured it"""

    @property
    def failed(self) -> bool:
        """Whether it did not come to its end although nobody stopped it."""
        return self.troubled_count > 0


def moment_of(text: str | None) -> datetime | None:
    """A time that a mark has; None for one that nobody can read."""
    try:
        found = datetime.fromisoformat(text or "")
        # Years that no clock ever had cannot be reckoned with.
        return found.astimezone(UTC) if found.tzinfo is not None and 1970 <= found.year < 9999 else None
    except (ValueError, OverflowError):
        return None


def read_job_marks(state: Path) -> dict[JobName, JobMark]:
    """The marks in this `state` folder; none when there is no file, or one that nobody can read."""
    try:
        marks = msgspec.json.decode((state / _FILE).read_bytes(), type=list[JobMark])
    except (OSError, ValueError):
        return {}
    return {mark.job: mark for mark in marks}


def write_job_mark(state: Path, mark: JobMark) -> None:
    """Note one; those of the other jobs stay."""
    with _writing:
        marks = {**read_job_marks(state), mark.job: mark}
        if marks == read_job_marks(state):
            return
        remove_temporaries(state, _FILE)
        write_file(state / _FILE, _encoded(marks))


def _encoded(marks: Mapping[JobName, JobMark]) -> bytes:
    in_order = [marks[job] for job in JOB_NAMES if job in marks]
    return msgspec.json.format(msgspec.json.encode(in_order), indent=1) + b"\n"
