"""Bring one Dandiset's repository up to what the archive says.

First everything is read, then everything is written: whatever is refused or fails leaves the repository as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from shutil import rmtree
from urllib.parse import urlsplit

from mirror.annex.remotes import dandiapi_remote
from mirror.archive.records import VersionSummary
from mirror.config import Settings
from mirror.dataset.assets import Held
from mirror.dataset.commits import Changes, epoch, version_tag
from mirror.dataset.identity import api_remote_uuid
from mirror.dataset.layout import Layout
from mirror.dataset.names import check_conflicts, tree_path, warnings_for
from mirror.errors import PathRefused
from mirror.git.objects import COMMIT
from mirror.git.pack import PackWriter
from mirror.git.reader import Objects
from mirror.git.repository import Repository
from mirror.store.index import Index
from mirror.store.state import DandisetState, Drift, Holding
from mirror.store.store import Store
from mirror.sync.branch import BranchWriter
from mirror.sync.connection import Connection
from mirror.sync.contents import Contents
from mirror.sync.drift import drift_of, out_of_order, withdrawn
from mirror.sync.history import HistoryWriter, Subject, annex_commit, usable
from mirror.sync.keys import KeyGatherer, unchanged_sharers
from mirror.sync.leaving import let_go, withdraw
from mirror.sync.mirrored import ANNEX, Mirrored, Tip
from mirror.sync.observe import Observation, Observer, pending, zarrs
from mirror.sync.settling import has_doi, unsettled
from mirror.sync.spool import Spool
from mirror.sync.trees import TreeWriter

_WARNINGS_KEPT = 50


@dataclass(frozen=True)
class Reading:
    """What was read of a Dandiset in one sync."""

    releases: list[Observation]
    """published versions to be added, in their order"""
    draft: Observation
    versions: list[VersionSummary]
    waiting: dict[str, str]
    drift: tuple[Drift, ...]


@dataclass(frozen=True)
class Synced:
    """What a sync of one Dandiset came to."""

    state: DandisetState
    releases: tuple[str, ...]
    draft: Changes | None
    """what changed in the draft; None when nothing did"""
    zarrs: tuple[str, ...]
    wrote: bool


class DandisetSync:
    """One sync of one Dandiset. `everything`: re-read it all, whatever the times say."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        connection: Connection,
        identifier: str,
        *,
        everything: bool = False,
    ) -> None:
        self._settings = settings
        self._store = store
        self._connection = connection
        self._identifier = identifier
        self._everything = everything
        self._layout = Layout(settings.text_in_git.max_bytes, settings.select.assets)

    def run(self, state: DandisetState) -> Synced:
        with ExitStack() as stack:
            index = stack.enter_context(self._store.index())
            spool = stack.enter_context(Spool(self._store.temporary))
            repository = stack.enter_context(self._repository())
            writer = stack.enter_context(repository.writer())
            objects = stack.enter_context(repository.objects(writer))
            mirrored = Mirrored(repository.refs(), objects, index, self._identifier, self._layout)
            observer = Observer(self._connection.client, self._identifier, self._layout, spool.keep)
            reading = self._read(observer, mirrored, state, objects, spool)
            return self._write(reading, mirrored, state, repository, writer, objects, index, spool)

    @contextmanager
    def _repository(self) -> Iterator[Repository]:
        """The Dandiset's repository, locked and whole. One made for a first sync that failed is taken away again."""
        repository = self._store.create_repository(self._identifier)
        with repository.lock():
            repository.repair()
            try:
                yield repository
            except BaseException:
                if not repository.refs():
                    rmtree(repository.path)
                raise

    # Reading

    def _read(
        self, observer: Observer, mirrored: Mirrored, state: DandisetState, objects: Objects, spool: Spool
    ) -> Reading:
        versions = self._connection.client.versions(self._identifier)
        published = sorted(
            (version for version in versions if version.version != "draft"),
            key=lambda version: (version.created, version.version),
        )
        drift = self._drift(observer, mirrored, published, state, objects, spool)
        releases, waiting = self._new_releases(observer, mirrored, published)
        drift += self._disorder(releases, mirrored, published)
        base = releases[-1].assets if releases else _assets(usable(mirrored.draft, self._layout))
        draft = observer.observe("draft", base, release=False, everything=self._everything)
        self._check_paths(draft)
        return Reading(releases, draft, versions, waiting, tuple(drift))

    def _new_releases(
        self, observer: Observer, mirrored: Mirrored, published: list[VersionSummary]
    ) -> tuple[list[Observation], dict[str, str]]:
        """The published versions that have settled. One that has not holds back those after it."""
        known = mirrored.versions
        observed: list[Observation] = []
        waiting: dict[str, str] = {}
        for version in published:
            if version.version in known:
                continue
            version_tag(version.version)
            if waiting:
                waiting[version.version] = f"waits for {next(iter(waiting))}"
                continue
            look = observer.look(version.version)
            why = unsettled(
                look.value,
                has_doi(look.value),
                look.date,
                self._settings.archive.settle_seconds,
                self._connection.instance,
            )
            if why is not None:
                waiting[version.version] = why
                continue
            base = observed[-1].assets if observed else _assets(usable(mirrored.releases, self._layout))
            seen = observer.observe(version.version, base, release=True)
            self._check_paths(seen)
            observed.append(seen)
        return observed, waiting

    def _disorder(
        self, releases: list[Observation], mirrored: Mirrored, published: list[VersionSummary]
    ) -> list[Drift]:
        """New versions that, by their time, belong before one that is mirrored already."""
        known = [version for version in published if version.version in mirrored.versions]
        if not known:
            return []
        last = known[-1]
        return [
            out_of_order(seen.info, last.version)
            for seen in releases
            if (seen.info.created, seen.info.version) < (last.created, last.version)
        ]

    def _drift(
        self,
        observer: Observer,
        mirrored: Mirrored,
        published: list[VersionSummary],
        state: DandisetState,
        objects: Objects,
        spool: Spool,
    ) -> list[Drift]:
        """Compare the tagged versions that were saved again since, or all of them, with their tags."""
        found = [
            withdrawn(version) for version in sorted(mirrored.versions - {version.version for version in published})
        ]
        kept = [drift for drift in state.drift if drift.version in mirrored.versions and drift.field == "created"]
        for version in published:
            if version.version not in mirrored.versions:
                continue
            if not self._everything and state.versions.get(version.version) == version.modified:
                kept += [drift for drift in state.drift if drift.version == version.version and drift not in kept]
                continue
            seen = observer.observe(version.version, {}, release=True)
            found += drift_of(
                mirrored.release(version.version),
                seen,
                objects,
                spool.read,
                identifier=self._identifier,
                instance_url=self._connection.instance.url,
            )
        return [*kept, *found]

    def _check_paths(self, seen: Observation) -> None:
        """Refuse a version that no tree can hold."""
        try:
            for entry in seen.entries:
                tree_path(entry.path)
            if seen.entries:
                check_conflicts(seen.assets)
        except PathRefused as error:
            raise PathRefused(
                f"Dandiset {self._identifier}, version {seen.info.version}: {error.message}", hint=error.hint
            ) from None

    # Writing

    def _write(
        self,
        reading: Reading,
        mirrored: Mirrored,
        state: DandisetState,
        repository: Repository,
        writer: PackWriter,
        objects: Objects,
        index: Index,
        spool: Spool,
    ) -> Synced:
        contents = Contents(
            self._connection, index, self._identifier, version_ids=self._settings.archive.s3_version_ids
        )
        subject = Subject(
            self._identifier,
            self._store.dataset_id(self._identifier),
            self._connection.instance.url,
            self._layout,
        )
        trees = TreeWriter(objects, writer, spool.read)
        history = HistoryWriter(subject, mirrored, objects, writer, trees, contents.texts)
        written = [(seen, history.add_release(seen)) for seen in reading.releases]
        tip, changes = history.add_draft(reading.draft)
        written.append((reading.draft, tip))
        updates = dict(history.updates)
        leaving = self._write_annex(written, mirrored, state, writer, objects, contents, updates)
        if updates:
            repository.publish(writer, updates, expected={ref: mirrored.refs.get(ref) for ref in updates})
        self._store.publish_alias(self._identifier)
        before = mirrored.draft
        index.remember_draft(
            self._identifier,
            tip.oid.hex(),
            reading.draft.assets,
            (before.oid.hex(), before.assets) if before is not None else None,
        )
        releases = tuple(seen.info.version for seen in reading.releases)
        warnings = self._warnings(reading, history, contents)
        known = [v.version for v in reading.versions if v.version in mirrored.versions or v.version in releases]
        new_state = DandisetState(
            identifier=self._identifier,
            layout=self._layout.trailer,
            draft_modified=reading.draft.info.modified,
            versions={v.version: v.modified for v in reading.versions if v.version in known},
            holding=Holding(
                draft=tip.oid.hex(),
                releases=tuple(known),
                modified=reading.draft.info.modified,
                assets=len(reading.draft.assets),
                bytes=reading.draft.size,
            ),
            pending=len(pending(reading.draft)),
            zarrs=len(zarrs(reading.draft)),
            waiting=reading.waiting,
            warnings=warnings,
            drift=reading.drift,
            leaving=leaving,
            synced=None,
            checked=state.checked,
        )
        return Synced(new_state, releases, changes, tuple(zarrs(reading.draft)), bool(updates))

    def _write_annex(
        self,
        written: list[tuple[Observation, Tip]],
        mirrored: Mirrored,
        state: DandisetState,
        writer: PackWriter,
        objects: Objects,
        contents: Contents,
        updates: dict[str, bytes],
    ) -> dict[str, str]:
        """The git-annex branch. Returns the addresses that are being let go of."""
        branch = BranchWriter(objects, writer, mirrored.annex)
        keys = KeyGatherer(branch, metadata=self._settings.annex_metadata)
        for seen, tip in written:
            others = unchanged_sharers(objects, tip.tree, seen)
            keys.gather(seen, release=seen.info.version != "draft", others=others)
        keys.record(contents.recorded_urls(entry for entry, _ in keys.unrecorded.values()))
        draft = written[-1][0]
        leaving = {**state.leaving, **let_go(objects, branch, mirrored.draft, draft)}
        if self._everything and leaving:
            leaving = withdraw(leaving, self._connection.bucket, branch, keys.facts)
        instance_url, api_url = self._connection.instance.url, self._connection.client.api_url
        remotes = dandiapi_remote(api_remote_uuid(instance_url), urlsplit(api_url).netloc)
        tree = branch.write(keys.facts, remotes, epoch(draft.info.modified))
        if tree != mirrored.annex:
            commit = annex_commit(tree, mirrored.refs.get(ANNEX), draft.info)
            updates[ANNEX] = writer.add(COMMIT, commit.encode())
        return leaving

    def _warnings(self, reading: Reading, history: HistoryWriter, contents: Contents) -> tuple[str, ...]:
        names = [f"{path!r}: {reason}" for path, reason in warnings_for(reading.draft.assets)]
        return tuple([*history.remarks, *contents.complaints, *names][:_WARNINGS_KEPT])


def _assets(tip: Tip | None) -> Mapping[str, Held]:
    return tip.assets if tip is not None else {}
