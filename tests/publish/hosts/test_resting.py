"""What failed is left alone for a while by runs that nobody typed, and by no others."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from mirror.config import Host
from mirror.publish.hosts import Patience, trouble


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def later(self, **by: float) -> None:
        self.time += timedelta(**by)

    def unattended(self) -> Patience:
        return Patience(lets_rest=True, sleep=lambda _: None, now=lambda: self.time)

    def typed(self) -> Patience:
        return Patience(sleep=lambda _: None, now=lambda: self.time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def disk(family) -> Host:
    """A store on a disk that is not mounted."""
    return Host(name="disk", kind="ria", url=str(family.root / "disk" / "store"))


def fails_for_two_hours(world, host, clock):
    for _ in range(2):
        outcome = world.push(host, patience=clock.unattended())
        clock.later(hours=2)
    clock.later(hours=-2)
    return outcome


def test_a_host_out_of_reach_rests_half_the_time_that_this_lasts(family, disk, clock):
    told = fails_for_two_hours(family, disk, clock).stopped
    (family.root / "disk").mkdir()
    clock.later(minutes=59)
    outcome = family.push(disk, patience=clock.unattended())

    assert outcome.stopped == told, "in the same words, as whoever reads the log knows them already"
    assert not outcome.ok
    assert trouble(disk, family.marks).count == 2, "what was not tried has not failed once more"

    clock.later(minutes=2)
    assert family.push(disk, patience=clock.unattended()).ok
    assert trouble(disk, family.marks) is None


def test_a_host_that_failed_once_is_tried_by_the_next_run(family, disk, clock):
    family.push(disk, patience=clock.unattended())
    (family.root / "disk").mkdir()

    assert family.push(disk, patience=clock.unattended()).ok


def test_no_host_rests_longer_than_a_quarter_of_a_day(family, disk, clock):
    fails_for_two_hours(family, disk, clock)
    clock.later(days=30)
    family.push(disk, patience=clock.unattended())
    (family.root / "disk").mkdir()
    clock.later(hours=5.9)
    assert not family.push(disk, patience=clock.unattended()).ok

    clock.later(hours=0.2)
    assert family.push(disk, patience=clock.unattended()).ok


def test_what_somebody_types_is_tried_whatever_rests(family, disk, clock):
    fails_for_two_hours(family, disk, clock)
    (family.root / "disk").mkdir()

    assert family.push(disk, patience=clock.typed()).ok


def test_clocks_that_were_set_back_let_nothing_rest(family, disk, clock):
    fails_for_two_hours(family, disk, clock)
    (family.root / "disk").mkdir()
    clock.later(days=-300)

    assert family.push(disk, patience=clock.unattended()).ok


def test_one_host_that_rests_keeps_nothing_from_the_next(family, disk, clock):
    fails_for_two_hours(family, disk, clock)
    resting, other = family.push_all([disk, family.plain()], patience=clock.unattended())

    assert (resting.ok, other.ok) == (False, True)


def test_a_repository_that_fails_rests_alone(family, clock):
    make = family.plain().create
    refusing = family.plain(create=f"case {{name}} in 000108) exit 1;; esac; {make}")
    told = fails_for_two_hours(family, refusing, clock).failures["000108"]
    family.sources["000027"].commit()
    outcome = family.push(family.plain(), patience=clock.unattended())

    assert outcome.pushed == ["000027"]
    assert outcome.failures == {"000108": told}
    assert list(outcome.held_back) == ["dandisets"]
    assert family.behind(refusing)["000108"].count == 2

    clock.later(minutes=61)
    assert family.push(family.plain(), patience=clock.unattended()).pushed == ["000108", "dandisets"]


def test_a_repository_that_lacks_nothing_any_more_has_not_failed(single, clock):
    host = single.plain()
    single.push(host, patience=clock.unattended())
    damaged = single.sources["000027"].path / "packed-refs"
    damaged.write_text("nonsense\n")
    assert "nonsense" in fails_for_two_hours(single, host, clock).failures["000027"]
    damaged.unlink()
    assert single.push(host, patience=clock.unattended()).ok

    single.sources["000027"].commit()
    assert single.behind(host)["000027"].error is None
    assert single.push(host, patience=clock.unattended()).pushed == ["000027"]


def test_what_everybody_sees_and_is_embargoed_does_not_wait(single, github, clock):
    host = github.host()
    single.push(host, patience=clock.unattended())
    single.sources["000027"].commit()
    github.server.fault(401, times=2)
    fails_for_two_hours(single, host, clock)
    assert not single.push(host, patience=clock.unattended()).ok

    single.sources["000027"].change(private=True)
    assert single.push(host, patience=clock.unattended()).hidden == ["000027"]


def test_a_rate_limit_is_all_the_rest_there_is(single, github, clock):
    clock.time = datetime.now(UTC)
    github.server.fault(429, Retry_After="7200")
    single.push(github.host(), patience=clock.unattended())
    clock.later(minutes=119)
    assert "not asked" in single.push(github.host(), patience=clock.unattended()).stopped

    clock.later(minutes=2)
    assert single.push(github.host(), patience=clock.unattended()).ok


def test_losing_the_marks_lets_nothing_rest(family, disk, clock):
    fails_for_two_hours(family, disk, clock)
    (family.root / "disk").mkdir()
    shutil.rmtree(family.marks)

    assert family.push(disk, patience=clock.unattended()).ok
