"""What is held of a Zarr: by its repository where it has one, by its manifest otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mirror.dataset.commits import trailers
from mirror.dataset.layout import NUMBER
from mirror.dataset.zarr.checksum import Checksum
from mirror.dataset.zarr.manifest import Origin
from mirror.git.objects import COMMIT, Commit, Oid, hash_object
from mirror.store.store import Store
from mirror.store.zarrs import ZarrFolder
from mirror.sync.mirrored import DRAFT, TAGS
from mirror.sync.repositories import repair
from mirror.sync.zarr.subject import Subject


@dataclass(frozen=True)
class HeldZarr:
    """A Zarr as it was last recorded."""

    zarr_id: str
    form: Literal["repository", "manifest"]
    oid: Oid
    """the tip of `draft`"""
    draft: Commit
    origin: Origin | None
    """what its manifest was made with; None where there is none"""
    commits: tuple[str, ...] = ()
    """every snapshot and draft so far; only where there is no repository"""

    @property
    def checksum(self) -> Checksum:
        return checksum_in(self.draft)

    @property
    def layout(self) -> int:
        """The number of the layout that it was recorded in."""
        return layout_in(self.draft)


def held_zarr(store: Store, folder: ZarrFolder) -> HeldZarr | None:
    """None when nothing is."""
    repository = store.dataset(folder.zarr_id)
    tip = repository.refs().get(DRAFT) if repository.path.is_dir() else None
    if tip is not None:
        with repository.objects() as objects:
            return HeldZarr(folder.zarr_id, "repository", tip, objects.commit(tip), folder.origin(tip.hex()))
    commits = folder.commits()
    if not commits:
        return None
    body = commits[-1].encode()
    oid = hash_object(COMMIT, body)
    return HeldZarr(folder.zarr_id, "manifest", oid, Commit.decode(body), folder.origin(oid.hex()), commits)


def is_recorded(store: Store, zarr_id: str) -> bool:
    """Whether anything is held."""
    return DRAFT in store.dataset(zarr_id).refs() or bool(store.zarr(zarr_id).commits())


def is_up_to_date(held: HeldZarr, subject: Subject, checksum: Checksum) -> bool:
    """Whether what is held is this state, written as it is now, with all the addresses that may be recorded."""
    opened = held.origin is not None and held.origin.embargoed and not subject.embargoed
    return held.checksum == checksum and held.layout == NUMBER and not opened


def finish(store: Store, folder: ZarrFolder, held: HeldZarr) -> None:
    """Mend what a dead process may have left undone of a Zarr that is up to date."""
    if held.form == "repository":
        repository = store.dataset(held.zarr_id)
        if repository.looks_unfinished():
            repair(repository, f"Zarr {held.zarr_id}")
        store.publish_as(held.zarr_id, held.zarr_id)
        folder.forget_commits()
    folder.forget_manifests(but=held.oid.hex())


def snapshot_of(store: Store, held: HeldZarr, checksum: Checksum) -> Oid | None:
    """The snapshot of a Zarr in this state, if it was seen in it."""
    if held.form == "repository":
        return store.dataset(held.zarr_id).refs().get(f"{TAGS}{checksum}")
    for text in held.commits[::2]:
        body = text.encode()
        if checksum_in(Commit.decode(body)) == checksum:
            return hash_object(COMMIT, body)
    return None


def layout_in(commit: Commit) -> int:
    """The number of the layout that a snapshot or a draft was written in."""
    return int(trailers(commit.message).get("Layout", "0"))


def checksum_in(commit: Commit) -> Checksum:
    """The checksum of the state that a snapshot or a draft is of."""
    return Checksum.parse(trailers(commit.message).get("Checksum", ""))
