"""Write what was observed as commits and tags: the chain of releases, and the draft's own history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from mirror.dataset.assets import TEXT, AssetEntry, Held
from mirror.dataset.commits import (
    Changes,
    CommitFacts,
    changes_between,
    doi_tag,
    tag_message,
    version_tag,
)
from mirror.dataset.documents import dandiset_yaml, release_document, version_json, without_times
from mirror.dataset.layout import Layout, fixed_files, with_skips
from mirror.dataset.names import tree_path
from mirror.dataset.times import epoch, moment
from mirror.errors import StoreError
from mirror.git.objects import COMMIT, TAG, Commit, Oid, Tag
from mirror.git.pack import PackWriter
from mirror.git.reader import Objects
from mirror.git.refs import FreeNames
from mirror.store.skips import Skip
from mirror.store.writer import writer_at
from mirror.sync.mirrored import DRAFT, RELEASES, TAGS, Mirrored, Tip
from mirror.sync.observe import Base, Observation
from mirror.sync.trees import Step, TreeWriter

VERSION_FILE = b".dandi/version.json"
FetchTexts = Callable[[list[AssetEntry], Callable[[bytes], Oid]], dict[str, Oid]]


@dataclass(frozen=True)
class Subject:
    """Which Dandiset is being written, and how."""

    identifier: str
    dataset_id: str
    instance_url: str
    layout: Layout
    skips: tuple[Skip, ...] = ()
    """published versions that are left out"""
    embargoed: bool = False
    """its draft is marked so; what is published looks the same for ever"""

    def layout_at(self, created: str) -> str:
        """The layout of a version made then: it names the skipped ones that would stand before it."""
        skipped = [skip.version for skip in self.skips if moment(skip.created) < moment(created)]
        return with_skips(self.layout.trailer, skipped)


def usable(tip: Tip | None, layout: Layout) -> Tip | None:
    """A tip to build on: one of another layout may hold anything, so nothing of its tree is taken over."""
    return tip if tip is not None and tip.layout == layout.trailer else None


class HistoryWriter:
    """Adds releases, then the draft, of one Dandiset. `updates` are the refs that then have to move."""

    def __init__(
        self,
        subject: Subject,
        mirrored: Mirrored,
        objects: Objects,
        writer: PackWriter,
        trees: TreeWriter,
        fetch_texts: FetchTexts,
    ) -> None:
        self._subject = subject
        self._mirrored = mirrored
        self._objects = objects
        self._writer = writer
        self._trees = trees
        self._fetch_texts = fetch_texts
        self._releases = mirrored.releases
        self._texts: dict[str, Oid] = {}
        self.updates: dict[str, Oid] = {}
        self.remarks: list[str] = []

    def add_release(self, seen: Observation) -> Tip:
        """One published version: a commit on `releases`, its tag, and a second tag under its DOI."""
        info, subject = seen.info, self._subject
        document = release_document(seen.metadata, subject.instance_url)
        tree = self._tree(seen, version_json(info, subject.identifier, seen.metadata), document)
        before = self._releases.assets if self._releases is not None else {}
        doi = document.get("doi")
        facts = self._facts(seen, changes_between(before, seen.assets), self._subject.layout_at(info.created), doi=doi)
        parents = (self._releases.oid,) if self._releases is not None else ()
        tip = self._commit(tree, parents, epoch(info.created), facts, seen.assets)
        self._releases = tip
        name = version_tag(info.version)
        if TAGS + name in self._mirrored.refs or TAGS + name in self.updates:
            raise StoreError(f"Dandiset {subject.identifier}: tag {name} is there already, and never moves")
        tag = Tag(tip.oid, COMMIT, name, writer_at(epoch(info.created)), tag_message(document))
        self.updates |= {RELEASES: tip.oid, TAGS + name: self._writer.add(TAG, tag.encode())}
        if doi is None:
            self.remarks.append(f"version {info.version} has no DOI")
        elif (second := doi_tag(str(doi))) and FreeNames({*self._mirrored.refs, *self.updates}).take(TAGS + second):
            self.updates[TAGS + second] = tip.oid
        elif second:
            self.remarks.append(f"version {info.version}: its DOI {doi!r} is, or is part of, that of another version")
        else:
            self.remarks.append(f"version {info.version}: its DOI {doi!r} is no name for a tag")
        return tip

    def add_draft(self, seen: Observation) -> tuple[Tip, Changes | None]:
        """The draft, if there is anything new about it: its tip, and what changed (None: nothing did)."""
        previous, subject = self._mirrored.draft, self._subject
        released = RELEASES in self.updates
        times = (seen.info.modified, seen.info.status)
        version_file = version_json(seen.info, subject.identifier, seen.metadata, draft_times=times)
        tree = self._tree(seen, version_file, seen.metadata)
        if previous is not None and not released and self._only_times_differ(tree, previous):
            return previous, None
        first = previous or self._releases
        parents = [tip.oid for tip in (previous, self._releases if released or previous is None else None) if tip]
        changes = changes_between(first.assets if first is not None else {}, seen.assets)
        facts = self._facts(seen, changes, subject.layout.trailer, modified=seen.info.modified)
        tip = self._commit(tree, tuple(parents), epoch(seen.info.modified), facts, seen.assets)
        self.updates[DRAFT] = tip.oid
        return tip, changes

    def _only_times_differ(self, tree: Oid, previous: Tip) -> bool:
        """Whether nothing but the draft's `modified` and `status` moved: they flutter after every change."""
        if previous.layout != self._subject.layout.trailer:
            return False
        now, then = dict(self._objects.tree(tree)), dict(self._objects.tree(previous.tree))
        folder_now, folder_then = now.pop(b".dandi"), then.pop(b".dandi", None)
        if now != then or folder_then is None:
            return False
        now, then = dict(self._objects.tree(folder_now.oid)), dict(self._objects.tree(folder_then.oid))
        file_now, file_then = now.pop(b"version.json"), then.pop(b"version.json", None)
        if now != then or file_then is None:
            return False
        return without_times(self._objects.blob(file_now.oid)) == without_times(self._objects.blob(file_then.oid))

    def _base(self, seen: Observation) -> Oid | None:
        """The tree of the state that a version was observed next to."""
        tip = {Base.NOTHING: None, Base.DRAFT: self._mirrored.draft, Base.RELEASE: self._releases}[seen.base]
        return tip.tree if tip is not None else None

    def _tree(self, seen: Observation, version_file: bytes, document: dict[str, object]) -> Oid:
        step = Step(
            base=self._base(seen),
            before=seen.before,
            after=seen.assets,
            entries=seen.entries,
            removed=seen.removed,
            links=seen.links,
        )
        files = {
            **fixed_files(self._subject.dataset_id, embargoed=self._subject.embargoed and seen.info.version == "draft"),
            b"dandiset.yaml": dandiset_yaml(document),
            VERSION_FILE: version_file,
        }
        return self._trees.write(step, self._text_blobs(step), files)

    def _text_blobs(self, step: Step) -> dict[str, Oid]:
        """The blobs of a step's texts: from the earlier tree where the same bytes lie there, fetched otherwise."""
        blobs: dict[str, Oid] = {}
        missing: list[AssetEntry] = []
        for entry in step.entries:
            if entry.held.kind != TEXT:
                continue
            known = self._texts.get(entry.sha256 or "") or self._same_text(step, entry)
            if known is not None:
                blobs[entry.path] = known
            else:
                missing.append(entry)
        blobs |= self._fetch_texts(missing, self._writer.add_blob)
        self._texts.update((entry.sha256 or "", blobs[entry.path]) for entry in missing)
        return blobs

    def _same_text(self, step: Step, entry: AssetEntry) -> Oid | None:
        before = step.before.get(entry.path)
        if step.base is None or before is None or (before.kind, before.blob) != (TEXT, entry.held.blob):
            return None
        found = self._objects.lookup(step.base, tree_path(entry.path))
        if found is None or sha256(self._objects.blob(found.oid)).hexdigest() != entry.sha256:
            return None
        return found.oid

    def _facts(
        self, seen: Observation, changes: Changes, layout: str, *, doi: object = None, modified: str | None = None
    ) -> CommitFacts:
        return CommitFacts(
            identifier=self._subject.identifier,
            version=seen.info.version,
            changes=changes,
            assets=len(seen.assets),
            size=seen.size,
            layout=layout,
            doi=str(doi) if doi is not None else None,
            modified=modified,
        )

    def _commit(
        self, tree: Oid, parents: tuple[Oid, ...], seconds: int, facts: CommitFacts, assets: Mapping[str, Held]
    ) -> Tip:
        who = writer_at(seconds)
        commit = Commit(tree, parents, who, who, facts.message())
        return Tip(self._writer.add(COMMIT, commit.encode()), commit, lambda: assets)


def annex_commit(tree: Oid, previous: Oid | None, seconds: int) -> Commit:
    """A commit on the git-annex branch, at a time of the archive's."""
    who = writer_at(seconds)
    return Commit(tree, (previous,) if previous is not None else (), who, who, "update\n")
