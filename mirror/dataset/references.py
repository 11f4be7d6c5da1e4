"""What people call a thing of the archive: each of the many forms, as one of a few typed references. Pure.

`parse` reads any of them; the text of a reference is one of its forms, and reads back as the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from mirror.annex.keys import ParsedKey, parse_key
from mirror.dataset.names import tree_path
from mirror.errors import PathRefused, UsageError

DRAFT = "draft"

DOI_HEADS = {"DANDI": ("10.48324/dandi.",), "DANDI-SANDBOX": ("10.80507/dandi.", "10.80507/dandi-sandbox.")}
"""What the DOIs of an instance begin with, before the identifier."""


@dataclass(frozen=True)
class DandisetRef:
    """A Dandiset, or one of its versions."""

    identifier: str
    version: str | None = None
    archive: str | None = None
    """as the reference says it: `DANDI`, or the host of its address; None: it does not"""

    def __str__(self) -> str:
        if self.archive is None:
            return self.identifier + (f"@{self.version}" if self.version else "")
        version = f"/{self.version}" if self.version else ""
        if self.archive.isupper():
            return f"{self.archive}:{self.identifier}{version}"
        return f"https://{self.archive}/dandiset/{self.identifier}{version}"


@dataclass(frozen=True)
class PathRef:
    """What is at a path: in any Dandiset, in one, or in one version of it."""

    path: str
    identifier: str | None = None
    version: str | None = None
    archive: str | None = None

    def __str__(self) -> str:
        if self.identifier is None:
            return f"./{self.path}"  # so that it is taken for nothing else
        if self.archive is None:
            # Said with `@`, so that a folder that looks like a version is not taken for one.
            return f"{self.identifier}@{self.version or ''}/{self.path}"
        if self.archive.isupper():
            version = f"@{self.version}" if self.version else ""
            return f"dandi://{self.archive.lower()}/{self.identifier}{version}/{quote(self.path)}"
        version = f"/{self.version}" if self.version else ""
        return f"https://{self.archive}/dandiset/{self.identifier}{version}/files?location={quote(self.path, safe='')}"


@dataclass(frozen=True)
class DoiRef:
    """A DOI, in lower case: of a version, or of a Dandiset."""

    doi: str

    def __str__(self) -> str:
        return f"doi:{self.doi}"

    @property
    def parts(self) -> DoiParts | None:
        """What it says, where it has the form that the archive's software gives to DOIs."""
        found = _DOI_PARTS(self.doi)
        return DoiParts(*found.groups()) if found else None


@dataclass(frozen=True)
class DoiParts:
    """`10.48324/dandi.` `000003` `0.230629.1955`"""

    head: str
    identifier: str
    version: str | None


@dataclass(frozen=True)
class UuidRef:
    """An id of whatever has one: an asset, a blob, a Zarr, a dataset."""

    uuid: str

    def __str__(self) -> str:
        return self.uuid


@dataclass(frozen=True)
class AssetRef:
    """An asset by its id."""

    asset_id: str

    def __str__(self) -> str:
        return f"dandiasset:{self.asset_id}"


@dataclass(frozen=True)
class BlobRef:
    """The content of a file, by the archive's id of it."""

    blob_id: str

    def __str__(self) -> str:
        return f"blobs/{self.blob_id[:3]}/{self.blob_id[3:6]}/{self.blob_id}"


@dataclass(frozen=True)
class ZarrRef:
    """A Zarr by its id, or something in it."""

    zarr_id: str
    inner: str = ""
    """a path within it"""

    def __str__(self) -> str:
        return f"zarr/{self.zarr_id}/{quote(self.inner)}"


@dataclass(frozen=True)
class Sha256Ref:
    """Whatever has this content."""

    sha256: str

    def __str__(self) -> str:
        return f"sha256:{self.sha256}"


@dataclass(frozen=True)
class KeyRef:
    """Whatever has this content, by git-annex's name for it."""

    key: str

    def __str__(self) -> str:
        return self.key

    @property
    def parts(self) -> ParsedKey:
        return parse_key(self.key)


