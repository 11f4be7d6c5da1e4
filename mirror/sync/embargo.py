"""From one side of the store to the other: what comes under embargo is withdrawn, what is opened becomes public.

Both are done by the process that has the store's lock, between the turns of Dandisets, and in steps that can be broken
off after each: the marks on the closed side are the first to come and the last to go, and as long as there is anything
of a Dandiset on the wrong side the next poll goes on.

What happened under embargo stays there. A Dandiset that is opened is made anew, in `Store.opening`, from what the
archive says of it now and, if it was public before, from what everybody saw of it then: its refs are those of a mirror
that never saw it closed. Until that is done it is kept as it was on the closed side; then that is deleted.
"""

from __future__ import annotations

import logging

from msgspec.structs import replace

from mirror.dataset.submodules import GITMODULES, dataset_ids
from mirror.git.objects import Oid
from mirror.git.reader import Objects
from mirror.git.repository import Repository
from mirror.store.moving import begin_anew, close_dataset, delete_closed, give_up_opening, open_dataset
from mirror.store.room import telling_of_room
from mirror.store.state import DandisetState, write_state
from mirror.store.store import Store
from mirror.store.version_keys import versions_in
from mirror.sync.mirrored import DRAFT, RELEASES, TAGS
from mirror.sync.zarr.held import is_recorded

__all__ = ["admit", "begin_opening", "is_exposed", "open_up", "withdraw", "zarrs_ever"]

logger = logging.getLogger(__name__)


def admit(store: Store, identifier: str, since: str) -> None:
    """Note that a Dandiset is to be mirrored on the closed side. Of one that is there, lost marks are made anew."""
    if not store.closed_side.marks(identifier).exists():
        side = store.make_private()
        write_state(side.marks(identifier), DandisetState(identifier=identifier, embargoed=since))


@telling_of_room()
def begin_opening(store: Store, identifier: str) -> None:
    """Note that a Dandiset is to be opened, before anything of it is made anew."""
    opening = store.opening()
    side = opening.make_private()
    if not opening.is_embargoed(identifier) and not store.open_side.holds(store.dataset_id(identifier)):
        left = store.state(identifier).zarrs_closed
        write_state(side.marks(identifier), DandisetState(identifier=identifier, zarrs_closed=left))


def is_exposed(store: Store, identifier: str) -> bool:
    """Whether there is anything of a Dandiset, its marks included, that others can see, or were about to."""
    side = store.open_side
    places = (side.marks(identifier), side.folder(store.dataset_id(identifier)), store.opening_side.marks(identifier))
    return side.alias(identifier).is_symlink() or any(place.exists() for place in places)


@telling_of_room()
def withdraw(store: Store, identifier: str, since: str) -> None:
    """Take a Dandiset that came under embargo from what is public, with its Zarrs."""
    side, dataset_id = store.make_private(), store.dataset_id(identifier)
    if not side.marks(identifier).exists():
        _tell(store, identifier)
        # Whatever was taken last, it is to be looked at, as one under embargo.
        state = replace(store.state(identifier), draft_modified=None, failure=None, seen="", open_since=None)
        write_state(side.marks(identifier), replace(state, embargoed=state.embargoed or since))
    if store.opening_side.marks(identifier).exists():
        _give_up_opening(store, identifier)
    store.forget_published()
    close_dataset(store, dataset_id, identifier)
    for zarr_id in zarrs_ever(store.dataset(dataset_id)):
        if store.open_side.holds(zarr_id) or store.is_private(zarr_id):
            close_dataset(store, zarr_id, zarr_id)
    with store.index() as index:
        index.forget_draft(identifier)
    store.open_side.marks(identifier).unlink(missing_ok=True)


def _give_up_opening(store: Store, identifier: str) -> None:
    """It came under embargo again before it was opened."""
    dataset_id, marks = store.dataset_id(identifier), store.closed_side.marks(identifier)
    made = store.opening()
    zarrs = {*zarrs_ever(store.dataset(dataset_id)), *zarrs_ever(made.dataset(dataset_id))}
    # Perhaps it is what was made anew that is kept: that is to be read again.
    write_state(marks, replace(store.state(identifier), draft_modified=None, holding=None))
    for zarr_id in sorted(zarrs):
        give_up_opening(store, zarr_id, zarr_id)
    give_up_opening(store, dataset_id, identifier)
    store.opening_side.marks(identifier).unlink(missing_ok=True)


