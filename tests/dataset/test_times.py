"""The archive's times: read exactly, by every Python alike, or refused by name."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.dataset.times import epoch, moment
from mirror.errors import RecordRefused

ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# A day away from what a Python time can hold, so that every zone has it.
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=ZONES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T15:34:17Z", datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)),
        ("2026-11-20 15:34:17Z", datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)),
        ("2026-11-20T15:34:17", datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)),
        ("2026-11-20T16:34:17+01:00", datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)),
        ("2026-11-20T10:04:17-05:30", datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)),
        ("2026-11-20T15:34:17.5Z", datetime(2026, 11, 20, 15, 34, 17, 500_000, tzinfo=UTC)),
        ("2026-11-20T15:34:17.0000019Z", datetime(2026, 11, 20, 15, 34, 17, 1, tzinfo=UTC)),
        ("2026-11-20T15:34:17.999999999999Z", datetime(2026, 11, 20, 15, 34, 17, 999_999, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_utc(text: str, expected: datetime) -> None:
    found = moment(text)
    assert found == expected
    assert found.tzinfo is UTC


@given(TIMES)
def test_every_time_comes_back(time: datetime) -> None:
    for separator in "T ":
        assert moment(time.isoformat(separator)) == time


@given(TIMES.filter(lambda time: time.year > 1970))
def test_the_seconds_are_those_before_the_fraction(time: datetime) -> None:
    whole = datetime.fromtimestamp(epoch(time.isoformat()), UTC)
    assert timedelta(0) <= time - whole < timedelta(seconds=1)


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2026-11-20", "20261120T153417Z", "2026-W47-5T15:34:17Z", "2026-11-20T15:34Z"),
        *("2026-11-20T15Z", "2026-11-20T15:34:17,5Z", "2026-11-20T15:34:17.Z", "2026-11-20T15:34:17+0100"),
        *("2026-11-20T15:34:17+01", "2026-11-20T15:34:17+01:00:00", "2026-11-20T15:34:17z", "2026-11-20t15:34:17Z"),
        *("2026-11-20T15:34:17Z\n", " 2026-11-20T15:34:17Z", "2026-11-20T15:34:17 Z", "2026-11-20T15:34:17\0"),
        *("2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:61Z"),
        *("2026-01-01T00:60:00Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+00:60", "0000-01-01T00:00:00Z"),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "２０２６-11-20T15:34:17Z"),
    ],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    for read in (moment, epoch):
        with pytest.raises(RecordRefused, match=re.escape(f"{text!r} is not a time")):
            read(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.999999Z", 0),
        ("2026-11-20T15:34:17.999999Z", 1_795_188_857),
        ("2026-11-20T16:34:17+01:00", 1_795_188_857),
        ("2026-11-20T15:34:17", 1_795_188_857),
    ],
)
def test_seconds_of_the_archives_times(text: str, seconds: int) -> None:
    assert epoch(text) == seconds


@pytest.mark.parametrize("text", ["1969-12-31T23:59:59Z", "1969-12-31T23:59:59.9Z", "1970-01-01T00:00:00+00:01"])
def test_what_git_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(RecordRefused, match=re.escape(f"{text!r} lies before 1970")):
        epoch(text)