@dataclass(frozen=True)
class CommitRef:
    """A commit of a dataset, or an annotated tag."""

    commit: str

    def __str__(self) -> str:
        return self.commit


Reference = DandisetRef | PathRef | DoiRef | UuidRef | AssetRef | BlobRef | ZarrRef | Sha256Ref | KeyRef | CommitRef

UNDERSTOOD = (
    "a Dandiset or a version (DANDI:000003, 000003@0.230629.1955, its DOI, its address), an asset, blob, Zarr or"
    " dataset by its id or address, a SHA-256, a git-annex key, a commit of 40 digits, or a path (000003/sub-1/x.nwb)"
)

_LONGEST_PATH = 4096
"""bytes; the archive's software takes 512 characters"""
_LONGEST_TEXT = 4 * _LONGEST_PATH
"""such a path in an address, where each of its bytes may be three characters"""
_SHOWN = 60

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VERSION = "[0-9A-Za-z](?:[0-9A-Za-z._-]*[0-9A-Za-z])?"


def _form(pattern: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(pattern, re.ASCII | re.IGNORECASE | re.DOTALL).fullmatch


_DOI = _form(r"(?:doi:\s*|(?:https?://)?(?:dx\.|www\.)?doi\.org/)?(10\.[0-9]{4,9}(?:\.[0-9]+)*/[!-~]+?)/?")
_DOI_PARTS = _form(rf"(10\.[0-9.]+/[0-9a-z-]+\.)([0-9]{{6}})(?:/({_VERSION}))?")
_COMPACT = _form(
    rf"(?:https?://(?:www\.)?identifiers\.org/(?:dandi/)?)?([a-z][a-z-]*):([0-9]{{1,6}})(?:[/@]({_VERSION}))?/?"
)
_DANDI_ADDRESS = _form(rf"dandi://([a-z][a-z-]*)/([0-9]{{6}})(?:@({_VERSION}))?(?:/(.*))?")
_SHORT_VERSION = r"draft|[0-9]+\.[0-9]+\.[0-9]+"
_PLAIN = _form(rf"([0-9]{{1,6}})(?:@({_VERSION})|/({_SHORT_VERSION}))?/?")
_IN_VERSION = _form(rf"([0-9]{{6}})(?:@({_VERSION})?|/({_SHORT_VERSION}))/(.+)")
_IN_DANDISET = _form(r"([0-9]{6})/(.+)")
_ASSET = _form(rf"dandiasset:({_UUID})")
_BLOB = _form(rf"(?:.*/)?blobs/[0-9a-f]{{3}}/[0-9a-f]{{3}}/({_UUID})(?:[?#].*)?")
_ZARR = _form(rf"(?:.*/)?zarr/({_UUID})(?:\.zarr)?(?:/([^?#]*))?(?:[?#].*)?")
_SHA256 = _form(r"(?:sha-?256:)?([0-9a-f]{64})")
_COMMIT = _form(r"[0-9a-f]{40}")
_LINK = _form(r"(?:.*/)?annex/objects/[^/]+/[^/]+/([^/]+)/\1")
_ALIAS = _form(rf"(?:ria\+[a-z]+:.*#~?|(?:[a-z]+:/)?/.*/alias/)([0-9a-z_-]+)(?:@({_VERSION}(?:/[!-~]+)?))?/?")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.ASCII | re.IGNORECASE).match
_API_ASSET = re.compile(rf"/assets/({_UUID})(?:/|$)", re.ASCII | re.IGNORECASE).search
_PAGE = re.compile(
    rf"/dandisets?/([0-9]{{6}})(?:/(?:versions/)?(?!versions(?:/|$)|files(?:/|$)|assets(?:/|$))({_VERSION}))?(?=/|$)",
    re.ASCII | re.IGNORECASE,
).search


def parse(text: str) -> Reference:
    """What `text` refers to. UsageError where it has none of the forms."""
    if len(text) > _LONGEST_TEXT:
        raise _too_long(text)
    if text.startswith("./"):
        return PathRef(_checked(text.removeprefix("./")))
    given = text.strip()
    return (
        _doi(given)
        or _address(given)
        or _dandiset(given)
        or _located(text.lstrip())  # blanks at its end may be the path's own
        or _content(given)
        or _path(text)
    )


