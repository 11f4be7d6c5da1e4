"""A store at a glance."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from mirror.archive.records import Instance
from mirror.store.feed import Change, Feed
from mirror.store.glance import Glances, Lag, Totals, lag_of, last_changes
from mirror.store.state import DandisetState, Failure, Holding
from mirror.store.store import Store

WHEN = "2026-11-21T15:34:17+00:00"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open_or_create(tmp_path / "store", Instance("DEMO-DANDI", "https://demo-dandi.example.org"))


def state(identifier: str, *, failures: int = 0, draft: str = "d1", assets: int = 2) -> DandisetState:
    return DandisetState(
        identifier=identifier,
        synced=WHEN,
        holding=Holding(draft, ("0.1.0",), "2026-11-21T15:30:00Z", assets, assets * 10),
        failure=Failure("BadAnswer", "nonsense", WHEN, WHEN, failures) if failures else None,
    )


def change(serial: int, dandiset: str, new: str, *, time: str = WHEN, old: str | None = "d0") -> Change:
    counts = dict.fromkeys(("added", "modified", "removed", "renamed", "assets", "bytes", "bytes_changed"), 0)
    return Change(version="draft", old=old, new=new, serial=serial, time=time, dandiset=dandiset, **counts)


def test_all_is_summed_up_and_what_failed_most_often_comes_first(store: Store) -> None:
    for number, failures in ((1, 0), (2, 3), (3, 1), (4, 3)):
        store.save_state(state(f"{number:06d}", failures=failures))
    store.save_state(DandisetState(identifier="000005", pending=4))
    glance = Glances(store).look()
    totals = glance.totals
    assert (totals.dandisets, totals.versions, totals.assets, totals.bytes) == (4, 4, 8, 80)
    assert (totals.pending, totals.unmirrored) == (4, 1)
    assert [one.identifier for one in glance.failing] == ["000002", "000004", "000003"]
    assert (glance.activity, glance.jobs, glance.changes, glance.lag) == (None, {}, (), None)


def test_what_moved_since_is_seen_and_what_is_gone(store: Store) -> None:
    for number in (1, 2):
        store.save_state(state(f"{number:06d}"))
    glances = Glances(store)
    assert glances.look().totals.assets == 4
    store.save_state(state("000001", assets=7))
    store.forget_state("000002")
    assert glances.look().totals.assets == 7


def test_where_all_marks_were_lost_nothing_is_seen(store: Store) -> None:
    shutil.rmtree(store.root / "state/dandisets")
    assert Glances(store).look().totals == Totals()


def test_some_of_it_may_be_looked_at_alone(store: Store) -> None:
    for number in (1, 2):
        store.save_state(state(f"{number:06d}", failures=number))
    with Feed(store.changes) as feed:
        feed.append([change(1, "000001", "d1"), change(2, "000002", "d1")])
    glance = Glances(store, ["000002"]).look()
    assert glance.totals.dandisets == 1
    assert [one.identifier for one in glance.failing] == ["000002"]
    assert [one.serial for one in glance.changes] == [2]


def test_the_last_changes_come_first_and_a_long_feed_is_not_read_whole(store: Store) -> None:
    with Feed(store.changes) as feed:
        feed.append(change(serial, "000001", "d1") for serial in range(1, 5001))
    found = Glances(store).look().changes
    assert [one.serial for one in found[:3]] == [5000, 4999, 4998]
    assert len(found) < 1000
    assert [one.serial for one in last_changes(store.changes)] == list(range(5001 - len(found), 5001))


def test_half_a_line_at_the_end_is_none_yet(store: Store) -> None:
    with Feed(store.changes) as feed:
        feed.append([change(1, "000001", "d1")])
    with store.changes.open("ab") as stream:
        stream.write(msgspec.json.encode(change(2, "000001", "d2"))[:40])
    assert [one.serial for one in Glances(store).look().changes] == [1]


def test_lag_is_of_the_drafts_that_are_still_there_and_not_of_first_ones() -> None:
    states = {f"{number:06d}": state(f"{number:06d}") for number in range(1, 5)}
    changes = [
        change(1, "000001", "d1", time="2026-11-21T15:31:00+00:00"),
        change(2, "000002", "d1", time="2026-11-21T15:40:00+00:00"),
        change(3, "000003", "d9", time="2026-12-21T15:40:00+00:00"),  # there is a newer draft
        change(4, "000004", "d1", time="2026-12-21T15:40:00+00:00", old=None),
        change(5, "000009", "d1"),
    ]
    assert lag_of(changes, states) == Lag(count=2, middle=330.0, longest=600.0)
    assert lag_of(changes[2:], states) is None
