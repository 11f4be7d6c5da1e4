"""One process that syncs and publishes for years: a round leaves nothing open, and nothing behind in memory."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirror.config import Settings
from mirror.demo import DemoProcess
from mirror.publish.publishing import Publisher
from mirror.store.maintenance import maintain
from mirror.store.store import Store
from mirror.sync.dandiset import layout_of
from mirror.sync.engine import sync

_WARM_UP = 4
"""rounds in which what is kept for good is made: modules, compiled patterns, tables"""
_BLOCKS_A_ROUND = 100
"""Small caches with a limit go on filling up for hundreds of rounds: by some 20. What a round needs is thousands."""


@pytest.fixture
def archive() -> Iterator[DemoProcess]:
    """In a process of its own: its memory is not ours."""
    with DemoProcess("empty", start="2026-01-01T00:00:00+00:00", seed=1) as archive:
        yield archive


@dataclass(frozen=True)
class Held:
    """What this process holds on to."""

    descriptors: int
    threads: int
    children: int
    blocks: int
    """of memory"""

    @classmethod
    def now(cls) -> Held:
        gc.collect()
        return cls(
            len(list(Path("/proc/self/fd").iterdir())),
            threading.active_count(),
            _children(),
            sys.getallocatedblocks(),
        )


def _children() -> int:
    """Those that nobody has waited for, too."""
    stats = (path for path in Path("/proc").glob("[0-9]*/stat"))
    return sum(_parent(stat) == os.getpid() for stat in stats)


def _parent(stat: Path) -> int | None:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system tells no process what it has open")
@pytest.mark.parametrize(("jobs", "rounds"), [(1, 8), (2, 3)])
def test_rounds_leave_nothing_behind(archive: DemoProcess, tmp_path: Path, jobs: int, rounds: int) -> None:
    where = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
    host = {"name": "other", "kind": "ria", "url": str(tmp_path / "host")}
    settings = Settings.model_validate(
        {
            "archive": {**where, "settle_seconds": 0},
            "store": tmp_path / "store",
            "jobs": jobs,
            "publish": {"hosts": [host]},
        }
    )
    dandisets = [archive.call("create_dandiset", name=f"Number {number}") for number in range(3)]
    for identifier in dandisets:
        for number in range(10):
            archive.call("add_asset", identifier=identifier, path=f"sub-{number}/a.nwb", content=b"%d" % number)

    def do(number: int) -> None:
        for identifier in dandisets[: 1 + number % 3]:
            content = b"%d" % number
            archive.call("replace_asset", identifier=identifier, path="sub-1/a.nwb", content=content)
        with Publisher(settings, layout_of(settings)) as publisher:
            sync(settings, follower=publisher).check()
        publisher.published.check()

    for number in range(_WARM_UP):
        do(number)
    before = Held.now()
    for number in range(_WARM_UP, _WARM_UP + rounds):
        do(number)
    store = Store.open(settings.store)
    with store.lock("a test"):
        assert maintain(store, stop=lambda: False, tell=lambda _: None).problems == ()
    after = Held.now()
    assert (after.descriptors, after.threads, after.children) == (before.descriptors, before.threads, before.children)
    assert after.blocks - before.blocks < rounds * _BLOCKS_A_ROUND
