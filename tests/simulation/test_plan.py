"""What is to happen in the week."""

from __future__ import annotations

import pytest

from simulation.plan import drawn
from simulation.scale import WHOLE, of_minutes


def test_the_same_seed_gives_the_same_week() -> None:
    scale = of_minutes(10)
    assert drawn(scale, 3) == drawn(scale, 3)
    assert drawn(scale, 3) != drawn(scale, 4)


@pytest.mark.parametrize("minutes", [1, 5, 10, 30])
def test_all_of_it_lies_within_the_week_and_its_last_part_is_quiet(minutes: float) -> None:
    scale = of_minutes(minutes)
    for seed in range(20):
        plan = drawn(scale, seed)
        assert len(plan.changes) == scale.changes
        assert len(plan.publications) == scale.publications
        assert all(0 <= at <= scale.seconds for at in (*plan.changes, *plan.publications))
        assert list(plan.events) == sorted(plan.events, key=lambda event: event.at)
        assert all(event.at >= 0 and event.until <= 0.9 * scale.seconds for event in plan.events)


def test_every_kind_of_trouble_is_in_it() -> None:
    plan = drawn(WHOLE, 1)
    assert {event.kind for event in plan.events} == {"storm", "outage", "hang", "kill", "full"}
    assert {event.what for event in plan.events if event.kind == "kill"} == {"daemon", "timer"}
    assert {event.alone for event in plan.events if event.kind == "kill"} == {True, False}


def test_the_daemon_lives_on_unkilled_for_more_than_half_of_the_week() -> None:
    for seed in range(20):
        kills = [one.at for one in drawn(WHOLE, seed).events if one.kind == "kill" and one.what == "daemon"]
        assert max(kills) <= 0.4 * WHOLE.seconds


def test_more_minutes_are_for_a_larger_archive_up_to_the_whole() -> None:
    sizes = [of_minutes(minutes).dandisets for minutes in (1, 5, 10, 60, 600)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == WHOLE.dandisets == 2000
    assert WHOLE.assets == 600_000
