"""Every Dandiset is re-read in full in time; the work of it is spread; busy ones come sooner."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from mirror.daemon.recheck import due_for_recheck
from mirror.store.state import DandisetState, Failure, Holding

START = datetime(2026, 1, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def dandiset(number: int, assets: int = 100, **marks: object) -> DandisetState:
    holding = Holding(draft="c" * 40, releases=(), modified="2026-01-01T00:00:00Z", assets=assets, bytes=0)
    given = {"synced": START.isoformat(), "holding": holding, **marks}
    return DandisetState(identifier=f"{number:06}", **given)  # type: ignore[arg-type]


class Mirror:
    """Rechecks night by night, each Dandiset successfully."""

    def __init__(self, states: Iterable[DandisetState], days: int = 30) -> None:
        self.states = {state.identifier: state for state in states}
        self.days = days
        self.now = START
        self.work: list[int] = []
        self.gaps: dict[str, timedelta] = {}
        self.reads: dict[str, int] = dict.fromkeys(self.states, 0)

    def night(self, *, missed: bool = False) -> list[str]:
        chosen = [] if missed else due_for_recheck(self.states.values(), self.now, self.days, 86_400)
        for identifier in chosen:
            self._read(identifier)
        self.work.append(sum(self._assets(identifier) for identifier in chosen))
        self.now += DAY
        return chosen

    def _read(self, identifier: str) -> None:
        state = self.states[identifier]
        if state.checked is not None:
            gap = self.now - datetime.fromisoformat(state.checked)
            self.gaps[identifier] = max(gap, self.gaps.get(identifier, gap))
        self.reads[identifier] += 1
        self.states[identifier] = msgspec.structs.replace(state, checked=self.now.isoformat())

    def _assets(self, identifier: str) -> int:
        holding = self.states[identifier].holding
        return holding.assets if holding is not None else 0

    @property
    def oldest(self) -> timedelta:
        """How long ago the one was read that was not for the longest time."""
        return max(
            self.now - datetime.fromisoformat(state.checked or "0001-01-01T00:00:00+00:00")
            for state in self.states.values()
        )


@given(
    st.lists(st.integers(0, 20_000), min_size=1, max_size=120),
    st.integers(2, 60),
    st.sets(st.integers(0, 29)),
)
@example_settings(max_examples=25)
def test_in_a_year_nothing_is_ever_read_later_than_it_should_be(sizes: list[int], days: int, busy: set[int]) -> None:
    mirror = Mirror((dandiset(number, assets) for number, assets in enumerate(sizes)), days)
    for night in range(365):
        for number in busy & set(range(len(sizes))):
            state = mirror.states[f"{number:06}"]
            modified = (mirror.now - timedelta(hours=1)).isoformat()
            mirror.states[state.identifier] = msgspec.structs.replace(state, draft_modified=modified)
        mirror.night()
        if night >= days:
            assert mirror.oldest <= timedelta(days=days)


def test_the_work_is_spread_over_the_nights() -> None:
    draw = random.Random(5)
    mirror = Mirror(dandiset(number, draw.choice([10, 100, 1000, 5000])) for number in range(600))
    for _ in range(365):
        mirror.night()
    settled = mirror.work[60:]
    mean = sum(settled) / len(settled)
    assert max(settled) < 1.6 * mean
    assert min(settled) > 0.4 * mean
    # Not much more than once in each time that there is.
    total = sum(mirror._assets(identifier) for identifier in mirror.states)
    assert mean * 30 < 1.25 * total


def test_one_with_100_000_assets_costs_one_heavy_night_a_month_and_the_nights_around_it_are_light() -> None:
    mirror = Mirror([dandiset(0, 100_000), *(dandiset(number, 1000) for number in range(1, 501))])
    for _ in range(365):
        mirror.night()
    assert 12 <= mirror.reads["000000"] <= 16
    heavy = [night for night, work in enumerate(mirror.work) if work >= 100_000 and 60 < night < 360]
    mean = sum(mirror.work) / len(mirror.work)
    assert heavy
    assert all(mirror.work[night + 1] < mean for night in heavy)
    assert mirror.oldest <= 30 * DAY


def test_a_mirror_whose_every_mark_is_of_the_same_day_comes_apart_again() -> None:
    mirror = Mirror(dandiset(number, checked=(START - DAY).isoformat()) for number in range(600))
    for _ in range(90):
        mirror.night()
        assert mirror.oldest <= 30 * DAY
    assert max(mirror.work) < 8 * (sum(mirror.work) / len(mirror.work))
    assert max(mirror.work[30:]) < 2.5 * (sum(mirror.work[30:]) / len(mirror.work[30:]))


def test_missed_nights_are_made_up() -> None:
    mirror = Mirror(dandiset(number) for number in range(300))
    for night in range(200):
        mirror.night(missed=night % 10 in (3, 4))
        if night > 40:
            assert mirror.oldest <= 31 * DAY
    for _ in range(14):
        mirror.night(missed=True)
    before = mirror.work[:]
    mirror.night()
    assert mirror.work[-1] > max(before[60:200])
    for _ in range(6):
        mirror.night()
    assert mirror.oldest <= 30 * DAY


def test_new_dandisets_have_their_turn_within_the_time_there_is() -> None:
    mirror = Mirror(dandiset(number) for number in range(300))
    for _ in range(100):
        mirror.night()
    for number in range(300, 360):
        mirror.states[f"{number:06}"] = dandiset(number)
        mirror.reads[f"{number:06}"] = 0
    for _ in range(30):
        mirror.night()
    assert all(mirror.reads[f"{number:06}"] for number in range(300, 360))


def test_busy_dandisets_are_read_twice_as_often_as_quiet_ones() -> None:
    mirror = Mirror(dandiset(number) for number in range(300))
    busy = [f"{number:06}" for number in range(30)]
    for _ in range(360):
        for identifier in busy:
            state = mirror.states[identifier]
            mirror.states[identifier] = msgspec.structs.replace(state, draft_modified=mirror.now.isoformat())
        mirror.now += timedelta(minutes=1)
        mirror.night()
    quiet = [count for identifier, count in mirror.reads.items() if identifier not in busy]
    often = [mirror.reads[identifier] for identifier in busy]
    assert min(often) > 1.5 * max(quiet)
    assert min(quiet) >= 11


def test_a_recheck_that_was_broken_off_goes_on_with_the_rest() -> None:
    states = [dandiset(number, checked=(START - timedelta(days=number % 28)).isoformat()) for number in range(280)]
    whole = due_for_recheck(states, START, 30, 86_400)
    half = set(whole[: len(whole) // 2])
    after = [
        msgspec.structs.replace(state, checked=START.isoformat()) if state.identifier in half else state
        for state in states
    ]
    rest = due_for_recheck(after, START + timedelta(minutes=5), 30, 86_400)
    assert not set(rest) & half
    assert abs(len(half) + len(rest) - len(whole)) <= 1


@pytest.mark.parametrize(
    "marks",
    [
        {"vanished": START.isoformat()},
        {"embargoed": START.isoformat()},
        {"synced": None},
    ],
)
def test_what_cannot_be_read_or_was_never_mirrored_is_left_alone(marks: dict[str, object]) -> None:
    assert due_for_recheck([dandiset(1, **marks)], START, 30, 86_400) == []


def test_those_that_fail_night_for_night_do_not_keep_the_others_from_their_turn() -> None:
    trouble = Failure("BadAnswer", "nonsense", START.isoformat(), START.isoformat(), 9)
    failing = [dandiset(number, 5000, failure=trouble) for number in range(20)]
    mirror = Mirror(dandiset(number) for number in range(100, 300))
    for _ in range(40):
        states: Sequence[DandisetState] = [*failing, *mirror.states.values()]
        for identifier in due_for_recheck(states, mirror.now, 30, 86_400):
            if identifier in mirror.states:
                mirror._read(identifier)
        mirror.now += DAY
    assert all(mirror.reads.values())
    assert mirror.oldest <= 30 * DAY


@pytest.mark.parametrize("mark", ["nonsense", "2126-01-01T00:00:00+00:00"])
def test_a_mark_that_makes_no_sense_counts_as_none(mark: str) -> None:
    assert due_for_recheck([dandiset(1, checked=mark)], START, 30, 86_400) == ["000001"]


def test_with_a_day_to_do_it_in_everything_is_read_each_night() -> None:
    states = [dandiset(number, checked=(START - DAY).isoformat()) for number in range(50)]
    assert len(due_for_recheck(states, START, 1, 86_400)) == 50


def test_an_empty_mirror_has_nothing_to_be_read() -> None:
    assert due_for_recheck([], START, 30, 86_400) == []
