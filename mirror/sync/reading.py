"""Read what the archive says of a Dandiset: the versions that are new and have settled, and the draft."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from mirror.archive.client import ArchiveClient
from mirror.archive.http import shown
from mirror.archive.records import Instance, VersionSummary
from mirror.archive.s3 import content_url_allowed
from mirror.dataset.commits import version_tag
from mirror.dataset.layout import Layout
from mirror.dataset.names import check_conflicts, tree_path
from mirror.dataset.times import moment
from mirror.errors import ContentRefused, PathRefused
from mirror.git.reader import Objects
from mirror.store.state import DandisetState, Drift
from mirror.sync.drift import drift_of, out_of_order, withdrawn
from mirror.sync.history import usable
from mirror.sync.mirrored import Mirrored
from mirror.sync.observe import NOTHING, Base, Earlier, Observation, Observer
from mirror.sync.settling import has_doi, unsettled
from mirror.sync.spool import Spool
from mirror.sync.zarr.linking import ZarrLinker, ZarrMissing


@dataclass(frozen=True)
class Reading:
    """What was read of a Dandiset in one sync."""

    releases: list[Observation]
    """published versions to be added, in their order"""
    draft: Observation
    versions: list[VersionSummary]
    waiting: dict[str, str]
    """published versions that are not taken yet, with the reason"""
    drift: tuple[Drift, ...]


@dataclass(frozen=True)
class Reader:
    """Reads one Dandiset next to what is mirrored of it. `scratch` is a folder for files that nobody misses."""

    client: ArchiveClient
    instance: Instance
    identifier: str
    layout: Layout
    settle_seconds: float
    observer: Observer
    mirrored: Mirrored
    objects: Objects
    scratch: Path
    api_hosts: frozenset[str]
    """where assets may be downloaded from, besides the bucket"""
    zarrs: ZarrLinker | None
    """None: they are left out"""
    skipped: Collection[str] = ()
    """published versions that are not waited for"""
    listed: Callable[[list[VersionSummary]], None] = lambda _: None
    """is told of the published versions that are missing here, before any of them is read"""

    def read(self, state: DandisetState, *, everything: bool) -> Reading:
        """`everything`: re-read it all, whatever the times say."""
        versions = self.client.versions(self.identifier)
        published = sorted(
            (version for version in versions if version.version != "draft"),
            key=lambda version: (moment(version.created), version.version),
        )
        self.listed(self.missing(published))
        drift = self._drift(published, state, everything=everything)
        releases, waiting = self._new_releases(published)
        drift += self._disorder(releases, published)
        draft = self._draft(releases, state, everything=everything)
        self._check(draft)
        if self.zarrs is not None:
            draft = self.zarrs.draft(draft)
        return Reading(releases, draft, versions, waiting, tuple(drift))

    def missing(self, published: Iterable[VersionSummary]) -> list[VersionSummary]:
        """Those of the published versions that are to be mirrored, and are not."""
        taken = self.mirrored.versions
        return [one for one in published if one.version not in taken and one.version not in self.skipped]

    def _draft(self, releases: list[Observation], state: DandisetState, *, everything: bool) -> Observation:
        earlier = self._earlier(releases)
        zarrs_left = state.zarrs_failed or state.zarrs_unfinished
        if state.pending and not zarrs_left and earlier.base is Base.DRAFT and not everything:
            # Where no time moved, only the assets that were not hashed yet can be others.
            seen = self.observer.observe_pending("draft", earlier, state)
            if seen is not None:
                return seen
        return self.observer.observe("draft", earlier, release=False, everything=everything)

    def _new_releases(self, published: list[VersionSummary]) -> tuple[list[Observation], dict[str, str]]:
        """The published versions that have settled. One that has not holds back those after it."""
        observed: list[Observation] = []
        waiting: dict[str, str] = {}
        for version in self.missing(published):
            version_tag(version.version)
            if waiting:
                waiting[version.version] = f"waits for {next(iter(waiting))}"
            elif why := self._unsettled(version.version):
                waiting[version.version] = why
            else:
                seen = self.observer.observe(version.version, self._earlier(observed), release=True)
                self._check(seen)
                try:
                    observed.append(seen if self.zarrs is None else self.zarrs.release(seen))
                except ZarrMissing as missing:
                    waiting[version.version] = str(missing)
        return observed, waiting

    def _earlier(self, releases: list[Observation]) -> Earlier:
        """What a version is best read next to: the release just read, else the draft, which is what was published,
        and of which the index knows when each asset was modified."""
        if releases:
            return Earlier(releases[-1].assets, Base.RELEASE)
        if (draft := usable(self.mirrored.draft, self.layout)) is not None:
            return Earlier(draft.assets, Base.DRAFT)
        return NOTHING

    def _unsettled(self, version: str) -> str | None:
        look = self.observer.look(version)
        return unsettled(look.value, has_doi(look.value), look.date, self.settle_seconds, self.instance)

    def _disorder(self, releases: list[Observation], published: list[VersionSummary]) -> list[Drift]:
        """New versions that, by their time, belong before one that is mirrored already."""
        known = [version for version in published if version.version in self.mirrored.versions]
        if not known:
            return []
        last = known[-1]
        return [
            out_of_order(seen.info, last.version)
            for seen in releases
            if (moment(seen.info.created), seen.info.version) < (moment(last.created), last.version)
        ]

    def _drift(self, published: list[VersionSummary], state: DandisetState, *, everything: bool) -> list[Drift]:
        """Compare the tagged versions that were saved again since, or all of them, with their tags."""
        tagged = self.mirrored.versions
        found = [withdrawn(version) for version in sorted(tagged - {version.version for version in published})]
        found += [drift for drift in state.drift if drift.version in tagged and drift.disorder]
        for version in published:
            if version.version not in tagged:
                continue
            if not everything and state.versions.get(version.version) == version.modified:
                found += [drift for drift in state.drift if drift.version == version.version and not drift.disorder]
                continue
            found += self._drift_of(version.version)
        return found

    def _drift_of(self, version: str) -> list[Drift]:
        # With lines of its own: a Dandiset may have many versions, and they are not needed any longer than this.
        with Spool(self.scratch) as spool:
            seen = Observer(self.client, self.identifier, self.layout, spool.keep).observe(
                version, NOTHING, release=True
            )
            tip = self.mirrored.release(version)
            return drift_of(
                tip,
                seen,
                self.objects,
                spool.read,
                identifier=self.identifier,
                instance_url=self.instance.url,
                same_layout=tip.layout == self.layout.trailer,
            )

    def _check(self, seen: Observation) -> None:
        """Refuse a version that no tree can hold, or that sends people elsewhere."""
        self._check_download_addresses(seen)
        try:
            for entry in seen.entries:
                tree_path(entry.path)
            if seen.entries:
                check_conflicts(seen.assets)
        except PathRefused as error:
            raise PathRefused(
                f"Dandiset {self.identifier}, version {seen.info.version}: {error.message}", hint=error.hint
            ) from None

    def _check_download_addresses(self, seen: Observation) -> None:
        """All assets share one form of address, or a few."""
        forms = {entry.api: entry for entry in seen.entries if entry.api is not None}
        for entry in forms.values():
            url = entry.api_url or ""
            if not content_url_allowed(url, self.api_hosts):
                raise ContentRefused(
                    f"Dandiset {self.identifier}: asset {entry.path!r} has a download address that is not the"
                    f" archive's, {shown(url)}"
                )
