"""Write what was read of a Dandiset into its repository: one pack, one move of its refs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from mirror.dataset.assets import AssetEntry
from mirror.dataset.commits import Changes
from mirror.dataset.times import epoch
from mirror.git.objects import COMMIT, Oid
from mirror.git.pack import PackWriter
from mirror.git.reader import Objects
from mirror.store.room import check_room
from mirror.sync.branch import BranchWriter
from mirror.sync.history import HistoryWriter, Subject, annex_commit
from mirror.sync.keys import Facts, KeyGatherer
from mirror.sync.leaving import forgotten, let_go
from mirror.sync.mirrored import ANNEX, Mirrored, Tip
from mirror.sync.observe import Observation
from mirror.sync.plan_size import FILES, size_of
from mirror.sync.trees import TreeWriter

T = TypeVar("T")


class ContentSource(Protocol):
    """Where contents and addresses come from."""

    def texts(self, entries: Iterable[AssetEntry], add: Callable[[bytes], T]) -> dict[str, T]: ...

    def recorded_urls(self, entries: Iterable[AssetEntry]) -> dict[str, str]: ...


@dataclass(frozen=True)
class Written:
    """What is to be published, and what it came to."""

    updates: dict[str, Oid]
    """refs that move; empty when nothing changed"""
    draft: Tip
    changes: Changes | None
    """what changed in the draft; None when nothing did"""
    leaving: dict[str, str]
    remarks: list[str]


class DandisetWriter:
    """Writes one Dandiset's observations. Nothing is seen of it until the caller publishes the updates.

    `versions_again`: ask once more for the S3 version ids that could not be had before.
    """

    def __init__(
        self,
        subject: Subject,
        mirrored: Mirrored,
        objects: Objects,
        writer: PackWriter,
        contents: ContentSource,
        line_of: Callable[[tuple[int, int]], bytes],
        *,
        remote: bytes,
        annex_metadata: bool,
        versions_again: bool = False,
    ) -> None:
        self._name = f"Dandiset {subject.identifier}"
        self._mirrored = mirrored
        self._objects = objects
        self._writer = writer
        self._contents = contents
        self._remote = remote
        self._annex_metadata = annex_metadata
        self._versions_again = versions_again
        self._embargoed = subject.embargoed
        trees = TreeWriter(objects, writer, line_of, subject.layout)
        self._history = HistoryWriter(subject, mirrored, objects, writer, trees, contents.texts)

    def write(
        self,
        releases: list[Observation],
        draft: Observation,
        leaving: Mapping[str, str] | None,
        withdraw: Callable[[Mapping[str, str], BranchWriter, Facts], dict[str, str]] | None = None,
    ) -> Written:
        """`leaving` are the addresses being let go of so far, None where that was forgotten; `withdraw` asks which of
        them are gone for good. `NoRoom`, and nothing done, where it would not fit."""
        check_room(self._writer.folder, size_of([*releases, draft]), self._name, files=FILES)
        written = [(seen, self._history.add_release(seen)) for seen in releases]
        tip, changes = self._history.add_draft(draft)
        written.append((draft, tip))
        updates = dict(self._history.updates)

        branch = BranchWriter(self._objects, self._writer, self._mirrored.annex)
        facts = self._gathered(written, branch)
        still = dict(leaving) if leaving is not None else self._forgotten(draft)
        still |= let_go(self._objects, branch, self._mirrored.draft, draft, embargoed=self._embargoed)
        if withdraw is not None and still:
            still = withdraw(still, branch, facts)
        tree = branch.write(facts, self._remote, epoch(draft.info.modified))
        if tree != self._mirrored.annex:
            commit = annex_commit(tree, self._mirrored.refs.get(ANNEX), epoch(draft.info.modified))
            updates[ANNEX] = self._writer.add(COMMIT, commit.encode())
        return Written(updates, tip, changes, still, self._history.remarks)

    def _forgotten(self, draft: Observation) -> dict[str, str]:
        if self._mirrored.annex is None:
            return {}
        kept: set[str | None] = set()
        for assets in (draft.assets, *(self._mirrored.release(version).assets for version in self._mirrored.versions)):
            kept.update(held.blob for held in assets.values())
            if self._embargoed:
                kept.update(held.asset_id for held in assets.values())
        return forgotten(self._objects, self._mirrored.annex, kept, embargoed=self._embargoed)

    def _gathered(self, written: list[tuple[Observation, Tip]], branch: BranchWriter) -> Facts:
        keys = KeyGatherer(
            branch, metadata=self._annex_metadata, versions_again=self._versions_again, embargoed=self._embargoed
        )
        for seen, tip in written:
            keys.gather(seen, self._objects, tip.tree, release=seen.info.version != "draft")
        keys.record(self._contents.recorded_urls(entry for entry, _ in keys.unrecorded))
        return keys.facts
