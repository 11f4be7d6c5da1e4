"""What is under embargo, as a host may be told of it: read from the repositories, as no catalogue has it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from mirror.dataset.facts import Facts, facts_of
from mirror.dataset.submodules import GITMODULES, dataset_ids
from mirror.errors import MirrorError
from mirror.git.objects import Oid
from mirror.git.reader import Objects
from mirror.git.repository import Repository
from mirror.store.catalogue import Standing
from mirror.store.store import Store
from mirror.store.version_keys import versions_in

logger = logging.getLogger(__name__)

_DRAFT, _TAGS = "refs/heads/draft", "refs/tags/"
_DOCUMENTS = (b"dandiset.yaml", b".dandi/version.json")


@dataclass(frozen=True)
class Closed:
    """A Dandiset under embargo."""

    facts: Facts
    """of its draft"""
    zarrs: frozenset[str]
    """the ids of the Zarrs in its draft, and in what was published of it before"""
    published: tuple[Standing, ...]
    """in their order"""


def all_closed(store: Store) -> Iterator[Closed]:
    """Every Dandiset under embargo of which something is mirrored. One that cannot be read is passed over, and told."""
    for identifier in store.embargoed():
        repository = store.repository(identifier)
        refs = repository.peeled_refs() if repository.path.is_dir() else {}
        if _DRAFT not in refs:
            continue
        try:
            yield _read(repository, refs)
        except (MirrorError, OSError, ValueError, KeyError, AttributeError) as error:
            logger.warning("Dandiset %s, under embargo, cannot be read: %s", identifier, error)


def _read(repository: Repository, refs: dict[str, Oid]) -> Closed:
    tags = [_TAGS + version for version in versions_in(refs)]
    with repository.objects() as objects:
        facts = {ref: _facts(objects, refs[ref]) for ref in (*tags, _DRAFT)}
        zarrs = frozenset(zarr for ref in (*tags, _DRAFT) for zarr in _zarrs(objects, refs[ref]))
    published = sorted(tags, key=lambda ref: (facts[ref].created, facts[ref].version))
    return Closed(facts[_DRAFT], zarrs, tuple(Standing(refs[ref].hex(), facts[ref]) for ref in published))


def _facts(objects: Objects, commit: Oid) -> Facts:
    tree = objects.commit(commit).tree
    return facts_of(*(objects.blob_at(tree, name) for name in _DOCUMENTS))


def _zarrs(objects: Objects, commit: Oid) -> list[str]:
    return dataset_ids(objects.blob_at(objects.commit(commit).tree, GITMODULES))
