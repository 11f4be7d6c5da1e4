"""`dandi:` URLs: `dandi:000003/0.230629.1955/sub-1/sub-1_ecephys.nwb` names a file as people do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode

import msgspec

from mirror.archive.addresses import Address, addresses
from mirror.archive.client import ArchiveClient
from mirror.archive.http import Malformed, Reply
from mirror.errors import BadAnswer, NotAllowed, NotFound

_DANDI = re.compile(r"dandi:(?P<dandiset>\d{6,})/(?P<version>draft|0\.\d{6}\.\d{4})/(?P<path>.+)", re.DOTALL)
_PAGE = 100
_MOST_PAGES = 100


@dataclass(frozen=True)
class NamedFile:
    """A file of a version of a Dandiset."""

    dandiset: str
    version: str
    path: str

    def __str__(self) -> str:
        return f"{self.path} in Dandiset {self.dandiset}, version {self.version}"


@dataclass(frozen=True)
class FoundFile:
    """What the archive has under that name."""

    size: int
    sha256: str | None
    addresses: list[Address]


class _Metadata(msgspec.Struct):
    contentUrl: Any = None
    digest: Any = None


class _Asset(msgspec.Struct):
    path: str
    size: int
    blob: str | None
    metadata: _Metadata


class _Page(msgspec.Struct):
    results: list[_Asset]
    next: str | None = None


_PAGE_OF = msgspec.json.Decoder(_Page).decode


def named_file(url: str) -> NamedFile | None:
    """What a `dandi:` URL names; None where it is none."""
    found = _DANDI.fullmatch(url)
    return NamedFile(found["dandiset"], found["version"], unquote(found["path"])) if found else None


def find(client: ArchiveClient, wanted: NamedFile) -> FoundFile:
    """What the archive has under a name. `NotFound` where it has nothing; `BadAnswer` for a Zarr, which is no file."""
    for number in range(1, _MOST_PAGES + 1):
        page = _page(client, wanted, number)
        found = next((asset for asset in page.results if asset.path == wanted.path), None)
        if found is not None:
            return _found(found, wanted)
        if page.next is None:
            raise NotFound(f"{wanted}: the archive has no such file")
    raise BadAnswer(f"{wanted}: not among the first {_PAGE * _MOST_PAGES:,} files whose paths begin so")


def _found(asset: _Asset, wanted: NamedFile) -> FoundFile:
    if asset.blob is None:
        raise BadAnswer(f"{wanted}: this is a Zarr, not a file")
    urls, digest = asset.metadata.contentUrl, asset.metadata.digest
    sha256 = digest.get("dandi:sha2-256") if isinstance(digest, dict) else None
    known = [url for url in urls if isinstance(url, str)] if isinstance(urls, list) else []
    return FoundFile(asset.size, sha256 if isinstance(sha256, str) else None, addresses(known))


def _page(client: ArchiveClient, wanted: NamedFile, number: int) -> _Page:
    """Assets whose path begins with what is wanted, in either case: that is what the archive's filter does."""

    def read(reply: Reply) -> _Page:
        if reply.status in (404, 410):
            if not _is_json(reply.body):
                raise Malformed(f"HTTP {reply.status} that is not the archive's own, which says why in JSON")
            raise NotFound(f"{wanted}: the archive has no such version (HTTP {reply.status})")
        if reply.status in (401, 403):
            raise NotAllowed(f"{wanted}: the archive shows it to those entitled only (HTTP {reply.status})")
        if reply.status != 200:
            raise BadAnswer(f"{wanted}: HTTP {reply.status}")
        try:
            return _PAGE_OF(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Malformed(f"an answer of unexpected shape: {error}") from None

    query = {"path": wanted.path, "order": "path", "metadata": "true", "page_size": str(_PAGE)}
    query |= {"page": str(number)} if number > 1 else {}
    at = f"/dandisets/{wanted.dandiset}/versions/{wanted.version}/assets/?{urlencode(query, quote_via=quote)}"
    return client.http.send("GET", client.api_url + at, read, kind="api", subject=str(wanted))


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
