"""The Zarrs of a Dandiset: which commit stands at each one's path, once it is up to date.

One Zarr's trouble stops neither its Dandiset nor another Zarr: where it stands it goes on standing as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from mirror.dataset.assets import ZARR, AssetEntry
from mirror.dataset.zarr.checksum import Checksum
from mirror.errors import MirrorError, NoRoom, RecordRefused, Unreachable
from mirror.git.objects import Oid
from mirror.git.reader import Objects
from mirror.store.store import Store
from mirror.sync.mirrored import Mirrored
from mirror.sync.observe import Observation
from mirror.sync.trees import standing
from mirror.sync.zarr.ahead import MOST_SILENT, Ahead, Wanted, is_held
from mirror.sync.zarr.held import HeldZarr
from mirror.sync.zarr.subject import Subject
from mirror.sync.zarr.syncing import ZarrPending, ZarrSync

logger = logging.getLogger(__name__)


class ZarrMissing(Exception):
    """A published version has a Zarr in a state that cannot be had, or not yet."""


@dataclass
class ZarrLinker:
    """Brings the Zarrs of one Dandiset up to date, in one of its turns, or finds that others should do so first."""

    store: Store
    zarrs: ZarrSync
    recorded: ZarrSync
    """for those that were recorded ahead: it lists nothing once more that is as it should be"""
    ahead: Ahead
    everything: bool
    mirrored: Mirrored
    objects: Objects
    api: str
    remote: bytes
    embargoed: bool = False
    failed: dict[str, str] = field(default_factory=dict)
    """paths of Zarrs that could not be brought up to date, with the reason"""
    unreached: set[str] = field(default_factory=set)
    """those of them of which the archive gave no answer"""
    unfinished: list[str] = field(default_factory=list)
    """paths of Zarrs that the archive is taking in"""
    others: list[str] = field(default_factory=list)
    """paths at which another Zarr stood"""
    written: list[str] = field(default_factory=list)
    """paths of Zarrs of which something new was written"""
    _done: dict[tuple[str, str], HeldZarr | Exception] = field(default_factory=dict)
    _silent: list[Unreachable] = field(default_factory=list)
    """what became of those that were asked for and got no answer"""

    def draft(self, seen: Observation) -> Observation:
        """The draft with its Zarrs: each as it is now; one that cannot be brought there, as it stands in ours."""
        self.ahead.ask(self._to_record(seen), len(seen.assets))
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
        self.ahead.ask(self._never_recorded(seen), len(seen.assets))
        links: dict[str, Oid] = {}
        for entry in _zarrs(seen):
            try:
                links[entry.path] = self._snapshot(entry)
            except ZarrPending:
                raise ZarrMissing(f"{entry.path}: the archive is taking the Zarr in") from None
            except NoRoom:
                raise
            except MirrorError as error:
                raise ZarrMissing(f"{entry.path}: {error.message}") from None
        return replace(seen, links=links)

    def _snapshot(self, entry: AssetEntry) -> Oid:
        done = self.ahead.done.get(_key(entry))
        if done is not None and done.error is not None:
            raise done.error
        return self.zarrs.snapshot(self._subject(entry), Checksum.parse(entry.zarr_checksum or ""))

    def _to_record(self, seen: Observation) -> Iterator[Wanted]:
        """The Zarrs of a draft that are to be listed."""
        if not self.ahead.rounds_left:
            return
        for wanted in self._wanted(seen):
            if self.ahead.done_for_draft(wanted.key) is None and (
                self.everything or not is_held(self.store, wanted.subject, wanted.checksum)
            ):
                yield wanted

    def _never_recorded(self, seen: Observation) -> Iterator[Wanted]:
        """The Zarrs of a published version of which nothing is held.

        Of one that is held in another state, the published one is probably gone: each turn would break off for that.
        """
        if not self.ahead.rounds_left:
            return
        for wanted in self._wanted(seen):
            if wanted.key not in self.ahead.done and not is_held(self.store, wanted.subject, None):
                yield replace(wanted, published=True)

    def _wanted(self, seen: Observation) -> Iterator[Wanted]:
        for entry in _zarrs(seen):
            try:
                yield Wanted(self._subject(entry), Checksum.parse(entry.zarr_checksum or ""))
            except RecordRefused:
                continue  # its own turn tells of it

    def _linked(self, entry: AssetEntry) -> Oid | None:
        if entry.zarr_checksum is None:
            return self._standing(entry)
        try:
            return self._synced(entry).oid
        except ZarrPending:
            self.unfinished.append(entry.path)
        except NoRoom:
            raise
        except MirrorError as error:
            if not self.embargoed:
                logger.info("%s: %s", entry.path, error)  # the outcome tells of it
            self.failed[entry.path] = error.message
            if isinstance(error, Unreachable):
                self.unreached.add(entry.path)
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
        done = self.ahead.done_for_draft((zarr_id, checksum))
        if done is not None and done.error is not None:
            return done.error
        if len(self._silent) >= MOST_SILENT:
            return Unreachable(f"Zarr {zarr_id}: not asked for, since {self._silent[-1].message}")
        zarrs = self.zarrs if done is None else self.recorded
        try:
            held, wrote = zarrs.sync(self._subject(entry), Checksum.parse(checksum))
        except Unreachable as error:
            self._silent.append(error)
            return error
        except (MirrorError, ZarrPending) as error:
            return error
        if wrote or (done is not None and done.wrote):
            self.written.append(entry.path)
        return held

    @property
    def remarks(self) -> list[str]:
        """What a person should know of the Zarrs that were recorded, in this turn or ahead of it."""
        ahead = [remark for done in self.ahead.done.values() for remark in done.remarks]
        return [*ahead, *self.zarrs.remarks, *self.recorded.remarks]

    def _subject(self, entry: AssetEntry) -> Subject:
        return Subject(entry.held.blob or "", entry.s3_url or "", self.api, self.remote, self.embargoed)

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


def _key(entry: AssetEntry) -> tuple[str, str]:
    return entry.held.blob or "", entry.zarr_checksum or ""


def _zarrs(seen: Observation) -> list[AssetEntry]:
    return [entry for entry in seen.entries if entry.is_zarr]
