"""One Zarr's turn: bring what is held of it up to what the archive says.

Right or not at all: what is listed has to add up to the archive's own checksum before anything of it is seen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from mirror.archive.s3 import ObjectVersion
from mirror.config import Settings
from mirror.dataset.zarr.checksum import Checksum
from mirror.dataset.zarr.folders import folders_of
from mirror.errors import ManifestDamaged, ZarrDiffers
from mirror.git.objects import Oid
from mirror.store.moving import begin_anew, close_dataset
from mirror.store.room import check_room, telling_of_room
from mirror.store.store import Store
from mirror.store.zarrs import ZarrFolder
from mirror.sync.connection import Connection
from mirror.sync.zarr.held import HeldZarr, finish, held_zarr, is_up_to_date, snapshot_of
from mirror.sync.zarr.in_manifest import ManifestTarget
from mirror.sync.zarr.in_repository import RepositoryTarget
from mirror.sync.zarr.materializing import materialized
from mirror.sync.zarr.subject import Subject
from mirror.sync.zarr.target import Target

logger = logging.getLogger(__name__)

ATTEMPTS = 2

_FILES = 32
"""so many files a new repository has, and somewhat more"""

_FAR_TOO_MANY = 4
"""A listing of so many times the files that were announced is not gone through to its end."""


class ZarrPending(Exception):
    """The archive is taking the Zarr in at this moment: there is no checksum to compare with."""


class ZarrSync:
    """Brings Zarrs up to date. `everything`: list them again even where nothing moved. `tell` is told how far it is."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        connection: Connection,
        *,
        everything: bool = False,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._connection = connection
        self._everything = everything
        self._tell = tell
        self.remarks: list[str] = []
        """what a person should know of the Zarrs that were recorded"""

    def sync(self, subject: Subject, checksum: Checksum) -> tuple[HeldZarr, bool]:
        """What is held of a Zarr once that is what the archive says, and whether that is something new.

        `ZarrDiffers` when it cannot be brought there; it then stays as it was.
        """
        subject.check(self._connection.hosts)
        folder = self._folder(subject)
        with telling_of_room(), folder.lock():
            before = held = self._held(folder)
            if held is None or self._everything or not is_up_to_date(held, subject, checksum):
                held = self._recorded(folder, held, subject, checksum)
            else:
                finish(self._store, folder, held)
            if held.form == "manifest" and self._wanted(folder, held.checksum) == "repository":
                held = materialized(self._store, folder, held)
            return held, before is None or (before.oid, before.form) != (held.oid, held.form)

    def snapshot(self, subject: Subject, checksum: Checksum) -> Oid:
        """The snapshot of a Zarr in this state: one that was seen, or the present one. `ZarrDiffers` otherwise."""
        folder = self._folder(subject)
        with folder.lock():
            held = self._held(folder)
            if held is not None and (known := snapshot_of(self._store, held, checksum)) is not None:
                return known
        # Asked first: of a state that is gone for good, nobody wants to list the Zarr each time.
        if self._checksum_now(subject) == checksum:
            held, _ = self.sync(subject, checksum)
            if (now := snapshot_of(self._store, held, checksum)) is not None:
                return now
        raise ZarrDiffers(f"Zarr {subject.zarr_id}: it is not in the state that was published any more, {checksum}")

    def _folder(self, subject: Subject) -> ZarrFolder:
        """What is kept of a Zarr. One that was recorded before its Dandiset came under embargo, and that no draft of it
        names, was not withdrawn with it: that is done now."""
        if subject.embargoed and self._store.open_side.holds(subject.zarr_id):
            close_dataset(self._store, subject.zarr_id, subject.zarr_id)
        return self._store.zarr(subject.zarr_id, private=subject.embargoed)

    def _held(self, folder: ZarrFolder) -> HeldZarr | None:
        begin_anew(self._store, folder.zarr_id)
        return held_zarr(self._store, folder)

    def _wanted(self, folder: ZarrFolder, checksum: Checksum) -> Literal["repository", "manifest"]:
        """How the settings want a Zarr of this size to be held. One that had a repository under embargo keeps one, for
        the content in it."""
        if self._store.opens is not None and self._store.opens.folder(folder.zarr_id).is_dir():
            return "repository"
        most = self._settings.zarr.repository_max_entries
        small = most is None or checksum.files <= most
        return "repository" if self._settings.zarr.hold == "repository" and small else "manifest"

    def _recorded(self, folder: ZarrFolder, held: HeldZarr | None, subject: Subject, expected: Checksum) -> HeldZarr:
        found = expected
        for attempt in range(ATTEMPTS):
            if attempt:
                expected = self._checksum_now(subject)
            # The second time page by page: then nothing but the bucket's own answers says what comes next.
            recorded = self._attempt(folder, held, subject, expected, jobs=1 if attempt else None)
            if isinstance(recorded, HeldZarr):
                return recorded
            found = recorded
        raise ZarrDiffers(
            f"Zarr {subject.zarr_id}: its files add up to {found}, the archive says {expected}; it stays as it was",
            hint="the next sync tries again",
        )

    def _attempt(
        self, folder: ZarrFolder, held: HeldZarr | None, subject: Subject, expected: Checksum, *, jobs: int | None
    ) -> HeldZarr | Checksum:
        """List the Zarr and record it; what is held then or, where it is not as expected, its checksum."""
        target = self._target(folder, held, subject, expected)
        name = f"Zarr {subject.zarr_id}"
        check_room(folder.path, target.bytes_a_file * expected.files, name, files=_FILES)
        try:
            with target:
                pages = self._pages(subject, expected, folder.path, jobs)
                recorded = target.record(folders_of(pages, subject.location.key))
                if recorded.checksum != expected:
                    return recorded.checksum
                self.remarks += [f"Zarr {subject.zarr_id}: {remark}" for remark in recorded.remarks]
                return target.keep(recorded)
        except ManifestDamaged as error:
            if held is None or held.form != "repository":
                raise
            logger.warning("Zarr %s: %s; it is compared with its repository instead", subject.zarr_id, error)
            folder.forget_manifests(but=None)
            return self._attempt(folder, replace(held, origin=None), subject, expected, jobs=jobs)

    def _target(self, folder: ZarrFolder, held: HeldZarr | None, subject: Subject, expected: Checksum) -> Target:
        # A Zarr goes on as it is held: a repository whatever the settings say by now, and what has only a manifest in
        # that. The repository is then written as a whole, with all states.
        form = held.form if held is not None else self._wanted(folder, expected)
        if form == "manifest":
            return ManifestTarget(folder, subject, held)
        return RepositoryTarget(self._store, folder, subject, held)

    def _checksum_now(self, subject: Subject) -> Checksum:
        said = self._connection.client.zarr(subject.zarr_id).checksum
        if said is None:
            raise ZarrPending(subject.zarr_id)
        return Checksum.parse(said)

    def _listing(self, subject: Subject, jobs: int | None) -> Iterator[list[ObjectVersion]]:
        if subject.embargoed:
            return self._connection.client.zarr_files(subject.zarr_id, subject.location.key)
        return self._connection.bucket.current_objects(subject.location, jobs=jobs)

    def _pages(
        self, subject: Subject, expected: Checksum, room_at: Path, jobs: int | None
    ) -> Iterator[Sequence[ObjectVersion]]:
        listed = 0
        for page in self._listing(subject, jobs):
            listed += len(page)
            check_room(room_at, 0, f"Zarr {subject.zarr_id}")  # how much of it differs shows only now
            if listed > _FAR_TOO_MANY * (expected.files + 1000):
                raise ZarrDiffers(
                    f"Zarr {subject.zarr_id}: more than {listed:,} files are listed, not {expected.files:,}"
                )
            if self._tell is not None and not subject.embargoed:
                self._tell(f"Zarr {subject.zarr_id}: {listed:,} of {expected.files:,} files listed")
            yield page
