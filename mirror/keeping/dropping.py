"""Giving up content that nobody asks for any more: never the last copy of what the archive no longer has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from urllib.parse import parse_qs, urlsplit

from mirror.annex.keys import parse_key
from mirror.archive.addresses import Address, ObjectAddress, addresses
from mirror.archive.content import Content
from mirror.errors import ArchiveError, GitError, NotAllowed, Stopped, StoreError, Unreachable
from mirror.keeping.books import Books
from mirror.keeping.plan import Amount
from mirror.store import contents
from mirror.store.content_book import HeldContent
from mirror.store.locations import annex_uuid, note_locations
from mirror.store.store import Store
from mirror.store.version_keys import urls_of

_AT_ONCE = 2_000
_AT_A_TIME = 8
_LOOK_SECONDS = 0.5
"""So often it is asked whether to stop, whatever is under way."""
_MOST_SILENT = 10
_MOST_PROBLEMS = 10


@dataclass
class Dropped:
    """What came of it."""

    dropped: Amount = Amount()  # noqa: RUF009 - it is frozen
    stayed: Amount = Amount()  # noqa: RUF009
    """nobody asks for it, but it may be the last copy"""
    problems: list[str] = field(default_factory=list)
    """of the first of those that stayed: which, and why"""

    def stays(self, held: HeldContent, why: str, *, private: bool) -> None:
        self.stayed += Amount(1, held.size)
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append("a content under embargo stays" if private else f"{held.key} stays: {why}")


class Dropper:
    """Drops content. For whoever holds the lock of the content."""

    def __init__(
        self,
        store: Store,
        books: Books,
        content: Content,
        *,
        stop: Callable[[], bool] = lambda: False,
        break_off: Callable[[], object] = lambda: None,
        discreet: bool = True,
    ) -> None:
        """`stop` is asked often; `break_off` ends requests that are under way. `discreet`: what is told may be read by
        others, and names nothing that is under embargo."""
        self._store = store
        self._books = books
        self._content = content
        self._stop = stop
        self._break_off = break_off
        self._discreet = discreet
        self._silent = 0
        self.result = Dropped()

    def run(self, dataset_id: str, unasked: Iterable[HeldContent]) -> None:
        """Drop these contents of one dataset. What the location log says is true at every instant: it is told first."""
        given = iter(unasked)
        pool = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="dropping")
        try:
            while batch := list(islice(given, _AT_ONCE)):
                self._drop(dataset_id, list(self._safe(dataset_id, batch, pool)), pool)
        except (StoreError, GitError):
            raise  # it is this one's trouble: others may come after it
        except BaseException:
            self._break_off()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _safe(self, dataset_id: str, held: list[HeldContent], pool: ThreadPoolExecutor) -> Iterator[HeldContent]:
        """Those that the archive has."""
        private = self._discreet and self._store.is_private(dataset_id)
        urls = dict(urls_of(self._store.dataset(dataset_id), [one.key for one in held]))
        asked = [(one, pool.submit(why_it_stays, self._content, one.key, urls[one.key])) for one in held]
        for one, answer in asked:
            why = self._awaited(answer)
            if why is None:
                yield one
            else:
                self.result.stays(one, why.message, private=private)
            self._silent = self._silent + 1 if isinstance(why, Unreachable) else 0
            if self._silent >= _MOST_SILENT:
                raise Unreachable(f"the archive gives no answer, {self._silent} times in a row: {why}")

    def _awaited(self, answer: Future[ArchiveError | None]) -> ArchiveError | None:
        """Whoever says stop is heard meanwhile."""
        while True:
            if self._stop():
                raise Stopped(f"stopped; {self.result.dropped.keys:,} had been given up")
            if wait([answer], timeout=_LOOK_SECONDS).done:
                return answer.result()

    def _drop(self, dataset_id: str, held: list[HeldContent], pool: ThreadPoolExecutor) -> None:
        if not held:
            return
        repository = self._store.dataset(dataset_id)
        note_locations(repository, annex_uuid(repository), absent=[one.key for one in held])
        # Of a million small files, deleting takes longer than asking.
        deleted = pool.map(lambda one: contents.drop(repository.path, one.key), held)
        for one, _ in zip(held, deleted, strict=True):
            self.result.dropped += Amount(1, one.size)
        self._books.of(dataset_id).remove((dataset_id, one.key) for one in held)


def why_it_stays(content: Content, key: str, urls: Iterable[str]) -> ArchiveError | None:
    """Why content must not be dropped: the archive does not have it, or does not say so. None: it has it."""
    reason: ArchiveError = ArchiveError("no address of it is known: this may be the last copy")
    known = addresses(urls)
    in_buckets = [one for one in known if isinstance(one, ObjectAddress)]
    # The API leads to what the bucket has today, and cannot say whether that is what was recorded. It is asked where
    # the bucket answers nobody: of what came under embargo.
    for address in [*in_buckets, *(one for one in known if not isinstance(one, ObjectAddress))]:
        if in_buckets and not isinstance(address, ObjectAddress) and not isinstance(reason, NotAllowed):
            break
        try:
            if _has(content, address, key):
                return None
            reason = ArchiveError("the archive does not have it any more: this may be the last copy")
        except ArchiveError as error:
            reason = error
    return reason


def _has(content: Content, address: Address, key: str) -> bool:
    """Whether the archive has it for good: as what stands there today, for older versions are deleted after a while."""
    backend, size, digest, _ = parse_key(key)
    seen = content.look(address, current=True)
    if seen is None or seen.size != size:
        return False
    if not isinstance(address, ObjectAddress):
        return True
    recorded = parse_qs(urlsplit(address.url).query).get("versionId")
    if recorded and recorded[-1] == seen.version_id:
        return True
    if backend == "MD5E" and seen.etag is not None and "-" not in seen.etag:
        return seen.etag == digest
    if not recorded:
        return True
    before = content.look(address)
    return before is not None and before.etag is not None and before.etag == seen.etag
