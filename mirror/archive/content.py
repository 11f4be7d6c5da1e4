"""What the archive has at a recorded address: whether it is there, and its bytes.

Objects are asked of the bucket, without a token. What only the API leads to (embargoed content) is asked of the API,
which answers with a signed address, good for some hours: that is used, and never recorded, logged or shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from mirror.archive.addresses import Address, AssetAddress, ObjectAddress, ZarrFileAddress
from mirror.archive.client import ArchiveClient
from mirror.archive.download import CONNECTIONS, Source, download
from mirror.archive.http import REDIRECTS, Http, Malformed, Reply, checked_url, origin, shown
from mirror.archive.s3 import S3Location, object_url, parse_location
from mirror.errors import ArchiveError, BadAnswer, NotAllowed, NotFound, RecordRefused, Refused, Unreachable

_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")
_WORST_FIRST = (NotAllowed, Unreachable, BadAnswer, NotFound)
"""Of several complaints: the one that says most of what can be done."""


@dataclass(frozen=True)
class Seen:
    """What the archive says of the bytes at an address."""

    size: int
    etag: str | None
    version_id: str | None


class Content:
    """Looks at addresses, and fetches what is there. May be shared among threads.

    `client_for` gives the client for an API, with its token; None where that is not to be asked. With an `endpoint`,
    buckets are asked there. `check` raises `ArchiveError` for an address that is not to be asked, a signed one, too.
    """

    def __init__(
        self,
        http: Http,
        client_for: Callable[[str], ArchiveClient | None],
        endpoint: str | None = None,
        *,
        check: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._http = http
        self._client_for = client_for
        self._endpoint = checked_url(endpoint) if endpoint else None
        self._check = check

    def look(self, address: Address, *, current: bool = False) -> Seen | None:
        """What is at an address; None: the archive, or its bucket, said that nothing is.

        `current`: what is there today, whichever version the address names. `ArchiveError` where it is not known.
        """
        try:
            if isinstance(address, ObjectAddress):
                return self._head(address, current=current)
            source = self.source(address)
            return self._first_byte(source, source.url())
        except NotFound:
            return None

    def fetch(
        self,
        found: Sequence[Address],
        file: Path,
        size: int,
        *,
        connections: int = CONNECTIONS,
        told: Callable[[int], object] = lambda _: None,
        anew: bool = False,
    ) -> None:
        """Make `file` hold the `size` bytes that the first of these addresses gives which gives them all.

        It may hold the beginning already. Its hash is not looked at: where nobody will, `anew` begins anew with each
        address. `ArchiveError` with what each address said.
        """
        if size == 0:
            file.write_bytes(b"")
            told(0)
            return
        complaints: list[ArchiveError] = []
        for address in found:
            if anew:
                file.unlink(missing_ok=True)
            try:
                download(self._http, self.source(address), file, size, connections=connections, told=told)
            except ArchiveError as error:
                complaints.append(error)
            else:
                return
        raise _summed_up(complaints)

    def source(self, address: Address, *, current: bool = False) -> Source:
        """Where the bytes of an address are to be had."""
        if isinstance(address, ObjectAddress):
            url = self._object_url(address, current=current)
            self._check(url)
            return Source.at(url, shown(url))
        client = self._client(address.api_url)
        if isinstance(address, AssetAddress):
            subject = f"asset {address.asset_id} at {client.api_url}"
            return Source(subject, lambda: self._checked(client.signed_url(address.asset_id)))
        subject = f"{address.path} of Zarr {address.zarr_id} at {client.api_url}"
        return Source(subject, lambda: self._checked(self._zarr_file(client, address)))

    def _client(self, api_url: str) -> ArchiveClient:
        client = self._client_for(api_url)
        if client is None:
            raise NotAllowed(f"{origin(api_url) or 'its API'}: that archive is not asked from here")
        return client

    def _checked(self, url: str) -> str:
        self._check(url)
        return url

    def _zarr_file(self, client: ArchiveClient, address: ZarrFileAddress) -> str:
        """The signed address of a file of a Zarr."""

        def read(reply: Reply) -> str:
            location = reply.headers.get("Location")
            if reply.status in REDIRECTS and location:
                return location
            if reply.status in (401, 403, 404, 410):
                # Strangers are told of an embargoed Zarr that it is not there: that proves nothing.
                hint = "if it is embargoed, this needs the token of someone entitled"
                raise NotAllowed(f"{subject}: the archive shows no such Zarr (HTTP {reply.status})", hint=hint)
            raise BadAnswer(f"{subject}: HTTP {reply.status}")

        subject = f"Zarr {address.zarr_id} at {client.api_url}"
        query = urlencode({"prefix": address.path, "download": "true"}, quote_via=quote, safe="/")
        asked = f"{client.api_url}/zarr/{address.zarr_id}/files/?{query}"
        url = client.http.send("GET", asked, read, kind="api", subject=subject, follow=False)
        # It says what begins with this path. Another file than the one that is meant would fail its hash at the end.
        if not _location(url).key.endswith(f"zarr/{address.zarr_id}/{address.path}"):
            raise BadAnswer(f"{subject}: the archive leads to another file than {address.path!r}")
        return url

    def _object_url(self, address: ObjectAddress, *, current: bool) -> str:
        versions = parse_qs(urlsplit(address.url).query).get("versionId")
        if not self._endpoint and not (current and versions):
            return address.url
        return object_url(
            _location(address.url), self._endpoint, version_id=versions[-1] if versions and not current else None
        )

    def _head(self, address: ObjectAddress, *, current: bool) -> Seen:
        def read(reply: Reply) -> Seen:
            # 405 is how S3 answers for a version that is a delete marker.
            if reply.status in (404, 410) or (reply.status == 405 and "x-amz-delete-marker" in reply.headers):
                raise NotFound(f"{source.subject}: it is not there")
            _check_given(reply, source.subject)
            length = reply.headers.get("Content-Length", "")
            if not length.isdecimal():
                raise Malformed("an answer that is not the bucket's: it has no length")
            return _seen(reply, int(length))

        source = self.source(address, current=current)
        return self._http.send("HEAD", source.url(), read, kind="s3", subject=source.subject)

    def _first_byte(self, source: Source, url: str) -> Seen:
        """A signed address is signed for GET, not HEAD."""

        def read(reply: Reply) -> Seen:
            if reply.status in (404, 410):
                raise NotFound(f"{source.subject}: it is not there")
            total = _TOTAL.fullmatch(reply.headers.get("Content-Range", ""))
            if reply.status == 416 and total and total[1] == "0":
                return Seen(0, None, None)
            _check_given(reply, source.subject)
            if reply.status == 200:  # all of it, which is no more than was asked for
                return _seen(reply, len(reply.body))
            if total is None:
                raise Malformed("another piece than was asked for")
            return _seen(reply, int(total[1]))

        try:
            return self._http.send(
                "GET",
                url,
                read,
                kind="s3",
                subject=source.subject,
                follow=False,
                max_bytes=1,
                headers={"Range": "bytes=0-0"},
            )
        except Refused as error:
            raise BadAnswer(error.message) from None


def _location(url: str) -> S3Location:
    try:
        return parse_location(url)
    except RecordRefused as error:
        raise BadAnswer(error.message) from None


def _seen(reply: Reply, size: int) -> Seen:
    if "ETag" not in reply.headers:
        raise Malformed("an answer that is not the bucket's: it has no ETag")
    version = reply.headers.get("x-amz-version-id")
    etag = reply.headers.get("ETag", "").removeprefix("W/").strip('"')
    return Seen(size, etag or None, None if version == "null" else version or None)


def _check_given(reply: Reply, subject: str) -> None:
    if reply.status in (200, 206):
        return
    if reply.status in (401, 403):
        raise NotAllowed(f"{subject}: the bucket does not give it to us (HTTP {reply.status})")
    raise BadAnswer(f"{subject}: HTTP {reply.status}")


def _summed_up(complaints: Sequence[ArchiveError]) -> ArchiveError:
    """One error for all of them."""
    if not complaints:
        return NotFound("no address of it is known that can be asked")
    if len(complaints) == 1:
        return complaints[0]
    kind = next((kind for kind in _WORST_FIRST if any(isinstance(one, kind) for one in complaints)), ArchiveError)
    hints = dict.fromkeys(one.hint for one in complaints if one.hint)
    return kind("; ".join(one.message for one in complaints), hint="; ".join(hints) or None)
