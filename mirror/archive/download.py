"""One object, brought into a file: by several requests at once, each for a piece of it.

The file always holds the object's beginning, whatever happens: pieces come in any order, and are written in theirs. So
whoever comes next, be it this or another program, goes on where it ends. That what is there already is of the same
object nobody can tell from its length; whoever checks the whole against its hash removes what fails, and the next
download starts afresh.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from mirror.archive.ahead import mapped
from mirror.archive.http import Http, Malformed, Reply
from mirror.errors import BadAnswer, ContentRefused, NotAllowed, NotFound

CONNECTIONS = 8
LEAST_PIECE, FIRST_PIECE, LARGEST_PIECE = 256 << 10, 1 << 20, 4 << 20
"""Bytes asked for at a time: enough for the way there not to matter, few enough to be asked for again."""
QUICK, TEDIOUS = 0.25, 2.0
"""Seconds. Where a piece takes less than the first, the next are larger; where it takes more than the second, smaller,
so that whoever watches sees something move."""
WAITING = 2
"""Pieces that may be there before one that is still on its way."""

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_REFUSED = frozenset({400, 401, 403})
"""How S3 answers to a signature that has expired: by 403, by 400 where temporary credentials made it."""


class Replaced(BadAnswer):
    """Another object stands there now than when its first piece was read."""


@dataclass
class Source:
    """Where an object is. A signed address is made anew once it is refused."""

    subject: str
    """names it in messages; never the signed address"""
    sign: Callable[[], str]
    """its address"""
    expires: bool = True
    """whether that holds for a while only"""
    _url: str | None = None
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def at(cls, url: str, subject: str) -> Source:
        """An object that anybody may read."""
        return cls(subject, lambda: url, expires=False)

    def url(self, refused: str | None = None) -> str:
        """The address; another than the one that was `refused`."""
        with self._lock:
            if self._url is None or self._url == refused:
                self._url = self.sign()
            return self._url


def download(
    http: Http,
    source: Source,
    file: Path,
    size: int,
    *,
    connections: int = CONNECTIONS,
    told: Callable[[int], object] = lambda _: None,
) -> None:
    """Make `file`, which may hold the beginning already, hold the whole object of `size` bytes.

    `told` hears how many bytes are there, as they come; what it raises ends the download. What bytes they are is for
    the caller to check. OSError where the file cannot be written.
    """
    with file.open("ab") as out:
        begin = out.seek(0, 2)
        if begin > size:
            # More than there is cannot be its beginning.
            begin = out.truncate(0)
        told(begin)
        try:
            if begin < size:
                _fetch(_Pieces(http, source, size), out, begin, connections, told)
        except Replaced:
            # Which of the two objects is meant, only the hash of the whole tells.
            out.truncate(0)
            raise


def _fetch(pieces: _Pieces, out: BinaryIO, begin: int, connections: int, told: Callable[[int], object]) -> None:
    if pieces.size - begin <= FIRST_PIECE or connections <= 1:
        for wanted in pieces.ranges(begin):
            _put(out, wanted, pieces.read(wanted), told)
        return
    pool = ThreadPoolExecutor(connections, thread_name_prefix="download")
    try:
        for wanted, body in mapped(pool, pieces.read, pieces.ranges(begin), connections + WAITING):
            _put(out, wanted, body, told)
    finally:
        # Without waiting: whoever was interrupted does not want the pieces that are still on their way.
        pool.shutdown(wait=False, cancel_futures=True)


def _put(out: BinaryIO, wanted: tuple[int, int], body: bytes, told: Callable[[int], object]) -> None:
    out.write(body)
    out.flush()
    told(wanted[1] + 1)


@dataclass
class _Pieces:
    """Reads pieces of one object, all of the same one."""

    http: Http
    source: Source
    size: int
    etag: str | None = None
    piece: int = FIRST_PIECE
    _lock: Lock = field(default_factory=Lock)

    def ranges(self, begin: int) -> Iterator[tuple[int, int]]:
        """First and last byte of each piece, as large as seems good when it is its turn."""
        while begin < self.size:
            end = min(begin + self.piece, self.size)
            yield begin, end - 1
            begin = end

    def read(self, wanted: tuple[int, int]) -> bytes:
        url, started = self.source.url(), time.monotonic()
        try:
            body = self._ask(url, *wanted)
        except NotAllowed:
            if not self.source.expires:
                raise
            body = self._ask(self.source.url(refused=url), *wanted)
        self._adapt(time.monotonic() - started)
        return body

    def _adapt(self, seconds: float) -> None:
        if seconds < QUICK:
            self.piece = min(2 * self.piece, LARGEST_PIECE)
        elif seconds > TEDIOUS:
            self.piece = max(self.piece // 2, LEAST_PIECE)

    def _ask(self, url: str, first: int, last: int) -> bytes:
        def take(reply: Reply) -> bytes:
            self._check(reply, first, last)
            return reply.body

        subject, headers = self.source.subject, {"Range": f"bytes={first}-{last}"}
        try:
            return self.http.send(
                "GET", url, take, kind="s3", subject=subject, follow=False, max_bytes=last - first + 1, headers=headers
            )
        except ContentRefused:
            raise BadAnswer(f"{subject}: more bytes than were asked for: it is larger, or not given by parts") from None

    def _check(self, reply: Reply, first: int, last: int) -> None:
        """That it is this piece, of the object that the others are of."""
        subject = self.source.subject
        if reply.status in (404, 410):
            raise NotFound(f"{subject}: it is not there (HTTP {reply.status})")
        if reply.status in _REFUSED:
            raise NotAllowed(f"{subject}: the bucket does not give it to us (HTTP {reply.status})")
        if reply.status == 416:
            raise BadAnswer(f"{subject}: it has fewer than {self.size} bytes")
        if reply.status not in (200, 206):
            raise BadAnswer(f"{subject}: HTTP {reply.status}")
        told = _told_range(reply)
        if told is not None and told[2] != self.size:
            raise BadAnswer(f"{subject}: it has {told[2]} bytes, not {self.size}")
        if told != (first, last, self.size) or len(reply.body) != last - first + 1:
            raise Malformed("another piece than was asked for")
        self._check_same(reply.headers.get("ETag"))

    def _check_same(self, etag: str | None) -> None:
        if etag is None:
            raise Malformed("an answer that is not the bucket's: it has no ETag")
        with self._lock:
            self.etag = self.etag or etag
        if etag != self.etag:
            raise Replaced(f"{self.source.subject}: it was replaced while it was read: its ETag is another one now")


def _told_range(reply: Reply) -> tuple[int, int, int] | None:
    """First and last byte of the answer, and the size of all of it."""
    if reply.status == 200:  # all of it: where that is what was asked for, a server may say so
        return 0, len(reply.body) - 1, len(reply.body)
    found = _RANGE.fullmatch(reply.headers.get("Content-Range", ""))
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
