"""What content is asked for: versions of Dandisets, perhaps only some paths of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Literal, NoReturn

import msgspec

from mirror.dataset.facts import Facts, facts_of, seen_with
from mirror.dataset.query import Query
from mirror.dataset.references import DRAFT, DandisetRef, DoiRef, PathRef, parse
from mirror.errors import GitError, MirrorError, StoreError, UsageError
from mirror.keeping.paths import matcher, may_hold
from mirror.store.catalogue import Catalogue
from mirror.store.store import Store
from mirror.store.version_keys import VersionKey, commit_keys, latest_version, version_commit, versions_in

Versions = Literal["latest", "all", "draft"]
"""Of Dandisets named without one: the latest published version, or the draft where there is none; all of them with the
draft; the draft."""

UNDERSTOOD = "Dandisets (000003), versions (000003/0.230629.1955), their DOIs, paths (000003/draft/sub-1/*.nwb)"


class Wish(msgspec.Struct, frozen=True, omit_defaults=True):
    """Some of the files of one version, as it stood."""

    identifier: str
    version: str
    commit: str
    """in hex; a draft goes on, what was asked for stays"""
    paths: tuple[str, ...] = ()
    """none: all of them"""
    without: tuple[str, ...] = ()
    """given up since"""

    @property
    def name(self) -> str:
        return "/".join([self.identifier, self.version, *(self.paths if len(self.paths) == 1 else ())])


class Zarrs:
    """The Zarrs whose files were passed over, since no repository tells of them."""

    def __init__(self) -> None:
        self.passed: dict[str, str] = {}
        """their ids, each with where it is"""


def keys_of(store: Store, wish: Wish, zarrs: Zarrs) -> Iterator[VersionKey]:
    """The files that are asked for. The paths begin with the Dandiset."""
    wanted, unwanted = matcher(wish.paths), matcher(wish.without) if wish.without else (lambda _: False)
    some_wanted = may_hold(wish.paths)

    def passed(path: str, zarr_id: str) -> None:
        if wanted(path) or any(one.startswith(f"{path}/") for one in wish.paths):
            zarrs.passed.setdefault(zarr_id, f"{wish.identifier}/{path}")

    def look_into(path: str) -> bool:
        return some_wanted(path) and not unwanted(path)

    commit = bytes.fromhex(wish.commit)
    for one in commit_keys(store, wish.identifier, commit, look_into=look_into, passed=passed):
        if wanted(one.path) and not unwanted(one.path):
            yield one._replace(path=f"{wish.identifier}/{one.path}")


Unread = Callable[[str, MirrorError], object]
"""Hears of a Dandiset that cannot be read, and why."""


def _raised(_: str, error: MirrorError) -> NoReturn:
    raise error


def wishes_for(store: Store, what: Sequence[str], where: Query | None, versions: Versions) -> list[Wish]:
    """What is asked for: WHAT of those Dandisets that match the query; without WHAT, those Dandisets.

    UsageError for what is named, and cannot be understood, or is not here.
    """
    if not what:
        return list(wishes_of_all(store, where, versions))
    with store.catalogue() as catalogue:
        matching = set(_matching(store, catalogue, where, _raised)) if where is not None else None
        wishes = [wish for given in what for wish in _meant(store, catalogue, given, versions)]
    return [wish for wish in dict.fromkeys(wishes) if matching is None or wish.identifier in matching]


def wishes_of_all(store: Store, where: Query | None, versions: Versions, unread: Unread = _raised) -> Iterator[Wish]:
    """What is asked for of all Dandisets, or of those that match the query."""
    if where is None:
        named = {*store.dandisets(), *store.embargoed()}
    else:
        with store.catalogue() as catalogue:
            named = set(_matching(store, catalogue, where, unread))
    for identifier in sorted(named):
        try:
            yield from _versions(store, identifier, None, versions, ())
        except UsageError:
            continue  # nothing of it is mirrored yet
        except (StoreError, GitError) as error:
            unread(identifier, error)


def _meant(store: Store, catalogue: Catalogue, given: str, versions: Versions) -> list[Wish]:
    match parse(given):
        case DandisetRef(identifier, version):
            return _versions(store, identifier, version, versions, ())
        case PathRef(path, identifier, version) if identifier is not None:
            return _versions(store, identifier, version, versions, (path,))
        case DoiRef() as doi:
            return _of_doi(store, catalogue, doi, versions)
        case _:
            hint = f"understood are {UNDERSTOOD}; `dandi-mirror resolve` tells where other things are"
            raise UsageError(f"{given!r} is neither a Dandiset nor a path in one", hint=hint)


def _of_doi(store: Store, catalogue: Catalogue, doi: DoiRef, versions: Versions) -> list[Wish]:
    standing = catalogue.by_doi(doi.doi)
    if standing is not None:
        return _versions(store, standing.facts.identifier, standing.facts.version, versions, ())
    parts = doi.parts
    if parts is None or parts.version is not None:
        raise UsageError(f"the store has no version with the DOI {doi.doi}")
    return _versions(store, parts.identifier, None, versions, ())


def _versions(
    store: Store, identifier: str, version: str | None, versions: Versions, paths: tuple[str, ...]
) -> list[Wish]:
    repository = store.repository(identifier)
    match version, versions:
        case None, "draft":
            names = [DRAFT]
        case None, "latest":
            names = [latest_version(repository) or DRAFT]
        case None, _:
            names = [*versions_in(repository.refs()), DRAFT] if repository.path.is_dir() else [DRAFT]
        case _:
            names = [version]
    return [Wish(identifier, name, version_commit(repository, identifier, name).hex(), paths) for name in names]


def _matching(store: Store, catalogue: Catalogue, where: Query, unread: Unread) -> Iterator[str]:
    """The Dandisets that a query matches, asked as `dandi-mirror query` asks: their drafts."""
    for identifier, standings in groupby(catalogue.standings(), lambda standing: standing.facts.identifier):
        if where.matches(_asked([standing.facts for standing in standings])):
            yield identifier
    # What is under embargo is in no catalogue.
    for identifier in store.embargoed():
        try:
            if where.matches(_facts_in_draft(store, identifier)):
                yield identifier
        except UsageError:
            continue  # nothing of it is mirrored yet
        except (StoreError, GitError) as error:
            unread(identifier, error)


def _asked(versions: Sequence[Facts]) -> Facts:
    """Of the versions of one Dandiset, in their order, the draft last."""
    releases = [facts for facts in versions if facts.version != DRAFT]
    latest = releases[-1] if releases else None
    return seen_with(versions[-1], latest) if versions[-1].version == DRAFT else versions[-1]


def _facts_in_draft(store: Store, identifier: str) -> Facts:
    repository = store.repository(identifier)
    with repository.objects() as objects:
        tree = objects.commit(version_commit(repository, identifier)).tree
        documents = [objects.lookup(tree, path) for path in (b"dandiset.yaml", b".dandi/version.json")]
        document, record = (objects.blob(one.oid) if one is not None else b"{}" for one in documents)
        return facts_of(document, record)
