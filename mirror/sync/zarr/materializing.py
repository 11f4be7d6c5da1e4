"""Writing the repository of a Zarr of which only the manifest was kept: every state it was seen in, under the hashes
it was given then, without asking the archive."""

from __future__ import annotations

from urllib.parse import urlsplit

from mirror.annex import hashdirs
from mirror.annex.remotes import dandiapi_remote
from mirror.dataset.identity import api_remote_uuid
from mirror.dataset.layout import NUMBER
from mirror.dataset.zarr.files import key_of, path_in_tree
from mirror.dataset.zarr.folders import Row
from mirror.dataset.zarr.manifest import read_undo
from mirror.errors import ManifestDamaged, StoreError
from mirror.git.objects import BLOB, COMMIT, MODE_LINK, Commit, Entry, Oid
from mirror.git.pack import PackWriter
from mirror.git.reader import Objects
from mirror.git.trees import Change, edit_tree
from mirror.store.room import check_room
from mirror.store.store import Store
from mirror.store.zarrs import ZarrFolder
from mirror.sync.history import annex_commit
from mirror.sync.mirrored import ANNEX, DRAFT, TAGS
from mirror.sync.repositories import opened
from mirror.sync.zarr.addresses import BEFORE, KeyLines, NewBranch
from mirror.sync.zarr.held import HeldZarr, checksum_in
from mirror.sync.zarr.in_repository import REPOSITORY_BYTES
from mirror.sync.zarr.recording import Recorder
from mirror.sync.zarr.subject import Subject
from mirror.sync.zarr.trees import FolderTrees, own_entries


def materialized(store: Store, folder: ZarrFolder, held: HeldZarr) -> HeldZarr:
    """Write the repository; what is held then. Under the Zarr's lock."""
    origin = held.origin
    if origin is None:
        raise ManifestDamaged(
            f"the manifest of Zarr {held.zarr_id} is gone or damaged",
            hint=f"restore {folder.path} from a backup; or delete it, and `sync --full` a Dandiset that has it",
        )
    if origin.layout != NUMBER:
        raise StoreError(
            f"the manifest of Zarr {held.zarr_id} is of an earlier layout, {origin.layout}",
            hint="the next `dandi-mirror sync` of a Dandiset that has it records it anew",
        )
    check_room(folder.path, REPOSITORY_BYTES * held.checksum.files, f"Zarr {held.zarr_id}", files=32)
    remote = dandiapi_remote(api_remote_uuid(store.facts.instance_url), urlsplit(origin.api).netloc)
    subject = Subject(held.zarr_id, origin.address, origin.api, remote, origin.embargoed)
    repository = store.create_dataset(subject.zarr_id, private=store.is_private(subject.zarr_id))
    with (
        opened(repository, f"Zarr {subject.zarr_id}"),
        repository.writer(deflate_small=True) as writer,
        repository.objects(writer) as objects,
    ):
        updates = _Writing(folder, held, subject, objects, writer).write()
        repository.publish(writer, updates, expected=dict.fromkeys(updates))
        store.publish_as(subject.zarr_id, subject.zarr_id)
    folder.forget_commits()
    return HeldZarr(held.zarr_id, "repository", held.oid, held.draft, origin)


class _Writing:
    def __init__(
        self, folder: ZarrFolder, held: HeldZarr, subject: Subject, objects: Objects, writer: PackWriter
    ) -> None:
        self._folder = folder
        self._held = held
        self._subject = subject
        self._objects = objects
        self._writer = writer
        self._lines = KeyLines()
        self._seen: set[bytes] = set()

    def write(self) -> dict[str, Oid]:
        """The refs of the new repository."""
        commits = [Commit.decode(text.encode()) for text in self._held.commits]
        states = list(zip(commits[::2], commits[1::2], strict=True))
        tree = self._present()
        self._check(tree, states[-1][0])
        for number in range(len(states) - 1, 0, -1):
            snapshot = states[number - 1][0]
            tree = self._before(number, tree, snapshot)
            self._check(tree, snapshot)
        updates: dict[str, Oid] = {}
        for snapshot, draft in states:
            oid = self._writer.add(COMMIT, snapshot.encode())
            updates.setdefault(f"{TAGS}{checksum_in(snapshot)}", oid)
            updates[DRAFT] = self._writer.add(COMMIT, draft.encode())
        if updates[DRAFT] != self._held.oid:
            raise self._damaged("its history does not lead to its commit")
        return updates | {ANNEX: self._branch(states[-1][1])}

    def _present(self) -> Oid:
        """The tree of the latest state, from its manifest."""
        add = self._writer.add
        recorder = Recorder(
            facts_for=self._subject.facts,
            own=lambda facts: own_entries(facts, add),
            trees=FolderTrees(add, self._take),
            head=b"",
            manifest=lambda _: None,
        )
        return recorder.record(held.folder for held in self._folder.manifest(self._held.oid.hex())).tree

    def _take(self, lower: bytes, key: bytes, path: bytes, version_id: bytes) -> None:
        self._seen.add(key)
        self._lines.take(lower, key, path, version_id)

    def _before(self, number: int, tree: Oid, snapshot: Commit) -> Oid:
        """The tree of an earlier state, from that of the one after it."""
        undo = read_undo(self._folder.undo(number))
        former: set[bytes] = set()
        changes = sorted(self._changes(undo, former) | self._own(snapshot))
        self._seen |= former
        earlier = edit_tree(self._objects, self._writer, tree, changes)
        assert earlier is not None, "a Zarr's tree always holds its own files"
        return earlier

    def _changes(self, undo: list[tuple[bytes, Row | None]], former: set[bytes]) -> set[Change]:
        changes: set[Change] = set()
        for path, row in undo:
            where = path_in_tree(path)
            if row is None:
                changes.add((where, None))
                continue
            key = key_of(row)
            changes.add((where, Entry(MODE_LINK, self._writer.add(BLOB, hashdirs.link_target(where, key.decode())))))
            if key not in self._seen:
                former.add(key)
                self._lines.take_row(path, row, BEFORE)
        return changes

    def _own(self, snapshot: Commit) -> set[Change]:
        facts = self._subject.facts(checksum_in(snapshot))
        return set(own_entries(facts, self._writer.add).items())

    def _branch(self, draft: Commit) -> Oid:
        tree = NewBranch(self._objects, self._writer, self._subject.addresses).write(self._lines, self._subject.remote)
        return self._writer.add(COMMIT, annex_commit(tree, None, draft.committer.seconds).encode())

    def _check(self, tree: Oid, snapshot: Commit) -> None:
        if tree != snapshot.tree:
            raise self._damaged("it does not give the tree that was named when it was recorded")

    def _damaged(self, what: str) -> ManifestDamaged:
        return ManifestDamaged(
            f"the manifest of Zarr {self._subject.zarr_id} is damaged: {what}",
            hint=f"restore {self._folder.path} from a backup; or delete it, and `sync --full` a Dandiset that has it",
        )
