"""How far the chain of all releases may go."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from mirror.dataset.superdataset import Key
from mirror.dataset.times import moment
from mirror.publish.horizon import Horizon, Marks, horizon_of
from mirror.store.frontier import Frontier
from mirror.store.skips import Skip
from mirror.store.state import DandisetState, Failure

POLLED = Frontier("2024-06-01T00:00:00+00:00", "all")


def at(time: str, identifier: str = "000003", version: str = "0.1") -> Key:
    return moment(time), identifier, version


def of(
    *states: DandisetState,
    frontier: Frontier | None = POLLED,
    skips: tuple[Skip, ...] = (),
    mirrored: Collection[tuple[str, str]] = (),
    unread: Mapping[str, datetime] | None = None,
) -> Horizon:
    by_identifier = {state.identifier: state for state in states}
    return horizon_of(Marks(frontier, by_identifier, skips, mirrored, unread or {}), "all")


def awaiting(identifier: str, created: str, **more: object) -> DandisetState:
    return DandisetState(identifier=identifier, awaited={"0.1": created}, **more)  # type: ignore[arg-type]


def test_with_nothing_missing_it_is_the_last_poll() -> None:
    horizon = of(DandisetState(identifier="000003"))
    assert horizon.waits_for is None
    assert horizon.includes(at("2024-05-31T23:59:59.999999Z"))
    assert not horizon.includes(at("2024-06-01T00:00:00Z"))


def test_before_everything_was_polled_there_is_none() -> None:
    horizon = of(frontier=None)
    assert not horizon.includes(at("1971-01-01T00:00:00Z"))
    assert horizon.waits_for == "a sync of all that is selected"


def test_a_poll_of_another_selection_does_not_count() -> None:
    assert not of(frontier=Frontier(POLLED.asked, "000003")).includes(at("2020-01-01T00:00:00Z"))


def test_the_first_missing_version_is_where_it_ends() -> None:
    horizon = of(
        awaiting("000007", "2024-03-01T00:00:00Z"),
        awaiting("000005", "2024-02-01T00:00:00Z", waiting={"0.1": "has no DOI yet"}),
    )
    assert horizon.waits_for == "000005 0.1: has no DOI yet"
    assert horizon.includes(at("2024-02-01T00:00:00Z", "000004", "9"))
    assert not horizon.includes(at("2024-02-01T00:00:00Z", "000006"))


def test_a_failure_is_the_reason_where_the_archive_gives_none() -> None:
    failure = Failure("BadAnswer", "HTTP 500", since="a", last="b")
    assert of(awaiting("000005", "2024-02-01T00:00:00Z", failure=failure)).waits_for == "000005 0.1: HTTP 500"


def test_a_skipped_version_is_not_waited_for() -> None:
    skip = Skip("000005", "0.1", "2024-02-01T00:00:00Z", "why", "now")
    assert of(awaiting("000005", "2024-02-01T00:00:00Z"), skips=(skip,)).waits_for is None
    assert of(awaiting("000006", "2024-02-01T00:00:00Z"), skips=(skip,)).waits_for is not None


def test_a_version_of_a_vanished_dandiset_is_not_waited_for() -> None:
    assert of(awaiting("000005", "2024-02-01T00:00:00Z", vanished="2024-03-01")).waits_for is None


def test_a_dandiset_whose_versions_are_unknown_ends_it_where_they_were_last_known() -> None:
    unknown = {"000005": "2024-04-01T00:00:00+00:00"}
    horizon = of(frontier=Frontier(POLLED.asked, "all", unknown))
    assert horizon.waits_for == "the versions of Dandiset 000005"
    assert horizon.includes(at("2024-03-31T00:00:00Z"))
    assert not horizon.includes(at("2024-04-01T00:00:00Z"))


def test_what_only_the_last_poll_knew_to_be_missing_is_waited_for_too() -> None:
    frontier = Frontier(POLLED.asked, "all", awaited={"000005": {"0.1": "2024-02-01T00:00:00Z"}})
    assert of(DandisetState(identifier="000005"), frontier=frontier).waits_for == "000005 0.1: not mirrored yet"


def test_marks_that_lag_behind_do_not_make_a_mirrored_version_a_missing_one() -> None:
    state = awaiting("000005", "2024-02-01T00:00:00Z")
    assert of(state, mirrored={("000005", "0.1")}).waits_for is None


def test_a_dandiset_whose_versions_are_unknown_can_be_skipped_as_a_whole() -> None:
    frontier = Frontier(POLLED.asked, "all", {"000005": "2024-04-01T00:00:00+00:00"})
    skip = Skip("000005", "*", "2024-04-01T00:00:00+00:00", "why", "now")
    assert of(frontier=frontier, skips=(skip,)).waits_for is None


def test_one_that_the_archive_does_not_show_for_the_moment_is_waited_for_and_said_so() -> None:
    since = "2024-05-30T12:00:00+00:00"
    frontier = Frontier(POLLED.asked, "all", {"000005": since}, {"000005": since})
    state = awaiting("000005", "2024-02-01T00:00:00Z", vanished="2024-05-30")
    assert of(frontier=frontier).waits_for == (
        "the versions of Dandiset 000005, which the archive does not show since 2024-05-30 12:00"
    )
    assert str(of(state, frontier=frontier).waits_for).startswith("000005 0.1")


def test_a_repository_that_cannot_be_read_ends_it_where_it_could_last() -> None:
    horizon = of(unread={"000005": moment("2024-03-01T00:00:00Z")})
    assert horizon.waits_for == "Dandiset 000005, whose repository could not be catalogued"
    assert not horizon.includes(at("2024-03-01T00:00:00Z"))
