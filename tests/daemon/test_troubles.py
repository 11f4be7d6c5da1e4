"""A trouble that lasts is told of at once, once an hour, and when it is over."""

from __future__ import annotations

import pytest

from mirror.daemon.troubles import Troubles, lasting

HOUR = 3600.0


def test_an_archive_that_is_down_for_a_day_is_told_of_once_an_hour() -> None:
    troubles = Troubles()
    said = [
        line for minute in range(0, 24 * 60, 10) for line in troubles.met("poll", "ArchiveDown", "503", minute * 60.0)
    ]
    assert said[0] == "the archive gives no answer to go on with: 503"
    assert said[3] == "the archive gives no answer to go on with, for 3 h now: 503"
    assert len(said) == 24
    assert troubles.came_through("poll", 24 * HOUR) == ["the archive is back, after 24 h"]
    assert troubles.came_through("poll", 25 * HOUR) == []


def test_all_jobs_meet_the_same_trouble_and_it_is_told_of_once() -> None:
    troubles = Troubles()
    assert troubles.met("poll", "ArchiveDown", "503", 0)
    assert not troubles.met("recheck", "ArchiveDown", "504", 60)
    assert troubles.came_through("recheck", 120) == ["the archive is back, after 2 min"]
    assert not troubles.came_through("poll", 180)


def test_an_archive_that_is_down_now_and_talks_nonsense_then_is_one_trouble() -> None:
    troubles = Troubles()
    assert troubles.met("poll", "Unreachable", "HTTP 503", 0)
    assert not troubles.met("poll", "BadAnswer", "a page of apology", 600)
    assert not troubles.met("poll", "ArchiveDown", "three in a row", 1200)
    assert troubles.came_through("poll", 1800) == ["the archive is back, after 30 min"]


def test_a_token_that_is_refused_is_told_of_at_once_also_after_an_outage() -> None:
    troubles = Troubles()
    assert troubles.met("poll", "ArchiveDown", "503", 0)
    (line,) = troubles.met("poll", "NotAllowed", "check DANDI_API_KEY", 600)
    assert line.endswith(", for 10 min now: check DANDI_API_KEY")
    for now in range(1200, 3600, 600):
        assert not troubles.met("poll", "NotAllowed", "check DANDI_API_KEY", now)
        assert not troubles.met("poll", "ArchiveDown", "503", now)
    assert troubles.came_through("poll", 3600) == ["the archive is back, after 60 min"]


def test_a_job_that_does_not_ask_the_archive_says_nothing_of_its_being_back() -> None:
    troubles = Troubles()
    troubles.met("poll", "ArchiveDown", "503", 0)
    assert troubles.came_through("maintain", 60) == []


def test_whoever_meets_a_later_trouble_has_got_past_the_earlier() -> None:
    troubles = Troubles()
    troubles.met("poll", "Locked", "by `dandi-mirror sync`", 0)
    troubles.met("poll", "ArchiveDown", "503", 0)
    assert troubles.got_past("poll", "ArchiveDown", 60) == ["the store is free again, after 60 s"]
    assert troubles.got_past("poll", "NoRoom", 90) == ["the archive is back, after 90 s"]
    assert troubles.got_past("poll", "Locked", 99) == []


def test_troubles_of_other_kinds_are_told_of_by_job() -> None:
    troubles = Troubles()
    assert troubles.met("maintain", "GitError", "git died", 0) == ["the maintain could not be done: git died"]
    assert troubles.met("poll", "GitError", "git died", 0) == ["the poll could not be done: git died"]
    assert troubles.came_through("poll", 60) == ["the poll can be done again, after 60 s"]


def test_a_trouble_that_began_before_a_restart_is_told_of_with_its_true_age() -> None:
    troubles = Troubles()
    (said,) = troubles.met("poll", "NoRoom", "full", 10 * HOUR, since=0)
    assert said == "the mirror has run out of room, for 10 h now: full"


def test_a_clock_that_was_set_back_silences_nothing_for_long() -> None:
    troubles = Troubles()
    troubles.met("poll", "NoRoom", "full", 1000 * HOUR)
    assert troubles.met("poll", "NoRoom", "full", 0.0)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (180_000, "2 d 2 h"), (-5, "0 s")]
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


def test_a_scheduler_that_is_gone_is_not_the_archives_trouble() -> None:
    troubles = Troubles()
    assert troubles.met("poll", "ArchiveDown", "503", 0)
    assert troubles.met("poll", "ExecutorDown", "it is gone", 60) == ["the scheduler cannot be worked with: it is gone"]
    assert troubles.got_past("poll", "ExecutorDown", 60) == ["the archive is back, after 60 s"]
    assert troubles.came_through("poll", 120) == ["the scheduler is back, after 60 s"]
