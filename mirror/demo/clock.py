"""The demo archive's time: the real one, or one that a test sets and advances."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

_TICK = timedelta(microseconds=1)


class Clock:
    """Tells the time, and hands out stamps that never repeat, so that "created" is a total order.

    Without `start` it follows the real clock. With `start` it stands still there until advanced, which makes
    everything the archive writes reproducible.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._lock = threading.Lock()
        self._fixed = start.astimezone(UTC) if start else None
        self._last = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        with self._lock:
            return self._now()

    def stamp(self) -> datetime:
        """A time later than every stamp before it; at most microseconds ahead of `now`."""
        with self._lock:
            # The stamp becomes the past: otherwise an answer's Date could lie before what it tells of.
            self._last = max(self._now(), self._last + _TICK)
            return self._last

    def advance(self, seconds: float = 0, *, days: float = 0) -> datetime:
        """Move a fixed clock on; a real one cannot be moved."""
        with self._lock:
            if self._fixed is None:
                raise ValueError("this clock follows the real one: give the archive a clock with a start to advance it")
            self._fixed = self._now() + timedelta(days=days, seconds=seconds)
            return self._fixed

    def _now(self) -> datetime:
        return max(self._fixed or datetime.now(UTC), self._last)


def record_time(when: datetime) -> str:
    """As records write it: `2026-11-20T15:30:12.287727Z`."""
    # Of a time in UTC this is what strftime would say, in a third of the time.
    return f"{when.isoformat(timespec='microseconds').removesuffix('+00:00')}Z"


def document_time(when: datetime) -> str:
    """As metadata documents write it: `2026-11-20T15:30:12.287727+00:00`."""
    return when.isoformat(timespec="microseconds")


def http_date(when: datetime) -> str:
    """As HTTP headers write it: `Fri, 20 Nov 2026 15:36:31 GMT`."""
    return format_datetime(when, usegmt=True)
