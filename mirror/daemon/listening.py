"""What a job tells while it runs, and when it has ended; and those who listen to it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.daemon.came_of import counts_of_kept, counts_of_proved, problems_of_kept, problems_of_proved
from mirror.errors import Stopped
from mirror.store.job_marks import COUNTED, JobName
from mirror.sync.engine import Report
from mirror.sync.turn import Outcome

if TYPE_CHECKING:
    from mirror.archive.http import Tally
    from mirror.config import Settings
    from mirror.keeping.keeping import Kept
    from mirror.proving.verify import Proved
    from mirror.publish.hosts import HostOutcome
    from mirror.publish.publishing import Published
    from mirror.publish.superdatasets import Written
    from mirror.store.maintenance import Maintained
    from mirror.sync.poll import Poll

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobReport:
    """How a job went."""

    job: JobName
    started: str
    seconds: float
    sync: Report | None = None
    published: Published | None = None
    maintained: Maintained | None = None
    kept: Kept | None = None
    proved: Proved | None = None
    kind: str = ""
    """the class of the error that ended it"""
    trouble: str = ""
    """why it failed as a whole, or was cut short; empty when it came to its end"""
    code: int = 1
    """the exit code that goes with that trouble"""
    raised: BaseException | None = None
    """what nobody had foreseen: its traceback goes to the log"""

    @property
    def stopped(self) -> bool:
        """Whether it was cut short because somebody asked for it."""
        return self.kind == Stopped.__name__

    @property
    def counts(self) -> dict[str, int]:
        """How many Dandisets changed, failed and so on."""
        report = self.sync or Report()
        found: Counter[str] = Counter(outcome.result for outcome in report.outcomes)
        more = {"unchanged": report.still, "resting": report.resting, "left": report.left}
        return {name: found[name] + more.get(name, 0) for name in COUNTED}

    @property
    def amounts(self) -> dict[str, int]:
        """What came of it where it is about content."""
        kept = counts_of_kept(self.kept) if self.kept is not None else {}
        return kept | (counts_of_proved(self.proved) if self.proved is not None else {})

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The Dandisets that failed."""
        outcomes = self.sync.outcomes if self.sync is not None else []
        return tuple(outcome for outcome in outcomes if outcome.result == "failed")

    @property
    def problems(self) -> tuple[str, ...]:
        """What failed besides: superdatasets, hosts, repositories that could not be maintained."""
        found: list[str] = []
        if self.published is not None:
            found += self.published.problems
            for host in self.published.hosts:
                found += [f"host {host.host}: {name}: {why}" for name, why in host.failures.items()]
                found += [f"host {host.host}: {host.stopped}"] if host.stopped else []
        if self.maintained is not None:
            found += self.maintained.problems
        if self.kept is not None:
            found += problems_of_kept(self.kept)
        if self.proved is not None:
            found += problems_of_proved(self.proved)
        return tuple(found)

    @property
    def failed(self) -> bool:
        """Whether anything went wrong."""
        return bool((self.trouble and not self.stopped) or self.failures or self.problems)

    def as_dict(self, alarm_after: int) -> dict[str, Any]:
        """All of it for a program, as JSON has it."""
        return {
            "job": self.job,
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "kind": self.kind,
            "trouble": self.trouble,
            **self.counts,
            "amounts": self.amounts,
            "failures": [_failure(outcome, alarm_after) for outcome in self.failures],
            "problems": list(self.problems),
            "maintained": _plain(self.maintained),
        }


def _failure(outcome: Outcome, alarm_after: int) -> dict[str, Any]:
    marks = outcome.failure
    return {
        "dandiset": outcome.identifier,
        "kind": outcome.kind,
        "message": outcome.message,
        "count": marks.count if marks is not None else 1,
        "since": marks.since if marks is not None else None,
        "alarm": marks is not None and marks.count >= alarm_after,
    }


def _plain(maintained: Maintained | None) -> Mapping[str, Any] | None:
    if maintained is None:
        return None
    from dataclasses import asdict

    return asdict(maintained)


class Listener:
    """Is told how jobs get on; from any thread, at any time. This one does nothing with it."""

    def job_began(self, job: JobName, settings: Settings) -> None:
        """`settings` are those that it runs with."""

    def job_put_off(self, job: JobName, why: str) -> None:
        """It had begun, but somebody else is at work in the store; it comes later."""

    def asked(self, tally: Tally) -> None:
        """What was asked of the archive since this was last told."""

    def polled(self, found: Poll) -> None:
        """The archive's list was gone through."""

    def begun(self, identifier: str) -> None:
        """A Dandiset's turn begins."""

    def working(self, identifier: str, how_far: str) -> None: ...

    def done(self, outcome: Outcome) -> None: ...

    def publishing(self, how_far: str) -> None: ...

    def superdataset(self, written: Written) -> None: ...

    def host(self, outcome: HostOutcome) -> None: ...

    def maintaining(self, how_far: str) -> None: ...

    def job_ended(self, report: JobReport) -> None: ...

    def tick(self) -> None:
        """About once a second, whatever else goes on."""

    def close(self) -> None:
        """Nothing more will be told."""


class Listeners(Listener):
    """Passes everything on to several. One that fails is heard of in the log, and harms nobody."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._listeners = list(listeners)

    def _tell(self, what: Callable[[Listener], None]) -> None:
        for listener in self._listeners:
            try:
                what(listener)
            except Exception:
                logger.exception("%s", type(listener).__name__)

    def job_began(self, job: JobName, settings: Settings) -> None:
        self._tell(lambda listener: listener.job_began(job, settings))

    def job_put_off(self, job: JobName, why: str) -> None:
        self._tell(lambda listener: listener.job_put_off(job, why))

    def asked(self, tally: Tally) -> None:
        self._tell(lambda listener: listener.asked(tally))

    def polled(self, found: Poll) -> None:
        self._tell(lambda listener: listener.polled(found))

    def begun(self, identifier: str) -> None:
        self._tell(lambda listener: listener.begun(identifier))

    def working(self, identifier: str, how_far: str) -> None:
        self._tell(lambda listener: listener.working(identifier, how_far))

    def done(self, outcome: Outcome) -> None:
        self._tell(lambda listener: listener.done(outcome))

    def publishing(self, how_far: str) -> None:
        self._tell(lambda listener: listener.publishing(how_far))

    def superdataset(self, written: Written) -> None:
        self._tell(lambda listener: listener.superdataset(written))

    def host(self, outcome: HostOutcome) -> None:
        self._tell(lambda listener: listener.host(outcome))

    def maintaining(self, how_far: str) -> None:
        self._tell(lambda listener: listener.maintaining(how_far))

    def job_ended(self, report: JobReport) -> None:
        self._tell(lambda listener: listener.job_ended(report))

    def tick(self) -> None:
        self._tell(lambda listener: listener.tick())

    def close(self) -> None:
        self._tell(lambda listener: listener.close())
