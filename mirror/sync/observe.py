"""Read one version of a Dandiset from the archive: what differs from an earlier state, and all of it in outline.

Paging is no snapshot: a version is listed between two looks at its record, and listed again if it moved meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from mirror.archive.client import Answer, ArchiveClient
from mirror.archive.records import Asset, SlimAsset, VersionInfo
from mirror.dataset.assets import PENDING, AssetEntry, Held, describe
from mirror.dataset.canonical import read_document
from mirror.dataset.layout import Layout
from mirror.errors import Moving, NotFound, RecordRefused
from mirror.git.objects import Oid
from mirror.store.state import DandisetState

PAGE_RATHER_THAN_SINGLES = 30
"""From this many changed assets on a page, asking for the whole page costs the archive less than asking one by one
(a page of 1,000 with metadata takes it 0.6 s, a single asset about 0.02 s)."""

ATTEMPTS = 4
_THREADS = 4


class Base(Enum):
    """Which of our states a version is observed next to."""

    NOTHING = 0
    DRAFT = 1
    """the mirrored draft"""
    RELEASE = 2
    """the release before it, mirrored already or observed just before"""


@dataclass(frozen=True)
class Earlier:
    """A state of ours: its assets, and where its tree is."""

    assets: Mapping[str, Held]
    base: Base


NOTHING = Earlier({}, Base.NOTHING)


@dataclass(frozen=True)
class Observation:
    """A version as the archive shows it, next to an earlier state."""

    info: VersionInfo
    metadata: dict[str, Any]
    answered: datetime
    """the archive's clock when it showed the version's record"""
    assets: dict[str, Held]
    """every asset of the version"""
    entries: list[AssetEntry]
    """those that are new or changed since the earlier state"""
    removed: list[str]
    """the paths that the earlier state had and the version has not"""
    before: Mapping[str, Held]
    """the assets of that earlier state"""
    base: Base
    size: int
    links: Mapping[str, Oid] = field(default_factory=dict)
    """the commits that stand for the Zarrs among the entries; one without cannot be had yet"""


@dataclass
class _Gathering:
    """A listing under way."""

    base: Mapping[str, Held]
    layout: Layout
    release: bool
    again: Collection[str] = ()
    assets: dict[str, Held] = field(default_factory=dict)
    entries: list[AssetEntry] = field(default_factory=list)
    size: int = 0
    listed: int = 0

    def unchanged(self, asset: SlimAsset) -> bool:
        held = self.base.get(asset.path)
        return held is not None and held.still_is(asset, release=self.release) and asset.path not in self.again

    def keep(self, asset: SlimAsset, held: Held) -> None:
        if asset.path in self.assets:
            raise _Unstable(f"{asset.path!r} was listed twice")
        self.assets[asset.path] = held
        self.size += asset.size

    def count(self, assets: Iterable[SlimAsset]) -> list[SlimAsset]:
        """Count what a page lists; return what of it is mirrored."""
        page = list(assets)
        self.listed += len(page)
        return [asset for asset in page if self.layout.wants(asset.path)] if self.layout.assets else page


class _Unstable(Exception):
    """The listing changed under our hands."""


class Observer:
    """Observes the versions of one Dandiset. Records of new and changed assets are given to `keep`.

    `again` are paths of assets that count as changed whatever their times say. `tell` is told how far it is.
    """

    def __init__(
        self,
        client: ArchiveClient,
        identifier: str,
        layout: Layout,
        keep: Callable[[bytes], int],
        *,
        again: Collection[str] = (),
        tell: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._identifier = identifier
        self._layout = layout
        self._keep = keep
        self._again = again
        self._tell = tell
        self._sleep = sleep

    def look(self, version: str) -> Answer[VersionInfo]:
        """A version's record alone, and the archive's clock."""
        return self._client.version_info(self._identifier, version)

    def observe(self, version: str, earlier: Earlier, *, release: bool, everything: bool = False) -> Observation:
        """Read a version, next to an earlier state. `everything`: describe every asset anew, whatever its times say."""
        why = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(2.0 ** (attempt - 1))
            before = self.look(version)
            try:
                gathering = self._list(version, earlier.assets, release=release, everything=everything)
            except _Unstable as reason:
                why = str(reason)
                continue
            after = self.look(version)
            if (before.value.modified, before.value.asset_count) != (after.value.modified, after.value.asset_count):
                why = "its time or asset count moved meanwhile"
                continue
            return self._observation(after, gathering, earlier)
        raise Moving(
            f"Dandiset {self._identifier}: version {version} kept changing while it was listed, {ATTEMPTS} times"
            f" ({why}); it is left for the next sync"
        )

    def observe_pending(self, version: str, earlier: Earlier, state: DandisetState) -> Observation | None:
        """A version in which nothing moved since `state`, but for assets that may have been hashed meanwhile.

        None: something did move, so the version has to be listed.
        """
        before = self.look(version)
        if before.value.modified != state.draft_modified or state.holding is None:
            return None
        pending = {path: held for path, held in earlier.assets.items() if held.kind == PENDING}
        gathering = _Gathering(earlier.assets, self._layout, release=False)
        gathering.assets = {path: held for path, held in earlier.assets.items() if path not in pending}
        try:
            for asset in self._singles(held.asset_id for held in pending.values()):
                self._describe(asset, gathering)
        except _Unstable:
            return None
        if any(entry.is_zarr and entry.held.kind != PENDING for entry in gathering.entries):
            return None  # its size came with its checksum, and so the version's
        after = self.look(version)
        if gathering.assets.keys() != earlier.assets.keys() or after.value.modified != before.value.modified:
            return None
        gathering.size = state.holding.bytes
        return self._observation(after, gathering, earlier)

    def _observation(self, answer: Answer[VersionInfo], gathering: _Gathering, earlier: Earlier) -> Observation:
        return Observation(
            info=answer.value,
            metadata=self._document(answer.value),
            answered=answer.date,
            assets=gathering.assets,
            entries=gathering.entries,
            removed=[path for path in earlier.assets if path not in gathering.assets],
            before=earlier.assets,
            base=earlier.base,
            size=gathering.size,
        )

    def _document(self, info: VersionInfo) -> dict[str, Any]:
        try:
            return read_document(bytes(info.metadata)).value
        except RecordRefused as error:
            raise RecordRefused(
                f"Dandiset {self._identifier}: the metadata of version {info.version} {error.message}"
            ) from None

    def _list(self, version: str, base: Mapping[str, Held], *, release: bool, everything: bool) -> _Gathering:
        gathering = _Gathering({} if everything else base, self._layout, release, self._again)
        if everything or not base:
            announced = self._list_in_full(version, gathering)
        else:
            announced = self._list_slim(version, gathering)
        if announced is not None and announced != gathering.listed:
            raise _Unstable(f"{announced} assets were announced, {gathering.listed} listed")
        return gathering

    def _list_in_full(self, version: str, gathering: _Gathering) -> int | None:
        announced = None
        for page in self._client.full_assets(self._identifier, version):
            announced = page.count if page.count is not None else announced
            for asset in gathering.count(page.items):
                assert isinstance(asset, Asset)
                self._describe(asset, gathering)
            self._report(version, gathering, announced)
        return announced

    def _list_slim(self, version: str, gathering: _Gathering) -> int | None:
        announced = None
        for page in self._client.slim_assets(self._identifier, version):
            announced = page.count if page.count is not None else announced
            changed = []
            for asset in gathering.count(page.items):
                if gathering.unchanged(asset):
                    gathering.keep(asset, gathering.base[asset.path])
                else:
                    changed.append(asset)
            for full in self._with_metadata(version, page.number, changed):
                self._describe(full, gathering)
            self._report(version, gathering, announced)
        return announced

    def _report(self, version: str, gathering: _Gathering, announced: int | None) -> None:
        if self._tell is not None:
            of = f" of {announced:,}" if announced is not None else ""
            self._tell(f"{self._identifier} {version}: {gathering.listed:,}{of} assets listed")

    def _with_metadata(self, version: str, number: int, changed: list[SlimAsset]) -> Iterator[Asset]:
        """The full records of the changed assets of a page: one by one when few, by the page when many."""
        if not changed:
            return
        if len(changed) >= PAGE_RATHER_THAN_SINGLES:
            found = {asset.asset_id: asset for asset in self._client.full_page(self._identifier, version, number).items}
        else:
            found = {asset.asset_id: asset for asset in self._singles(asset.asset_id for asset in changed)}
        for asset in changed:
            full = found.get(asset.asset_id)
            if full is None or (full.path, full.modified) != (asset.path, asset.modified):
                raise _Unstable(f"{asset.path!r} changed meanwhile")
            yield full

    def _singles(self, asset_ids: Iterable[str]) -> list[Asset]:
        threads = ThreadPoolExecutor(_THREADS)
        try:
            return list(threads.map(self._client.asset, asset_ids))
        except NotFound as error:
            raise _Unstable(str(error)) from None
        finally:
            # Without waiting: whoever was interrupted does not want what is still on its way.
            threads.shutdown(wait=False, cancel_futures=True)

    def _describe(self, asset: Asset, gathering: _Gathering) -> None:
        try:
            entry = describe(asset, self._layout, release=gathering.release, keep=self._keep)
        except RecordRefused as error:
            raise RecordRefused(f"Dandiset {self._identifier}: {error.message}") from None
        gathering.keep(asset, entry.held)
        gathering.entries.append(entry)


def pending(observation: Observation) -> list[str]:
    """The paths of the assets that the archive has not hashed yet, in order."""
    return sorted(path for path, held in observation.assets.items() if held.kind == PENDING)
