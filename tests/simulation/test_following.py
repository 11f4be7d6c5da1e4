"""How far a mirror is behind, and whether it moves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.demo import DemoProcess
from simulation.contributors import Change, Contributors
from simulation.following import Following, Lag, Stuck, Trouble
from simulation.mirrors import Fallen, Round, Timer
from simulation.plan import Event
from simulation.weather import Weather

START = "2026-01-01T00:00:00+00:00"


@pytest.fixture
def archive() -> Iterator[DemoProcess]:
    with DemoProcess("empty", start=START, seed=1) as archive:
        archive.call("fill", dandisets=3, assets=20, versions=1)
        archive.call("advance_clock", seconds=600)
        yield archive


def timer_of(archive: DemoProcess, folder: Path) -> Timer:
    where = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
    return Timer(folder, where)


def test_a_change_is_awaited_until_the_mirror_has_it(archive: DemoProcess, tmp_path: Path) -> None:
    timer = timer_of(archive, tmp_path)
    following = Following(timer, patience=60)
    contributors = Contributors(archive, ["000001", "000002", "000003"], seed=1)
    following.noted(contributors.change())
    following.noted(contributors.publish())
    following.look()
    assert following.awaited == 2
    archive.call("advance_clock", seconds=600)
    timer.bring_up_to_date()
    assert timer.wrong == []
    following.look()
    assert following.awaited == 0
    assert [lag.change.what == "publish" for lag in following.lags].count(True) == 1
    assert all(0 < lag.seconds < 60 for lag in following.lags)


def test_a_mirror_in_which_nothing_moves_is_stuck(archive: DemoProcess, tmp_path: Path) -> None:
    following = Following(timer_of(archive, tmp_path), patience=0.05)
    following.look()
    time.sleep(0.1)
    with pytest.raises(Stuck, match="timer: nothing moved for"):
        following.look()


def test_in_an_outage_nothing_need_move(archive: DemoProcess, tmp_path: Path) -> None:
    following = Following(timer_of(archive, tmp_path), patience=0.05)
    following.troubles.append(Trouble(time.time(), time.time() + 60))
    following.look()
    time.sleep(0.1)
    following.look()


def test_what_a_trouble_or_the_recovery_from_it_came_between_is_counted_apart(
    archive: DemoProcess, tmp_path: Path
) -> None:
    timer = timer_of(archive, tmp_path)
    following = Following(timer, patience=60)
    following.noted(Change("000001", "edit", "2000"))
    timer.bring_up_to_date()
    following.look()
    (lag,) = following.lags
    assert following.undisturbed() == [lag]
    following.troubles.append(Trouble(lag.since - 9, lag.since - 8))
    assert following.undisturbed() == []
    timer.rounds.append(Round(lag.since - 7, lag.since - 6, 1))
    assert following.undisturbed() == []
    timer.rounds.append(Round(lag.since - 5, lag.since - 4, 0))
    assert following.undisturbed() == [lag]


def test_a_mirror_that_lags_behind_is_found(archive: DemoProcess, tmp_path: Path) -> None:
    timer = timer_of(archive, tmp_path)
    following = Following(timer, patience=60)
    now = time.time()
    change = Change("000001", "edit", "2000")
    following.lags += [Lag(change, now - 5, now)] * 10
    assert list(following.complaints()) == []
    following.lags.append(Lag(change, now - 1000, now))
    (told,) = following.complaints()
    assert "took 0 rounds, 1000 s" in told
    timer.rounds += [Round(now - 4, now - 4)] * 3
    assert any("one change in two took 3" in told for told in following.complaints())


def test_a_week_of_nothing_but_trouble_tells_too_little(archive: DemoProcess, tmp_path: Path) -> None:
    following = Following(timer_of(archive, tmp_path), patience=60)
    now = time.time()
    following.lags += [Lag(Change("000001", "edit", "2000"), now - 5, now)] * 100
    assert list(following.complaints()) == []
    following.troubles.append(Trouble(now - 9, now))
    assert list(following.complaints()) == ["timer: only 0 of 100 changes were out of trouble: too few"]


def test_a_mirror_that_ends_by_itself_again_and_again_ends_the_simulation(archive: DemoProcess, tmp_path: Path) -> None:
    timer = timer_of(archive, tmp_path)
    timer.wrong += ["timer: a round ended with 11"] * 5
    with pytest.raises(Fallen, match="a round ended with 11"):
        Following(timer, patience=60).look()


def test_errors_that_nobody_foresaw_are_found_in_the_log(archive: DemoProcess, tmp_path: Path) -> None:
    timer = timer_of(archive, tmp_path)
    timer.log.write_text(
        "0 changed\ndandi-mirror: error: KeyError: 'x'\n  this is a bug; run with -l debug\n0 changed\n"
    )
    (told,) = timer.complaints()
    assert "KeyError: 'x'" in told


def test_the_weather_comes_and_goes_as_planned(archive: DemoProcess, tmp_path: Path) -> None:
    weather = Weather(archive, [Event(1, "outage", 2, "503", 1.0)])
    weather.at(0)
    timer = timer_of(archive, tmp_path)
    timer.bring_up_to_date()
    before = weather.struck().get("503", 0)
    weather.at(1.5)
    with pytest.raises(OSError, match="503"):
        _ask(archive)
    assert weather.struck()["503"] == before + 1
    weather.at(3)
    weather.clear()
    _ask(archive)


def _ask(archive: DemoProcess) -> None:
    from urllib.request import urlopen

    with urlopen(f"{archive.api_url}/info/") as answer:
        answer.read()
