"""The S3 bucket: which version of an object is current, what is under a prefix, and small contents.

Plain HTTP, unsigned: what is mirrored openly is readable openly.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil, isfinite
from typing import TypeVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from mirror.archive.ahead import mapped
from mirror.archive.http import Http, Malformed, Reply, checked_url
from mirror.archive.listing import in_order
from mirror.archive.s3 import (
    ListingPage,
    ObjectVersion,
    S3Location,
    bucket_url,
    content_url_allowed,
    object_url,
    parse_listing,
    parse_location,
)
from mirror.errors import ArchiveError, BadAnswer, NotAllowed, NotFound, Unreachable

__all__ = [
    "Bucket",
    "ObjectVersion",
    "S3Location",
    "cheaper_to_list",
    "content_url_allowed",
    "estimated_objects",
    "object_url",
    "parse_location",
]

logger = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")

KEYS_PER_PAGE = 1000
PAGE_COSTS_HEADS = 10
"""A page of 1,000 versions takes about as long as ten HEADs: it is 500 KB to send and some 7 ms to parse."""
JOBS = 8
UNREACHABLE_LIMIT = 16
"""So many objects in a row for which the server could not be reached mean that it is down."""

# Blobs lie under their random UUID: `blobs/0a1/b2c/0a1b2c3d-…`. So keys are spread evenly over the hex digits.
_SPREAD = re.compile(r"(?P<top>[^/]+/)[0-9a-f]{3}/[0-9a-f]{3}/[0-9a-f]{8}-[0-9a-f-]+")


def cheaper_to_list(unknown: int, estimated_objects: float) -> bool:
    """Whether listing a prefix of so many objects costs less than asking for each of `unknown` ones."""
    return isfinite(estimated_objects) and ceil(estimated_objects / KEYS_PER_PAGE) * PAGE_COSTS_HEADS < unknown


def estimated_objects(listed: int, last_key: str, prefix: str) -> float:
    """How many objects are under `prefix`, if its first `listed`, evenly spread, end with `last_key`."""
    digits = re.sub(r"[^0-9a-f]", "", last_key.removeprefix(prefix))[:8]
    position = int(digits, 16) / 16 ** len(digits) if digits else 0.0
    return listed / position if position else float("inf")


@dataclass(frozen=True)
class _Group:
    """Objects wanted from one prefix of one bucket."""

    prefix: S3Location
    wanted: frozenset[S3Location]


class Bucket:
    """Reads buckets, at the servers their addresses name or, where `endpoint` is given, all of them there."""

    def __init__(self, http: Http, endpoint: str | None = None, *, jobs: int = JOBS) -> None:
        self._http = http
        self._endpoint = checked_url(endpoint) if endpoint else None
        self._jobs = max(1, jobs)

    def __repr__(self) -> str:
        return f"Bucket({self._endpoint or 'where its addresses point'})"

    def version_id(self, location: S3Location) -> str | None:
        """The current version of an object; None where the bucket keeps none."""

        def read(reply: Reply) -> str | None:
            _check_object(reply, subject)
            version_id = reply.headers.get("x-amz-version-id")
            return None if version_id == "null" else version_id or None

        subject = _name(location)
        url = object_url(location, self._endpoint)
        return self._http.send("HEAD", url, read, kind="s3", subject=subject)

    def exists(self, url: str) -> bool:
        """Whether there is content at `url`, which may name a version. Only a plain "no" is False."""

        def read(reply: Reply) -> bool:
            # 405 is how S3 answers for a version that is a delete marker.
            if reply.status in (404, 410) or (reply.status == 405 and "x-amz-delete-marker" in reply.headers):
                return False
            _check_object(reply, subject)
            return True

        location = parse_location(url)
        subject = _name(location)
        return self._http.send("HEAD", self._reachable(url, location), read, kind="s3", subject=subject)

    def fetch(self, source: S3Location | str, *, max_bytes: int) -> bytes:
        """The stored bytes of an object, at most `max_bytes` of them; more is `ContentRefused`.

        A URL may name a version. A signed one is used as it is, since it is good for one server only.
        """

        def read(reply: Reply) -> bytes:
            _check_object(reply, subject)
            return reply.body

        location = parse_location(source) if isinstance(source, str) else source
        url = self._reachable(source, location) if isinstance(source, str) else object_url(source, self._endpoint)
        subject = _name(location)
        return self._http.send("GET", url, read, kind="s3", subject=subject, max_bytes=max_bytes)

    def list_versions(self, prefix: S3Location) -> Iterator[ObjectVersion]:
        """All versions of all objects whose key starts with `prefix.key`, but for objects that are deleted by now."""
        page = None
        deleted: frozenset[str] = frozenset()
        while page is None or page.next_marker:
            marker = page.next_marker if page else None
            page = self._listing(prefix, marker)
            if page.next_marker and page.next_marker == marker:
                raise BadAnswer(f"{_name(prefix)}: a listing that does not get on")
            # A deleted object's versions may go on over the page's end.
            deleted = page.deleted | (deleted & {marker[0]} if marker else frozenset())
            yield from (version for version in page.versions if version.key not in deleted)

    def current_objects(self, prefix: S3Location, *, jobs: int | None = None) -> Iterator[list[ObjectVersion]]:
        """The current version of every object whose key starts with `prefix.key`, page by page, ascending by key.

        Few are one request. Many are read by several requests at once, while no more than some `2 * jobs` pages wait
        to be taken. Closing the iterator ends it: what is still being asked for is not waited for.
        With one job, pages are asked for only from where the server said that the next one begins.
        """

        def ask(part: str, marker: tuple[str, str], delimiter: str) -> ListingPage:
            return self._listing(prefix.sibling(part), marker if marker[0] else None, delimiter)

        yield from in_order(ask, prefix.key, max(1, jobs or self._jobs), f"the listing of {_name(prefix)}")

    def version_ids(
        self, locations: Collection[S3Location], *, seen: Callable[[str, str | None], object] | None = None
    ) -> Mapping[S3Location, str | ArchiveError | None]:
        """The current version of each object: its id, None where the bucket keeps none, or why it is not known.

        Few are asked for one by one. Where many are, one probing request tells whether listing them all is cheaper.
        `seen`, called in this thread, is told of every object (`bucket/key`) that such a listing shows, wanted or not.
        """
        found: dict[S3Location, str | ArchiveError | None] = {}
        pool = ThreadPoolExecutor(self._jobs, thread_name_prefix="bucket")
        try:
            for group in _groups(set(locations)):
                self._list_group(group, pool, found, seen)
            self._ask_each([location for location in dict.fromkeys(locations) if location not in found], pool, found)
        finally:
            # Without waiting: whoever was interrupted does not want the answers that are still on their way.
            pool.shutdown(wait=False, cancel_futures=True)
        return found

    def _ask_each(
        self,
        locations: list[S3Location],
        pool: ThreadPoolExecutor,
        found: dict[S3Location, str | ArchiveError | None],
    ) -> None:
        """Put the current version of each of `locations`, or why it is not known, into `found`."""
        gone = 0
        for position, (location, answer) in enumerate(mapped(pool, self._version_or_error, locations, 2 * self._jobs)):
            found[location] = answer
            gone = gone + 1 if isinstance(answer, Unreachable) else 0
            if gone >= UNREACHABLE_LIMIT and isinstance(answer, Unreachable):
                # The server is down: the patience that one blob deserves, spent on each of thousands, is days.
                logger.warning("%s: not asking for %d more objects", answer, len(locations) - position - 1)
                not_asked = Unreachable(f"not asked for any more, since {answer.message}")
                found.update(dict.fromkeys(locations[position + 1 :], not_asked))
                return

    def _list_group(
        self,
        group: _Group,
        pool: ThreadPoolExecutor,
        found: dict[S3Location, str | ArchiveError | None],
        seen: Callable[[str, str | None], object] | None,
    ) -> None:
        """Put what listing tells about `group` into `found`, if listing is worth it; the rest is left to HEADs."""

        def take(versions: Iterable[ObjectVersion]) -> None:
            for version in versions:
                if not version.is_latest:
                    continue
                if seen:
                    seen(f"{group.prefix.bucket}/{version.key}", version.version_id)
                location = group.prefix.sibling(version.key)
                if location in group.wanted:
                    found[location] = version.version_id

        try:
            probe = self._listing(group.prefix, None)
            take(version for version in probe.versions if version.key not in probe.deleted)
            if probe.next_marker is None or probe.last_key is None:
                return
            objects = estimated_objects(len(probe.versions), probe.last_key, group.prefix.key)
            missing = [location for location in group.wanted if location not in found]
            if not cheaper_to_list(len(missing), objects):
                return
            digits = min(2, sum(objects > limit for limit in (8 * KEYS_PER_PAGE, 100 * KEYS_PER_PAGE)))
            parts = sorted({location.key[: len(group.prefix.key) + digits] for location in missing})
            for _, versions in mapped(pool, self._latest, map(group.prefix.sibling, parts), 2 * self._jobs):
                take(versions)
        except ArchiveError as error:
            # Its objects are asked for one by one instead, and each answer says what is wrong if something is.
            logger.info("a bucket that cannot be listed: %s", error)

    def _latest(self, prefix: S3Location) -> list[ObjectVersion]:
        return [version for version in self.list_versions(prefix) if version.is_latest]

    def _version_or_error(self, location: S3Location) -> str | ArchiveError | None:
        try:
            return self.version_id(location)
        except ArchiveError as error:
            return error

    def _listing(self, prefix: S3Location, marker: tuple[str, str] | None, delimiter: str = "") -> ListingPage:
        def read(reply: Reply) -> ListingPage:
            _check(reply, subject)
            try:
                return parse_listing(reply.body)
            except ValueError as error:
                raise Malformed(str(error)) from None

        query = {"prefix": prefix.key, "encoding-type": "url", "max-keys": str(KEYS_PER_PAGE)}
        if delimiter:
            query["delimiter"] = delimiter
        if marker:
            query |= {"key-marker": marker[0]} | ({"version-id-marker": marker[1]} if marker[1] else {})
        subject = f"the listing of {_name(prefix)}"
        url = f"{bucket_url(prefix, self._endpoint)}/?versions&{urlencode(query, quote_via=quote)}"
        return self._http.send("GET", url, read, kind="s3", subject=subject)

    def _reachable(self, url: str, location: S3Location) -> str:
        query = parse_qs(urlsplit(url).query)
        if set(query) - {"versionId"}:
            return url
        return object_url(location, self._endpoint, version_id=query.get("versionId", [None])[-1])


def _groups(locations: set[S3Location]) -> Iterator[_Group]:
    """The prefixes that hold enough of `locations`, evenly spread, for one probing request to be worth it."""
    spread: defaultdict[S3Location, set[S3Location]] = defaultdict(set)
    for location in locations:
        match = _SPREAD.fullmatch(location.key)
        if match:
            spread[location.sibling(match["top"])].add(location)
    for prefix, wanted in spread.items():
        if len(wanted) > 2 * PAGE_COSTS_HEADS:
            yield _Group(prefix, frozenset(wanted))


def _name(location: S3Location) -> str:
    return f"s3://{location.bucket}/{location.key}"


def _check(reply: Reply, subject: str) -> None:
    """Raise what an answer's status means, unless it is an answer at all."""
    if reply.status == 200:
        return
    if reply.status in (404, 410):
        raise NotFound(f"{subject}: the bucket has no such thing (HTTP {reply.status})")
    if reply.status in (401, 403):
        # Where a bucket may not be listed, S3 says this of objects that are not there, too.
        raise NotAllowed(f"{subject}: the bucket does not give this to everybody (HTTP {reply.status})")
    raise BadAnswer(f"{subject}: HTTP {reply.status}")


def _check_object(reply: Reply, subject: str) -> None:
    """As `_check`, where an object was asked for: a page that some proxy puts in its place is none."""
    _check(reply, subject)
    if "ETag" not in reply.headers:
        raise Malformed("an answer that is not the bucket's: it has no ETag")
