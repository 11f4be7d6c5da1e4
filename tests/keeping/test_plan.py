"""What is asked for, in the order it is fetched, within a budget."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.annex.keys import sha256e_key
from mirror.errors import NoRoom
from mirror.keeping.plan import _SCHEMA, Amount, Plan
from mirror.store.version_keys import VersionKey


def one(number: int, size: int, dataset: str = "d", ending: str = "dat") -> VersionKey:
    path = f"{number}.{ending}"
    return VersionKey(path, sha256e_key(path, size, sha256(b"%d" % number).hexdigest()), size, dataset)


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Plan]:
    with Plan(tmp_path) as plan:
        yield plan
    assert not list(tmp_path.iterdir())


def paths(plan: Plan) -> list[str]:
    return [asked.path for some in plan.in_order() for asked in some]


def test_small_ones_come_first_by_repository(plan: Plan) -> None:
    plan.ask([one(1, 10**6), one(2, 10), one(3, 20, "e"), one(4, 30), one(5, 10**6, "e")])
    plan.take()
    assert paths(plan) == ["2.dat", "4.dat", "3.dat", "1.dat", "5.dat"]
    assert [len({asked.dataset_id for asked in some}) for some in plan.in_order()] == [1, 1, 1, 1]


def test_a_budget_is_for_each_content_once(plan: Plan) -> None:
    plan.ask([one(1, 10), one(1, 10, "e"), one(1, 10, "d", "nwb"), one(2, 15), one(3, 20)])
    taken = plan.take(25)
    assert (taken.within, taken.beyond) == (Amount(2, 25), Amount(1, 20))
    assert len(paths(plan)) == 4
    assert plan.total() == Amount(4, 45)


def test_what_an_earlier_rule_took_costs_nothing(plan: Plan) -> None:
    plan.ask([one(1, 10)])
    plan.take(10)
    plan.ask([one(1, 10), one(1, 10, "e"), one(2, 15)])
    assert plan.take(15).within == Amount(1, 15)
    assert paths(plan) == ["1.dat", "2.dat", "1.dat"]
    assert plan.asks_for("e", one(1, 10).key)
    assert not plan.asks_for("f", one(1, 10).key)


def test_a_disk_without_room_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.keeping.plan._SCHEMA", f"{_SCHEMA} PRAGMA max_page_count = 20;")
    with Plan(tmp_path) as plan, pytest.raises(NoRoom):
        plan.ask([one(number, 10) for number in range(2000)])
    assert not list(tmp_path.iterdir())


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 50), st.sampled_from("de"))), st.integers(0, 300))
def test_no_budget_is_ever_exceeded_nor_left_unused(
    tmp_path_factory: pytest.TempPathFactory, given: list[tuple[int, int, str]], budget: int
) -> None:
    with Plan(tmp_path_factory.mktemp("plan")) as plan:
        plan.ask([one(number, size, dataset) for number, size, dataset in given])
        taken = plan.take(budget)
        asked = [asked for some in plan.in_order() for asked in some]
    bodies = {asked.key: asked.size for asked in asked}
    assert sum(bodies.values()) == taken.within.bytes <= budget
    left = {key.key: key.size for key in (one(*each) for each in given)}.items() - bodies.items()
    assert sum(size for _, size in left) == taken.beyond.bytes
    assert all(taken.within.bytes + size > budget for _, size in left)
