"""Bringing content into the store: what a plan asks for and is not there yet, many at once, noted a few thousand at a
time. Broken off at any instant, it goes on where it was."""

from __future__ import annotations

import logging
import shutil
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from mirror.archive.content import Content
from mirror.errors import GitError, MirrorError, NoRoom, Stopped, StoreError, Unreachable
from mirror.keeping.books import Books
from mirror.keeping.fetching import Connections, Fetcher, How, Job
from mirror.keeping.plan import Amount, Asked, Plan
from mirror.store import contents
from mirror.store.content_book import HeldContent, body_of
from mirror.store.locations import annex_uuid, note_locations
from mirror.store.packing import join_packs
from mirror.store.room import room_at, told_size
from mirror.store.store import Store
from mirror.store.version_keys import urls_of

logger = logging.getLogger(__name__)

_NOTE_KEYS = 10_000
_NOTE_SECONDS = 60.0
"""So much is noted at a time, at the latest after so long: that is what a kill leaves to be looked at again."""
_LOOK_SECONDS = 0.5
"""So often it is asked whether to stop, whatever is under way."""
_MOST_SILENT = 10
"""So many in a row without an answer, and the archive is taken to be down."""
_LEFT_FREE = 10 << 30
"""bytes of the disk that content leaves alone, or a fiftieth of it where that is less: syncs need room, too"""
_MOST_WAITING = 1_000
"""that wait for the bytes of another: a Zarr may have the same in 100,000 files"""
_NOTHING = Amount()


class Full(NoRoom):
    """The disk has no room for the next content; what is left of it is left free."""


@dataclass(frozen=True)
class Got:
    """What became of one content."""

    asked: Asked
    how: How | None = None
    """None: it could not be had"""
    error: MirrorError | None = None


class Watcher(Protocol):
    """Hears how it goes. `came` is called from several threads."""

    def planned(self, total: Amount) -> None:
        """So much is asked for, what is held already included."""

    def there(self, asked: Asked) -> None:
        """It is held already."""

    def came(self, size: int) -> None:
        """So many bytes have come; negative: they were in vain."""

    def got(self, got: Got) -> None: ...


@dataclass
class Populated:
    """What came of it."""

    there: Amount = _NOTHING
    fetched: Amount = _NOTHING
    shared: Amount = _NOTHING
    """put in place from elsewhere in the store, without taking room"""
    copied: Amount = _NOTHING
    """likewise, but the file system has each of them twice"""
    found: Amount = _NOTHING
    """in place already, without being noted"""
    failed: Amount = _NOTHING
    problems: list[str] = field(default_factory=list)
    """of the first of those that failed: what, and why"""

    def note(self, got: Got) -> None:
        one = Amount(1, got.asked.size)
        match got.how:
            case "fetched":
                self.fetched += one
            case "linked" | "cloned":
                self.shared += one
            case "copied":
                self.copied += one
            case "found":
                self.found += one
            case None:
                self.failed += one

    @property
    def brought(self) -> Amount:
        """All that was not held before."""
        return self.fetched + self.shared + self.copied + self.found


