"""Having the content in the store that the settings' rules ask for, and no more than that and what was asked for by
hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from mirror.archive.content import Content
from mirror.config import Settings
from mirror.dataset.query import Query
from mirror.errors import GitError, MirrorError, NoRoom, SomeFailed, Stopped, StoreError
from mirror.keeping.books import Books
from mirror.keeping.dropping import Dropped, Dropper
from mirror.keeping.fetching import clear_scratch, plans
from mirror.keeping.plan import Amount, Asked, Plan, Taken
from mirror.keeping.populating import Full, Got, Populated, Populator, Watcher
from mirror.keeping.wishes import Zarrs, keys_of, wishes_of_all
from mirror.store.content_book import HeldContent, Holding
from mirror.store.lock import exclusive
from mirror.store.owner import check_owner
from mirror.store.store import Store
from mirror.sync.connection import Connection

T = TypeVar("T")

CONNECTIONS_PER_JOB = 8
_TELL_SECONDS = 5.0
"""So often it tells of itself, whatever it is at: who is silent for long is taken for dead."""
_LOOK_SECONDS = 0.5
"""So often it asks whether to stop."""


@dataclass
class Kept:
    """What came of it."""

    populated: Populated = field(default_factory=Populated)
    dropped: Dropped = field(default_factory=Dropped)
    rules: list[Taken] = field(default_factory=list)
    """what each of them asks for, and what is beyond its budget"""
    zarrs_passed: frozenset[str] = frozenset()
    """Zarrs that are held as manifests: of these no files are fetched, nor given up"""
    unread: list[str] = field(default_factory=list)
    """why it is not known of some Dandisets what is asked for: while there are any, nothing is given up"""
    troubled: list[str] = field(default_factory=list)
    """of repositories of which nothing could be given up: why"""
    full: str = ""
    """the disk has no room for all of it; how much there is. What the rules ask for goes as far as the disk does"""
    held: Holding = field(default_factory=Holding)
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        return self.populated.failed.keys

    @property
    def problems(self) -> list[str]:
        """What a person should know of."""
        full = ["the disk has no room for all that the rules ask for"] if self.full else []
        return [*self.unread, *self.troubled, *full, *self.populated.problems, *self.dropped.problems]

    def check(self) -> None:
        """Raise if something could not be had."""
        if self.failed:
            raise SomeFailed(f"{self.failed:,} contents could not be had: {'; '.join(self.populated.problems[:1])}")


def keep(
    settings: Settings,
    *,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda _: None,
    command: str = "dandi-mirror populate",
    watcher: Watcher | None = None,
    kept: Kept | None = None,
) -> Kept:
    """Fetch what the rules ask for, and give up first what they do not, unless it was asked for by hand.

    What each rule asks for is taken small first, within its budget, the rules in their order. `tell` hears what is
    being done; nothing under embargo is named in it. `kept`: filled as it goes, for whoever wants to know in any case.
    """
    began = time.monotonic()
    kept = kept if kept is not None else Kept()
    store = Store.open(settings.store)
    with (
        holding(store, command, _Signs(tell, stop, "what is here")) as books,
        asked_by_rules(store, settings, tell, kept, stop) as plan,
    ):
        connection = Connection.open(settings)
        try:
            content: Content = connection.content
            if not kept.unread:
                tell("what is not asked for any more")
                dropper = Dropper(store, books, content, stop=stop, break_off=connection.close)
                dropper.result = kept.dropped
                _drop_unasked(store, books, dropper, plan, kept, _Signs(tell, stop, "what is not asked for any more"))
            watcher = watcher or _HowFar(tell)
            watcher.planned(plan.total())
            populator = Populator(
                store,
                books,
                content,
                watcher,
                by_hand=False,
                connections=CONNECTIONS_PER_JOB * settings.jobs,
                stop=stop,
                break_off=connection.close,
            )
            populator.result = kept.populated
            populator.run(plan)
        except Full as error:
            kept.full = error.message
        finally:
            connection.close()
            kept.held = books.holding()
            kept.seconds = time.monotonic() - began
    return kept


@contextmanager
def holding(store: Store, command: str, told: Callable[[], object] = lambda: None) -> Iterator[Books]:
    """The books, for the one who works on the content. `Locked` where somebody else does. The store's own lock is not
    taken: polls go on meanwhile."""
    check_owner(store.root)
    with exclusive(store.open_side.state / "content.lock", command), Books(store) as books:
        clear_scratch(store)
        books.bring_up_to_date(told)
        yield books


@contextmanager
def asked_by_rules(
    store: Store,
    settings: Settings,
    tell: Callable[[str], None],
    kept: Kept,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Plan]:
    """What the rules ask for."""
    zarrs = Zarrs()

    def unread(identifier: str, error: MirrorError) -> None:
        named = "one under embargo" if store.is_embargoed(identifier) else f"{identifier}: {error}"
        kept.unread.append(f"cannot be read: {named}")

    with Plan(plans(store)) as plan:
        for number, rule in enumerate(settings.content, 1):
            tell(f"what rule {number} asks for")
            signs = _Signs(tell, stop, f"what rule {number} asks for")
            where = Query.parse(rule.where) if rule.where is not None else None
            for wish in wishes_of_all(store, where, rule.versions, unread):
                try:
                    plan.ask(signs.along(keys_of(store, wish, zarrs)))
                except (StoreError, GitError) as error:
                    unread(wish.identifier, error)
            kept.rules.append(plan.take(rule.budget))
        if any(rule.where is not None for rule in settings.content):
            with store.catalogue() as catalogue:
                # A query finds only what is in there.
                kept.unread += [] if catalogue.is_complete else ["the catalogue does not tell of all that is mirrored"]
        kept.zarrs_passed = frozenset(zarrs.passed)
        yield plan


def _drop_unasked(store: Store, books: Books, dropper: Dropper, plan: Plan, kept: Kept, signs: _Signs) -> None:
    """Give up what neither the plan nor anybody asks for. The trouble of one repository does not stop the others."""
    for dataset_id in list(books.datasets()):
        if dataset_id in kept.zarrs_passed or not store.dataset(dataset_id).path.is_dir():
            continue
        try:
            dropper.run(dataset_id, signs.along(_unasked(books, dataset_id, plan)))
        except NoRoom:
            raise
        except (StoreError, GitError) as error:
            named = "one under embargo" if store.is_private(dataset_id) else f"{dataset_id}: {error}"
            kept.troubled.append(f"nothing can be given up: {named}")


def _unasked(books: Books, dataset_id: str, plan: Plan) -> Iterator[HeldContent]:
    for one in books.of(dataset_id).held(dataset_id):
        if not one.by_hand and not plan.asks_for(dataset_id, one.key):
            yield one


class _Signs:
    """Signs of life of a long work: tells now and then what it is at, and ends it with `Stopped` when that is asked."""

    def __init__(self, tell: Callable[[str], None], stop: Callable[[], bool], what: str) -> None:
        self._tell = tell
        self._stop = stop
        self._what = what
        self._told = self._looked = time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        if self._stop():
            raise Stopped(f"stopped while finding out {self._what}")
        if now - self._told > _TELL_SECONDS:
            self._told = now
            self._tell(self._what)

    def along(self, items: Iterable[T]) -> Iterator[T]:
        """The same, with signs between them."""
        for item in items:
            self()
            yield item


class _HowFar:
    """Tells how far it is, now and then; a large file is long under way."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._total = 0
        self._done = 0
        self._told = time.monotonic()
        self._lock = threading.Lock()

    def planned(self, total: Amount) -> None:
        self._total = total.bytes

    def there(self, asked: Asked) -> None:
        self._count(asked.size)

    def came(self, size: int) -> None:
        self._count(size)

    def got(self, got: Got) -> None:
        # What was fetched came byte by byte.
        self._count(0 if got.how == "fetched" else got.asked.size)

    def _count(self, size: int) -> None:
        with self._lock:
            self._done += size
            if time.monotonic() - self._told <= _TELL_SECONDS:
                return
            self._told = time.monotonic()
            share = min(100, 100 * self._done // self._total) if self._total else 100
        self._tell(f"{share} % of {self._total / 1e9:,.1f} GB of content are here")
