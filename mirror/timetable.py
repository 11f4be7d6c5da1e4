"""When something is to be done: every so often (`10m`), or at times as cron has them (`0 2 * * *`)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apscheduler.triggers.base import BaseTrigger

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_INTERVAL = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,5})s)?")
_CRON_FIELDS = 5


def interval_seconds(text: str) -> float | None:
    """How long `10m`, `2s` or `1h30m` is; None if it is no interval."""
    found = _INTERVAL.fullmatch(text)
    if found is None or not text:
        return None
    return sum(int(count) * _UNITS[unit] for count, unit in zip(found.groups(), _UNITS, strict=True) if count)


def checked(text: str) -> str:
    """A time that can be kept. ValueError says what is wrong with another."""
    seconds = interval_seconds(text)
    if seconds is not None:
        if seconds < 1:
            raise ValueError("an interval is a second or more")
        return text
    if len(text.split()) != _CRON_FIELDS:
        raise ValueError("neither an interval, such as 10m or 1h30m, nor a cron expression of five fields")
    if trigger(text).get_next_fire_time(None, datetime.now(UTC)) is None:
        raise ValueError("that time never comes")
    return text


def trigger(text: str, jitter: float = 0) -> BaseTrigger:
    """A trigger of APScheduler's for it, each time put off by a random part of `jitter` seconds.

    Intervals are put off by a tenth of themselves at most.
    """
    seconds = interval_seconds(text)
    if seconds is None:
        from mirror.cron import Cron  # takes a tenth of a second, which only who needs it pays

        return Cron(text, jitter)
    from apscheduler.triggers.interval import IntervalTrigger

    return IntervalTrigger(seconds=int(seconds), jitter=min(jitter, seconds / 10) or None, timezone=UTC)
