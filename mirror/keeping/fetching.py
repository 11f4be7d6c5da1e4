"""Getting one content into the store: from where it is held already, for that was checked, else from the archive."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from mirror.annex.keys import parse_key
from mirror.archive.addresses import Address, AssetAddress, ObjectAddress, addresses
from mirror.archive.content import Content
from mirror.errors import ArchiveError, ContentRefused, MirrorError, Stopped, Unreachable
from mirror.store import contents
from mirror.store.room import telling_of_room
from mirror.store.store import Store

How = Literal["fetched", "linked", "cloned", "copied", "found"]

_CHUNK = 1 << 20
_PER_CONNECTION = 8 << 20
_MOST_CONNECTIONS = 8
_LARGE = 64 << 20
_OLD_SECONDS = 7 * 86_400.0
_HASHES = {"SHA256E": "sha256", "SHA256": "sha256", "MD5E": "md5", "MD5": "md5"}


@dataclass(frozen=True)
class Job:
    """One content that a repository is to have."""

    dataset_id: str
    folder: Path
    """where its repository was when this was begun"""
    key: str
    size: int
    private: bool
    urls: frozenset[str] = frozenset()
    copy: tuple[Path, bool] | None = None
    """where the store has the same bytes, and whether they may be linked"""
    in_place: bool = False
    """it is there, but nobody noted that it is right"""


class Connections:
    """Those that may be open at a time, among all downloads."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._free = most
        self._changed = threading.Condition()

    @contextmanager
    def some(self, size: int) -> Iterator[int]:
        """As many as a file of this size is worth; waits until they are free."""
        count = min(1 + size // _PER_CONNECTION, _MOST_CONNECTIONS, self.most)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= count)
            self._free -= count
        try:
            yield count
        finally:
            with self._changed:
                self._free += count
                self._changed.notify_all()


class Fetcher:
    """Does jobs, many at once. What was half-fetched before goes on where it ended."""

    def __init__(self, store: Store, content: Content, connections: Connections, came: Callable[[int], object]) -> None:
        self._store = store
        self._content = content
        self._connections = connections
        self._scratch = lru_cache(lambda private: scratch(store, private=private))
        self._came = came
        """hears of bytes as they come; negative where some were in vain"""
        self._ending = threading.Event()

    def end(self) -> None:
        """Break off what is under way."""
        self._ending.set()

    def to_come(self, job: Job) -> int:
        """The bytes of it that are not on the disk yet."""
        if job.size < _LARGE:
            return job.size
        try:
            return max(0, job.size - (self._scratch(job.private) / job.key).stat().st_size)
        except FileNotFoundError:
            return job.size

    def get(self, job: Job) -> How:
        """Have it in place. Durable once the file system was settled."""
        self._check_ending()
        if job.in_place and self._is_right_in_place(job):
            return "found"
        if job.copy is not None:
            other, link = job.copy
            contents.clear_away(job.folder, job.key)
            return contents.share(job.folder, job.key, other, link=link, settled=False)
        part = self._scratch(job.private) / job.key
        with telling_of_room(), self._connections.some(job.size) as connections:
            self._fetch(job, part, connections)
            self._adopt(job, part)
        return "fetched"

    def _is_right_in_place(self, job: Job) -> bool:
        place = contents.found(job.folder, job.key)
        if place is not None and is_content_of(job.key, place, self._go_on):
            return True
        contents.drop(job.folder, job.key)
        return False

    def _fetch(self, job: Job, part: Path, connections: int) -> None:
        """From the first address that gives the right bytes."""
        complaints: list[MirrorError] = []
        for address in addresses(job.urls):
            try:
                if self._is_had_from(address, job, part, connections):
                    return
            except ArchiveError as error:
                complaints.append(error)
            else:
                complaints.append(ContentRefused(f"what {_told(address)} gives is not what its digest says"))
        raise _summed_up(complaints)

    def _is_had_from(self, address: Address, job: Job, part: Path, connections: int) -> bool:
        """Whether this address gave the right bytes. Wrong ones are not gone on with; those of an earlier time or from
        another address may have been to blame."""
        had_some = part.exists() and part.stat().st_size > 0
        for _ in range(1 + had_some):
            done = 0

            def told(now: int) -> None:
                nonlocal done
                self._check_ending()
                self._came(now - done)
                done = now

            self._content.fetch([address], part, job.size, connections=connections, told=told)
            if is_content_of(job.key, part, self._go_on):
                return True
            part.unlink()
            self._came(-done)
        return False

    def _adopt(self, job: Job, part: Path) -> None:
        try:
            contents.adopt(job.folder, job.key, part, settled=False)
        except FileNotFoundError:
            # It has changed sides meanwhile.
            contents.adopt(self._store.dataset(job.dataset_id).path, job.key, part, settled=False)

    def _go_on(self) -> None:
        """Of a large file, reading alone takes its time."""
        self._check_ending()
        self._came(0)

    def _check_ending(self) -> None:
        if self._ending.is_set():
            raise Stopped("stopped")


def scratch(store: Store, *, private: bool) -> Path:
    """Where half-fetched content is, by its key. Nobody else looks in there, and no maintenance clears it."""
    side = store.side(private=private)
    folder = side.temporary / "content"
    if not folder.is_dir():
        side.make()
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def plans(store: Store) -> Path:
    """Where plans are made, which may name what is under embargo. For whoever may not write in the store, elsewhere."""
    side = store.side(private=store.closed_side.exists)
    return scratch(store, private=side.is_private) if os.access(side.state, os.W_OK) else Path(tempfile.gettempdir())


def clear_scratch(store: Store) -> None:
    """Delete what nobody went on with for days. For whoever holds the lock of the content."""
    old = time.time() - _OLD_SECONDS
    for side in (store.open_side, store.closed_side):
        folder = side.temporary / "content"
        for left in folder.iterdir() if side.exists and folder.is_dir() else ():
            if left.name.startswith("plan-") or left.stat().st_mtime < old:
                left.unlink(missing_ok=True)


def is_content_of(key: str, file: Path, told: Callable[[], object] = lambda: None) -> bool:
    """Whether a file holds what the key says. `told` is called now and then; what it raises ends this."""
    backend, size, digest, _ = parse_key(key)
    if backend not in _HASHES:
        raise ContentRefused(f"content of the backend {backend} cannot be checked: {key}")
    with file.open("rb") as stream:
        if stream.seek(0, 2) != size:
            return False
        stream.seek(0)
        found = hashlib.new(_HASHES[backend], usedforsecurity=False)
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
            told()
    return found.hexdigest() == digest


def _told(address: Address) -> str:
    if isinstance(address, ObjectAddress):
        return address.url
    return f"{address.api_url} of asset {address.asset_id}" if isinstance(address, AssetAddress) else address.api_url


def _summed_up(complaints: list[MirrorError]) -> MirrorError:
    """One error for what each address said."""
    if not complaints:
        return ContentRefused("no address is known that it could be fetched from")
    if all(isinstance(one, Unreachable) for one in complaints):
        return complaints[0]
    messages = dict.fromkeys(one.message for one in complaints if not isinstance(one, Stopped))
    return ContentRefused("; ".join(messages), hint=next((one.hint for one in complaints if one.hint), None))
