"""Writing the repositories of Zarrs on demand, by a person, without the archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mirror.dataset.submodules import GITMODULES, dataset_ids
from mirror.errors import MirrorError, NoRoom, UsageError
from mirror.store.room import telling_of_room
from mirror.store.store import Store
from mirror.sync.mirrored import DRAFT
from mirror.sync.zarr.held import finish, held_zarr
from mirror.sync.zarr.materializing import materialized


@dataclass(frozen=True)
class Materialized:
    """How it went with one Zarr."""

    zarr_id: str
    result: Literal["written", "there", "failed"]
    message: str
    path: str
    commit: str | None = None
    """the tip of its `draft`"""


def zarrs_of(store: Store, identifier: str) -> list[str]:
    """The ids of the Zarrs in a Dandiset's draft, in the order of their paths."""
    repository = store.repository(identifier)
    tip = repository.refs().get(DRAFT) if repository.path.is_dir() else None
    if tip is None:
        raise UsageError(f"the store has no Dandiset {identifier}", hint="`dandi-mirror status` lists those it has")
    with repository.objects() as objects:
        return list(dict.fromkeys(dataset_ids(objects.blob_at(objects.commit(tip).tree, GITMODULES))))


def materialize(store: Store, zarr_id: str) -> Materialized:
    """Write a Zarr's repository, if it has none. Under the store's lock."""
    folder = store.zarr(zarr_id)
    path = str(store.alias(zarr_id))
    if not folder.path.is_dir() and not store.dataset(zarr_id).path.is_dir():
        return Materialized(zarr_id, "failed", "no such Zarr is mirrored here", path)
    try:
        with telling_of_room(), folder.lock():
            held = held_zarr(store, folder)
            if held is None:
                return Materialized(zarr_id, "failed", "nothing is held of this Zarr; `dandi-mirror sync` first", path)
            if held.form == "repository":
                finish(store, folder, held)
                return Materialized(zarr_id, "there", "has its repository already", path, held.oid.hex())
            states = len(held.commits) // 2
            held = materialized(store, folder, held)
    except NoRoom:
        raise  # it is no trouble of this Zarr
    except MirrorError as error:
        return Materialized(zarr_id, "failed", str(error), path)
    message = f"written, with {states} state{'s' if states > 1 else ''}: {held.checksum}"
    return Materialized(zarr_id, "written", message, path, held.oid.hex())
