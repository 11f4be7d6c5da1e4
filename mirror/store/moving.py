"""Taking a dataset from one side of the store to the other.

For whoever holds the store's lock. What a kill leaves half-done is finished by doing it once more: nothing is ever on
both sides, and whatever is done already is passed over.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from mirror.errors import StoreError
from mirror.git.bare import clear_sites, remove_bare
from mirror.git.files import make_folders, sync_folder
from mirror.git.repository import Repository
from mirror.store.opening import (
    forget_last_public,
    go_on,
    go_on_with_manifests,
    hand_back,
    hand_over,
    note_last_public,
    unlock_content,
    was_public,
)
from mirror.store.sides import Side
from mirror.store.store import Store


def close_dataset(store: Store, dataset_id: str, name: str) -> None:
    """Take a dataset from what is public. Its address goes first: from then on nobody finds it."""
    source, target = store.open_side, store.make_private()
    _unlink(source.alias(name))
    note_last_public(source, dataset_id)
    _move_manifest(source, target, dataset_id)
    _move_repository(source, target, dataset_id)
    if target.folder(dataset_id).is_dir():
        store.publish_as(name, dataset_id)


def begin_anew(opening: Store, dataset_id: str) -> None:
    """Where a dataset that is to be opened was public before, begin with what everybody saw of it then."""
    closed, side = opening.opens, opening.closed_side
    if closed is None or opening.open_side.holds(dataset_id):
        return
    if was_public(closed.zarr_folder(dataset_id)):
        go_on_with_manifests(closed.zarr_folder(dataset_id), side.zarr_folder(dataset_id))
    if was_public(closed.folder(dataset_id)):
        go_on(closed.folder(dataset_id), opening.create_dataset(dataset_id))


def open_dataset(store: Store, dataset_id: str, name: str) -> None:
    """Put a dataset, as it was made anew, among what is public, and delete it as it was. Its address comes when all of
    it is there."""
    source, target, closed = store.opening_side, store.open_side, store.closed_side
    if not (source.holds(dataset_id) or target.holds(dataset_id)):
        raise StoreError(f"{name} was not made anew, so there is nothing of it to be opened")
    made = next((side.folder(dataset_id) for side in (source, target) if side.folder(dataset_id).is_dir()), None)
    if made is not None and closed.folder(dataset_id).is_dir():
        hand_over(closed, dataset_id, Repository(made))
    _delete_repository(closed, dataset_id)
    _move_repository(source, target, dataset_id)
    if target.folder(dataset_id).is_dir():
        forget_last_public(target.folder(dataset_id))
        store.publish_as(name, dataset_id)
    _move_manifest(source, target, dataset_id)
    _unlink(source.alias(name))
    delete_closed(store, dataset_id, name)


def delete_closed(store: Store, dataset_id: str, name: str) -> None:
    """Delete what there is of a dataset on the closed side."""
    _delete_repository(store.closed_side, dataset_id)
    _delete_manifest(store.closed_side, dataset_id)
    _unlink(store.closed_side.alias(name))


def give_up_opening(store: Store, dataset_id: str, name: str) -> None:
    """Of a dataset that is not opened after all, delete what was made anew; or keep it where nothing else is left."""
    source, target = store.opening_side, store.closed_side
    made, kept = source.folder(dataset_id), target.folder(dataset_id)
    _unlink(source.alias(name))
    if made.is_dir() and kept.is_dir():
        hand_back(made, kept)
        _delete_repository(source, dataset_id)
    _move_repository(source, target, dataset_id)
    if kept.is_dir():
        store.publish_as(name, dataset_id)
    if target.holds(dataset_id):
        _delete_manifest(source, dataset_id)
    _move_manifest(source, target, dataset_id)


def _move_repository(source: Side, target: Side, dataset_id: str) -> None:
    before, after = source.folder(dataset_id), target.folder(dataset_id)
    if not before.is_dir():
        return
    if after.is_dir():
        raise StoreError(f"{before} and {after} are the same dataset", hint="move the older of them elsewhere")
    with Repository(before).lock():  # whoever is at work in there, on whatever machine, comes to an end first
        _rename(before, after)


def _move_manifest(source: Side, target: Side, zarr_id: str) -> None:
    before, after = source.zarr_folder(zarr_id), target.zarr_folder(zarr_id)
    if not before.is_dir():
        return
    if after.is_dir():
        # That of a Zarr with a repository can be lost. One without has been here all the time.
        shutil.rmtree(after)
    _rename(before, after)


def _delete_repository(side: Side, dataset_id: str) -> None:
    folder = side.folder(dataset_id)
    if folder.parent.is_dir():
        clear_sites(folder.parent)
    if folder.is_dir():
        with Repository(folder).lock():
            unlock_content(folder)
            remove_bare(folder)


def _delete_manifest(side: Side, zarr_id: str) -> None:
    if side.zarr_folder(zarr_id).is_dir():
        shutil.rmtree(side.zarr_folder(zarr_id))


def _rename(before: Path, after: Path) -> None:
    make_folders(after.parent)
    try:
        before.rename(after)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise StoreError(
            f"{before} cannot be moved to {after}: they are on two file systems",
            hint="`public`, `private` and `state` of a store have to be on one",
        ) from None
    sync_folder(after.parent)
    sync_folder(before.parent)


def _unlink(link: Path) -> None:
    if link.is_symlink():
        link.unlink()
        sync_folder(link.parent)
