"""When to tell of a trouble that lasts: at once, then once an hour with how long it has lasted, and when it is over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mirror import errors
from mirror.store.job_marks import JobName

TOLD_AGAIN_AFTER = 3600.0

_WORDS = {
    "Locked": ("the store is taken", "the store is free again"),
    "ArchiveError": ("the archive gives no answer to go on with", "the archive is back"),
    "ExecutorDown": ("the scheduler cannot be worked with", "the scheduler is back"),
    "NoRoom": ("the mirror has run out of room", "there is room again"),
}
"""What is told of each class of error, and when it is over. In the order in which a job meets them: whoever finds the
disk full has got past the archive."""


@dataclass
class _Trouble:
    since: float
    told: dict[bool, float]
    """when, of that we are refused, and of all else: a token that is refused is mended by nobody but its owner"""
    jobs: set[JobName]
    """whom it hindered: when one of them comes through, it is over"""


class Troubles:
    """Is told what each job met, and when; answers what to log, if anything. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._met: dict[str, _Trouble] = {}

    def met(self, job: JobName, kind: str, why: str, now: float, *, since: float | None = None) -> list[str]:
        """A job could not be done. `since`: when that began, if it was before we started to count."""
        is_refusal = kind == errors.NotAllowed.__name__
        kind = _known(kind) or f"{job}: {kind}"
        trouble = self._met.get(kind)
        if trouble is None:
            trouble = self._met[kind] = _Trouble(now if since is None else min(since, now), {}, set())
        trouble.jobs.add(job)
        if not 0 <= now - trouble.told.get(is_refusal, float("-inf")) < TOLD_AGAIN_AFTER:
            trouble.told[is_refusal] = now
            passed = now - trouble.since
            return [f"{_begun(job, kind)}{f', for {lasting(passed)} now' if passed >= 60 else ''}: {why}"]
        return []

    def got_past(self, job: JobName, kind: str, now: float) -> list[str]:
        """What a job cannot have met, since it came as far as to meet this one, is over."""
        order, known = list(_WORDS), _known(kind)
        return self._over(job, order[: order.index(known)] if known is not None else ["Locked"], now)

    def came_through(self, job: JobName, now: float) -> list[str]:
        """A job came to its end: whatever hindered it before is over."""
        return self._over(job, list(self._met), now)

    def _over(self, job: JobName, kinds: Iterable[str], now: float) -> list[str]:
        over = [kind for kind in kinds if kind in self._met and job in self._met[kind].jobs]
        return [f"{_ended(job, kind)}, after {lasting(now - self._met.pop(kind).since)}" for kind in over]


def _known(kind: str) -> str | None:
    """Which of the classes above an error of this class is. The archive may be down now, and talk nonsense later: to
    us it is the same trouble."""
    error = getattr(errors, kind, None)
    bases = error.__mro__ if isinstance(error, type) else ()
    return next((base.__name__ for base in bases if base.__name__ in _WORDS), None)


def lasting(seconds: float) -> str:
    """A duration as people say it."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    hours = whole // 3600
    return f"{hours} h" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _begun(job: JobName, kind: str) -> str:
    return _WORDS[kind][0] if kind in _WORDS else f"the {job} could not be done"


def _ended(job: JobName, kind: str) -> str:
    return _WORDS[kind][1] if kind in _WORDS else f"the {job} can be done again"
