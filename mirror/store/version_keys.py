"""The annexed files of a version of a Dandiset, those within its Zarrs, too, and where the archive has each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from mirror.annex import logs
from mirror.annex.keys import parse_key
from mirror.dataset.names import asset_path
from mirror.dataset.submodules import GITMODULES, places
from mirror.errors import UsageError
from mirror.git.objects import MODE_GITLINK, MODE_LINK, Entry, Oid
from mirror.git.reader import MissingObject, Objects
from mirror.git.repository import Repository
from mirror.store.branch_logs import in_branch_order, logs_of
from mirror.store.locations import ANNEX
from mirror.store.store import Store

DRAFT = "draft"

_AT_ONCE = 10_000
_LINKS = 500
"""links read at a time"""
_KEY_LINK = re.compile(rb"(?:\.\./)*\.git/annex/objects/[^/]+/[^/]+/([^/]+)/\1").fullmatch


class VersionKey(NamedTuple):
    """A file of a version, by its content's key."""

    path: str
    """of the asset, within the Dandiset; of a Zarr's file: the Zarr's, and its own below that"""
    key: str
    size: int
    dataset_id: str
    """of the repository that holds the key: the Dandiset's, or the Zarr's"""


def version_commit(repository: Repository, identifier: str, version: str = DRAFT) -> Oid:
    """The commit of a version. UsageError where the store has none of that name."""
    name = "refs/heads/draft" if version == DRAFT else f"refs/tags/{version}"
    refs = repository.peeled_refs() if repository.path.is_dir() else {}
    if not refs:
        raise UsageError(f"the store has no Dandiset {identifier}", hint="`dandi-mirror status` lists those it has")
    if name not in refs:
        known = ", ".join(versions_in(refs)) or "none"
        raise UsageError(f"the store has no version {version} of {identifier}", hint=f"published versions: {known}")
    return refs[name]


def versions_in(refs: Iterable[str]) -> list[str]:
    """The published versions among the refs of a Dandiset."""
    return [name.removeprefix("refs/tags/") for name in refs if re.fullmatch(r"refs/tags/[^/]+", name)]


def latest_version(repository: Repository) -> str | None:
    """The latest published version that the store has of a Dandiset."""
    refs = repository.peeled_refs() if repository.path.is_dir() else {}
    tip = refs.get("refs/heads/releases")
    return next((name for name in versions_in(refs) if tip is not None and refs[f"refs/tags/{name}"] == tip), None)


def version_keys(
    store: Store,
    identifier: str,
    version: str = DRAFT,
    *,
    zarrs: bool = True,
    passed: Callable[[str, str], object] = lambda _path, _zarr_id: None,
) -> Iterator[VersionKey]:
    """The annexed files of a version, in the byte order of their paths in the tree.

    `passed` is told the path and the id of each Zarr whose files are passed over, since no repository tells of them:
    it is held as a manifest. Without `zarrs` their files are not asked for.
    """
    repository = store.repository(identifier)
    commit = version_commit(repository, identifier, version)
    return commit_keys(store, identifier, commit, zarrs=zarrs, passed=passed)


def commit_keys(
    store: Store,
    identifier: str,
    commit: Oid,
    *,
    zarrs: bool = True,
    look_into: Callable[[str], bool] = lambda _path: True,
    passed: Callable[[str, str], object] = lambda _path, _zarr_id: None,
) -> Iterator[VersionKey]:
    """The same of a commit: of `draft`, or of a published version. `look_into`: whether a Zarr's files are asked for,
    by its path."""
    repository, dataset_id = store.repository(identifier), store.dataset_id(identifier)
    with repository.objects() as objects:
        tree = objects.commit(commit).tree
        ids = places(objects.blob_at(tree, GITMODULES)) if zarrs else {}
        entries = objects.list_tree(tree)
        while batch := list(islice(entries, _LINKS)):
            links = _links(objects, batch)
            for path, entry in batch:
                if entry.mode == MODE_LINK:
                    yield from _version_key(asset_path(path), links[entry.oid], dataset_id)
                elif entry.mode == MODE_GITLINK and path in ids and look_into(asset_path(path)):
                    yield from _zarr_keys(store, asset_path(path), ids[path], entry.oid, passed)


def urls_of(repository: Repository, keys: Iterable[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Each key with the addresses that the git-annex branch has for it. Some thousands of keys are read at a time, and
    come in the order of the branch."""
    with repository.objects() as objects:
        tip = repository.refs().get(ANNEX)
        root = objects.commit(tip).tree if tip is not None else None
        given = iter(keys)
        while batch := in_branch_order(islice(given, _AT_ONCE)):
            if root is None:
                yield from ((key, frozenset[str]()) for key in batch)
                continue
            found = list(logs_of(objects, root, batch, b".log.web"))
            bodies = objects.read_many([oid for _, oid in found if oid is not None])
            for key, oid in found:
                body = next(bodies)[2] if oid is not None else b""
                yield key, frozenset(url.decode() for url in logs.present(body))


def _zarr_keys(
    store: Store, path: str, zarr_id: str, commit: Oid, passed: Callable[[str, str], object]
) -> Iterator[VersionKey]:
    repository = store.dataset(zarr_id)
    if not repository.path.is_dir():
        passed(path, zarr_id)
        return
    with repository.objects() as objects:
        try:
            tree = objects.commit(commit).tree
        except MissingObject:
            passed(path, zarr_id)
            return
        entries = objects.list_tree(tree)
        while batch := list(islice(entries, _LINKS)):
            links = _links(objects, batch)
            for inner, entry in batch:
                if entry.mode == MODE_LINK:
                    yield from _version_key(f"{path}/{asset_path(inner)}", links[entry.oid], zarr_id)


def _links(objects: Objects, entries: Iterable[tuple[bytes, Entry]]) -> dict[Oid, bytes]:
    oids = dict.fromkeys(entry.oid for _, entry in entries if entry.mode == MODE_LINK)
    return {oid: body for oid, _, body in objects.read_many(oids)}


def _version_key(path: str, target: bytes, dataset_id: str) -> Iterator[VersionKey]:
    """Nothing where the link leads elsewhere: we make no such links, but others may."""
    found = _KEY_LINK(target)
    if found is not None:
        key = found[1].decode()
        yield VersionKey(path, key, parse_key(key).size, dataset_id)
