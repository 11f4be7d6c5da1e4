"""S3 as formats: addresses of objects, and the listing of a bucket's versions. Pure, no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import quote, unquote, unquote_plus, urlsplit
from xml.parsers import expat

import msgspec

from mirror.errors import RecordRefused

# `BUCKET.s3.amazonaws.com`, `BUCKET.s3.us-east-2.amazonaws.com`, `BUCKET.s3-us-west-1.amazonaws.com`
_VIRTUAL_HOST = re.compile(r"(?P<bucket>.+)\.s3(?:[.-][a-z0-9.-]+)?\.amazonaws\.com")


@dataclass(frozen=True)
class S3Location:
    """An object of a bucket, and the server whose address was given for it.

    `style` is where the address has the bucket: before the host (`virtual`) or at the start of the path (`path`).
    """

    bucket: str
    key: str
    server: str
    """`https://s3.amazonaws.com`; in `virtual` style the bucket goes before its host"""
    style: Literal["virtual", "path"]

    @property
    def url(self) -> str:
        return object_url(self)

    def sibling(self, key: str) -> S3Location:
        """Another key of the same bucket."""
        return S3Location(self.bucket, key, self.server, self.style)


def parse_location(url: str) -> S3Location:
    """The object that `url` is the address of, whatever its query says."""
    try:
        parts = urlsplit(url)
        host, netloc = parts.hostname or "", parts.netloc.lower()
        path = unquote(parts.path, errors="strict").removeprefix("/")
    except ValueError:
        raise RecordRefused("a content URL that is no URL, or not UTF-8") from None
    if parts.scheme not in ("http", "https") or not host or "@" in netloc:
        raise RecordRefused("a content URL that is no plain web address")
    virtual = _VIRTUAL_HOST.fullmatch(host)
    if virtual:
        bucket, key = virtual["bucket"], path
        server, style = f"{parts.scheme}://{netloc[len(bucket) + 1 :]}", "virtual"
    else:
        bucket, _, key = path.partition("/")
        server, style = f"{parts.scheme}://{netloc}", "path"
    if not bucket or not key or key.startswith("/") or {".", ".."} & set(path.split("/")):
        # The last would be resolved away by whoever fetches it.
        raise RecordRefused(f"a content URL at {host} that names no object of a bucket")
    return S3Location(bucket, key, server, "virtual" if style == "virtual" else "path")


def object_url(location: S3Location, endpoint: str | None = None, *, version_id: str | None = None) -> str:
    """The address of an object, canonically quoted; at `endpoint`, in path style, where one is given."""
    query = f"?versionId={quote(version_id, safe='')}" if version_id else ""
    return f"{bucket_url(location, endpoint)}/{quote(location.key, safe='/')}{query}"


def bucket_url(location: S3Location, endpoint: str | None = None) -> str:
    """The address of the bucket that holds an object, without trailing slash."""
    if endpoint:
        return f"{endpoint.rstrip('/')}/{quote(location.bucket)}"
    if location.style == "path":
        return f"{location.server}/{quote(location.bucket)}"
    scheme, _, host = location.server.partition("://")
    return f"{scheme}://{location.bucket}.{host}"


def content_url_allowed(url: str, hosts: Collection[str]) -> bool:
    """Whether `url` may be recorded and fetched: a plain web address at one of `hosts`.

    A host is written `host`, `host:port` or `host:*` (any port). `*.` at its start stands for any labels, a `*`
    between dots for one.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or "\\" in url:
        return False
    if any(char.isspace() or not char.isprintable() for char in url):
        return False
    host = f"[{host}]" if ":" in host else host
    named = [f"{host}:{port or {'http': 80, 'https': 443}[parts.scheme]}"] + ([host] if port is None else [])
    return any(_host_pattern(allowed.lower()).fullmatch(name) for allowed in hosts for name in named)


@lru_cache(maxsize=256)
def _host_pattern(allowed: str) -> re.Pattern[str]:
    pattern = re.escape(allowed)
    if pattern.endswith(r":\*"):
        pattern = pattern.removesuffix(r"\*") + "[0-9]+"
    if pattern.startswith(r"\*\."):
        pattern = r"[a-z0-9._-]+\." + pattern.removeprefix(r"\*\.")
    return re.compile(pattern.replace(r"\.\*\.", r"\.[a-z0-9-]+\."))


class ObjectVersion(msgspec.Struct, frozen=True, gc=False):
    """One version of an object, as a bucket lists it. `version_id` is None where the bucket keeps no versions."""

    key: str
    version_id: str | None
    etag: str
    size: int
    last_modified: str
    is_latest: bool


class ListingPage(msgspec.Struct, frozen=True):
    """One answer to a request for a bucket's versions."""

    versions: list[ObjectVersion]
    deleted: frozenset[str]
    """keys whose latest version is a delete marker"""
    last_key: str | None
    next_marker: tuple[str, str] | None
    """key and version id after which the next page begins; None on the last page"""


def parse_listing(body: bytes) -> ListingPage:
    """The answer to `GET bucket?versions`. `ValueError` says what is wrong with one that is none.

    Only ends of elements are of interest: the fields of an entry end before the entry does.
    """
    fields: dict[str, str] = {}
    versions: list[ObjectVersion] = []
    markers: list[str] = []
    root = text = ""

    def start(name: str, _attributes: dict[str, str]) -> None:
        nonlocal root, text
        root = root or name
        text = ""

    def data(value: str) -> None:
        nonlocal text
        text = value

    def end(name: str) -> None:
        nonlocal text
        if name == "Version":
            take = fields.pop
            version_id = take("VersionId")
            versions.append(
                ObjectVersion(
                    take("Key"),
                    None if version_id == "null" else version_id,
                    take("ETag").strip('"'),
                    int(take("Size")),
                    take("LastModified"),
                    take("IsLatest") == "true",
                )
            )
        elif name == "DeleteMarker":
            key = fields.pop("Key")
            if fields.pop("IsLatest") == "true":
                markers.append(key)
        else:
            fields[name] = text
            text = ""

    _parse(body, start, data, end)
    if root != "ListVersionsResult":
        raise ValueError(f"<{root}> where <ListVersionsResult> was expected")
    if fields.get("EncodingType") == "url":
        versions = [_decoded(version) for version in versions]
        markers = [unquote_plus(key) for key in markers]
        fields["NextKeyMarker"] = unquote_plus(fields.get("NextKeyMarker", ""))
    marker = None
    if fields.get("IsTruncated") == "true":
        marker = (fields.get("NextKeyMarker", ""), fields.get("NextVersionIdMarker", ""))
        if not marker[0]:
            raise ValueError("more follow, but not from where")
    return ListingPage(versions, frozenset(markers), versions[-1].key if versions else None, marker)


def _parse(
    body: bytes,
    start: Callable[[str, dict[str, str]], None],
    data: Callable[[str], None],
    end: Callable[[str], None],
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("a document type declaration")

    parser = expat.ParserCreate()
    # With text buffered, each text comes as one piece unless it is longer than the buffer: no key is.
    parser.buffer_text = True
    parser.buffer_size = 65536
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.CharacterDataHandler = data
    parser.EndElementHandler = end
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise ValueError(f"not XML: {error}") from None
    except KeyError as error:
        raise ValueError(f"an entry without {error.args[0]}") from None


def _decoded(version: ObjectVersion) -> ObjectVersion:
    key = version.key
    if "%" not in key and "+" not in key:
        return version
    # Amazon writes a space as `+` and a plus as `%2B`.
    return msgspec.structs.replace(version, key=unquote_plus(key))
