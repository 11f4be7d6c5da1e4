"""The processes that are measured: a store in; catalogue, feed, superdatasets and a host brought up to date.

`python -m benchmarks.publishing DEED STORE …` prints what it took, as JSON. Starting the program is not counted in it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.archive import MadeUpArchive, identifiers, settings_of
from benchmarks.measure import cpu_so_far
from mirror.config import Settings
from mirror.publish.publishing import Publisher, publish
from mirror.store.chronicle import Chronicle
from mirror.store.store import Store
from mirror.sync.dandiset import layout_of

ASSETS = 4
"""in each Dandiset: superdatasets do not mind how many there are"""


class Took(msgspec.Struct):
    """What a deed took."""

    wall: float
    cpu: float
    """of this process and of those that it waited for"""


def load(root: Path, count: str) -> None:
    """Fill the store; nothing of it is in a superdataset yet."""
    os.fsync = lambda fd: None  # noqa: ARG005 - what only leads up to the deeds need not wait for the disk
    MadeUpArchive(ASSETS).mirror(root, identifiers(int(count)))


def edit(root: Path, identifier: str) -> None:
    """A draft is another."""
    MadeUpArchive(ASSETS, edited=frozenset({identifier})).mirror(root, [identifier])


def release(root: Path, identifier: str) -> None:
    """A Dandiset is published once more."""
    MadeUpArchive(ASSETS, released=frozenset({identifier})).mirror(root, [identifier])


def catalogue(root: Path) -> None:
    """Bring nothing but the catalogue and the feed up to date."""
    store = Store.open(root)
    with store.lock("scripts/bench"), Chronicle(store) as chronicle:
        chronicle.begin()
        chronicle.catch_up()
        chronicle.finish()


def publish_all(root: Path, *host: str) -> None:
    """`dandi-mirror publish`. `host`: a RIA store to push to."""
    settings = _settings(root, *host)
    publish(settings, layout_of(settings), command="scripts/bench").check()


def follow(root: Path, *moved: str) -> None:
    """What comes after a sync in which these Dandisets moved."""
    _follow(_settings(root), root, *moved)


def follow_with_host(root: Path, host: str, *moved: str) -> None:
    _follow(_settings(root, host), root, *moved)


def _follow(settings: Settings, root: Path, *moved: str) -> None:
    store = Store.open(root)
    with store.lock("scripts/bench"), Publisher(settings, layout_of(settings)) as publisher:
        publisher.begin(store)
        for identifier in moved:
            publisher.moved(identifier)
        publisher.end({state.identifier: state for state in store.states()})
    publisher.published.check()
    assert not any(written.late for written in publisher.published.superdatasets), "the load is not in order"


def _settings(root: Path, *host: str) -> Settings:
    hosts = [{"name": Path(one).name, "kind": "ria", "url": one} for one in host]
    return settings_of(root, publish={"hosts": hosts})


DEEDS: dict[str, Callable[..., None]] = {
    "load": load,
    "edit": edit,
    "release": release,
    "catalogue": catalogue,
    "publish": publish_all,
    "follow": follow,
    "follow-with-host": follow_with_host,
}


def main(deed: str, root: Path, *words: str) -> Took:
    wall, cpu = time.perf_counter(), cpu_so_far()
    DEEDS[deed](root, *words)
    return Took(time.perf_counter() - wall, cpu_so_far() - cpu)


if __name__ == "__main__":
    print(msgspec.json.encode(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])).decode())
