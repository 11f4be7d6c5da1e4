"""How far a sync says it is."""

from __future__ import annotations

import pytest

from mirror.archive.records import DandisetSummary, VersionSummary
from mirror.sync.poll import Poll
from mirror.sync.turn import Outcome
from mirror.sync.under_way import TURN_WEIGHS, UnderWay


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def found(assets: dict[str, int], *, still: int = 0, resting: int = 0) -> Poll:
    poll = Poll(moved=list(assets), still=["s"] * still, resting=["r"] * resting)
    for identifier, count in assets.items():
        draft = VersionSummary("draft", "", count, 0, "Pending", "", "")
        poll.listed[identifier] = DandisetSummary(identifier, "", "", "OPEN", draft_version=draft)
    return poll


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_had_nothing_new_counts_as_done(clock: Clock) -> None:
    under_way = UnderWay(clock=clock)
    assert under_way.standing().doing == "asking the archive"
    under_way.polled(found({"000001": 0, "000002": 0}, still=7, resting=1))
    standing = under_way.standing()
    assert (standing.doing, standing.total, standing.done, standing.still, standing.resting) == ("", 10, 7, 7, 1)
    under_way.done(Outcome("000001", "failed", ""))
    under_way.done(Outcome("000002", "changed", ""))
    standing = under_way.standing()
    assert (standing.done, standing.failed, standing.changed) == (9, 1, 1)


def test_what_is_worked_on_is_told_with_how_far_it_is(clock: Clock) -> None:
    under_way = UnderWay(clock=clock)
    under_way.polled(found({"000001": 0, "000002": 0, "000003": 0}))
    under_way.begun("000001")
    under_way.begun("000002")
    under_way.working("000002", "000002 draft: 5 of 9 assets listed")
    assert [(turn.dandiset, turn.how_far) for turn in under_way.standing().current] == [
        ("000001", ""),
        ("000002", "draft: 5 of 9 assets listed"),
    ]
    under_way.done(Outcome("000002", "unchanged", ""))
    under_way.working("000002", "a word that comes late")
    assert [turn.dandiset for turn in under_way.standing().current] == ["000001"]


def test_the_time_to_go_is_reckoned_by_size(clock: Clock) -> None:
    under_way = UnderWay(clock=clock)
    under_way.polled(found({"000001": 9 * TURN_WEIGHS, **{f"{number:06d}": 0 for number in range(2, 12)}}))
    clock.now += 60
    assert under_way.standing().seconds_to_go is None  # nobody knows yet
    under_way.done(Outcome("000001", "changed", ""))
    standing = under_way.standing()
    assert standing.seconds_to_go == pytest.approx(60)  # ten small ones take as long as the large one
    assert standing.per_minute == pytest.approx(1)
    for number in range(2, 12):
        under_way.done(Outcome(f"{number:06d}", "changed", ""))
    assert under_way.standing().seconds_to_go is None


def test_no_time_is_guessed_from_the_first_moment(clock: Clock) -> None:
    under_way = UnderWay(clock=clock)
    under_way.polled(found({"000001": 0, "000002": 0}))
    clock.now += 1
    under_way.done(Outcome("000001", "changed", ""))
    assert under_way.standing().seconds_to_go is None


def test_those_that_have_no_turn_count_for_nothing(clock: Clock) -> None:
    """What vanished or is under embargo is told like the others."""
    under_way = UnderWay(clock=clock)
    under_way.polled(found({"000001": 0}))
    under_way.done(Outcome("000009", "vanished", ""))
    assert (under_way.standing().done, under_way.standing().total) == (0, 1)
    under_way.publishing("superdataset dandisets")
    assert under_way.standing().doing == "superdataset dandisets"
