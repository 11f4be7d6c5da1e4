"""What a log says of the jobs: a line for each change, each failure that is news, and each round.

Lines carry their facts besides the words (`fields`), for logs that are read by programs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mirror.daemon.came_of import words as said
from mirror.daemon.failing import failing
from mirror.daemon.listening import JobReport, Listener
from mirror.daemon.troubles import TOLD_AGAIN_AFTER
from mirror.store.job_marks import JobName

if TYPE_CHECKING:
    from mirror.config import Settings
    from mirror.publish.hosts import HostOutcome
    from mirror.publish.superdatasets import Written
    from mirror.sync.poll import Poll
    from mirror.sync.turn import Outcome

logger = logging.getLogger(__name__)

_HOW_FAR_SECONDS = 60.0
"""So often a long round says how far it is."""

_LEVELS = {"changed": logging.INFO, "vanished": logging.WARNING, "embargoed": logging.INFO}


class LogLines(Listener):
    """Logs. Troubles of whole jobs that last are not told here: `Troubles` says when."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._alarm_after = 0
        self._failing: set[str] | None = None
        """the Dandisets that failed when they were last tried; None: not known yet"""
        self._told: dict[str, str] = {}
        """what a failure that was told of last said"""
        self._notes: dict[str, tuple[str, ...]] = {}
        self._problems: dict[str, float] = {}
        """what else was told of as failing, and when"""
        self._job: JobName = "poll"
        self._to_go = self._had = 0
        self._said_at = clock()

    def job_began(self, job: JobName, settings: Settings) -> None:
        self._job, self._alarm_after = job, settings.alarm_after
        self._to_go = self._had = 0
        if self._failing is None:
            self._failing = failing(settings)
        _log(logging.DEBUG, "job-began", f"{job} begins", job=job)

    def job_put_off(self, job: JobName, why: str) -> None:
        _log(logging.DEBUG, "job-put-off", f"{job} is put off: {why}", job=job, why=why)

    def polled(self, found: Poll) -> None:
        self._to_go, self._said_at = len(found.moved), self._clock()
        counts = {"to_go": len(found.moved), "unchanged": len(found.still), "resting": len(found.resting)}
        words = f"{len(found.moved):,} to be looked at, {len(found.still):,} unchanged, {len(found.resting):,} resting"
        _log(logging.DEBUG, "polled", f"{self._job}: {words}", job=self._job, **counts)

    def begun(self, identifier: str) -> None:
        _log(logging.DEBUG, "dandiset-begun", f"{identifier} begins", dandiset=identifier)

    def done(self, outcome: Outcome) -> None:
        if outcome.result == "failed":
            self._failure(outcome)
        else:
            self._success(outcome)
        self._note(outcome)
        self._how_far()

    def superdataset(self, written: Written) -> None:
        parts = [f"{len(written.releases):,} releases"] if written.releases else []
        parts += [f"draft: {written.summary}"] if written.draft is not None else []
        facts = {"superdataset": written.name, "draft": written.draft, "releases": list(written.releases)}
        _log(logging.INFO, "superdataset", f"superdataset {written.name}: {'; '.join(parts) or 'written'}", **facts)

    def host(self, outcome: HostOutcome) -> None:
        counts = {"pushed": len(outcome.pushed), "failed": len(outcome.failures), "held_back": len(outcome.held_back)}
        words = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in counts.items() if count)
        said = "; ".join(part for part in (outcome.stopped, words) if part)
        words = f"host {outcome.host}: {said or 'has everything'}"
        if not outcome.ok:
            level = self._level_of_problem(words)
        else:
            again = self._works_again(f"host {outcome.host}: ")
            words += "; it works again" if again else ""
            level = logging.INFO if outcome.pushed or again else logging.DEBUG
        _log(level, "host", words, host=outcome.host, **counts)

    def job_ended(self, report: JobReport) -> None:
        # A trouble that lasts would be told of at each poll.
        level = logging.DEBUG if report.trouble and not report.stopped else logging.INFO
        facts = {"job": report.job, "seconds": round(report.seconds, 3), "kind": report.kind, "trouble": report.trouble}
        _log(level, "job-ended", f"{report.job}: {_of_round(report)}", **facts, **report.counts, **report.amounts)
        for problem in report.problems:
            _log(self._level_of_problem(problem), "problem", problem, job=report.job)

    def _success(self, outcome: Outcome) -> None:
        facts: dict[str, Any] = {"path": outcome.path, "assets": outcome.assets, "bytes": outcome.bytes}
        if outcome.lag is not None:
            facts["lag_seconds"] = round(outcome.lag, 1)
        again = self._failing is not None and outcome.identifier in self._failing
        words = outcome.message if outcome.result != "vanished" else f"vanished: {outcome.message}"
        if again:
            self._failing = (self._failing or set()) - {outcome.identifier}
            self._told.pop(outcome.identifier, None)
            words = f"works again: {words}"
        level = logging.INFO if again else _LEVELS.get(outcome.result, logging.DEBUG)
        facts |= {"recovered": True} if again else {}
        _log_dandiset(level, outcome, words, **facts)

    def _failure(self, outcome: Outcome) -> None:
        marks = outcome.failure
        count = marks.count if marks is not None else 1
        alarm = 0 < self._alarm_after <= count
        facts: dict[str, Any] = {"kind": outcome.kind, "count": count, "alarm": alarm}
        if marks is not None:
            facts["since"] = marks.since
        self._failing = (self._failing or set()) | {outcome.identifier}
        news = self._told.get(outcome.identifier) != outcome.message or _is_power_of_two(count)
        if news or count == self._alarm_after:
            self._told[outcome.identifier] = outcome.message
            level = logging.ERROR if alarm else logging.WARNING
        else:
            level = logging.INFO
        times = f" {count} times since {marks.since}" if marks is not None and count > 1 else ""
        _log_dandiset(level, outcome, f"failed{times}: {outcome.message}", **facts)

    def _note(self, outcome: Outcome) -> None:
        """What a person should know of it, whenever it is not what it was."""
        before = self._notes.get(outcome.identifier, ())
        if outcome.warnings:
            self._notes[outcome.identifier] = outcome.warnings
        else:
            self._notes.pop(outcome.identifier, None)
        for note in outcome.warnings:
            if note not in before:
                _log(logging.INFO, "note", f"{outcome.identifier} note: {note}", dandiset=outcome.identifier, note=note)

    def _level_of_problem(self, problem: str) -> int:
        """A host that is out of reach is so at each poll: it is told of once an hour."""
        now = self._clock()
        self._problems = {one: told for one, told in self._problems.items() if now - told < TOLD_AGAIN_AFTER}
        if problem in self._problems:
            return logging.DEBUG
        self._problems[problem] = now
        return logging.WARNING

    def _works_again(self, of: str) -> bool:
        """Whether something that begins like this was told of as failing, and is not to be from now on."""
        over = [problem for problem in self._problems if problem.startswith(of)]
        for problem in over:
            del self._problems[problem]
        return bool(over)

    def _how_far(self) -> None:
        self._had += 1
        if self._clock() - self._said_at < _HOW_FAR_SECONDS or self._had >= self._to_go:
            return
        self._said_at = self._clock()
        words = f"{self._job}: {self._had:,} of {self._to_go:,} Dandisets had their turn"
        _log(logging.INFO, "how-far", words, job=self._job, had=self._had, to_go=self._to_go - self._had)


def _of_round(report: JobReport) -> str:
    """How it went, in a line."""
    parts = []
    if report.sync is not None:
        counts = {key: count for key, count in report.counts.items() if count or key in ("changed", "unchanged")}
        parts.append(", ".join(f"{count:,} {key}" for key, count in counts.items()))
    if report.job == "maintain" and report.maintained is not None:
        parts.append("store maintained")
    if report.kept is not None or report.proved is not None:
        parts.append(said(report.amounts) or "all is as it should be")
    if report.kept is not None and report.kept.full:
        parts.append(report.kept.full)
    if not parts and not report.trouble:
        return "nothing was due"
    took = f"{'; '.join(parts) or 'ended'} in {report.seconds:.1f} s"
    return f"{took}; {report.trouble}" if report.trouble else took


def _is_power_of_two(count: int) -> bool:
    return count & (count - 1) == 0


def _log_dandiset(level: int, outcome: Outcome, words: str, **facts: Any) -> None:
    told = {"dandiset": outcome.identifier, "result": outcome.result, **facts}
    _log(level, "dandiset", f"{outcome.identifier} {words}", **told)


def _log(level: int, event: str, message: str, **facts: Any) -> None:
    logger.log(level, "%s", message, extra={"fields": {"event": event, **facts}})
