"""When something is to be done: intervals, and cron expressions as cron reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mirror.timetable import checked, interval_seconds, trigger

FRIDAY = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)


def next_days(expression: str, count: int = 3) -> list[str]:
    """The next days on which it fires, from a Friday at noon on."""
    found, now = [], FRIDAY
    when = trigger(expression)
    for _ in range(count):
        fired = when.get_next_fire_time(None, now)
        found.append(f"{fired:%a %d}")
        now = fired + timedelta(minutes=1)
    return found


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("2s", 2), ("1h30m", 5400), ("1d", 86_400), ("0s", 0), ("1d2h3m4s", 93_784)]
)
def test_an_interval_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert interval_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "10 m", "1.5h", "-1m", "0 2 * * *", "30m1h"])
def test_anything_else_is_no_interval(text: str) -> None:
    assert interval_seconds(text) is None


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("0 2 * * *", ["Sat 21", "Sun 22", "Mon 23"]),
        ("0 2 * * 0", ["Sun 22", "Sun 29", "Sun 06"]),
        ("0 2 * * 7", ["Sun 22", "Sun 29", "Sun 06"]),
        ("0 2 * * 1-5", ["Mon 23", "Tue 24", "Wed 25"]),
        ("0 2 * * 5-7", ["Sat 21", "Sun 22", "Fri 27"]),
        ("0 2 * * Sat,SUN", ["Sat 21", "Sun 22", "Sat 28"]),
        ("0 2 * * 1/2", ["Mon 23", "Wed 25", "Fri 27"]),
        ("0 2 * * */3", ["Sat 21", "Sun 22", "Wed 25"]),
        ("0 2 1 * *", ["Tue 01", "Fri 01", "Mon 01"]),
    ],
)
def test_days_of_the_week_are_counted_as_cron_counts_them(expression: str, days: list[str]) -> None:
    assert next_days(expression) == days


def test_a_day_of_the_month_and_one_of_the_week_is_either_of_them() -> None:
    assert next_days("0 2 1 * 1") == ["Mon 23", "Mon 30", "Tue 01"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "neither an interval"),
        ("10", "neither an interval"),
        ("@daily", "neither an interval"),
        ("* * * *", "neither an interval"),
        ("60 * * * *", "higher than the maximum"),
        ("0 25 * * *", "higher than the maximum"),
        ("*/0 * * * *", "Increment"),
        ("0 0 * * 8", "no day of the week '8'"),
        ("0 0 * * foo", "no day of the week 'foo'"),
        ("0 0 * * sun#1", "no day of the week"),
        ("0 0 * * 3-1", "backwards"),
        ("0 0 * * */0", "a step is 1 or more"),
        ("0 0 31 2 *", "never comes"),
        ("0s", "a second or more"),
    ],
)
def test_a_time_that_cannot_be_kept_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        checked(text)


def test_a_start_is_put_off_by_at_most_the_jitter_and_an_interval_s_by_a_tenth_of_it() -> None:
    for text, most in (("0 2 * * *", 30), ("10m", 30), ("10s", 1)):
        plain = trigger(text).get_next_fire_time(FRIDAY, FRIDAY)
        put_off = [trigger(text, 30).get_next_fire_time(FRIDAY, FRIDAY) - plain for _ in range(50)]
        assert all(-timedelta(seconds=1) <= one <= timedelta(seconds=most) for one in put_off), text
        assert len(set(put_off)) > 1
