"""Work through many items, on one of three engines: this process, several processes, the workers of a Dask scheduler.

Dandisets come in the order they are given in, the largest first. Where several items are done at a time, a Dandiset
with several Zarrs to be recorded gives these back as items of their own: they are done next, those with the most files
first, and then the Dandiset, before others are begun. So no Zarr waits behind all other Dandisets, and of those known
none that is large is begun last.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from mirror.archive.http import Tally
from mirror.config import Settings
from mirror.errors import MirrorError, Unreachable
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.items import DandisetWork, Item, Performed, ZarrWork
from mirror.sync.pools.here import Here
from mirror.sync.pools.pool import Pool, WorkerDied
from mirror.sync.pools.processes import Processes
from mirror.sync.turn import Outcome, failed, now
from mirror.sync.zarr.ahead import MOST_SILENT, Ahead, Wanted, ZarrDone

if TYPE_CHECKING:
    from mirror.sync.report import Watcher

__all__ = ["DandisetWork", "ZarrWork", "work_through"]

_LOOK_SECONDS = 5.0


def work_through(
    settings: Settings,
    store: Store,
    connection: Connection,
    work: Sequence[DandisetWork],
    *,
    watcher: Watcher | None,
    stop: Callable[[], bool],
    asked: Callable[[Tally], None],
) -> Generator[Outcome, None, None]:
    """How it went with each Dandiset, as they get done.

    When `stop` turns true nothing new is begun, and what is under way is finished. `asked` is told of what was asked of
    the archive over other connections than this. To be closed, unless it is gone through to its end: that ends what is
    under way at once.
    """
    told = _Told(watcher)
    here = Here(settings, store, connection, told)
    if settings.executor == "local" and settings.jobs == 1:
        yield from _Turns(store, _Todo(work), stop, asked).outcomes(here)
        return
    todo = _Todo(replace(one, ahead=Ahead.allowed()) for one in work)
    turns = _Turns(store, todo, stop, asked)
    if settings.executor != "local":
        from mirror.sync.pools.cluster import Cluster

        with closing(Cluster(settings, store, told)) as cluster:
            yield from turns.outcomes(cluster)
        return
    if len(todo) == 1:
        # For a single Dandiset no process need be started, unless it has Zarrs for several.
        yield from turns.outcomes(here, at_most=1)
    if todo:
        with closing(Processes(settings, settings.jobs, told)) as processes:
            yield from turns.outcomes(processes)


class _Told:
    """Passes on how items get on, in terms of Dandisets; from several threads, but to one at a time."""

    def __init__(self, watcher: Watcher | None) -> None:
        self._watcher = watcher
        self._lock = threading.Lock()
        self._begun: set[str] = set()

    def begun(self, item: Item) -> None:
        with self._lock:
            if self._watcher is not None and item.identifier not in self._begun:
                self._begun.add(item.identifier)
                self._watcher.begun(item.identifier)

    def working(self, item: Item, how_far: str) -> None:
        with self._lock:
            if self._watcher is not None:
                self._watcher.working(item.identifier, how_far)


@dataclass
class _Divided:
    """A Dandiset that waits for some of its Zarrs."""

    work: DandisetWork
    left: set[ZarrWork]
    done: list[ZarrDone] = field(default_factory=list)


class _Todo:
    """What is still to be begun, and in which order."""

    def __init__(self, work: Iterable[DandisetWork]) -> None:
        self._dandisets = deque(work)
        self._zarrs: list[tuple[int, int, ZarrWork]] = []
        self._suspects: deque[Item] = deque()
        self._divided: dict[str, _Divided] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._dandisets) + len(self._zarrs) + len(self._suspects)

    def next(self, *, alone: bool) -> Item | None:
        """What to begin next; None: nothing, as long as something is under way. `alone`: nothing is."""
        while self._zarrs:
            zarr = heapq.heappop(self._zarrs)[2]
            if self._is_wanted(zarr):
                return zarr
        if self._dandisets:
            return self._dandisets.popleft()
        while self._suspects and alone:
            suspect = self._suspects.popleft()
            if self._is_wanted(suspect):
                return suspect
        return None

    def _is_wanted(self, item: Item) -> bool:
        """Unless it is a Zarr that was given up meanwhile."""
        if isinstance(item, DandisetWork):
            return True
        divided = self._divided.get(item.identifier)
        return divided is not None and item in divided.left

    def try_alone(self, item: Item) -> None:
        """Do it once more, after all others, when nothing else is under way that may have been the reason."""
        self._suspects.append(item)

    def divide(self, work: DandisetWork, first: Iterable[Wanted]) -> None:
        zarrs = [ZarrWork(work.identifier, wanted, work.everything) for wanted in first]
        self._divided[work.identifier] = _Divided(work, set(zarrs))
        for zarr in zarrs:
            self._count += 1
            heapq.heappush(self._zarrs, (-zarr.wanted.checksum.files, self._count, zarr))

    def done(self, zarr: ZarrWork, done: ZarrDone) -> None:
        """A Zarr is done. After the last one its Dandiset comes, before all else."""
        divided = self._divided[zarr.identifier]
        divided.left.discard(zarr)
        divided.done.append(done)
        if not divided.left:
            del self._divided[zarr.identifier]
            self._dandisets.appendleft(replace(divided.work, ahead=divided.work.ahead.after(divided.done)))

    def unanswered(self, identifier: str, reason: Unreachable, under_way: Iterable[Item]) -> None:
        """A Zarr of this Dandiset got no answer. When there are too many of these, begin no more of them."""
        divided = self._divided.get(identifier)
        if divided is None or sum(isinstance(one.error, Unreachable) for one in divided.done) < MOST_SILENT:
            return
        for zarr in divided.left - {*under_way}:
            message = f"Zarr {zarr.wanted.subject.zarr_id}: not asked for, since {reason.message}"
            self.done(zarr, ZarrDone(zarr.wanted.key, zarr.wanted.published, error=Unreachable(message)))


@dataclass(frozen=True)
class _Turns:
    store: Store
    todo: _Todo
    stop: Callable[[], bool]
    asked: Callable[[Tally], None]
    bereaved: set[Future[Any]] = field(default_factory=set)
    """what was under way when the process of another died: should its own have died then, that is heard of later"""

    def outcomes(self, pool: Pool, at_most: int | None = None) -> Iterator[Outcome]:
        """Have the pool do it all; with `at_most`, as long as there is no more than that to be begun."""
        running: dict[Future[Any], Item] = {}
        while True:
            while at_most is None or len(self.todo) <= at_most:
                item = self._next(pool, len(running))
                if item is None:
                    break
                running[pool.submit(item)] = item
            if not running:
                return
            yield from self._taken(pool, running)

    def _next(self, pool: Pool, running: int) -> Item | None:
        if not self.todo or running >= pool.room() or self.stop():
            return None
        return self.todo.next(alone=not running)

    def _taken(self, pool: Pool, running: dict[Future[Any], Item]) -> Iterator[Outcome]:
        """Wait until something is done, and take it in."""
        alone = len(running) == 1 and self.bereaved.isdisjoint(running)
        while not (done := wait(running, _LOOK_SECONDS, FIRST_COMPLETED).done):
            pool.look()
        for future in done:
            item = running.pop(future)
            self.bereaved.discard(future)
            try:
                performed = pool.result(future)
            except WorkerDied as died:
                self.bereaved.update(running)
                if not (alone or died.certain):
                    self.todo.try_alone(item)
                    continue
                performed = self._killed(item)
            self.asked(performed.asked)
            if (outcome := self._outcome(item, performed, running.values())) is not None:
                yield outcome

    def _outcome(self, item: Item, performed: Performed, under_way: Iterable[Item]) -> Outcome | None:
        """How it went with a Dandiset, if this was the last of it."""
        if isinstance(item, DandisetWork):
            if performed.first:
                self.todo.divide(item, performed.first)
            return performed.outcome
        assert performed.zarr is not None
        self.todo.done(item, performed.zarr)
        if isinstance(performed.zarr.error, Unreachable):
            self.todo.unanswered(item.identifier, performed.zarr.error, under_way)
        return None

    def _killed(self, item: Item) -> Performed:
        """An item that its process did not survive."""
        if isinstance(item, ZarrWork):
            message = f"Zarr {item.wanted.subject.zarr_id}: the process that recorded it was killed (out of memory?)"
            return Performed(zarr=ZarrDone(item.wanted.key, item.wanted.published, error=MirrorError(message)))
        message = "the process that synced it was killed (out of memory?)"
        noted = msgspec.structs.replace(self.store.state(item.identifier), seen=item.seen)
        state = failed(noted, "Killed", message, now())
        self.store.save_state(state)
        path = str(self.store.alias(item.identifier))
        return Performed(Outcome(item.identifier, "failed", message, path, kind="Killed", failure=state.failure))
