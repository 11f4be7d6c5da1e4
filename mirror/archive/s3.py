"""S3 as formats: addresses of objects, and the listing of a bucket's versions. Pure, no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
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
    prefixes: list[str]
    """what a listing with a delimiter shows in place of the keys that share a prefix up to it"""


_ENTRIES = frozenset({"Version", "DeleteMarker", "CommonPrefixes"})


def parse_listing(body: bytes) -> ListingPage:
    """The answer to `GET bucket?versions`. `ValueError` says what is wrong with one that is none.

    What servers send day in, day out is read by one regular expression, in a fifth of the time that an XML parser
    takes; whatever is not exactly of that form, by an XML parser.
    """
    return read_common_listing(body) or read_any_listing(body)


# Atomic groups where possessive repetition of a group would do: Pythons before 3.11.5 match those wrongly.
# Texts of the common form: no markup, no reference, and nothing that an XML parser would change or refuse.
_TEXT = r"[ !-%'-;=?-~]*+"
_GAP = r"[ \n\t]*+"
_ASIDE = (
    rf"(?>(?:<StorageClass>{_TEXT}</StorageClass>|<ChecksumAlgorithm>{_TEXT}</ChecksumAlgorithm>"
    rf"|<ChecksumType>{_TEXT}</ChecksumType>|[ \n\t]++"
    rf"|<Owner>(?>(?:<ID>{_TEXT}</ID>|<DisplayName>{_TEXT}</DisplayName>|[ \n\t]++)*)</Owner>)*)"
)
_FIELDS = {
    "Key": r"([ !-%'-;=?-~]++)",
    "VersionId": rf"({_TEXT})",
    "ETag": r"(?:&quot;|&#34;|\")?+([ !#-%'-;=?-~]*+)(?:&quot;|&#34;|\")?+",
    "Size": r"([0-9]{1,18}+)",
    "LastModified": rf"({_TEXT})",
    "IsLatest": r"(true|false)",
}
_OF_MARKER = "|".join(f"{name}>{_TEXT}</{name}" for name in ("Key", "VersionId", "IsLatest", "LastModified"))
_MARKER = rf"<DeleteMarker>((?>(?:<(?:{_OF_MARKER})>|{_ASIDE[6:-3]})*))</DeleteMarker>{_GAP}"
_ROOT_NAMES = (
    *("Name", "Prefix", "KeyMarker", "VersionIdMarker", "NextKeyMarker", "NextVersionIdMarker"),
    *("MaxKeys", "Delimiter", "EncodingType", "IsTruncated"),
)
_OF_ROOT = "|".join(f"{name}(?:>{_TEXT}</{name}>|/>)" for name in _ROOT_NAMES)
_HEAD = re.compile(
    rf'(?:<\?xml version="1\.0" encoding="[Uu][Tt][Ff]-8"\?>)?{_GAP}'
    rf'<ListVersionsResult(?: xmlns="[!#-%(-;=?-~]*")?>{_GAP}((?>(?:<(?:{_OF_ROOT}){_GAP})*))'
)
_TAIL = re.compile(
    rf"((?>(?:<(?:{_OF_ROOT}|CommonPrefixes>{_GAP}<Prefix>{_TEXT}</Prefix>{_GAP}</CommonPrefixes>){_GAP})*))"
    rf"</ListVersionsResult>{_GAP}"
)
_SIMPLE = re.compile(r"<([A-Za-z]+)(?:/>|>([^<]*)</)")
_SHARED = re.compile(rf"<CommonPrefixes>{_GAP}<Prefix>([^<]*)</Prefix>{_GAP}</CommonPrefixes>{_GAP}")
_FIELD_NAMES = re.compile(rf"<({'|'.join(_FIELDS)})>")


@lru_cache(maxsize=32)
def _entries(order: tuple[str, ...]) -> re.Pattern[str]:
    """What finds versions whose fields come in this order, delete markers, and all that follows in one piece."""
    fields = _ASIDE.join(f"<{name}>{_FIELDS[name]}</{name}>" for name in order)
    return re.compile(rf"<Version>{_ASIDE}{fields}{_ASIDE}</Version>{_GAP}|{_MARKER}|(?s:(.+))")


def read_common_listing(body: bytes) -> ListingPage | None:
    """A listing in the form that servers send; None where `body` is of any other, a listing or not."""
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        return None
    head = _HEAD.match(text)
    if not head:
        return None
    begin = text.find("<Version>")
    order = tuple(_FIELD_NAMES.findall(text, begin, text.find("</Version>", begin)) if begin >= 0 else _FIELDS)
    if len(order) != len(_FIELDS) or len(set(order)) != len(order):
        return None
    rows = _entries(order).findall(text, head.end())
    # Whatever is no entry takes all that follows it along, so that only the last row can be of that kind.
    tail = _TAIL.fullmatch(rows.pop()[-1]) if rows else None
    if not tail:
        return None
    fields = dict(_SIMPLE.findall(head[1] + _SHARED.sub("", tail[1])))
    markers = [dict(_SIMPLE.findall(row[-2])) for row in rows if row[-2]] if "<DeleteMarker>" in text else []
    if markers:
        if not all("Key" in marker and "IsLatest" in marker for marker in markers):
            return None
        rows = [row for row in rows if not row[-2]]
    columns = [order.index(name) for name in ("Key", "VersionId", "ETag", "Size", "LastModified", "IsLatest")]
    versions = [
        ObjectVersion(key, None if version_id == "null" else version_id, etag, int(size), modified, latest == "true")
        for key, version_id, etag, size, modified, latest in map(itemgetter(*columns), rows)
    ]
    deleted = [marker["Key"] for marker in markers if marker["IsLatest"] == "true"]
    return _page(versions, deleted, _SHARED.findall(tail[1]), fields)


def read_any_listing(body: bytes) -> ListingPage:
    """A listing in any form that XML allows. Entries hold their fields directly or, as `Owner`, one level down."""
    root: dict[str, str] = {}
    fields = root
    versions: list[ObjectVersion] = []
    deleted: list[str] = []
    prefixes: list[str] = []
    outermost = text = ""

    def start(name: str, _attributes: dict[str, str]) -> None:
        nonlocal outermost, text, fields
        outermost = outermost or name
        text = ""
        if name in _ENTRIES:
            fields = {}

    def data(value: str) -> None:
        nonlocal text
        text = value

    def end(name: str) -> None:
        nonlocal text, fields
        if name not in _ENTRIES:
            fields[name] = text
            text = ""
            return
        if name == "Version":
            versions.append(_version(fields))
        elif name == "CommonPrefixes":
            prefixes.append(fields["Prefix"])
        elif fields["IsLatest"] == "true":
            deleted.append(fields["Key"])
        else:
            fields["Key"]
        fields = root

    _parse(body, start, data, end)
    if outermost != "ListVersionsResult":
        raise ValueError(f"<{outermost}> where <ListVersionsResult> was expected")
    return _page(versions, deleted, prefixes, root)


def _version(fields: dict[str, str]) -> ObjectVersion:
    version_id = fields["VersionId"]
    return ObjectVersion(
        fields["Key"],
        None if version_id == "null" else version_id,
        fields["ETag"].strip('"'),
        int(fields["Size"]),
        fields["LastModified"],
        fields["IsLatest"] == "true",
    )


def _page(
    versions: list[ObjectVersion], deleted: list[str], prefixes: list[str], fields: dict[str, str]
) -> ListingPage:
    next_key = fields.get("NextKeyMarker", "")
    if fields.get("EncodingType") == "url":
        versions = [_decoded(version) if "%" in version.key or "+" in version.key else version for version in versions]
        deleted, prefixes = [unquote_plus(key) for key in deleted], [unquote_plus(prefix) for prefix in prefixes]
        next_key = unquote_plus(next_key)
    marker = None
    if fields.get("IsTruncated") == "true":
        marker = (next_key, fields.get("NextVersionIdMarker", ""))
        if not next_key:
            raise ValueError("more follow, but not from where")
    return ListingPage(versions, frozenset(deleted), versions[-1].key if versions else None, marker, prefixes)


def _decoded(version: ObjectVersion) -> ObjectVersion:
    # Amazon writes a space as `+` and a plus as `%2B`.
    return msgspec.structs.replace(version, key=unquote_plus(version.key))


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
    except KeyError as error:
        raise ValueError(f"an entry without {error.args[0]}") from None
    except (expat.ExpatError, LookupError) as error:  # the latter of an encoding that nobody knows
        raise ValueError(f"not XML: {error}") from None
