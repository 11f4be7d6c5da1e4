"""A Zarr that has a repository: its trees, commits and addresses, in one pack and one move of its refs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from mirror.dataset.layout import NUMBER
from mirror.dataset.times import epoch
from mirror.dataset.zarr.folders import Folder
from mirror.dataset.zarr.manifest import Change, read_manifest
from mirror.git.objects import COMMIT, Commit, Oid
from mirror.store.packing import join_packs
from mirror.store.store import Store
from mirror.store.zarrs import ZarrFolder, read_text
from mirror.sync.branch import BranchWriter
from mirror.sync.history import annex_commit
from mirror.sync.mirrored import ANNEX, DRAFT, TAGS
from mirror.sync.repositories import opened
from mirror.sync.zarr.addresses import BEFORE, KeyLines, NewBranch, edited
from mirror.sync.zarr.commits import new_state
from mirror.sync.zarr.held import HeldZarr, layout_in
from mirror.sync.zarr.recording import Recorded
from mirror.sync.zarr.subject import Subject
from mirror.sync.zarr.target import MANIFEST_BYTES, Target

REPOSITORY_BYTES = 500
"""What a repository has of each file; measured: 400 to 490."""


class RepositoryTarget(Target):
    """Writes a repository: what differs from the state that is held, or all of it."""

    def __init__(self, store: Store, folder: ZarrFolder, subject: Subject, held: HeldZarr | None) -> None:
        super().__init__(folder, subject, held)
        self._store = store
        self._name = f"Zarr {subject.zarr_id}"
        self._lines = KeyLines()
        self._touched: set[bytes] = set()

    def open(self, stack: ExitStack) -> None:
        private = self._store.is_private(self.subject.zarr_id)
        repository = self._store.create_dataset(self.subject.zarr_id, private=private)
        self._repository = stack.enter_context(opened(repository, self._name))
        self._writer = stack.enter_context(self._repository.writer(deflate_small=True))
        self._objects = stack.enter_context(self._repository.objects(self._writer))
        self._refs = self._repository.refs()

    @property
    def bytes_a_file(self) -> int:
        return MANIFEST_BYTES if self.trusted else MANIFEST_BYTES + REPOSITORY_BYTES

    def record(self, folders: Iterable[Folder]) -> Recorded:
        take_key = None if self.trusted else self._lines.take
        return self.recorder(self._writer.add, take_key, self._changed).record(folders)

    def _changed(self, change: Change) -> None:
        if change.before is not None:
            self._touched.add(change.before[1])
            self._lines.take_row(change.path, change.before, BEFORE)
        if change.after is not None:
            self._touched.add(change.after[1])

    def keep(self, recorded: Recorded) -> HeldZarr:
        manifest = self.manifest.finish()
        if self.trusted and self._touched:
            self._take_sharers(read_text(manifest))
        updates, draft, commit = self._commits(recorded)
        updates |= self._branch(self._said_at(recorded, commit))
        place = self.folder.manifest_path(draft.hex())
        # The manifest of a new state is there before the state. That of the same state with other versions comes after
        # these are on the git-annex branch: otherwise nobody would find that they differ.
        if DRAFT in updates:
            self.manifest.keep(place)
        if updates:
            expected = {ref: self._refs.get(ref) for ref in updates}
            self._repository.publish(self._writer, updates, expected=expected)
        self._store.publish_as(self.subject.zarr_id, self.subject.zarr_id)
        if DRAFT not in updates:
            self.manifest.keep(place)
        self.folder.forget_commits()
        self.folder.forget_manifests(but=draft.hex())
        join_packs(self._repository, self._name)
        return HeldZarr(self.subject.zarr_id, "repository", draft, commit, self.origin)

    @staticmethod
    def _said_at(recorded: Recorded, draft: Commit) -> int:
        """When what is new about addresses is said."""
        return max(epoch(recorded.modified) if recorded.modified else 0, draft.committer.seconds)

    def _commits(self, recorded: Recorded) -> tuple[dict[str, Oid], Oid, Commit]:
        """The refs that move, and the tip of `draft`."""
        tip = self._refs.get(DRAFT)
        previous = (tip, self._objects.commit(tip)) if tip is not None else None
        if previous is not None and (previous[1].tree, layout_in(previous[1])) == (recorded.tree, NUMBER):
            return {}, *previous
        state = new_state(self.subject.facts(recorded.checksum), recorded.tree, recorded.modified, previous)
        snapshot = self._writer.add(COMMIT, state.snapshot.encode())
        updates = {DRAFT: self._writer.add(COMMIT, state.draft.encode())}
        tag = f"{TAGS}{recorded.checksum}"
        if tag not in self._refs:
            updates[tag] = snapshot
        return updates, updates[DRAFT], state.draft

    def _branch(self, seconds: int) -> dict[str, Oid]:
        tip, addresses, remote = self._refs.get(ANNEX), self.subject.addresses, self.subject.remote
        if tip is None:
            tree = NewBranch(self._objects, self._writer, addresses).write(self._lines, remote)
        else:
            before = self._objects.commit(tip).tree
            branch = BranchWriter(self._objects, self._writer, before)
            tree = edited(branch, self._lines, addresses, remote, seconds)
            if tree == before:
                return {}
        return {ANNEX: self._writer.add(COMMIT, annex_commit(tree, tip, seconds).encode())}

    def _take_sharers(self, manifest: Iterator[bytes]) -> None:
        """Take in every file that has the bytes of one that came or went: which addresses a key gets, all decide."""
        touched = self._touched
        for held in read_manifest(manifest):
            prefix = held.folder.path + b"/" if held.folder.path else b""
            for row in held.folder.rows():
                if row[1] in touched:
                    self._lines.take_row(prefix + row[0], row)
