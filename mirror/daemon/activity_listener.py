"""Keeps up what `status` tells of the work in hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.daemon.listening import JobReport, Listener
from mirror.store.activity import ActivityFile
from mirror.store.job_marks import JobName
from mirror.sync.under_way import UnderWay

if TYPE_CHECKING:
    from mirror.config import Settings
    from mirror.publish.hosts import HostOutcome
    from mirror.publish.superdatasets import Written
    from mirror.sync.poll import Poll
    from mirror.sync.turn import Outcome

NextJobs = Callable[[], Mapping[JobName, datetime]]
"""Gives when each job is due. Asked from any thread."""

_DOING: Mapping[JobName, str] = {
    "maintain": "maintaining the store",
    "content": "looking what content is asked for",
    "verify": "looking what is to be proved",
}
"""What a job begins with; the others ask the archive."""


class ActivityNotes(Listener):
    """Writes the activity file of the store at `root`, once there is one."""

    def __init__(self, root: Path, command: str, next_jobs: NextJobs | None = None) -> None:
        self._state = root / "state"
        self._file = ActivityFile(self._state, command)
        self._next_jobs = next_jobs
        self._lock = threading.Lock()
        self._job: JobName | None = None
        self._since: str | None = None
        self._ours = False
        self.under_way = UnderWay()

    def job_began(self, job: JobName, settings: Settings) -> None:  # noqa: ARG002 - as every listener has it
        with self._lock:
            self.under_way = UnderWay(_DOING.get(job, "asking the archive"))
            self._job, self._since, self._ours = job, datetime.now(UTC).isoformat(timespec="seconds"), False

    def job_put_off(self, job: JobName, why: str) -> None:  # noqa: ARG002
        with self._lock:
            self._job = self._since = None

    def polled(self, found: Poll) -> None:
        # Until now somebody else might have had the store.
        self._ours = True
        self.under_way.polled(found)
        self._note(at_once=True)

    def begun(self, identifier: str) -> None:
        self.under_way.begun(identifier)
        self._note()

    def working(self, identifier: str, how_far: str) -> None:
        self.under_way.working(identifier, how_far)
        self._note()

    def done(self, outcome: Outcome) -> None:
        self.under_way.done(outcome)
        self._note()

    def publishing(self, how_far: str) -> None:
        self.under_way.publishing(how_far)
        self._note()

    def superdataset(self, written: Written) -> None:  # noqa: ARG002
        self._note()

    def host(self, outcome: HostOutcome) -> None:  # noqa: ARG002
        self._note()

    def maintaining(self, how_far: str) -> None:
        self._ours = True
        self.under_way.publishing(how_far)
        self._note()

    def job_ended(self, report: JobReport) -> None:  # noqa: ARG002
        with self._lock:
            self._job = self._since = None
        self._note(at_once=True)

    def tick(self) -> None:
        self._note()

    def close(self) -> None:
        self._file.remove()

    def _note(self, *, at_once: bool = False) -> None:
        with self._lock:
            job, since = self._job, self._since
            if job is not None and not self._ours and self._file.is_anothers():
                return
        if not self._state.is_dir():
            return  # there is no store yet
        due = self._next_jobs() if self._next_jobs is not None else {}
        times: dict[str, str] = {name: when.astimezone(UTC).isoformat(timespec="seconds") for name, when in due.items()}
        self._file.note(self.under_way.standing, job=job, job_since=since, next_jobs=times, at_once=at_once)
