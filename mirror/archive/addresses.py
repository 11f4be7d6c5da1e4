"""What the URLs recorded of a key lead to: an object of a bucket, an asset at an archive's API, or a file of a Zarr
there. Pure, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_API = r"(?P<api>https?://[^/?#@\\\s]+(?:/[^?#\\\s]*)?)"
_ASSET = re.compile(rf"{_API}/assets/(?P<asset>{_UUID})/download/")
_ZARR_FILE = re.compile(rf"{_API}/zarr/(?P<zarr>{_UUID})/files/\?(?P<query>[^#\s]+)")


@dataclass(frozen=True)
class ObjectAddress:
    """An object that anybody may read, as it was recorded: with the version it names, or without one."""

    url: str


@dataclass(frozen=True)
class AssetAddress:
    """An asset, at the API of an archive."""

    api_url: str
    asset_id: str


@dataclass(frozen=True)
class ZarrFileAddress:
    """A file of a Zarr, at the API of an archive."""

    api_url: str
    zarr_id: str
    path: str


Address = ObjectAddress | AssetAddress | ZarrFileAddress


def addresses(urls: Iterable[str]) -> list[Address]:
    """The addresses among `urls` that can be asked: those of buckets first, then in the order of their URLs."""
    found = [one for url in sorted(set(urls)) if (one := address(url)) is not None]
    return sorted(found, key=lambda one: not isinstance(one, ObjectAddress))


def address(url: str) -> Address | None:
    """What `url` leads to; None where that is nothing that can be asked."""
    if not _is_plain(url):
        return None
    if found := _ASSET.fullmatch(url):
        return AssetAddress(found["api"], found["asset"])
    if found := _ZARR_FILE.fullmatch(url):
        path = _wanted_file(found["query"])
        return ZarrFileAddress(found["api"], found["zarr"], path) if path else None
    return ObjectAddress(url)


def _wanted_file(query: str) -> str | None:
    """The path in `prefix=<path>&download=true`. A plus is a plus here, as it is in the addresses of a bucket."""
    given = dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))
    return given.get("prefix") if given.get("download") == "true" else None


def _is_plain(url: str) -> bool:
    """A web address without user or password, which names something at its host."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0) and bool(unquote(parts.path).strip("/"))
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and named and "@" not in parts.netloc and not re.search(r"[\s\\]", url)