def _tell(store: Store, identifier: str) -> None:
    """What cannot be taken back is worth knowing."""
    repository = store.repository(identifier)
    refs = repository.refs() if repository.path.is_dir() else {}
    if DRAFT not in refs:
        return
    names = sorted(versions_in(refs))
    versions = f"version{'s' if len(names) > 1 else ''} {', '.join(names)} and the draft" if names else "the draft"
    logger.warning(
        "Dandiset %s came under embargo: it is withdrawn from %s, where %s had been public; so had the S3 addresses of"
        " its files. Clones that others made, and what the change feed and the superdatasets' history say, remain",
        identifier,
        store.open_side.alias(identifier),
        versions,
    )


@telling_of_room()
def open_up(store: Store, identifier: str) -> None:
    """Put a Dandiset that is under embargo no more, and was made anew, among what is public, its Zarrs first."""
    opening, side = store.opening(), store.opening_side
    state, dataset_id = opening.state(identifier), store.dataset_id(identifier)
    made, closed = opening.dataset(dataset_id), Repository(store.closed_side.folder(dataset_id))
    zarrs = {*zarrs_ever(made), *zarrs_ever(closed), *state.zarrs_closed}
    for zarr_id in zarrs:
        # Those that are not in it any more were not made anew.
        begin_anew(opening, zarr_id)
    to_open = {zarr_id for zarr_id in zarrs if is_recorded(opening, zarr_id)}
    left = sorted(zarr_id for zarr_id in zarrs - to_open if store.closed_side.holds(zarr_id))
    state = replace(state, zarrs_closed=tuple(left) if _lacks_zarrs(made, state) else ())
    # Should this be broken off: what is only there by then is not to be cleared away.
    write_state(side.marks(identifier), state)
    for zarr_id in sorted(to_open):
        open_dataset(store, zarr_id, zarr_id)
    for zarr_id in left:
        if zarr_id not in state.zarrs_closed:
            delete_closed(store, zarr_id, zarr_id)
    store.forget_published()
    open_dataset(store, dataset_id, identifier)
    returned = any(ref.startswith(TAGS) for ref in store.dataset(dataset_id).refs())
    write_state(store.open_side.marks(identifier), replace(state, embargoed=None, returned=returned))
    side.marks(identifier).unlink(missing_ok=True)
    with store.index(private=True) as index:
        index.forget_draft(identifier)
    store.closed_side.marks(identifier).unlink(missing_ok=True)
    logger.info("Dandiset %s is under embargo no more, and public at %s", identifier, store.alias(identifier))


def _lacks_zarrs(repository: Repository, state: DandisetState) -> bool:
    """Whether the draft has Zarrs that it does not name, as they could not be had, or are not to be."""
    with repository.objects() as objects:
        tree = objects.commit(repository.refs()[DRAFT]).tree
        return state.zarrs != len(dataset_ids(objects.blob_at(tree, GITMODULES)))


def zarrs_ever(repository: Repository) -> list[str]:
    """The ids of all Zarrs that stand, or ever stood, in a Dandiset, in order."""
    refs = repository.refs() if repository.path.is_dir() else {}
    found: set[str] = set()
    with repository.objects() as objects:
        for oid in _gitmodules(objects, [refs[ref] for ref in (DRAFT, RELEASES) if ref in refs]):
            found.update(dataset_ids(objects.blob(oid)))
    return sorted(found)


def _gitmodules(objects: Objects, tips: list[Oid]) -> set[Oid]:
    """Every `.gitmodules` of a history."""
    left, seen, found = list(tips), set(tips), set()
    while left:
        commit = objects.commit(left.pop())
        if (entry := objects.lookup(commit.tree, GITMODULES)) is not None:
            found.add(entry.oid)
        for parent in commit.parents:
            if parent not in seen:
                seen.add(parent)
                left.append(parent)
    return found
