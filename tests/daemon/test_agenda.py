"""What is done when, of what is due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirror.daemon.agenda import Agenda, Pauses, Slices
from mirror.store.job_marks import JOB_NAMES, JobName


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_done_when_nothing_is_due() -> None:
    agenda = Agenda()
    assert agenda.take() is None
    assert agenda.seconds_to_wait() is None


def test_the_poll_comes_first_when_all_are_due_at_the_start() -> None:
    agenda = Agenda()
    for job in reversed(JOB_NAMES):
        agenda.due(job)
    assert [agenda.take() for _ in range(6)] == ["poll", "recheck", "maintain", "content", "verify", None]


def test_a_job_that_was_missed_many_times_is_made_up_once() -> None:
    agenda = Agenda()
    for _ in range(100):
        agenda.due("recheck")
    assert agenda.take() == "recheck"
    assert agenda.take() is None


def test_what_comes_due_while_it_is_being_done_is_done_again() -> None:
    agenda = Agenda()
    agenda.due("poll")
    assert agenda.take() == "poll"
    agenda.due("poll")
    assert agenda.take() == "poll"


def test_a_poll_that_is_always_due_leaves_room_for_the_others() -> None:
    agenda = Agenda()
    for job in JOB_NAMES:
        agenda.due(job)
    done = []
    for _ in range(6):
        done.append(agenda.take())
        agenda.due("poll")
    assert done == ["poll", "recheck", "maintain", "content", "verify", "poll"]


def test_whoever_waits_is_woken_by_every_note() -> None:
    rings: list[None] = []
    agenda = Agenda(noted=lambda: rings.append(None))
    agenda.due("poll")
    agenda.postpone("recheck", 5)
    assert len(rings) == 2


def test_what_was_put_off_is_not_tried_before_its_time_however_often_it_comes_due() -> None:
    clock = Clock()
    agenda = Agenda(clock=clock)
    agenda.postpone("poll", 8)
    agenda.due("poll")
    assert agenda.take() is None
    assert not agenda.waits("poll")
    assert agenda.seconds_to_wait() == 8
    clock.now = 8
    assert agenda.waits("poll")
    assert agenda.seconds_to_wait() == 0
    assert agenda.take() == "poll"


@given(st.lists(st.sampled_from(JOB_NAMES), min_size=1))
def test_everything_that_is_due_has_its_turn_before_anything_has_two(noted: list[JobName]) -> None:
    agenda = Agenda()
    for job in noted:
        agenda.due(job)
    waiting = set(noted)
    while waiting:
        job = agenda.take()
        assert job in waiting
        waiting.remove(job)
        agenda.due(job)


def test_a_recheck_goes_on_for_as_long_as_the_last_poll_took_before_it_makes_room() -> None:
    slices = Slices()
    assert slices.seconds("recheck") == 30
    slices.polled(400)
    assert slices.seconds("recheck") == 400


def test_each_time_it_made_room_it_may_go_on_for_twice_as_long() -> None:
    slices = Slices()
    for _ in range(3):
        slices.made_room("maintain")
    assert slices.seconds("maintain") == 240
    assert slices.seconds("recheck") == 30
    slices.ended("maintain")
    assert slices.seconds("maintain") == 30


def test_pauses_grow_up_to_the_longest_and_start_over() -> None:
    pauses = Pauses(1, 60)
    assert [pauses.after_one_more("poll") for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pauses.after_one_more("recheck") == 1
    pauses.over("poll")
    assert pauses.after_one_more("poll") == 1
