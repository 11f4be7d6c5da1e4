"""What happens in the archive during the week."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mirror.demo import DemoProcess
from simulation.contributors import Contributors

START = "2026-01-01T00:00:00+00:00"


def _a_week(seed: int) -> tuple[list[str], dict[str, Any]]:
    with DemoProcess("empty", start=START, seed=1) as archive:
        identifiers = archive.call("fill", dandisets=4, assets=30, versions=3)
        contributors = Contributors(archive, identifiers, seed)
        ways = []
        for number in range(150):
            change = contributors.publish() if number % 10 == 0 else contributors.change()
            ways.append(change.what)
        ways += [change.what for change in contributors.finish()]
        held = {identifier: archive.call("inventory", identifier=identifier) for identifier in archive.call("standing")}
        assert set(contributors.identifiers) == set(held)
        return ways, held


def test_they_do_everything_that_contributors_do_and_the_same_for_the_same_seed() -> None:
    ways, held = _a_week(3)
    assert Counter(ways).keys() >= {"add", "replace", "rename", "remove", "publish", "add a Zarr", "open", "create"}
    assert _a_week(3) == (ways, held)
    assert _a_week(4)[0] != ways
    versions = sum(len(one) - 1 for one in held.values())
    assert versions == 3 + ways.count("publish")
