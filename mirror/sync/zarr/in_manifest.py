"""A Zarr of which only the manifest is kept. Its trees and commits are named, as if they were written."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack

from mirror.dataset.layout import NUMBER
from mirror.dataset.zarr.folders import Folder
from mirror.dataset.zarr.manifest import Change, undo_lines
from mirror.errors import ManifestDamaged
from mirror.git.objects import hash_object
from mirror.store.zarrs import ZarrFolder
from mirror.sync.zarr.commits import new_state
from mirror.sync.zarr.held import HeldZarr
from mirror.sync.zarr.recording import Recorded
from mirror.sync.zarr.subject import Subject
from mirror.sync.zarr.target import MANIFEST_BYTES, Target


class ManifestTarget(Target):
    """Writes a manifest, and what leads back from it to the one before."""

    def __init__(self, folder: ZarrFolder, subject: Subject, held: HeldZarr | None) -> None:
        if held is not None and held.origin is None:
            raise ManifestDamaged(
                f"the manifest of Zarr {subject.zarr_id} is gone or damaged",
                hint=f"restore {folder.path} from a backup; or delete it, and the next sync begins anew",
            )
        super().__init__(folder, subject, held)

    def open(self, stack: ExitStack) -> None:
        self._undo = stack.enter_context(self.folder.writer("undo"))

    @property
    def bytes_a_file(self) -> int:
        return MANIFEST_BYTES

    def record(self, folders: Iterable[Folder]) -> Recorded:
        return self.recorder(hash_object, None, self._changed).record(folders)

    def _changed(self, change: Change) -> None:
        self._undo.write(undo_lines([change]))

    def keep(self, recorded: Recorded) -> HeldZarr:
        zarr_id, held = self.subject.zarr_id, self.held
        if held is not None and (held.draft.tree, held.layout) == (recorded.tree, NUMBER):
            self.manifest.keep(self.folder.manifest_path(held.oid.hex()))
            return HeldZarr(zarr_id, "manifest", held.oid, held.draft, self.origin, held.commits)
        previous = (held.oid, held.draft) if held is not None else None
        made = new_state(self.subject.facts(recorded.checksum), recorded.tree, recorded.modified, previous)
        before = held.commits if held is not None else ()
        commits = (*before, made.snapshot.encode().decode(), made.draft.encode().decode())
        if before:
            self._undo.keep(self.folder.undo_path(len(before) // 2))
        self.manifest.keep(self.folder.manifest_path(made.oid.hex()))
        self.folder.save_commits(commits)
        self.folder.forget_manifests(but=made.oid.hex())
        return HeldZarr(zarr_id, "manifest", made.oid, made.draft, self.origin, commits)
