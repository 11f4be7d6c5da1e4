"""Bring one Dandiset's repository up to what the archive says.

First everything is read, then everything is written: whatever is refused or fails leaves the repository as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from mirror.annex.remotes import dandiapi_remote
from mirror.archive.client import OPEN
from mirror.archive.records import VersionSummary
from mirror.config import Settings
from mirror.dataset.assets import ZARR
from mirror.dataset.commits import Changes
from mirror.dataset.facts import is_embargoed
from mirror.dataset.identity import api_remote_uuid
from mirror.dataset.layout import Layout
from mirror.dataset.names import warnings_for
from mirror.errors import Moving
from mirror.git.repository import Repository
from mirror.store.index import Index
from mirror.store.moving import begin_anew
from mirror.store.packing import join_packs
from mirror.store.state import DandisetState, Holding
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.contents import Contents
from mirror.sync.history import Subject
from mirror.sync.leaving import withdraw
from mirror.sync.mirrored import Mirrored, index_key
from mirror.sync.observe import Observer, pending
from mirror.sync.reading import Reader, Reading
from mirror.sync.repositories import opened
from mirror.sync.spool import Spool
from mirror.sync.writing import DandisetWriter, Written
from mirror.sync.zarr.ahead import NOTHING_AHEAD, Ahead
from mirror.sync.zarr.linking import ZarrLinker
from mirror.sync.zarr.syncing import ZarrSync

_WARNINGS_KEPT = 50


@dataclass(frozen=True)
class Synced:
    """What a sync of one Dandiset came to."""

    state: DandisetState
    releases: tuple[str, ...]
    draft: Changes | None
    """what changed in the draft; None when nothing did"""
    zarrs_written: tuple[str, ...]
    """the paths of those Zarrs that changed"""
    zarrs_held: bool
    """whether the settings want Zarrs"""
    zarrs_unreached: bool
    """whether those that failed did so for want of an answer, all of them"""
    wrote: bool


def _of_others(zarrs: ZarrLinker) -> list[str]:
    how = "another Zarr than before: clones that have the earlier one must drop it before they update"
    return [f"{path!r}: {how}" for path in zarrs.others]


def layout_of(settings: Settings) -> Layout:
    """The layout that these settings ask for."""
    return Layout(settings.text_in_git.max_bytes, settings.select.assets, zarrs=settings.zarr.hold != "none")


@dataclass(frozen=True)
class DandisetSync:
    """One sync of one Dandiset. `everything`: re-read it all, whatever the times say."""

    settings: Settings
    store: Store
    connection: Connection
    identifier: str
    everything: bool = False
    embargoed: bool = False
    """nobody else may see it: its keys get addresses at the API only, which asks for a token"""
    ahead: Ahead = NOTHING_AHEAD
    tell: Callable[[str], None] | None = None
    """is told how far it is"""

    def run(self, state: DandisetState) -> Synced:
        with ExitStack() as stack:
            index = stack.enter_context(self.store.index(private=self.embargoed))
            spool = stack.enter_context(Spool(self._scratch))
            name = f"Dandiset {self.identifier}"
            begin_anew(self.store, self.store.dataset_id(self.identifier))
            repository = stack.enter_context(opened(self.store.create_repository(self.identifier), name))
            synced = self._sync(state, repository, index, spool)
            join_packs(repository, name)
            return synced

    @property
    def _scratch(self) -> Path:
        return self.store.side(private=self.embargoed).temporary

    def _sync(self, state: DandisetState, repository: Repository, index: Index, spool: Spool) -> Synced:
        layout, client, instance = layout_of(self.settings), self.connection.client, self.connection.instance
        # As the archive spells it, not as these settings do: it goes into the repository.
        api = instance.api_url or client.api_url
        api_host = urlsplit(api).netloc
        remote = dandiapi_remote(api_remote_uuid(instance.url), api_host)
        skips = self.store.skipped_versions(self.identifier)
        with repository.writer() as writer, repository.objects(writer) as objects:
            mirrored = Mirrored(repository.refs(), objects, index, self.identifier, layout)
            zarrs = ZarrLinker(
                self.store,
                self._zarr_sync(everything=self.everything),
                self._zarr_sync(everything=False),
                self.ahead,
                self.everything,
                mirrored,
                objects,
                api,
                remote,
                embargoed=self.embargoed,
            )
            reader = Reader(
                client,
                instance,
                self.identifier,
                layout,
                self.settings.archive.settle_seconds,
                Observer(
                    client,
                    self.identifier,
                    layout,
                    spool.keep,
                    again=self._again(state, zarrs) if layout.zarrs else (),
                    tell=self.tell,
                ),
                mirrored,
                objects,
                self._scratch,
                frozenset({api_host, urlsplit(client.api_url).netloc}),
                zarrs if layout.zarrs else None,
                skipped=frozenset(skip.version for skip in skips),
                listed=lambda missing: self._note_awaited(state, missing),
            )
            reading = reader.read(state, everything=self.everything)
            self._check_openness(reading)
            contents = Contents(
                self.connection,
                index,
                self.identifier,
                version_ids=self.settings.archive.s3_version_ids,
                embargoed=self.embargoed,
            )
            written = DandisetWriter(
                Subject(
                    self.identifier,
                    self.store.dataset_id(self.identifier),
                    instance.url,
                    layout,
                    skips,
                    embargoed=self.embargoed,
                ),
                mirrored,
                objects,
                writer,
                contents,
                spool.read,
                remote=remote,
                annex_metadata=self.settings.annex_metadata,
                versions_again=self.everything and self.settings.archive.s3_version_ids,
            ).write(
                reading.releases,
                reading.draft,
                None if self.everything and state.synced is None else state.leaving,
                (lambda *facts: withdraw(self.connection, *facts)) if self.everything else None,
            )
            if written.updates:
                self._note_leaving(state, written)
                repository.publish(
                    writer, written.updates, expected={ref: mirrored.refs.get(ref) for ref in written.updates}
                )
            self.store.publish_alias(self.identifier)
            self._remember(index, mirrored, reading, written)
        return Synced(
            state=self._new_state(state, layout, mirrored, reading, written, contents.complaints, zarrs),
            releases=tuple(seen.info.version for seen in reading.releases),
            draft=written.changes,
            zarrs_written=tuple(zarrs.written),
            zarrs_held=layout.zarrs,
            zarrs_unreached=bool(zarrs.failed) and zarrs.unreached == zarrs.failed.keys(),
            wrote=bool(written.updates),
        )

    def _check_openness(self, reading: Reading) -> None:
        """It may have come under embargo since the poll; then its own document says so, and nothing was written yet."""
        if self.embargoed or not is_embargoed(reading.draft.metadata):
            return
        if self.connection.client.dandiset(self.identifier).embargo_status != OPEN:
            raise Moving(f"Dandiset {self.identifier} came under embargo just now; the next sync sees to it")

    def _note_awaited(self, state: DandisetState, missing: list[VersionSummary]) -> None:
        """Published versions that are missing here: should reading them fail, others still have to wait for them."""
        awaited = {version.version: version.created for version in missing}
        if awaited != state.awaited:
            self.store.save_state(msgspec.structs.replace(state, awaited=awaited))

    def _note_leaving(self, state: DandisetState, written: Written) -> None:
        """Addresses that the draft lets go of. Once it has moved, nothing else tells of them."""
        if written.leaving.keys() - state.leaving.keys():
            noted = self.store.state(self.identifier)
            self.store.save_state(msgspec.structs.replace(noted, leaving={**state.leaving, **written.leaving}))

    def _remember(self, index: Index, mirrored: Mirrored, reading: Reading, written: Written) -> None:
        layout, before = layout_of(self.settings), mirrored.draft
        index.remember_draft(
            self.identifier,
            index_key(written.draft.oid, layout),
            reading.draft.assets,
            (index_key(before.oid, layout), before.assets) if before is not None else None,
        )

    def _new_state(
        self,
        state: DandisetState,
        layout: Layout,
        mirrored: Mirrored,
        reading: Reading,
        written: Written,
        complaints: list[str],
        zarrs: ZarrLinker,
    ) -> DandisetState:
        draft = reading.draft
        releases = {seen.info.version for seen in reading.releases} | mirrored.versions
        # A skipped version is dealt with: it must not look like a new one at each poll.
        settled = releases | {skip.version for skip in self.store.skipped_versions(self.identifier)}
        taken = [version for version in reading.versions if version.version in settled]
        names = [f"{path!r}: {reason}" for path, reason in warnings_for(draft.assets)]
        return DandisetState(
            identifier=self.identifier,
            layout=layout.trailer,
            draft_modified=draft.info.modified,
            versions={version.version: version.modified for version in taken},
            holding=Holding(
                draft=written.draft.oid.hex(),
                releases=tuple(sorted(releases)),
                modified=draft.info.modified,
                assets=len(draft.assets),
                bytes=draft.size,
            ),
            pending=len({*pending(draft), *zarrs.unfinished}),
            zarrs=sum(held.kind == ZARR for held in draft.assets.values()),
            zarrs_failed=zarrs.failed,
            zarrs_unfinished=tuple(zarrs.unfinished),
            waiting=reading.waiting,
            awaited={one.version: one.created for one in reading.versions if one.version in reading.waiting},
            warnings=tuple([*written.remarks, *_of_others(zarrs), *zarrs.remarks, *names][:_WARNINGS_KEPT]),
            complaints=tuple([*(() if self.everything else state.complaints), *complaints][:_WARNINGS_KEPT]),
            drift=reading.drift,
            leaving=written.leaving,
            checked=state.checked,
        )

    @staticmethod
    def _again(state: DandisetState, zarrs: ZarrLinker) -> set[str]:
        """The paths of Zarrs to look at whatever their times say."""
        draft = zarrs.mirrored.draft
        if draft is None:
            return set()
        if state.holding is None or state.holding.draft != draft.oid.hex():
            # The marks are not of this draft: nobody knows which of its Zarrs were left as they were.
            return {path for path, held in draft.assets.items() if held.kind == ZARR}
        return {*state.zarrs_failed, *state.zarrs_unfinished, *zarrs.left_open()}

    def _zarr_sync(self, *, everything: bool) -> ZarrSync:
        return ZarrSync(self.settings, self.store, self.connection, everything=everything, tell=self.tell)