class Populator:
    """Brings what a plan asks for. For whoever holds the lock of the content."""

    def __init__(
        self,
        store: Store,
        books: Books,
        content: Content,
        watcher: Watcher,
        *,
        by_hand: bool,
        connections: int = 16,
        stop: Callable[[], bool] = lambda: False,
        break_off: Callable[[], object] = lambda: None,
    ) -> None:
        """`stop` is asked often; `break_off` ends requests that are under way."""
        self._store = store
        self._books = books
        self._watcher = watcher
        self._by_hand = by_hand
        self._stop = stop
        self._break_off = break_off
        self._workers = connections
        self._fetcher = Fetcher(store, content, Connections(connections), watcher.came)
        self._jobs: dict[Future[How], tuple[Job, Asked]] = {}
        self._same: dict[tuple[int, bool], list[tuple[Job, Asked]]] = {}
        """what is being fetched, each with those that wait for the same bytes; once these are here, nobody waits"""
        self._again: deque[tuple[Job, Asked]] = deque()
        """those that waited, and whose turn it is"""
        self._unnoted: dict[str, list[HeldContent]] = defaultdict(list)
        self._unnoted_keys = 0
        self._places: dict[tuple[int, bool], tuple[str, str]] = {}
        """what is in place and in no book yet, by dataset and key"""
        self._noted = time.monotonic()
        self._silent = 0
        self.result = Populated()

    def run(self, plan: Plan) -> Populated:
        """All of it. `Stopped`, `NoRoom` or `Unreachable` where it had to break off; what came until then is kept."""
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="content")
        full: NoRoom | None = None
        try:
            try:
                self._bring(plan)
            except NoRoom as error:
                full = error
                self._finish_what_is_under_way()
        except BaseException:
            self._fetcher.end()
            self._break_off()
            raise
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._gather()
            self._note()
        if full is not None:
            raise full
        return self.result

    def _bring(self, plan: Plan) -> None:
        for asked in plan.in_order():
            self._take(asked)
        while self._jobs or self._again:
            self._collect()

    def _finish_what_is_under_way(self) -> None:
        """For that there is room. It may be long: whoever says stop is heard meanwhile."""
        while self._jobs:
            self._wait(suppress(NoRoom))
            self._go_on()

    def _take(self, asked: list[Asked]) -> None:
        """Some of one repository."""
        self._go_on()
        try:
            jobs = self._jobs_of(asked)
        except NoRoom:
            raise
        except (StoreError, GitError) as error:
            # The trouble of one repository does not stop the others.
            for one in asked:
                self._failed(one, error)
            return
        for job, one in jobs:
            self._begin(job, one)

    def _jobs_of(self, asked: list[Asked]) -> list[tuple[Job, Asked]]:
        """What is to be fetched of it."""
        dataset_id = asked[0].dataset_id
        repository, private = self._store.dataset(dataset_id), self._store.is_private(dataset_id)
        if not repository.path.is_dir():
            raise StoreError("its repository is not here any more")
        missing, lost = self._missing(asked)
        if lost:
            note_locations(repository, annex_uuid(repository), absent=lost)
            self._books.of(dataset_id).remove((dataset_id, key) for key in lost)
        urls = dict(urls_of(repository, [one.key for one in missing]))
        jobs: list[tuple[Job, Asked]] = []
        for one in missing:
            in_place = contents.has(repository.path, one.key)
            job = Job(dataset_id, repository.path, one.key, one.size, private, urls[one.key], in_place=in_place)
            jobs.append((job, one))
        return jobs

    def _missing(self, asked: list[Asked]) -> tuple[list[Asked], list[str]]:
        """What is not held; and the keys that were said to be held, but are not there."""
        missing: list[Asked] = []
        lost: list[str] = []
        claimed: list[tuple[str, str]] = []
        dataset_id = asked[0].dataset_id
        book, folder = self._books.of(dataset_id), self._store.dataset(dataset_id).path
        for one in asked:
            known = book.get(dataset_id, one.key)
            if known is None:
                missing.append(one)
            elif contents.found(folder, one.key) is None:
                missing.append(one)
                lost.append(one.key)
            else:
                if self._by_hand and not known.by_hand:
                    claimed.append((dataset_id, one.key))
                self.result.there += Amount(1, one.size)
                self._watcher.there(one)
        book.set_by_hand(claimed, True)
        return missing, lost

    def _begin(self, job: Job, asked: Asked) -> None:
        body = body_of(job.key), job.private
        while len(self._same.get(body, ())) >= _MOST_WAITING:
            self._collect()
        if body in self._same:
            self._same[body].append((job, asked))
        else:
            self._submit(job, asked)

    def _submit(self, job: Job, asked: Asked) -> None:
        while len(self._jobs) >= 2 * self._workers:
            self._collect()
        self._go_on()
        job = self._with_copy(job)
        if job.copy is None or not job.copy[1]:
            self._check_room(job)
        if job.copy is None:
            self._same.setdefault((body_of(job.key), job.private), [])
        self._jobs[self._pool.submit(self._fetcher.get, job)] = job, asked

    def _with_copy(self, job: Job) -> Job:
        """The job, with the place where the store has the same bytes, if it has them."""
        fresh = self._places.get((body_of(job.key), job.private))
        if fresh is not None:
            place = contents.found(self._store.dataset(fresh[0]).path, fresh[1])
            copy = (place, True) if place is not None else None
        else:
            copy = next(self._books.same_as(job.key, private=job.private), None)
        return replace(job, copy=copy)

    def _check_room(self, job: Job) -> None:
        folder = self._store.root
        needed = self._fetcher.to_come(job)
        under_way = sum(self._fetcher.to_come(other) for other, _ in self._jobs.values() if other.copy is None)
        left_free = min(_LEFT_FREE, shutil.disk_usage(folder).total // 50)
        room = room_at(folder)
        if needed + under_way + left_free > room.bytes or (room.files is not None and room.files < self._workers):
            raise Full(
                f"the next content needs {told_size(needed)}: the disk has {told_size(room.bytes)} left, of which"
                f" {told_size(under_way)} are for what is on its way, and {told_size(left_free)} are left free",
                hint="make room, or ask for less with --budget; what is here stays, and the next time goes on from it",
            )

    def _collect(self) -> None:
        """Wait until some are done, and begin with those that waited for the same bytes."""
        while self._again and len(self._jobs) < 2 * self._workers:
            self._begin(*self._again.popleft())
        self._wait(nullcontext())
        if self._unnoted_keys >= _NOTE_KEYS or time.monotonic() - self._noted > _NOTE_SECONDS:
            self._note()
        self._go_on()

    def _wait(self, forgiving: AbstractContextManager[object]) -> None:
        done, _ = wait(self._jobs, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            with forgiving:
                self._end(future)

    def _gather(self) -> None:
        """What had come when it was broken off."""
        for future in [future for future in self._jobs if future.done() and not future.cancelled()]:
            if future.exception() is None:
                self._end(future)
        self._jobs.clear()

    def _end(self, future: Future[How]) -> None:
        job, asked = self._jobs.pop(future)
        if job.copy is None:
            self._again.extend(self._same.pop((body_of(job.key), job.private), ()))
        try:
            how = future.result()
        except (Stopped, NoRoom):
            raise
        except MirrorError as error:
            self._failed(asked, error)
        except OSError as error:
            self._failed(asked, StoreError(f"{error.strerror}: {error.filename}"))
        else:
            self._silent = 0
            self._in_place(job, asked, how)

    def _in_place(self, job: Job, asked: Asked, how: How) -> None:
        self._unnoted[job.dataset_id].append(HeldContent(job.dataset_id, job.key, job.size, self._by_hand))
        self._unnoted_keys += 1
        self._places[body_of(job.key), job.private] = job.dataset_id, job.key
        if how != "fetched":
            self._watcher.came(job.size)
        self._tell(Got(asked, how))

    def _failed(self, asked: Asked, error: MirrorError) -> None:
        if len(self.result.problems) < _MOST_SILENT:
            self.result.problems.append(self._problem(asked, error))
        self._tell(Got(asked, None, error))
        self._silent = self._silent + 1 if isinstance(error, Unreachable) else 0
        if self._silent >= _MOST_SILENT:
            raise Unreachable(f"the archive gives no answer, {self._silent} times in a row: {error.message}")

    def _problem(self, asked: Asked, error: MirrorError) -> str:
        """What is told of it where others may read it, too, if it was not for somebody who asked."""
        if not self._by_hand and self._store.is_private(asked.dataset_id):
            return "a content under embargo could not be had"
        return f"{asked.path}: {error}"

    def _tell(self, got: Got) -> None:
        self.result.note(got)
        self._watcher.got(got)

    def _note(self) -> None:
        """Say of what is in place that it is: once it survives a power cut, in the location logs, then in the book."""
        if self._unnoted:
            contents.settle(self._store.root)
        for dataset_id, held in self._unnoted.items():
            try:
                self._note_of(dataset_id, held)
            except NoRoom:
                raise
            except (StoreError, GitError) as error:
                hidden = not self._by_hand and self._store.is_private(dataset_id)
                named = "one under embargo" if hidden else f"{dataset_id}: {error}"
                logger.warning("content is in place, but could not be noted: %s", named)
        self._unnoted.clear()
        self._unnoted_keys = 0
        self._places.clear()
        self._noted = time.monotonic()

    def _note_of(self, dataset_id: str, held: Iterable[HeldContent]) -> None:
        repository = self._store.dataset(dataset_id)
        # What changed sides, or is gone, in the meantime is there as it was, or not.
        there = [one for one in held if contents.has(repository.path, one.key)]
        if there:
            note_locations(repository, annex_uuid(repository), present=[one.key for one in there])
            self._books.of(dataset_id).add(there)
            join_packs(repository, dataset_id)

    def _go_on(self) -> None:
        if self._stop():
            raise Stopped(f"stopped; {self.result.brought.keys:,} had come")
