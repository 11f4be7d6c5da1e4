"""An archive with work for several, and how to see who does what of it, and what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from mirror.demo import DemoArchive
from mirror.demo.faults import Before, Fault, html_page
from mirror.demo.web import Answer, Request, Response
from mirror.store.store import Store
from mirror.sync.turn import Outcome

if TYPE_CHECKING:
    from mirror.sync.poll import Poll
    from tests.sync.conftest import Git

FILES = 800
"""of each Zarr: three of them are worth the work of several"""


@dataclass
class World:
    """An archive of a published Dandiset, one with a draft, one with three Zarrs, and one with a small Zarr."""

    archive: DemoArchive
    published: str
    draft: str
    zarrs: str
    small: str
    zarr_ids: list[str] = field(default_factory=list)
    """of `zarrs`"""

    @property
    def all(self) -> set[str]:
        return {self.published, self.draft, self.zarrs, self.small}

    def hold_back(self, identifier: str, *, times: int | None = 1) -> HeldBack:
        """A Dandiset, from the moment that its draft is listed."""
        held = HeldBack()
        self.archive.api_faults.add(Before(held.hold), path=rf"/{identifier}/versions/draft/assets/\?", times=times)
        return held

    def answer_nonsense(self, identifier: str) -> HeldBack:
        """Whenever the draft of a Dandiset is listed, once that is let go."""
        held = HeldBack()
        self.archive.api_faults.add(_Nonsense(held), path=rf"/{identifier}/versions/draft/assets/\?", times=None)
        return held

    def hold_back_zarr(self, zarr_id: str, *, times: int | None = 1) -> HeldBack:
        held = HeldBack()
        self.archive.s3_faults.add(Before(held.hold), path=f"prefix=zarr/{zarr_id}", times=times)
        return held


class HeldBack:
    """Requests that are held back until they are let go: work in the middle of which something happens."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self._arrivals = threading.Semaphore(0)
        self._go_on = threading.Event()

    def hold(self) -> None:
        self.came.set()
        self._arrivals.release()
        self._go_on.wait(180)

    def one_more_came(self, seconds: float) -> bool:
        """Wait for the next request, of those that were not waited for yet."""
        return self._arrivals.acquire(timeout=seconds)

    def let_go(self) -> None:
        self._go_on.set()


@dataclass(frozen=True)
class _Nonsense(Fault):
    held: HeldBack

    def apply(self, request: Request, answer: Answer) -> Response:
        self.held.hold()
        return html_page().apply(request, answer)


def files(name: str, count: int = FILES) -> dict[str, bytes]:
    return {f"{number // 100}/{number}": f"{name} {number}".encode() for number in range(count)}


def populated(archive: DemoArchive) -> World:
    published, draft, zarrs, small = (archive.create_dandiset(name) for name in ("Published", "Draft", "Many", "Few"))
    for number in range(4):
        archive.add_asset(published, f"sub-M1/sub-M1_run-{number}_ecephys.nwb", b"recording %d" % number)
    archive.add_asset(published, "README.md", b"# Published\n")
    archive.publish(published)
    archive.add_asset(draft, "sub-M2/sub-M2_ecephys.nwb", b"a recording")
    world = World(archive, published, draft, zarrs, small)
    for name in ("a", "b", "c"):
        world.zarr_ids.append(archive.add_zarr(zarrs, f"sub-M3/{name}.ome.zarr", files(name)))
    for name in ("d", "e"):
        archive.add_zarr(small, f"{name}.ome.zarr", files(name, 30))
    return world


@pytest.fixture
def world(archive: DemoArchive) -> World:
    return populated(archive)


class Witness:
    """A watcher that takes down what it is told, and in which order."""

    def __init__(self, on_done: Callable[[Outcome], None] = lambda _: None) -> None:
        self.told: list[tuple[str, str]] = []
        self.how_far: list[str] = []
        self._on_done = on_done

    def asked(self, tally: object) -> None: ...

    def polled(self, found: Poll) -> None:
        pass

    def begun(self, identifier: str) -> None:
        self.told.append(("begun", identifier))

    def working(self, identifier: str, how_far: str) -> None:
        self.told.append(("working", identifier))
        self.how_far.append(how_far)

    def done(self, outcome: Outcome) -> None:
        self.told.append(("done", outcome.identifier))
        self._on_done(outcome)


class AllRefs(Protocol):
    def __call__(self, root: Path) -> dict[str, dict[str, str]]: ...


@pytest.fixture
def all_refs(git: Git) -> AllRefs:
    """Every ref of every repository of a store, those of Zarrs too; of `git-annex` the tree, which has no past."""

    def read(root: Path) -> dict[str, dict[str, str]]:
        store = Store.open(root)
        found = {}
        for name in (*store.dandisets(), *store.zarrs()):
            lines = git(store.alias(name), "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
            found[name] = dict(line.rsplit(" ", 1) for line in lines)
            found[name]["refs/heads/git-annex"] = git(store.alias(name), "rev-parse", "git-annex^{tree}")
        return found

    return read


def eventually(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


@pytest.fixture
def soon() -> Callable[..., bool]:
    """Whether something comes true before long."""
    return eventually


@pytest.fixture
def witness() -> Witness:
    return Witness()
