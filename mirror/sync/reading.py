"""Read what the archive says of a Dandiset: the versions that are new and have settled, and the draft."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mirror.archive.client import ArchiveClient
from mirror.archive.records import Instance, VersionSummary
from mirror.dataset.assets import Held
from mirror.dataset.commits import version_tag
from mirror.dataset.layout import Layout
from mirror.dataset.names import check_conflicts, tree_path
from mirror.errors import PathRefused
from mirror.git.reader import Objects
from mirror.store.state import DandisetState, Drift
from mirror.sync.drift import drift_of, out_of_order, withdrawn
from mirror.sync.history import usable
from mirror.sync.mirrored import Mirrored, Tip
from mirror.sync.observe import Observation, Observer
from mirror.sync.settling import has_doi, unsettled
from mirror.sync.spool import Spool


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

    def read(self, state: DandisetState, *, everything: bool) -> Reading:
        """`everything`: re-read it all, whatever the times say."""
        versions = self.client.versions(self.identifier)
        published = sorted(
            (version for version in versions if version.version != "draft"),
            key=lambda version: (version.created, version.version),
        )
        drift = self._drift(published, state, everything=everything)
        releases, waiting = self._new_releases(published)
        drift += self._disorder(releases, published)
        base = releases[-1].assets if releases else _assets(usable(self.mirrored.draft, self.layout))
        draft = self.observer.observe("draft", base, release=False, everything=everything)
        self._check_paths(draft)
        return Reading(releases, draft, versions, waiting, tuple(drift))

    def _new_releases(self, published: list[VersionSummary]) -> tuple[list[Observation], dict[str, str]]:
        """The published versions that have settled. One that has not holds back those after it."""
        observed: list[Observation] = []
        waiting: dict[str, str] = {}
        for version in published:
            if version.version in self.mirrored.versions:
                continue
            version_tag(version.version)
            if waiting:
                waiting[version.version] = f"waits for {next(iter(waiting))}"
            elif why := self._unsettled(version.version):
                waiting[version.version] = why
            else:
                base = observed[-1].assets if observed else _assets(usable(self.mirrored.releases, self.layout))
                seen = self.observer.observe(version.version, base, release=True)
                self._check_paths(seen)
                observed.append(seen)
        return observed, waiting

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
            if (seen.info.created, seen.info.version) < (last.created, last.version)
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
            seen = Observer(self.client, self.identifier, self.layout, spool.keep).observe(version, {}, release=True)
            tip = self.mirrored.release(version)
            return drift_of(
                tip, seen, self.objects, spool.read, identifier=self.identifier, instance_url=self.instance.url
            )

    def _check_paths(self, seen: Observation) -> None:
        """Refuse a version that no tree can hold."""
        try:
            for entry in seen.entries:
                tree_path(entry.path)
            if seen.entries:
                check_conflicts(seen.assets)
        except PathRefused as error:
            raise PathRefused(
                f"Dandiset {self.identifier}, version {seen.info.version}: {error.message}", hint=error.hint
            ) from None


def _assets(tip: Tip | None) -> Mapping[str, Held]:
    return tip.assets if tip is not None else {}
