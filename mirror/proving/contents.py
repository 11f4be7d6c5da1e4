"""Bytes: whether the content that is held here is what its key says. What is not is moved aside, never to be given."""

from __future__ import annotations

import errno
import hashlib
import logging
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from mirror.annex.keys import ParsedKey, parse_key
from mirror.errors import StoreError
from mirror.git.files import make_folders
from mirror.git.repository import Repository
from mirror.keeping.books import Books
from mirror.proving.branch import key_logs, tree_of
from mirror.proving.findings import Stop, Stopped, Teller
from mirror.proving.records import ANNEX
from mirror.proving.sample import Sample
from mirror.store.cache import discard, find_damage, is_damaged
from mirror.store.content_book import book_path
from mirror.store.contents import found as content_of
from mirror.store.contents import held
from mirror.store.ledger import Found, KeyRow, Ledger
from mirror.store.locations import annex_uuid, note_locations, present_in
from mirror.store.store import Store

logger = logging.getLogger(__name__)

BAD = "annex/bad"
"""Where git-annex puts what it finds damaged, and so do we."""

_CHUNK = 4 << 20
_AT_ONCE = 100
_BYTES_AT_ONCE = 1 << 30
_MISSING_AT_ONCE = 20_000
_BROKEN = {errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.ENODATA}
"""What a disk says of bytes that it lost. Whatever else keeps us from reading says nothing of them."""
_HASHES = {"SHA256": "sha256", "SHA256E": "sha256", "MD5": "md5", "MD5E": "md5"}


@dataclass(frozen=True)
class ContentProver:
    """Reads content. A round that was broken off is gone on with where it was."""

    store: Store
    ledger: Ledger
    sample: Sample | None = None
    now: Callable[[], float] = time.time
    of_zarr: bool = False
    """the ledger has no row for each of a Zarr's files"""

    def prove(self, dataset_id: str, teller: Teller, *, stop: Stop) -> None:
        """Read everything that is held of a dataset, and look whether what is said to be here is."""
        repository = self.store.dataset(dataset_id)
        if not (repository.path / "annex" / "objects").is_dir() and not self._is_noted(dataset_id):
            return
        reading = _Reading(self, repository, dataset_id, teller)
        try:
            for key in self._keys(repository.path, teller.result.subject):
                if stop():
                    raise Stopped
                reading.take(key, *_read(repository.path, key, teller, stop))
        finally:
            reading.note()
        if self.sample is None:
            self._missing(repository, dataset_id, teller, stop)

    def _is_noted(self, dataset_id: str) -> bool:
        """Whether some content of it should be here."""
        with books_of(self.store) as books:
            return books is not None and books.of(dataset_id).holding(dataset_id).keys > 0

    def _keys(self, repository: Path, subject: str) -> Iterator[str]:
        keys = (key for key, _ in held(repository))
        if self.sample is None:
            known = self.ledger.round(subject, "bytes")
            reached = known.reached if known is not None else ""
            return (key for key in keys if _place(repository, key) > reached) if reached else keys
        return _chosen(keys, self.sample, sum(1 for _ in held(repository)))

    def _missing(self, repository: Repository, dataset_id: str, teller: Teller, stop: Stop) -> None:
        """What the git-annex branch says is here and is not: whoever clones would look for it in vain."""
        uuid = annex_uuid(repository)
        absent = (key for key in _said_here(repository, uuid, stop) if content_of(repository.path, key) is None)
        while some := list(islice(absent, _MISSING_AT_ONCE)):
            # What was dropped meanwhile was said to be dropped before.
            gone = [key for key, said in present_in(repository, uuid, some) if said]
            for key in gone:
                teller.find("missing", key, "the git-annex branch said that it is here: not any more", key=key)
            if gone:
                self.withdraw(repository, dataset_id, gone)
                self._note_gone(gone)

    def _note_gone(self, keys: list[str]) -> None:
        if not self.of_zarr:
            at = int(self.now())
            self.ledger.note(KeyRow(key, parse_key(key).size, store=Found.GONE, store_at=at) for key in keys)

    def withdraw(self, repository: Repository, dataset_id: str, keys: list[str]) -> None:
        """Say that these are not here: on the git-annex branch, and in the book of what is held."""
        note_locations(repository, annex_uuid(repository), absent=keys)
        with books_of(self.store) as books:
            if books is not None:
                books.of(dataset_id).remove([(dataset_id, key) for key in keys])

    def withdraw_links(self, repository: Repository, dataset_id: str, key: str) -> int:
        """Move aside, wherever else on this side it is the same file, what was found damaged here; how often. Otherwise
        it would be given to others, and back to this dataset."""
        count = 0
        while links := self._links(repository.path / BAD / key, dataset_id, key):
            for other_id, other, place in links:
                elsewhere = self.store.dataset(other_id)
                _move_aside(elsewhere.path, other, place)
                self.withdraw(elsewhere, other_id, [other])
            count += len(links)
        return count

    def _links(self, file: Path, dataset_id: str, key: str) -> list[tuple[str, str, Path]]:
        """Some of the places where the same file is: dataset, key and path."""
        with books_of(self.store) as books:
            noted = books.of(dataset_id).same_as(key) if books is not None else ()
            places = [(one, other, content_of(self.store.dataset(one).path, other)) for one, other in noted]
        return [(one, other, place) for one, other, place in places if place is not None and _is_same(place, file)]


