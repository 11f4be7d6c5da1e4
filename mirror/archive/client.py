"""The REST API: what Dandisets, versions and assets there are.

Answers are decoded straight into `records`. One that is no JSON, or not of the expected shape, is asked for again a
few times and then is a `BadAnswer` that names what was asked for and what was wrong with it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from mirror.archive.http import (
    CONNECT_TIMEOUT,
    READ_TIMEOUT,
    REDIRECTS,
    TRIES,
    Http,
    Malformed,
    Reply,
    checked_url,
)
from mirror.archive.instances import instance_at
from mirror.archive.records import (
    Asset,
    DandisetSummary,
    Instance,
    SlimAsset,
    Unreadable,
    VersionInfo,
    VersionSummary,
    ZarrRecord,
)
from mirror.archive.s3 import ObjectVersion
from mirror.errors import ArchiveError, BadAnswer, ConfigError, NotAllowed, NotFound, TokenRefused, UsageError
from mirror.http_dates import http_date

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
PAGE_SIZE = 1000
"""The most the archive gives; asked for more, it silently gives this."""
MOST_PAGES = 100_000
"""Of any listing, whatever number of items it claims. The largest need about a thousand."""
IDENTIFIER = re.compile(r"[0-9]{6,}", re.ASCII)
OPEN = "OPEN"
"""The embargo status of a Dandiset that everybody may see. Those of others are `EMBARGOED` and `UNEMBARGOING`."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A value, and the moment at which the archive said it, by the archive's own clock."""

    value: T
    date: datetime


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page of a listing. `count` is how many items the whole listing has, which only page 1 is told."""

    number: int
    count: int | None
    items: list[T]
    is_last: bool


class _InstanceConfig(msgspec.Struct):
    instance_name: str
    instance_url: str
    doi_prefix: str | None = None


class _Info(msgspec.Struct):
    instance_config: _InstanceConfig
    services: Any = None


class _List(msgspec.Struct, Generic[T]):
    results: list[T]
    count: int | None = None
    next: str | None = None


class _ZarrFile(msgspec.Struct):
    Key: str
    LastModified: str
    ETag: str
    Size: int


class _Refusal(msgspec.Struct):
    detail: str


class _Named(msgspec.Struct):
    identifier: str


@dataclass(frozen=True)
class _Entry:
    """An entry of the list of Dandisets. `name` tells it from others: its identifier, or all that was sent."""

    value: DandisetSummary | Unreadable
    name: str | bytes


class _Decoder(Protocol[T_co]):
    def decode(self, body: bytes, /) -> T_co: ...


class _DandisetsDecoder:
    """Decodes a page of the list of Dandisets, each entry by itself: a bad one must not hide the others."""

    def decode(self, body: bytes, /) -> _List[_Entry]:
        page = _RAW_LIST.decode(body)
        return _List([_entry(bytes(raw)) for raw in page.results], page.count, page.next)


_INFO = msgspec.json.Decoder(_Info)
_DANDISET = msgspec.json.Decoder(DandisetSummary)
_DANDISETS = _DandisetsDecoder()
_RAW_LIST = msgspec.json.Decoder(_List[msgspec.Raw])
_NAMED = msgspec.json.Decoder(_Named)
_VERSIONS = msgspec.json.Decoder(_List[VersionSummary])
_VERSION_INFO = msgspec.json.Decoder(VersionInfo)
_SLIM_ASSETS = msgspec.json.Decoder(_List[SlimAsset])
_ASSETS = msgspec.json.Decoder(_List[Asset])
_ASSET = msgspec.json.Decoder(Asset)
_ZARR = msgspec.json.Decoder(ZarrRecord)
_ZARR_FILES = msgspec.json.Decoder(_List[_ZarrFile])
_REFUSAL = msgspec.json.Decoder(_Refusal | str)


_UTC = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)\+00:00").fullmatch


class ArchiveClient:
    """Asks one archive's REST API. May be shared among threads; so may its `http`, which also serves a `Bucket`."""

    def __init__(
        self,
        api_url: str,
        *,
        token: str | None = None,
        token_variable: str | None = None,
        tries: int = TRIES,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        page_size: int = PAGE_SIZE,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.http = Http(
            api_url,
            token=token,
            tries=tries,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            sleep=sleep,
        )
        self.api_url = self.http.api_url or ""
        known = instance_at(self.api_url)
        self.token_variable = token_variable or (known.token_variable if known else None)
        self.page_size = page_size

    def __repr__(self) -> str:
        return f"ArchiveClient({self.api_url!r}, {'with' if self.http.has_token else 'without'} a token)"

    def instance(self) -> Answer[Instance]:
        """Which archive this is."""
        answer = self._ask("/info/", _INFO, "the archive's description")
        info, config = answer.value, answer.value.instance_config
        url = config.instance_url.rstrip("/")
        instance = Instance(config.instance_name, url, config.doi_prefix, _service_url(info.services, "api"))
        return Answer(instance, answer.date)

    def dandisets(self, *, embargoed: bool = False) -> Iterator[DandisetSummary | Unreadable]:
        """Every Dandiset that anyone may see; with `embargoed`, those that the token's owner may see as well.

        An entry that makes no sense is `Unreadable` and does not end the listing.
        """
        # By identifier: the order does not change while we read, and new Dandisets come last.
        query = {"ordering": "id"} | ({"embargoed": "true"} if embargoed else {})
        for page in self._pages("/dandisets/", query, _DANDISETS, "the list of Dandisets"):
            for entry in page.items:
                yield entry.value

    def dandiset(self, identifier: str) -> DandisetSummary:
        """One Dandiset, as the list shows it."""
        found = self._ask(f"{_dandiset_path(identifier)}/", _DANDISET, f"Dandiset {identifier}").value
        if found.identifier != identifier:
            raise BadAnswer(f"Dandiset {identifier}: the archive answered with {_excerpt(found.identifier)}")
        return found

    def versions(self, identifier: str) -> list[VersionSummary]:
        """All versions of a Dandiset, the draft among them."""
        path, subject = f"{_dandiset_path(identifier)}/versions/", f"the versions of Dandiset {identifier}"
        versions = [version for page in self._pages(path, {}, _VERSIONS, subject) for version in page.items]
        seen: set[str] = set()
        for version in versions:
            if version.version in seen:
                # Which of the two holds cannot be told.
                raise BadAnswer(f"{subject}: {_excerpt(version.version)} is listed twice")
            seen.add(version.version)
        return versions

    def version_info(self, identifier: str, version: str) -> Answer[VersionInfo]:
        """A version's record with its metadata document, and when the archive said so."""
        path = f"{_version_path(identifier, version)}/info/"
        subject = f"Dandiset {identifier}, version {version}"
        answer = self._ask(path, _VERSION_INFO, subject)
        if answer.value.version != version:
            raise BadAnswer(f"{subject}: the archive answered with {_excerpt(answer.value.version)}")
        return answer

    def slim_assets(self, identifier: str, version: str) -> Iterator[Page[SlimAsset]]:
        """The assets of a version without their metadata, sorted by path, the next page always on its way."""
        path, subject = _assets(identifier, version)
        return self._pages(path, {"order": "path"}, _SLIM_ASSETS, subject)

    def full_assets(self, identifier: str, version: str) -> Iterator[Page[Asset]]:
        """The assets of a version with their metadata, sorted by path, the next page always on its way."""
        path, subject = _assets(identifier, version)
        return self._pages(path, {"order": "path", "metadata": "true"}, _ASSETS, subject)

    def full_page(self, identifier: str, version: str, number: int) -> Page[Asset]:
        """One page of what `full_assets` lists. A page past the end is empty."""
        path, subject = _assets(identifier, version)
        return self._page(path, {"order": "path", "metadata": "true"}, _ASSETS, subject, number)

    def asset(self, asset_id: str) -> Asset:
        """One asset with its metadata."""
        return self._ask(f"/assets/{_segment(asset_id)}/info/", _ASSET, f"asset {asset_id}").value

    def zarr(self, zarr_id: str) -> ZarrRecord:
        """What the archive says of a Zarr at this moment."""
        return self._ask(f"/zarr/{_segment(zarr_id)}/", _ZARR, f"Zarr {zarr_id}").value

    def zarr_files(self, zarr_id: str, key: str) -> Iterator[list[ObjectVersion]]:
        """The files of a Zarr, page by page, as the bucket would list them under `key`; the next page is on its way.

        This is how embargoed Zarrs are read, and open ones need not be: the bucket is faster, and knows versions.
        """
        page = self._zarr_files(zarr_id, "")
        while not page.is_last:
            last = page.items[-1].Key
            ahead = _in_background(self._zarr_files, zarr_id, last)
            yield _as_objects(page.items, key)
            page = ahead.result()
        yield _as_objects(page.items, key)

    def _zarr_files(self, zarr_id: str, after: str) -> Page[_ZarrFile]:
        """Those that come after this one. Their order is checked: whoever lists them relies on it."""
        query = urlencode({"limit": str(self.page_size), **({"after": after} if after else {})})
        subject = f"the files of Zarr {zarr_id}"
        answer = self._ask(f"/zarr/{_segment(zarr_id)}/files/?{query}", _ZARR_FILES, subject).value
        keys = [after.encode(), *(file.Key.encode() for file in answer.results)]
        if any(later <= earlier for earlier, later in pairwise(keys)):
            raise BadAnswer(f"{subject}: the archive lists them out of order")
        if not answer.results and answer.next:
            raise BadAnswer(f"{subject}: a page is empty and says that more follow")
        return Page(0, None, answer.results, answer.next is None)

    def signed_url(self, asset_id: str) -> str:
        """Where the archive sends a download of this asset: a signed URL, good for some hours.

        This is how embargoed content is read. Never to be recorded, logged or shown.
        """

        def read(reply: Reply) -> str:
            location = reply.headers.get("Location")
            if reply.status in REDIRECTS and location:
                return location
            self._check(reply, subject)
            raise Malformed("a download that does not lead to the bucket")

        subject = f"the download of asset {asset_id}"
        url = f"{self.api_url}/assets/{_segment(asset_id)}/download/"
        return self.http.send("GET", url, read, kind="api", subject=subject, follow=False)

    def _ask(self, path: str, decoder: _Decoder[T], subject: str) -> Answer[T]:
        def read(reply: Reply) -> Answer[T]:
            self._check(reply, subject)
            date = http_date(reply.headers.get("Date", ""))
            if date is None:
                raise Malformed("the answer does not say when it was given (no Date header)")
            return Answer(_decoded(reply, decoder), date)

        return self.http.send("GET", self.api_url + path, read, kind="api", subject=subject)

    def _page(
        self, path: str, query: dict[str, str], decoder: _Decoder[_List[T]], subject: str, number: int
    ) -> Page[T]:
        query = {**query, "page_size": str(self.page_size)} | ({"page": str(number)} if number > 1 else {})
        answer = self._ask(f"{path}?{urlencode(query)}", decoder, f"{subject}, page {number}").value
        if not answer.results and answer.next:
            raise BadAnswer(f"{subject}: page {number} is empty and says that more follow")
        return Page(number, answer.count, answer.results, answer.next is None)

    def _pages(self, path: str, query: dict[str, str], decoder: _Decoder[_List[T]], subject: str) -> Iterator[Page[T]]:
        """All pages of a listing, by our own numbers: a `next` link is taken as a yes or no, never as a place to go.

        While one page is in use, the next is fetched and decoded; never more than one.
        """
        page = self._page(path, query, decoder, subject, 1)
        most = _most_pages(page)
        while not page.is_last:
            if page.number >= most:
                raise BadAnswer(f"{subject}: the pages do not come to an end; {page.number} read")
            ahead = _in_background(self._page, path, query, decoder, subject, page.number + 1)
            yield page
            try:
                following = ahead.result()
            except NotFound:
                # The listing became shorter meanwhile: some lists have no page past their end.
                return
            if _names(following) == _names(page):
                raise BadAnswer(f"{subject}: page {following.number} repeats page {page.number}")
            page = following
        yield page

    def _check(self, reply: Reply, subject: str) -> None:
        """Raise what an answer's status means, unless it is an answer at all."""
        if reply.status == 200:
            return
        if reply.status in (401, 403):
            raise self._not_allowed(reply, subject)
        if reply.status in (404, 410):
            if not _detail(reply):
                raise _not_its_own(reply.status)
            raise NotFound(f"{subject}: the archive has no such thing (HTTP {reply.status})")
        raise BadAnswer(f"{subject}: HTTP {reply.status}: {_detail(reply) or 'no reason given'}")

    def _not_allowed(self, reply: Reply, subject: str) -> ArchiveError:
        variable, detail = self.token_variable, _detail(reply)
        if not detail:
            raise _not_its_own(reply.status)
        if reply.status == 401 and "invalid token" in detail.lower():
            hint = f"check {variable}; " if variable else ""
            return TokenRefused(
                f"{subject}: the archive does not accept the token",
                hint=f"{hint}the archive's site shows the right one",
            )
        if not self.http.has_token:
            hint = f"set {variable} to a token" if variable else "a token from the archive's site"
            return NotAllowed(
                f"{subject}: this needs a token (HTTP {reply.status})", hint=f"{hint} of someone entitled"
            )
        return NotAllowed(
            f"{subject}: the token's owner may not see this (HTTP {reply.status})",
            hint="ask an owner of the Dandiset to add that user",
        )


def _as_objects(files: list[_ZarrFile], key: str) -> list[ObjectVersion]:
    """Files of a Zarr as the objects of a bucket that they are, without the versions that only the bucket knows."""
    return [
        ObjectVersion(
            key=key + file.Key,
            version_id=None,
            etag=file.ETag,
            size=file.Size,
            last_modified=_as_bucket_says(file.LastModified),
            is_latest=True,
        )
        for file in files
    ]


def _as_bucket_says(time: str) -> str:
    """A time as S3 writes it: `2026-11-20T15:32:09.000Z` for `2026-11-20 15:32:09+00:00`."""
    found = _UTC(time)
    return f"{found[1]}T{found[2]}.000Z" if found else time


def _decoded(reply: Reply, decoder: _Decoder[T]) -> T:
    try:
        return decoder.decode(reply.body)
    except msgspec.ValidationError as error:
        raise Malformed(f"an answer of unexpected shape: {error}") from None
    except RecursionError:
        raise Malformed("an answer that is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if reply.body.lstrip()[:1] == b"<":
            raise Malformed("an HTML or XML page where JSON was expected") from None
        raise Malformed(f"not JSON ({error})") from None


def _not_its_own(status: int) -> Malformed:
    """A refusal of a proxy, a firewall or a router's: it says nothing of what the archive has, or of who may see it."""
    return Malformed(f"HTTP {status} that is not the archive's own, which says why in JSON")


def _detail(reply: Reply) -> str:
    """What the archive says about its refusal: `{"detail": …}` or a bare text, at most a line of it."""
    try:
        said = _REFUSAL.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    text = said if isinstance(said, str) else said.detail
    return " ".join(text.split())[:200]


def _entry(raw: bytes) -> _Entry:
    """An entry of the list of Dandisets, whatever it turns out to be."""
    identifier: str | None = None
    try:
        identifier = _NAMED.decode(raw).identifier
        if not IDENTIFIER.fullmatch(identifier):
            return _Entry(Unreadable(None, f"{_excerpt(identifier)} is no Dandiset identifier"), raw)
        return _Entry(_DANDISET.decode(raw), identifier)
    except RecursionError:
        reason = "nested too deeply"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error)
    return _Entry(Unreadable(identifier, reason), identifier or raw)


def _most_pages(first: Page[Any]) -> int:
    """How many pages a listing may have by what its first says, with room for it to grow while it is read."""
    if first.count is None or not first.items:
        return MOST_PAGES
    return min(2 * -(-first.count // len(first.items)) + 10, MOST_PAGES)


def _service_url(services: Any, name: str) -> str | None:
    """Where the archive says that a service of its own is. Nothing but a plain web address is taken for one."""
    service = services.get(name) if isinstance(services, dict) else None
    url = service.get("url") if isinstance(service, dict) else None
    if not isinstance(url, str) or not re.fullmatch("[!-~]+", url):
        return None
    try:
        return checked_url(url)
    except ConfigError:
        return None


def _excerpt(text: str) -> str:
    """What the archive wrote, as a message may show it."""
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _names(page: Page[Any]) -> list[object]:
    """What tells two pages of one listing apart."""
    return [_name(item) for item in page.items]


def _name(item: object) -> object:
    if isinstance(item, SlimAsset):
        return item.asset_id
    return item.name if isinstance(item, _Entry) else item


def _segment(text: str) -> str:
    """`text` as one segment of a path, whatever it holds."""
    if text in ("", ".", ".."):
        raise UsageError(f"{text!r} names no version or asset")
    return quote(text, safe="")


def _dandiset_path(identifier: str) -> str:
    if not IDENTIFIER.fullmatch(identifier):
        raise UsageError(f"{identifier!r} is no Dandiset identifier", hint="one is six digits, like 000027")
    return f"/dandisets/{identifier}"


def _version_path(identifier: str, version: str) -> str:
    return f"{_dandiset_path(identifier)}/versions/{_segment(version)}"


def _assets(identifier: str, version: str) -> tuple[str, str]:
    return f"{_version_path(identifier, version)}/assets/", f"the assets of Dandiset {identifier}, version {version}"


def _in_background(work: Callable[..., T], *args: Any) -> Future[T]:
    """`work` in a thread of its own, which does not keep the program from ending."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work(*args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="next-page", daemon=True).start()
    return future
