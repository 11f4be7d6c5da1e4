"""Cron expressions as cron reads them: by the machine's own time, also on the days when its clocks change.

APScheduler's trigger reads the fields; of days that are not 24 hours long, it would lose one, or do things twice.
"""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger

_FIELDS = ("minute", "hour", "day", "month", "day_of_week")

_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_OF_WEEK = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")
_INSTANT = timedelta(microseconds=1)


class Cron(BaseTrigger):  # type: ignore[misc]
    """The times of an expression of five fields, each put off by a random part of `jitter` seconds.

    A time that the clocks leave out comes when as much has passed; one that they show twice is the first of the two.
    What is done every hour is done so by the time that passes, whatever the clocks say.
    """

    def __init__(self, text: str, jitter: float = 0) -> None:
        self._jitter = jitter
        fields = dict(zip(_FIELDS, text.lower().split(), strict=True))
        self._every_hour = fields["hour"] == "*"
        self._walls = [CronTrigger(**one, timezone=UTC) for one in _alternatives(fields)]
        """They know nothing of zones: what a clock on the wall shows is UTC to them."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The first time after the previous one, or from now on; None: it never comes."""
        start = now.astimezone(UTC)
        if previous_fire_time is not None and previous_fire_time <= now:
            start = previous_fire_time.astimezone(UTC) + _INSTANT
        shown = _shown_at(start)
        while (wall := self._next_wall(shown)) is not None:
            found = start + (wall - shown) if self._every_hour else _moment_of(wall)
            if found >= start:
                return found + timedelta(seconds=random.uniform(0, self._jitter))
            shown = wall + _INSTANT  # the clocks show it for the second time
        return None

    def _next_wall(self, shown: datetime) -> datetime | None:
        found = [wall.get_next_fire_time(None, shown) for wall in self._walls]
        return min((one for one in found if one is not None), default=None)


def _shown_at(moment: datetime) -> datetime:
    """What the machine's clock shows then, as if that were UTC."""
    return moment.astimezone().replace(tzinfo=UTC, fold=0)


def _moment_of(wall: datetime) -> datetime:
    # Not `astimezone`, which puts what the clocks leave out an hour too early.
    return datetime.fromtimestamp(wall.replace(tzinfo=None).timestamp(), UTC)


def _alternatives(fields: dict[str, str]) -> list[dict[str, str]]:
    """What APScheduler has to be asked for: a day of the month and one of the week are either to cron, to APScheduler
    both at once."""
    days = ",".join(map(_of_week, fields["day_of_week"].split(",")))
    if fields["day"].startswith("*") or fields["day_of_week"].startswith("*"):
        return [{**fields, "day_of_week": days}]
    return [{**fields, "day_of_week": "*"}, {**fields, "day": "*", "day_of_week": days}]


def _of_week(part: str) -> str:
    """A part of cron's fifth field with names for numbers: cron counts from Sunday, APScheduler from Monday."""
    if part == "*":
        return part
    found = _OF_WEEK.fullmatch(part)
    if found is None:
        raise ValueError(f"{part!r} is no day of the week")
    first, last, step = found["first"], found["last"], int(found["step"] or 1)
    if step < 1:
        raise ValueError("a step is 1 or more")
    start = 0 if first == "*" else _weekday(first)
    end = _end(start, last, to_the_last=first == "*" or found["step"] is not None)
    if end < start:
        raise ValueError(f"the days of the week {part} go backwards")
    return ",".join(dict.fromkeys(_WEEKDAYS[number] for number in range(start, end + 1, step)))


def _end(start: int, last: str | None, *, to_the_last: bool) -> int:
    if last is None:
        return 6 if to_the_last else start
    number = _weekday(last)
    return 7 if number == 0 else number


def _weekday(day: str) -> int:
    if day.isdecimal() and int(day) < len(_WEEKDAYS):
        return int(day)
    if day not in _WEEKDAYS:
        raise ValueError(f"there is no day of the week {day!r}: Sunday is 0 or 7")
    return _WEEKDAYS.index(day)
