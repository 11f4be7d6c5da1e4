"""How far the chain of all releases may go."""

from __future__ import annotations

from mirror.dataset.superdataset import Key
from mirror.dataset.times import moment
from mirror.publish.horizon import Horizon, horizon_of
from mirror.store.frontier import Frontier
from mirror.store.skips import Skip
from mirror.store.state import DandisetState, Failure

POLLED = Frontier("2024-06-01T00:00:00+00:00", "all")


def at(time: str, identifier: str = "000003", version: str = "0.1") -> Key:
    return moment(time), identifier, version


def of(*states: DandisetState, frontier: Frontier | None = POLLED, skips: tuple[Skip, ...] = ()) -> Horizon:
    return horizon_of(frontier, "all", states, skips)


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