@dataclass
class _Reading:
    """What was read of one dataset and is not noted yet."""

    prover: ContentProver
    repository: Repository
    dataset_id: str
    teller: Teller
    rows: list[KeyRow] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    reached: str = ""
    bytes: int = 0

    def take(self, key: str, found: Found, size: int, why: str) -> None:
        if found is Found.NEVER:
            return
        at = int(self.prover.now())
        self.rows.append(KeyRow(key, size, store=found, store_at=at, hashed_at=at))
        self.bytes += size
        if found is Found.DAMAGED:
            self.damaged.append(key)
            self.teller.find("damaged", key, why, key=key)
        else:
            self.reached = _place(self.repository.path, key)
        if len(self.rows) >= _AT_ONCE or self.bytes >= _BYTES_AT_ONCE:
            self.note()

    def note(self) -> None:
        """Remember it, and say of what is damaged that it is not here."""
        rows, damaged, prover = self.rows, self.damaged, self.prover
        self.rows, self.damaged, self.bytes = [], [], 0
        if not prover.of_zarr:
            prover.ledger.note(rows)
        if self.reached and prover.sample is None:
            prover.ledger.note_reached(self.teller.result.subject, "bytes", self.reached)
        if damaged:
            prover.withdraw(self.repository, self.dataset_id, damaged)
        for key in damaged:
            if count := prover.withdraw_links(self.repository, self.dataset_id, key):
                logger.warning("%s was damaged for %d more datasets of the store, as the same file", key, count)


def _read(repository: Path, key: str, teller: Teller, stop: Stop) -> tuple[Found, int, str]:
    """What a content is, how many bytes its key speaks of, and what is wrong with it."""
    try:
        parsed = parse_key(key)
    except ValueError:
        return Found.NEVER, 0, ""
    file = content_of(repository, key)
    if file is None or parsed.backend not in _HASHES:
        return Found.NEVER, 0, ""  # dropped meanwhile; or of a kind that says nothing of its bytes
    try:
        why = _wrong_with(file, parsed, stop)
    except FileNotFoundError:
        return Found.NEVER, 0, ""
    teller.result.checked += 1
    teller.result.bytes += parsed.size
    teller.watcher.how_far(f"{teller.result.checked:,} contents read")
    if why is None:
        return Found.OK, parsed.size, ""
    _move_aside(repository, key, file)
    return Found.DAMAGED, parsed.size, f"{why}; moved to {BAD}, `dandi-mirror populate` fetches it anew"


def _move_aside(repository: Path, key: str, file: Path) -> None:
    aside = repository / BAD / key
    make_folders(aside.parent)
    with suppress(FileNotFoundError):  # dropped meanwhile
        file.replace(aside)


def _is_same(one: Path, other: Path) -> bool:
    with suppress(FileNotFoundError):
        return one.samefile(other)
    return False


@contextmanager
def books_of(store: Store) -> Iterator[Books | None]:
    """The books of what is held; None where nothing ever was. A damaged one is thrown away: it is made anew from the
    repositories."""
    paths = [path for side in store.sides() if (path := book_path(side)).is_file()]
    if not paths:
        yield None
        return
    try:
        with Books(store) as books:
            yield books
    except sqlite3.DatabaseError as error:
        damaged = [path for path in paths if is_damaged(error) and find_damage(path) is not None]
        if not damaged:
            raise
        for path in damaged:
            discard(path)
        raise StoreError(
            f"the book of what content is held was damaged: {error}", hint="the next `dandi-mirror populate` makes it"
        ) from error


def _place(repository: Path, key: str) -> str:
    """Where a content is, in the order in which content is gone through; nothing where it is not any more."""
    file = content_of(repository, key)
    return "/".join(file.parts[-4:-1]) if file is not None else ""


def _said_here(repository: Repository, uuid: str, stop: Stop) -> Iterator[str]:
    """The keys of which the branch says that they are in this repository."""
    with repository.objects() as objects:
        for one in key_logs(objects, tree_of(objects, repository.peeled_refs(), ANNEX), ()):
            if stop():
                raise Stopped
            if uuid in one.remotes:
                yield one.key


def _wrong_with(file: Path, key: ParsedKey, stop: Stop) -> str | None:
    """What is wrong with a content; None: nothing is."""
    try:
        with file.open("rb") as content:
            digest, size = hashlib.new(_HASHES[key.backend], usedforsecurity=False), 0
            while chunk := content.read(_CHUNK):
                if stop():
                    raise Stopped
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        if error.errno not in _BROKEN:
            raise
        return f"cannot be read: {error.strerror}"
    if size != key.size:
        return f"has {size} bytes, not {key.size}"
    if digest.hexdigest() != key.digest:
        return f"has the hash {digest.hexdigest()}"
    return None


def _chosen(keys: Iterator[str], sample: Sample, total: int) -> Iterator[str]:
    """Some of so many, chosen by chance, in their order: each of the rest is as likely as any other."""
    wanted = sample.of(total)
    for left, key in zip(range(total, 0, -1), keys, strict=False):
        if random.random() * left < wanted:
            wanted -= 1
            yield key
