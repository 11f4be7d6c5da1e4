"""What a version needs besides its records: the contents of its texts, and the S3 version ids of its blobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import islice
from typing import TypeVar
from urllib.parse import quote

from mirror.archive.bucket import S3Location, content_url_allowed, parse_location
from mirror.archive.http import shown
from mirror.dataset.assets import AssetEntry
from mirror.errors import BadAnswer, ContentRefused, MirrorError, Unreachable
from mirror.store.index import Index
from mirror.sync.connection import Connection

T = TypeVar("T")
_THREADS = 8
_AT_ONCE = 64
"""Texts in memory at a time: a Dandiset may have 20,000 of them."""


class Contents:
    """Fetches for one Dandiset. What it cannot have although the Dandiset goes on without is in `complaints`."""

    def __init__(
        self, connection: Connection, index: Index, identifier: str, *, version_ids: bool, embargoed: bool = False
    ) -> None:
        self._connection = connection
        self._index = index
        self._identifier = identifier
        self._version_ids = version_ids
        self._embargoed = embargoed
        self.complaints: list[str] = []

    def texts(self, entries: Iterable[AssetEntry], add: Callable[[bytes], T]) -> dict[str, T]:
        """Fetch texts, check them against their digests, give them to `add`; what it returned, by asset path.

        A text that cannot be had is an error: it is never quietly annexed instead.
        """
        added: dict[str, T] = {}
        by_digest: dict[str, T] = {}
        wanted = iter(entries)
        threads = ThreadPoolExecutor(_THREADS)
        try:
            while some := list(islice(wanted, _AT_ONCE)):
                distinct = {entry.sha256: entry for entry in some if entry.sha256 not in by_digest}
                for entry, content in zip(distinct.values(), threads.map(self._text, distinct.values()), strict=True):
                    assert entry.sha256 is not None
                    by_digest[entry.sha256] = add(content)
                added.update((entry.path, by_digest[entry.sha256]) for entry in some if entry.sha256)
        finally:
            # Without waiting: whoever was interrupted does not want what is still on its way.
            threads.shutdown(wait=False, cancel_futures=True)
        return added

    def _text(self, entry: AssetEntry) -> bytes:
        location = None if self._embargoed else self.location(entry)
        try:
            content = self._connection.bucket.fetch(location or self._signed_url(entry), max_bytes=entry.size)
        except MirrorError as error:
            # That nobody answered is no word on this content.
            kind = Unreachable if isinstance(error, Unreachable) else ContentRefused
            raise kind(
                f"Dandiset {self._identifier}: the text of asset {entry.path!r} cannot be fetched: {error.message}",
                hint=error.hint,
            ) from error
        found = sha256(content).hexdigest()
        if found != entry.sha256:
            raise ContentRefused(
                f"Dandiset {self._identifier}: asset {entry.path!r} is announced with SHA-256 {entry.sha256},"
                f" what the bucket holds has {found} ({len(content)} bytes)"
            )
        return content

    def _signed_url(self, entry: AssetEntry) -> str:
        """Where the archive sends those who may read it. Never shown: whoever has it may read it, too."""
        url = self._connection.client.signed_url(entry.held.asset_id)
        if not content_url_allowed(url, self._connection.hosts):
            raise ContentRefused(f"its download leads to a place that is not the archive's, {shown(url)}")
        return url

    def location(self, entry: AssetEntry) -> S3Location:
        """Where an asset's bytes are; an address that is not the archive's is refused, never asked."""
        assert entry.s3_url is not None
        if not content_url_allowed(entry.s3_url, self._connection.hosts):
            raise ContentRefused(
                f"Dandiset {self._identifier}: asset {entry.path!r} has a contentUrl that is not the archive's,"
                f" {shown(entry.s3_url)}"
            )
        return parse_location(entry.s3_url)

    def recorded_urls(self, entries: Iterable[AssetEntry]) -> dict[str, str]:
        """The addresses to record for these assets' blobs, by their plain S3 address: with the version id.

        A blob whose version id cannot be had, while those of others can, keeps its plain address, and is complained of.
        """
        locations = {entry.s3_url: (entry.path, self.location(entry)) for entry in entries if entry.s3_url is not None}
        if not self._version_ids:
            return {url: url for url in locations}
        ids = self._index.version_ids(_name(location) for _, location in locations.values())
        unknown = [location for _, location in locations.values() if _name(location) not in ids]
        if unknown:
            ids |= self._ask(unknown, locations.values())
        return {
            url: f"{url}?versionId={quote(ids[name], safe='')}" if (name := _name(location)) in ids else url
            for url, (_, location) in locations.items()
        }

    def _ask(self, unknown: list[S3Location], paths: Iterable[tuple[str, S3Location]]) -> dict[str, str]:
        seen: list[tuple[str, str]] = []

        def remember(key: str, version_id: str | None) -> None:
            if version_id is not None:
                seen.append((key, version_id))

        answers = self._connection.bucket.version_ids(unknown, seen=remember)
        silent = [answer for answer in answers.values() if isinstance(answer, Unreachable | BadAnswer)]
        if len(silent) == len(answers):
            # An outage: it would be a pity to do without the ids of all for that.
            raise Unreachable(f"Dandiset {self._identifier}: no S3 version id can be had: {silent[0].message}")
        path_of = {location: path for path, location in paths}
        found: dict[str, str] = {}
        for location in unknown:
            answer = answers[location]
            if isinstance(answer, str):
                found[_name(location)] = answer
            else:
                why = answer.message if answer is not None else "the bucket keeps no versions"
                what = f"asset {path_of[location]!r}: recorded by its plain address, its S3 version id cannot be had"
                self.complaints.append(f"{what}: {why}")
        self._index.remember_version_ids([*seen, *found.items()])
        return found


def _name(location: S3Location) -> str:
    return f"{location.bucket}/{location.key}"
