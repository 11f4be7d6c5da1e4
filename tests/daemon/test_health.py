"""When the daemon says that it is not well."""

from __future__ import annotations

import pytest

from mirror.config import Settings
from mirror.daemon.health import STUCK_SECONDS, Health, seconds_between
from mirror.daemon.listening import JobReport
from mirror.sync.engine import Report
from mirror.sync.poll import Poll

MINUTE, HOUR = 60.0, 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(SETTINGS, clock=clock)


SETTINGS = Settings.model_validate({"schedule": {"poll": "10m"}})


def polled(trouble: str = "", kind: str = "") -> JobReport:
    return JobReport("poll", "2026-11-21T15:34:17+00:00", 1.0, Report(), kind=kind, trouble=trouble)


def test_three_polls_that_did_not_come_are_too_many(health: Health, clock: Clock) -> None:
    clock.now += 39 * MINUTE
    assert health.verdict().well  # it was only just started
    clock.now += 2 * MINUTE
    assert health.verdict().problems == ("no poll went well for 2460 s",)
    health.job_began("poll", SETTINGS)
    health.job_ended(polled())
    assert health.verdict().well
    assert health.verdict().facts["last_poll"] is not None


@pytest.mark.parametrize("kind", ["ArchiveDown", "Unreachable", "BadAnswer"])
def test_an_archive_that_is_down_for_days_is_told_and_no_illness_of_ours(
    health: Health, clock: Clock, kind: str
) -> None:
    for _ in range(300):
        clock.now += 10 * MINUTE
        health.job_began("poll", SETTINGS)
        health.job_ended(polled("no answer", kind))
    verdict = health.verdict()
    assert verdict.well
    assert verdict.facts["trouble"] == {"poll": "no answer"}
    health.job_ended(polled())
    assert health.verdict().facts["trouble"] == {}


def test_a_full_disk_makes_us_unwell(health: Health, clock: Clock) -> None:
    for _ in range(5):
        clock.now += 10 * MINUTE
        health.job_began("poll", SETTINGS)
        health.job_ended(polled("there is no room", "NoRoom"))
    assert not health.verdict().well
    assert health.verdict().as_dict()["status"] == "unwell"


def test_a_round_may_take_days_as_long_as_it_moves(health: Health, clock: Clock) -> None:
    health.job_began("poll", SETTINGS)
    health.polled(Poll())
    for _ in range(100):
        clock.now += 50 * MINUTE
        health.working("000108", "listing")
        assert health.verdict().well
    clock.now += STUCK_SECONDS + 1
    assert health.verdict().problems == ("poll is at work, and nothing of it has moved for 3601 s",)


def test_somebody_else_at_work_is_no_illness(health: Health, clock: Clock) -> None:
    for _ in range(30):
        clock.now += 10 * MINUTE
        health.job_began("poll", SETTINGS)
        health.job_put_off("poll", "the store is in use")
    assert health.verdict().well
    assert health.verdict().facts["trouble"] == {"poll": "the store is in use"}


def test_a_main_thread_without_life_is_told_whatever_else_is_well(clock: Clock) -> None:
    health = Health(SETTINGS, lambda: False, clock=clock)
    assert health.verdict().problems == ("the daemon's main thread shows no sign of life",)


def test_settings_that_were_read_again_count(health: Health, clock: Clock) -> None:
    health.job_began("poll", Settings.model_validate({"schedule": {"poll": "0 2 * * *"}}))
    health.job_ended(polled())
    clock.now += 20 * HOUR
    assert health.verdict().well


@pytest.mark.parametrize(
    ("when", "seconds"),
    [("10m", 600), ("2s", 2), ("*/15 * * * *", 900), ("0 2 * * *", 24 * HOUR), ("0 8-18 * * *", 14 * HOUR)],
)
def test_the_longest_time_between_two_polls_counts(when: str, seconds: float) -> None:
    assert seconds_between(when) == pytest.approx(seconds, abs=HOUR if seconds > 12 * HOUR else 0)
