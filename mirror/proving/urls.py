"""Addresses: whether the archive still has every content that some version of a Dandiset names, and as what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice

from mirror.annex.logs import WEB_UUID
from mirror.archive.ahead import mapped
from mirror.errors import ArchiveDown
from mirror.git.repository import Repository
from mirror.keeping.books import Books
from mirror.proving.branch import KeyLogs, key_logs, tree_of
from mirror.proving.contents import books_of
from mirror.proving.findings import Kind, Stop, Stopped, Teller
from mirror.proving.looking import SAID, Looked, Looker
from mirror.proving.records import ANNEX, Need, Needs, needs_of, versions_of
from mirror.proving.sample import Sample
from mirror.store.contents import has
from mirror.store.ledger import Found, KeyRow, Ledger
from mirror.store.locations import annex_uuid
from mirror.store.store import Store

KINDS: dict[Found, Kind] = {
    Found.NON_CURRENT: "non-current",
    Found.GONE: "gone",
    Found.CHANGED: "changed",
    Found.NEVER: "unknown",
    Found.DAMAGED: "damaged",
}
UNREACHABLE_LIMIT = 16
"""So many contents in a row for which nobody could be reached mean that the archive is out of order."""

_AT_ONCE = 200
_JOBS = 8


@dataclass
class Outages:
    """Counts contents of which nobody could be asked, one after the other."""

    in_a_row: int = 0

    def take(self, looked: Looked) -> None:
        """`ArchiveDown` after too many."""
        self.in_a_row = self.in_a_row + 1 if looked.unreachable else 0
        if self.in_a_row >= UNREACHABLE_LIMIT:
            raise ArchiveDown(f"nobody answers: {looked.message}", hint="what is left is proved another time")


@dataclass(frozen=True)
class UrlProver:
    """Proves addresses. What was seen since `began` is not asked for again."""

    store: Store
    looker: Looker
    ledger: Ledger
    began: int
    outages: Outages
    sample: Sample | None = None
    now: Callable[[], float] = time.time

    def prove(self, identifier: str, teller: Teller, *, stop: Stop) -> None:
        repository = self.store.repository(identifier)
        refs = repository.peeled_refs()
        side = self.store.side(private=teller.result.private)
        with ExitStack() as stack:
            objects = stack.enter_context(repository.objects())
            needs = stack.enter_context(Needs(side.temporary))
            places = _Places(repository, teller.result.private, stack.enter_context(books_of(self.store)))
            teller.watcher.how_far("reading what its versions need")
            needs.add(needs_of(versions_of(refs, objects), objects))
            wanted = needs.in_order() if self.sample is None else needs.sample(self.sample)
            logs = key_logs(objects, tree_of(objects, refs, ANNEX), wanted)
            needed = (one for one in logs if one.need is not None)
            self._prove(needed, places, teller, stop)

    def _prove(self, logs: Iterator[KeyLogs], places: _Places, teller: Teller, stop: Stop) -> None:
        pool = ThreadPoolExecutor(_JOBS, thread_name_prefix="urls")
        try:
            while batch := list(islice(logs, _AT_ONCE)):
                if stop():
                    raise Stopped
                self._batch(batch, places, teller, stop, pool)
                teller.watcher.how_far(f"{teller.result.checked:,} contents asked for")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _batch(
        self, batch: list[KeyLogs], places: _Places, teller: Teller, stop: Stop, pool: ThreadPoolExecutor
    ) -> None:
        known = self.ledger.rows(one.key for one in batch)
        asked: list[KeyLogs] = []
        for one in batch:
            row = known.get(one.key)
            # One of the future is of a clock that was wrong.
            if row is not None and row.archive is not Found.NEVER and self.began <= row.archive_at <= self.now():
                self._tell(one.need, Looked(row.archive, SAID[row.archive]), teller)
                teller.result.checked += 1
            else:
                asked.append(one)
        rows, answered = [self._seen(one, places) for one in batch], 0
        try:
            for one, looked in mapped(pool, self._look, _until(asked, stop), 2 * _JOBS):
                answered += 1
                teller.result.checked += 1
                self._tell(one.need, looked, teller)
                if looked.found is not Found.NEVER:
                    rows.append(KeyRow(one.key, _size(one), looked.found, int(self.now())))
                self.outages.take(looked)
        finally:
            self.ledger.note(rows)
        if answered < len(asked):
            raise Stopped

    def _look(self, one: KeyLogs) -> Looked:
        return self.looker.look(one.key, one.urls, one.need.etag if one.need is not None else "")

    def _seen(self, one: KeyLogs, places: _Places) -> KeyRow:
        """Whether it is here, or in a backup, as far as that can be told without reading it."""
        now = int(self.now())
        here, elsewhere = places.has(one)
        return KeyRow(
            one.key,
            _size(one),
            store=here,
            store_at=now if here is not Found.NEVER else 0,
            backup=Found.OK if elsewhere else Found.GONE,
            backup_at=now,
        )

    @staticmethod
    def _tell(need: Need | None, looked: Looked, teller: Teller) -> None:
        if looked.found is not Found.OK and need is not None:
            teller.find(KINDS[looked.found], need.path, looked.message, version=need.version, key=need.key)


class _Places:
    """Where else a content may be: in the store, in a backup."""

    def __init__(self, repository: Repository, private: bool, books: Books | None) -> None:
        self._repository = repository.path
        self._uuid = annex_uuid(repository)
        self._private = private
        self._has_any = (repository.path / "annex" / "objects").is_dir()
        self._books = books

    def has(self, one: KeyLogs) -> tuple[Found, bool]:
        here = (self._has_any and has(self._repository, one.key)) or self._is_of_others(one.key)
        elsewhere = bool(one.remotes - {WEB_UUID, self._uuid})
        return Found.OK if here else Found.GONE, elsewhere

    def _is_of_others(self, key: str) -> bool:
        """Whether the store has the same bytes for another dataset."""
        return self._books is not None and any(self._books.same_as(key, private=self._private))


def _size(one: KeyLogs) -> int:
    return one.need.size if one.need is not None else 0


def _until(items: Iterable[KeyLogs], stop: Stop) -> Iterator[KeyLogs]:
    for item in items:
        if stop():
            return
        yield item
