"""When something is to be done: every so often (`10m`), or at times as cron has them (`0 2 * * *`)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apscheduler.triggers.base import BaseTrigger

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_INTERVAL = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,5})s)?")
_CRON_FIELDS = ("minute", "hour", "day", "month", "day_of_week")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_OF_WEEK = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")


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
    if len(text.split()) != len(_CRON_FIELDS):
        raise ValueError("neither an interval, such as 10m or 1h30m, nor a cron expression of five fields")
    if _cron(text, None).get_next_fire_time(None, datetime.now().astimezone()) is None:
        raise ValueError("that time never comes")
    return text


def trigger(text: str, jitter: float = 0) -> BaseTrigger:
    """APScheduler's trigger for it, each time put off by a random part of `jitter` seconds.

    Intervals are put off by a tenth of themselves at most.
    """
    seconds = interval_seconds(text)
    if seconds is None:
        return _cron(text, jitter or None)
    from apscheduler.triggers.interval import IntervalTrigger

    return IntervalTrigger(seconds=int(seconds), jitter=min(jitter, seconds / 10) or None)


def _cron(text: str, jitter: float | None) -> BaseTrigger:
    from apscheduler.triggers.combining import OrTrigger
    from apscheduler.triggers.cron import CronTrigger  # takes a tenth of a second, which only who needs it pays

    fields = dict(zip(_CRON_FIELDS, text.lower().split(), strict=True))
    fields["day_of_week"] = ",".join(map(_of_week, fields["day_of_week"].split(",")))
    if fields["day"].startswith("*") or fields["day_of_week"] == "*":
        return CronTrigger(**fields, jitter=jitter)
    # A day of the month and one of the week: to cron it is either, to APScheduler both at once.
    either = ({**fields, "day_of_week": "*"}, {**fields, "day": "*"})
    return OrTrigger([CronTrigger(**one, jitter=jitter) for one in either])


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
