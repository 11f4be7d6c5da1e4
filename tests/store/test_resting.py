"""How long what failed rests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.store.resting import LONGEST_PAUSE, end_of_rest, is_resting

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def _ago(**by: float) -> str:
    return (NOW - timedelta(**by)).isoformat(timespec="seconds")


def test_what_failed_once_does_not_rest() -> None:
    assert not is_resting(_ago(), _ago(), NOW)


def test_the_rest_is_half_the_time_that_the_trouble_lasts() -> None:
    since, last = _ago(hours=3), _ago(hours=1)
    assert end_of_rest(since, last) == NOW
    assert is_resting(since, last, NOW - timedelta(seconds=1))
    assert not is_resting(since, last, NOW)


@given(st.timedeltas(timedelta(0), timedelta(days=10_000)))
def test_no_rest_is_longer_than_a_quarter_of_a_day(lasting: timedelta) -> None:
    assert end_of_rest((NOW - lasting).isoformat(), NOW.isoformat()) <= NOW + LONGEST_PAUSE


@pytest.mark.parametrize("last", ["9999-12-31T23:59:59+00:00", "2026-01-01T12:00:01+00:00"])
def test_what_was_tried_in_the_future_is_not_waited_for(last: str) -> None:
    assert not is_resting(_ago(days=3), last, NOW)


@pytest.mark.parametrize(("since", "last"), [("", ""), ("yesterday", "today"), ("", _ago(hours=7))])
def test_times_that_cannot_be_read_let_nothing_rest_for_ever(since: str, last: str) -> None:
    assert not is_resting(since, last, NOW)


def test_a_time_without_a_zone_is_one_of_utc() -> None:
    assert end_of_rest("2026-01-01T10:00:00", "2026-01-01T11:00:00") == NOW - timedelta(minutes=30)
