"""Times of cron expressions are the machine's, also on the two days a year when its clocks change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from mirror.timetable import checked, trigger

SetZone = Callable[[str], None]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetZone]:
    """Sets the machine's time zone."""

    def set_zone(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


def times(expression: str, since: datetime, until: datetime) -> list[datetime]:
    """When it fires, one after the other as the daemon asks for them."""
    when, found = trigger(expression), [since]
    while (following := when.get_next_fire_time(found[-1], found[-1])) < until:
        assert following > found[-1]
        found.append(following)
    return found[1:]


def local(moments: list[datetime]) -> list[str]:
    return [f"{one.astimezone():%d %H:%M}" for one in moments]


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("expression", ["0 0 * * *", "30 1 * * *", "30 2 * * *", "0 3 * * *"])
def test_what_is_done_daily_is_done_once_on_each_day_of_the_year(zone: SetZone, name: str, expression: str) -> None:
    zone(name)
    since = datetime(2026, 1, 1).astimezone()
    found = [
        one.astimezone().date() for one in times(expression, since - timedelta(seconds=1), since.replace(year=2027))
    ]
    assert found == [since.date() + timedelta(days=day) for day in range(365)]


def test_a_weekly_time_on_the_day_after_the_clocks_changed_is_kept(zone: SetZone) -> None:
    zone("Europe/Berlin")
    found = times("0 0 * * 1", datetime(2026, 3, 20, tzinfo=UTC), datetime(2026, 4, 10, tzinfo=UTC))
    assert local(found) == ["23 00:00", "30 00:00", "06 00:00"]


def test_a_time_that_the_clocks_leave_out_comes_an_hour_later(zone: SetZone) -> None:
    zone("Europe/Berlin")
    found = times("30 2 * * *", datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC))
    assert local(found) == ["28 02:30", "29 03:30", "30 02:30"]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_what_is_done_every_ten_minutes_goes_on_when_the_clocks_change(zone: SetZone, day: str) -> None:
    zone("Europe/Berlin")
    since = datetime.fromisoformat(f"{day}T00:00:00+00:00") - timedelta(hours=2)
    found = times("*/10 * * * *", since, since + timedelta(hours=8))
    assert {after - before for before, after in zip([since, *found], found, strict=False)} == {timedelta(minutes=10)}


@pytest.mark.parametrize("name", ["UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "<+03>-3"])
def test_a_time_zone_that_is_given_by_its_rules_is_as_good_as_one_with_a_name(zone: SetZone, name: str) -> None:
    zone(name)
    assert checked("30 2 * * *") == "30 2 * * *"
    (one,) = times("30 2 * * *", datetime(2026, 11, 19, 12, tzinfo=UTC), datetime(2026, 11, 20, 12, tzinfo=UTC))
    assert local([one]) == ["20 02:30"]
    assert trigger("10m").get_next_fire_time(one, one) == one + timedelta(minutes=10)


def test_a_step_over_all_days_of_the_week_restricts_those_of_the_month_as_to_cron_a_star_does() -> None:
    found = times("0 2 1 * */2", datetime(2026, 1, 2).astimezone(), datetime(2026, 9, 2).astimezone())
    assert [f"{one.astimezone():%a %d %b}" for one in found] == ["Sun 01 Feb", "Sun 01 Mar", "Sat 01 Aug", "Tue 01 Sep"]
