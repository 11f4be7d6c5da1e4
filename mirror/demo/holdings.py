"""The demo archive's state, and how to find and touch things in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Literal

from mirror.demo import documents
from mirror.demo.bucket import Bucket
from mirror.demo.clock import Clock, record_time
from mirror.demo.documents import Addresses
from mirror.demo.ids import Ids
from mirror.demo.model import Asset, Blob, Dandiset, Document, User, Version, Zarr, user
from mirror.errors import NotFound, UsageError

EMBARGO_TERM = timedelta(days=730)


class Holdings:
    """Everything the archive knows. Every method takes the one lock, so threads may call what they like."""

    def __init__(self, addresses: Addresses, clock: Clock, ids: Ids, bucket_name: str, *, strict: bool) -> None:
        self.addresses = addresses
        self.clock = clock
        self.ids = ids
        self.strict = strict
        self.objects = Bucket(bucket_name, clock, ids)
        self.owner: User = user("owner@example.org", "Demo Owner", admin=True)
        self.other_user: User = user("visitor@example.org", "Demo Visitor")
        self.lock = threading.RLock()
        self.dandisets: dict[str, Dandiset] = {}
        self.assets: dict[str, Asset] = {}
        self.zarrs: dict[str, Zarr] = {}
        self._blobs: dict[str, Blob] = {}
        self._unhashed: set[Blob] = set()
        self._quiet = False
        self.kept_json = 0
        """how many answers about assets have been kept"""
        self.path_order: Literal["locale", "bytes"] = "locale"
        """how lists ordered by path compare paths; which it is depends on the archive's database"""

    @property
    def token(self) -> str:
        """The token of the user who owns every Dandiset."""
        return self.owner.token

    @property
    def other_token(self) -> str:
        """The token of a user who owns none."""
        return self.other_user.token

    def user_of(self, token: str) -> User | None:
        return next((one for one in (self.owner, self.other_user) if one.token == token), None)

    def dandiset(self, identifier: str) -> Dandiset:
        try:
            return self.dandisets[identifier]
        except KeyError:
            raise NotFound(f"the demo archive has no Dandiset {identifier}") from None

    def version(self, identifier: str, name: str) -> Version:
        found = self.dandiset(identifier).version(name)
        if found is None:
            raise NotFound(f"Dandiset {identifier} of the demo archive has no version {name}")
        return found

    def asset(self, identifier: str, path: str) -> Asset:
        """The draft's asset at `path`."""
        try:
            return self.dandiset(identifier).draft.assets[path]
        except KeyError:
            raise NotFound(f"Dandiset {identifier} of the demo archive has no asset {path!r}") from None

    def summary(self, version: Version) -> Document:
        """The version's assetsSummary, computed if assets changed since the last time."""
        if version.summary is None:
            version.summary = documents.assets_summary(version.assets.values())
        return version.summary

    def document(self, dandiset: Dandiset, version: Version) -> Document:
        """The version's metadata document."""
        self.summary(version)
        return documents.version_document(version, dandiset, self.addresses)

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Changes made within do not move the draft's `modified`: this has been seen in production."""
        with self.lock:
            self._quiet = True
            try:
                yield
            finally:
                self._quiet = False

    def save_draft(self, dandiset: Dandiset, *, status: str | None = None) -> None:
        """The archive saves the draft: its `modified` moves, its citation takes the current year."""
        dandiset.summary_json = None
        if self._quiet:
            return
        when = self.clock.stamp()
        draft = dandiset.draft
        draft.modified = record_time(when)
        draft.saved_year = when.year
        draft.status = status or ("Pending" if self.unhashed(draft) else "Valid")

    def unhashed(self, version: Version) -> list[Asset]:
        """The version's assets that the archive has not hashed yet."""
        if not self._unhashed:
            return []
        return [asset for asset in version.assets.values() if asset.blob in self._unhashed]

    def refuse_path(self, path: str) -> None:
        """What the real archive does not take as an asset's path; the lenient default takes everything."""
        if not self.strict:
            return
        parts = path.split("/")
        if not path.isascii() or len(path) > 512 or any(letter in ":'@%;!$" for letter in path):
            raise UsageError(f"the archive does not accept the asset path {path!r}")
        if "" in parts or ".." in parts:
            raise UsageError(f"the archive does not accept the asset path {path!r}")
