"""Which datasets of a store a backup is about."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

from mirror.annex import logs
from mirror.dataset.submodules import GITMODULES, dataset_ids
from mirror.errors import UsageError
from mirror.git.objects import Oid
from mirror.git.repository import Repository
from mirror.store.locations import ANNEX
from mirror.store.store import Store

_ZARR_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


class Dataset(NamedTuple):
    """One that may hold content."""

    name: str
    """what people call it: the identifier of a Dandiset, the id of a Zarr"""
    dataset_id: str
    repository: Repository
    private: bool


def all_datasets(store: Store, *, private: bool) -> Iterator[Dataset]:
    """Those that hold content, Dandisets and Zarrs. `private`: those too that are under embargo."""
    names = {store.dataset_id(name): name for name in (*store.dandisets(), *store.embargoed())}
    for repository in store.repositories():
        if not (repository.path / "annex/objects").is_dir():
            continue
        dataset_id = repository.path.parent.name + repository.path.name
        if private or not store.is_private(dataset_id):
            yield Dataset(names.get(dataset_id, dataset_id), dataset_id, repository, store.is_private(dataset_id))


def named_datasets(store: Store, names: Sequence[str]) -> Iterator[Dataset]:
    """Dandisets, each with the Zarrs of all its versions, and Zarrs. UsageError where the store has no such thing."""
    ids: dict[str, str] = {}
    for name in names:
        is_zarr = _ZARR_ID(name) is not None
        dataset_id = name if is_zarr else store.dataset_id(name)
        repository = store.dataset(dataset_id)
        if not repository.path.is_dir():
            hint = "`dandi-mirror status` lists those it has"
            raise UsageError(f"the store has no {'Zarr' if is_zarr else 'Dandiset'} {name}", hint=hint)
        ids[dataset_id] = name
        ids |= {} if is_zarr else {zarr_id: zarr_id for zarr_id in _zarrs_of(repository)}
    for dataset_id, name in ids.items():
        repository = store.dataset(dataset_id)
        if repository.path.is_dir():
            yield Dataset(name, dataset_id, repository, store.is_private(dataset_id))


def _zarrs_of(repository: Repository) -> list[str]:
    """The ids of the Zarrs in any version of a Dandiset."""
    commits = [oid for name, oid in sorted(repository.peeled_refs().items()) if name != ANNEX]
    bodies: set[Oid] = set()
    ids: dict[str, None] = {}
    with repository.objects() as objects:
        for commit in dict.fromkeys(commits):
            entry = objects.lookup(objects.commit(commit).tree, GITMODULES)
            if entry is not None and entry.oid not in bodies:
                bodies.add(entry.oid)
                ids |= dict.fromkeys(dataset_ids(objects.blob(entry.oid)))
    return list(ids)


def recorded(repository: Repository, uuid: str) -> Generator[str, None, None]:
    """The keys that the git-annex branch says a remote has, in the order of the branch."""
    tip = repository.refs().get(ANNEX)
    if tip is None:
        return
    value, known = uuid.encode(), dict[Oid, bool]()
    with repository.objects() as objects:
        for path, entry in objects.list_tree(objects.commit(tip).tree):
            if path.count(b"/") != 2 or not path.endswith(b".log"):
                continue
            if entry.oid not in known:
                known[entry.oid] = value in logs.present(objects.blob(entry.oid))
            if known[entry.oid]:
                yield path.rpartition(b"/")[2].removesuffix(b".log").decode()