def _doi(text: str) -> Reference | None:
    found = _DOI(unquote(text) if "%" in text else text)
    return DoiRef(found[1].lower()) if found else None


def _content(text: str) -> Reference | None:
    """What goes by an id or a digest."""
    lower = text.lower()
    if found := _BLOB(text):
        return BlobRef(found[1].lower())
    if found := _ZARR(text):
        inner = unquote(found[2] or "").strip("/")
        return ZarrRef(found[1].lower(), _checked(inner) if inner else "")
    if found := _ASSET(lower):
        return AssetRef(found[1])
    if found := _SHA256(lower):
        return Sha256Ref(found[1])
    if _COMMIT(lower):
        return CommitRef(lower)
    if re.fullmatch(_UUID, lower):
        return UuidRef(lower)
    return _key(text)


def _key(text: str) -> Reference | None:
    link = _LINK(text)
    try:
        key = link[1] if link else text
        parse_key(key)
    except ValueError:
        return None
    return KeyRef(key)


def _dandiset(text: str) -> Reference | None:
    """A Dandiset by its identifier, perhaps with a version; by an address of the `dandi` client, with a path, too."""
    if found := _COMPACT(text):
        return DandisetRef(found[2].zfill(6), found[3], found[1].upper())
    if found := _DANDI_ADDRESS(text):
        return _in_dandiset(found[2], found[3], found[1].upper(), unquote(found[4] or ""))
    if found := _PLAIN(text):
        return DandisetRef(found[1].zfill(6), found[2] or found[3])
    return None


def _located(text: str) -> Reference | None:
    """A path in a Dandiset, perhaps in one version of it."""
    if found := _IN_VERSION(text):
        return _in_dandiset(found[1], found[2] or found[3], None, found[4])
    if found := _IN_DANDISET(text):
        return _in_dandiset(found[1], None, None, found[2])
    return None


def _in_dandiset(identifier: str, version: str | None, archive: str | None, path: str) -> Reference:
    path = path.strip("/")
    if not path:
        return DandisetRef(identifier, version, archive)
    return PathRef(_checked(path), identifier, version, archive)


def _address(text: str) -> Reference | None:
    """A web address of the archive, or one of a mirror."""
    if found := _ALIAS(text):
        return _named(found[1], found[2])
    if not text.lower().startswith(("http://", "https://")):
        return None
    parts = _split(text)
    if parts.path.strip("/") == "" and parts.fragment.startswith("/"):  # as addresses of the archive once were
        parts = _split(f"{parts.scheme}://{parts.netloc}{parts.fragment}")
    if found := _API_ASSET(parts.path):
        return AssetRef(found[1].lower())
    if found := _PAGE(parts.path):
        location = parse_qs(parts.query).get("location", [""])[0]
        return _in_dandiset(found[1], found[2], parts.netloc.lower().rpartition("@")[2], location)
    return None


def _named(name: str, version: str | None) -> Reference | None:
    """A dataset by its name in a store, where a version may be given by its DOI."""
    if not _PLAIN(name):
        return parse(name)
    doi = version.removeprefix("doi/") if version else ""
    return _doi(doi) or parse(f"{name}@{version}" if version else name)


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no address: {error}") from None


def _path(text: str) -> PathRef:
    if not text.strip() or _SCHEME(text):
        raise UsageError(f"{text!r} is nothing that can be looked up", hint=f"understood are {UNDERSTOOD}")
    return PathRef(_checked(text))


def _checked(path: str) -> str:
    if len(path.encode(errors="surrogatepass")) > _LONGEST_PATH:
        raise _too_long(path)
    try:
        tree_path(path)
    except PathRefused as error:
        raise UsageError(str(error), hint=f"understood are {UNDERSTOOD}") from None
    return path


def _too_long(text: str) -> UsageError:
    return UsageError(f"'{text[:_SHOWN]}…' is longer than any path of an archive: {len(text):,} characters")
