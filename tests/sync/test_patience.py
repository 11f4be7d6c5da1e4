"""What failed, or was left open, rests for growing pauses when nobody asks for it; what moved never does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.demo.faults import Fault, Status
from mirror.demo.web import Answer, Request, Response
from mirror.store.resting import LONGEST_PAUSE, pause_after
from mirror.store.state import DandisetState, Failure
from mirror.store.store import Store
from mirror.sync.engine import Report, sync
from mirror.sync.patience import next_try, rests
from mirror.sync.turn import open_since

MakeSettings = Callable[..., Settings]

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ABSENT_PATH = "sub-1/sub-1.nwb"


def failed_for(lasting: timedelta, *, last: datetime = NOW, seen: str = "x") -> DandisetState:
    failure = Failure("Unreachable", "no answer", (last - lasting).isoformat(), last.isoformat(), 3)
    return DandisetState(identifier="000001", seen=seen, failure=failure)


@given(st.lists(st.integers(1, 7200), min_size=3, max_size=200))
def test_pauses_grow_with_each_failure_until_the_longest(between_polls: list[int]) -> None:
    """However irregular polls are: two tries are apart half of what the trouble had lasted, at least."""
    since, last, now = NOW, NOW, NOW
    for seconds in between_polls:
        now += timedelta(seconds=seconds)
        state = failed_for(last - since, last=last)
        if not rests(state, "x", now):
            assert now - last >= min((last - since) / 2, LONGEST_PAUSE)
            last = now


@given(st.timedeltas(timedelta(0), timedelta(days=4000)))
def test_no_pause_is_longer_than_the_longest(lasting: timedelta) -> None:
    assert timedelta(0) <= pause_after(lasting) <= LONGEST_PAUSE


def test_a_first_failure_is_tried_again_by_the_next_poll() -> None:
    assert not rests(failed_for(timedelta(0)), "x", NOW)


def test_what_failed_for_an_hour_rests_for_half_of_one() -> None:
    state = failed_for(timedelta(hours=1))
    assert state.failure is not None
    assert next_try(state.failure) == NOW + timedelta(minutes=30)
    assert rests(state, "x", NOW + timedelta(minutes=29))
    assert not rests(state, "x", NOW + timedelta(minutes=30))


def test_it_does_not_rest_when_the_archive_lists_something_else() -> None:
    assert not rests(failed_for(timedelta(hours=1)), "y", NOW + timedelta(minutes=1))


def test_a_clock_that_was_set_back_makes_nobody_rest_for_years() -> None:
    assert not rests(failed_for(timedelta(hours=1)), "x", NOW - timedelta(days=1))


def test_marks_whose_times_nobody_can_read_rest_for_nothing() -> None:
    failure = Failure("Unreachable", "no answer", "once", "later", 3)
    assert not rests(DandisetState(identifier="000001", failure=failure), "", NOW)


# --- with an archive ---------------------------------------------------------------------------------------------


@pytest.fixture
def poll(settings: MakeSettings) -> Callable[[], Report]:
    """A round as the daemon does it."""
    return lambda: sync(settings(), patient=True)


def shifted(store: Path, identifier: str, by: timedelta) -> None:
    """Let time pass since the last look at a Dandiset that was first in trouble twice as long ago."""
    kept = Store.open(store)
    state = kept.state(identifier)
    last, since = (datetime.now(UTC) - by).isoformat(), (datetime.now(UTC) - 2 * by).isoformat()
    failure = state.failure and msgspec.structs.replace(state.failure, last=last, since=since)
    opened = since if state.open_since is not None else None
    kept.save_state(msgspec.structs.replace(state, failure=failure, open_since=opened, synced=state.synced and last))


@pytest.fixture
def broken(archive: DemoArchive) -> str:
    """A Dandiset whose list of versions nobody gets."""
    identifier = archive.create_dandiset("Broken")
    archive.add_asset(identifier, "sub-1/sub-1.nwb", b"one")
    archive.api_faults.add(Status(400), path=rf"/dandisets/{identifier}/versions/\?", times=None)
    return identifier


def test_a_dandiset_that_failed_rests_and_is_then_tried_again(
    archive: DemoArchive, store: Path, poll: Callable[[], Report], broken: str
) -> None:
    assert [outcome.result for outcome in poll().outcomes] == ["failed"]
    shifted(store, broken, timedelta(hours=1))
    kept = Store.open(store)
    before = kept.state(broken).failure
    assert before is not None
    kept.save_state(msgspec.structs.replace(kept.state(broken), failure=_just_now(before)))
    archive.requests.clear()
    report = poll()
    assert (report.resting, report.outcomes) == (1, [])
    assert archive.count(path=broken) == 0
    shifted(store, broken, timedelta(hours=1))
    assert [outcome.result for outcome in poll().outcomes] == ["failed"]
    after = kept.state(broken).failure
    assert after is not None
    assert after.count == 2


def _just_now(failure: Failure) -> Failure:
    return msgspec.structs.replace(failure, last=datetime.now(UTC).isoformat())


def test_a_change_in_the_archive_ends_the_rest(
    archive: DemoArchive, store: Path, poll: Callable[[], Report], broken: str
) -> None:
    poll()
    kept = Store.open(store)
    failure = msgspec.structs.replace(
        _just_now(kept.state(broken).failure or pytest.fail("no failure")), since="2020-01-01T00:00:00+00:00"
    )
    kept.save_state(msgspec.structs.replace(kept.state(broken), failure=failure))
    assert poll().resting == 1
    archive.clock.advance(seconds=5)
    archive.add_asset(broken, "sub-2/sub-2.nwb", b"two")
    assert [outcome.result for outcome in poll().outcomes] == ["failed"]


def test_a_hand_typed_sync_waits_for_nothing(
    settings: MakeSettings, store: Path, poll: Callable[[], Report], broken: str
) -> None:
    poll()
    kept = Store.open(store)
    failure = msgspec.structs.replace(
        _just_now(kept.state(broken).failure or pytest.fail("no failure")), since="2020-01-01T00:00:00+00:00"
    )
    kept.save_state(msgspec.structs.replace(kept.state(broken), failure=failure))
    assert poll().resting == 1
    assert sync(settings()).count("failed") == 1


def test_the_chain_of_releases_waits_for_one_that_rests(
    archive: DemoArchive, store: Path, poll: Callable[[], Report]
) -> None:
    """Nobody knows which versions it has."""
    poll()
    archive.clock.advance(seconds=60)
    identifier = archive.create_dandiset("Published")
    archive.add_asset(identifier, ABSENT_PATH, b"one")
    archive.publish(identifier)
    archive.api_faults.add(Status(400), path=rf"/dandisets/{identifier}/versions/\?", times=None)
    assert poll().count("failed") == 1
    kept = Store.open(store)
    known = kept.frontier()
    failure = kept.state(identifier).failure
    assert known is not None
    assert failure is not None
    assert list(known.unknown) == [identifier]
    lasting = msgspec.structs.replace(_just_now(failure), since="2020-01-01T00:00:00+00:00")
    kept.save_state(msgspec.structs.replace(kept.state(identifier), failure=lasting))
    archive.clock.advance(seconds=600)
    assert poll().resting == 1
    later = kept.frontier()
    assert later is not None
    assert later.unknown == known.unknown


@dataclass(frozen=True)
class BareName(Fault):
    """The list of Dandisets names one, and says nothing else of it."""

    identifier: str

    def apply(self, request: Request, answer: Answer) -> Response:
        body = {"count": 1, "next": None, "results": [{"identifier": self.identifier}]}
        return Response(200, msgspec.json.encode(body), {"Date": answer(request).headers["Date"]})


def test_one_of_which_the_list_makes_no_sense_rests_too(
    archive: DemoArchive, store: Path, poll: Callable[[], Report]
) -> None:
    identifier = archive.create_dandiset("Nonsense")
    archive.api_faults.add(BareName(identifier), path=r"/dandisets/\?", times=None)
    assert poll().count("failed") == 1
    shifted(store, identifier, timedelta(hours=1))
    kept = Store.open(store)
    failure = kept.state(identifier).failure
    assert failure is not None
    kept.save_state(msgspec.structs.replace(kept.state(identifier), failure=_just_now(failure)))
    report = poll()
    assert (report.resting, report.outcomes) == (1, [])
    assert list((kept.frontier() or pytest.fail("none")).absent) == [identifier]


def test_a_version_is_looked_at_soon_where_something_else_is_open_for_years() -> None:
    before = DandisetState(
        identifier="000001", open_since="2020-01-01T00:00:00+00:00", waiting={"0.1": "has no DOI yet"}
    )
    after = msgspec.structs.replace(before, waiting={**before.waiting, "0.2": "changed less than 300 s ago"})
    assert open_since(before, after, "now", wrote=False) == "now"
    other_reason = msgspec.structs.replace(before, waiting={"0.1": "no answer; asked 8 times"})
    assert open_since(before, other_reason, "now", wrote=False) == before.open_since


def test_assets_that_the_archive_does_not_hash_are_looked_at_ever_more_rarely(
    archive: DemoArchive, store: Path, poll: Callable[[], Report]
) -> None:
    identifier = archive.create_dandiset("Pending")
    archive.add_asset(identifier, ABSENT_PATH, b"one", hashed=False)
    assert poll().outcomes[0].pending == 1
    assert poll().resting == 0  # just now: looked at once more
    kept = Store.open(store)
    state = kept.state(identifier)
    kept.save_state(msgspec.structs.replace(state, open_since="2020-01-01T00:00:00+00:00"))
    archive.requests.clear()
    assert poll().resting == 1
    assert archive.count(path=identifier) == 0
    archive.hash_now()
    shifted(store, identifier, timedelta(days=1))
    assert [outcome.result for outcome in poll().outcomes] == ["changed"]
    assert kept.state(identifier).open_since is None


def test_a_first_mirror_counts_as_read_in_full(archive: DemoArchive, store: Path, poll: Callable[[], Report]) -> None:
    identifier = archive.create_dandiset("New")
    archive.add_asset(identifier, ABSENT_PATH, b"one")
    poll()
    state = Store.open(store).state(identifier)
    assert state.checked == state.synced is not None
