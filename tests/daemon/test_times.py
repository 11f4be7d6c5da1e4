"""When jobs are due: at their times, and at once if those passed while nobody was there."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from mirror.config import ContentRule, Schedule, Settings
from mirror.daemon.times import Times, is_missed, planned, seconds_until_next
from mirror.store.job_marks import JOB_NAMES, JobMark, JobName

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NIGHTLY = Schedule(poll="10m", recheck="0 2 * * *", jitter="0s")


def mark(job: JobName, ago: timedelta, **more: object) -> JobMark:
    then = (NOW - ago).isoformat(timespec="seconds")
    return JobMark(job=job, since=then, started=then, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("job", "ago", "missed"),
    [
        ("poll", timedelta(minutes=9), False),
        ("poll", timedelta(minutes=10), True),
        ("poll", timedelta(days=400), True),
        ("recheck", timedelta(minutes=1), False),
        ("recheck", timedelta(hours=25), True),
    ],
)
def test_a_job_is_missed_when_its_time_passed_since_it_last_began(job: JobName, ago: timedelta, missed: bool) -> None:
    assert is_missed(NIGHTLY, mark(job, ago), NOW, job) is missed


def test_a_job_that_was_never_done_is_due_at_its_first_time_and_not_before() -> None:
    new = JobMark(job="recheck", since=(NOW - timedelta(minutes=1)).isoformat())
    assert not is_missed(NIGHTLY, new, NOW, "recheck")
    assert is_missed(NIGHTLY, new, NOW + timedelta(days=1), "recheck")


def test_a_job_that_was_broken_off_is_due_at_once() -> None:
    assert is_missed(NIGHTLY, mark("recheck", timedelta(minutes=1), unfinished=True), NOW, "recheck")


@pytest.mark.parametrize("started", ["2126-01-01T00:00:00+00:00", "nonsense", "2026-11-21T11:59:00"])
def test_a_mark_that_cannot_be_right_counts_as_missed(started: str) -> None:
    assert is_missed(NIGHTLY, JobMark(job="poll", since=started, started=started), NOW, "poll")


def test_how_long_until_the_next_time() -> None:
    assert seconds_until_next(NIGHTLY, "poll", NOW) == 600
    assert 0 < seconds_until_next(NIGHTLY, "recheck", NOW) <= 86_400


class Noted:
    def __init__(self) -> None:
        self.jobs: list[JobName] = []
        self.first = threading.Event()

    def __call__(self, job: JobName) -> None:
        self.jobs.append(job)
        self.first.set()


def test_missed_times_are_noted_once_when_they_are_planned() -> None:
    noted = Noted()
    with Times(noted) as times:
        marks = {"poll": mark("poll", timedelta(days=9)), "recheck": mark("recheck", timedelta(days=9))}
        schedule = Schedule(poll="1h", recheck="0 2 * * *", maintain="1h")
        times.plan(schedule, {**just_done(), **marks})  # type: ignore[dict-item]
        assert sorted(noted.jobs) == ["poll", "recheck"]
        assert set(times.next_times()) == set(JOB_NAMES)


def test_a_job_that_is_not_asked_for_any_more_has_no_times() -> None:
    noted = Noted()
    with Times(noted) as times:
        times.plan(NIGHTLY, just_done())
        assert "verify" in times.next_times()
        times.plan(Schedule(verify=None), just_done(), ("poll", "recheck", "maintain"))
        assert set(times.next_times()) == {"poll", "recheck", "maintain"}
        assert noted.jobs == []


def test_what_content_is_kept_and_what_is_proved_is_planned_where_the_settings_ask_for_it() -> None:
    assert planned(Settings()) == ("poll", "recheck", "maintain", "verify")
    assert planned(Settings(content=(ContentRule(),), schedule=Schedule(verify=None))) == (
        *("poll", "recheck", "maintain", "content"),
    )


@pytest.mark.parametrize("then", ["0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00"])
def test_marks_of_years_that_cannot_be_reckoned_with_are_as_good_as_none(then: str) -> None:
    noted = Noted()
    with Times(noted) as times:
        times.plan(NIGHTLY, {job: JobMark(job=job, since=then, started=then) for job in JOB_NAMES})
        assert set(noted.jobs) == set(times.next_times()) == set(JOB_NAMES)


def test_reading_the_settings_again_every_minute_puts_nothing_off() -> None:
    noted = Noted()
    with Times(noted) as times:
        marks = just_done()
        times.plan(Schedule(poll="1h", jitter="0s"), marks)
        first = times.next_times()["poll"]
        times.plan(Schedule(poll="1h", jitter="0s"), marks)
        assert times.next_times()["poll"] == first
        assert noted.jobs == []


def test_what_is_due_is_noted_when_its_time_comes() -> None:
    noted = Noted()
    with Times(noted) as times:
        began = time.monotonic()
        times.plan(Schedule(poll="1s", recheck="1h", maintain="1h", jitter="0s"), just_done())
        assert noted.first.wait(5)
        assert time.monotonic() - began < 3
        assert set(noted.jobs) == {"poll"}


def just_done() -> dict[JobName, JobMark]:
    """Every job was done a moment ago."""
    now = datetime.now(UTC).isoformat()
    return {job: JobMark(job=job, since=now, started=now) for job in JOB_NAMES}
