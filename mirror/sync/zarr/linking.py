"""The Zarrs of a Dandiset: which commit stands at each one's path, once it is up to date.

One Zarr's trouble stops neither its Dandiset nor another Zarr: where it stands it goes on standing as it was.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from mirror.dataset.assets import ZARR, AssetEntry
from mirror.dataset.zarr.checksum import Checksum
from mirror.errors import MirrorError, Unreachable
from mirror.git.objects import Oid
from mirror.git.reader import Objects
from mirror.sync.mirrored import Mirrored
from mirror.sync.observe import Observation
from mirror.sync.trees import standing
from mirror.sync.zarr.held import HeldZarr
from mirror.sync.zarr.subject import Subject
from mirror.sync.zarr.syncing import ZarrPending, ZarrSync

logger = logging.getLogger(__name__)


class ZarrMissing(Exception):
    """A published version has a Zarr in a state that cannot be had, or not yet."""


@dataclass
class ZarrLinker:
    """Brings the Zarrs of one Dandiset up to date, in one of its turns."""

    zarrs: ZarrSync
    mirrored: Mirrored
    objects: Objects
    api: str
    remote: bytes
    failed: dict[str, str] = field(default_factory=dict)
    """paths of Zarrs that could not be brought up to date, with the reason"""
    unfinished: list[str] = field(default_factory=list)
    """paths of Zarrs that the archive is taking in"""
    others: list[str] = field(default_factory=list)
    """paths at which another Zarr stood"""
    written: list[str] = field(default_factory=list)
    """paths of Zarrs of which something new was written"""
    _done: dict[tuple[str, str], HeldZarr | Exception] = field(default_factory=dict)
    _unreachable: Unreachable | None = None

    def draft(self, seen: Observation) -> Observation:
        """The draft with its Zarrs: each as it is now; one that cannot be brought there, as it stands in ours."""
        links: dict[str, Oid] = {}
        for entry in _zarrs(seen):
            link = self._linked(entry)
            if link is not None:
                links[entry.path] = link
            if self._is_another(entry):
                self.others.append(entry.path)
        return replace(seen, links=links)

    def _is_another(self, entry: AssetEntry) -> bool:
        """Whether the mirrored draft has another Zarr at this path."""
        before = self.mirrored.draft.assets.get(entry.path) if self.mirrored.draft is not None else None
        return before is not None and before.kind == ZARR and before.blob != entry.held.blob

    def release(self, seen: Observation) -> Observation:
        """A published version with its Zarrs, each in the state that it was published in. Else `ZarrMissing`."""
        links: dict[str, Oid] = {}
        for entry in _zarrs(seen):
            try:
                links[entry.path] = self.zarrs.snapshot(self._subject(entry), Checksum.parse(entry.zarr_checksum or ""))
            except ZarrPending:
                raise ZarrMissing(f"{entry.path}: the archive is taking the Zarr in") from None
            except MirrorError as error:
                raise ZarrMissing(f"{entry.path}: {error.message}") from None
        return replace(seen, links=links)

    def _linked(self, entry: AssetEntry) -> Oid | None:
        if entry.zarr_checksum is None:
            return self._standing(entry)
        try:
            return self._synced(entry).oid
        except ZarrPending:
            self.unfinished.append(entry.path)
        except MirrorError as error:
            logger.warning("%s: %s", entry.path, error)
            self.failed[entry.path] = error.message
        return self._standing(entry)

    def _synced(self, entry: AssetEntry) -> HeldZarr:
        """Done once for each Zarr, however many paths it has."""
        assert entry.held.blob is not None
        assert entry.zarr_checksum is not None
        key = entry.held.blob, entry.zarr_checksum
        if key not in self._done:
            self._done[key] = self._result(entry, *key)
        result = self._done[key]
        if isinstance(result, Exception):
            raise result
        return result

    def _result(self, entry: AssetEntry, zarr_id: str, checksum: str) -> HeldZarr | Exception:
        if self._unreachable is not None:
            return Unreachable(f"Zarr {zarr_id}: not asked for, since {self._unreachable.message}")
        try:
            held, wrote = self.zarrs.sync(self._subject(entry), Checksum.parse(checksum))
        except Unreachable as error:
            self._unreachable = error
            return error
        except (MirrorError, ZarrPending) as error:
            return error
        if wrote:
            self.written.append(entry.path)
        return held

    def _subject(self, entry: AssetEntry) -> Subject:
        return Subject(entry.held.blob or "", entry.s3_url or "", self.api, self.remote)

    def _standing(self, entry: AssetEntry) -> Oid | None:
        """What stands at a Zarr's path in the mirrored draft, if it is the same Zarr."""
        draft = self.mirrored.draft
        if draft is None or (held := draft.assets.get(entry.path)) is None or held.blob != entry.held.blob:
            return None
        return standing(self.objects, draft.tree, entry.path)

    def left_open(self) -> set[str]:
        """The paths of Zarrs that the mirrored draft has, but does not name: they are to be looked at again."""
        draft = self.mirrored.draft
        if draft is None:
            return set()
        zarrs = [path for path, held in draft.assets.items() if held.kind == ZARR]
        return {path for path in zarrs if standing(self.objects, draft.tree, path) is None}


def _zarrs(seen: Observation) -> list[AssetEntry]:
    return [entry for entry in seen.entries if entry.is_zarr]
