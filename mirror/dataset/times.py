"""The archive's times, read alike by every Python: its own `fromisoformat` takes more with each version."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from mirror.errors import RecordRefused

_TIME = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<minutes>[0-9]{2}:[0-9]{2}):(?P<seconds>[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]+))?(?:Z|(?P<sign>[+-])(?P<hours_off>[0-9]{2}):(?P<minutes_off>[0-5][0-9]))?"
).fullmatch

_LEAP_SECOND = 60
_1970 = datetime(1970, 1, 1, tzinfo=UTC)


def moment(text: str) -> datetime:
    """One of the archive's times, in UTC, which it also means where it names no zone. Cut to microseconds."""
    found = _TIME(text)
    if found is None:
        raise RecordRefused(f"{text!r} is not a time")
    year, month, day = map(int, found["date"].split("-"))
    hour, minute = map(int, found["minutes"].split(":"))
    second = int(found["seconds"])
    if second == _LEAP_SECOND:
        second -= 1  # which is as near as a Python time gets to it
    microsecond = int((found["fraction"] or "0")[:6].ljust(6, "0"))
    try:
        zone = timezone(_offset(found))
        return datetime(year, month, day, hour, minute, second, microsecond, zone).astimezone(UTC)
    except (ValueError, OverflowError):  # no such day or hour; or, in UTC, not between the years 1 and 9999
        raise RecordRefused(f"{text!r} is not a time") from None


def epoch(text: str) -> int:
    """Seconds since 1970 of one of the archive's times; the fraction is dropped."""
    seconds = (moment(text) - _1970) // timedelta(seconds=1)
    if seconds < 0:
        raise RecordRefused(f"{text!r} lies before 1970, which no commit can hold")
    return seconds


def _offset(found: re.Match[str]) -> timedelta:
    if found["sign"] is None:
        return timedelta(0)
    offset = timedelta(hours=int(found["hours_off"]), minutes=int(found["minutes_off"]))
    return -offset if found["sign"] == "-" else offset
