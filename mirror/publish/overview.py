"""What stands of superdatasets and hosts: for `status`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mirror.config import Settings
from mirror.dataset.commits import trailers
from mirror.publish.horizon import horizon_of
from mirror.publish.hosts import Behind, Trouble, behind, trouble
from mirror.publish.publications import all_publications
from mirror.publish.superdatasets import DRAFT, RELEASES, subjects_of
from mirror.store.store import Store


@dataclass(frozen=True)
class SuperdatasetRow:
    """A superdataset, as its branches stand."""

    name: str
    path: str
    draft: str
    """the commit of `draft`"""
    releases: str | None
    """the commit of `releases`; None: nothing was published"""
    dandisets: int
    versions: int
    """in the chain of releases"""


@dataclass(frozen=True)
class HostRow:
    """A host, as far as the marks of the last runs tell."""

    name: str
    kind: str
    repositories: int
    behind: list[Behind]
    trouble: Trouble | None


def superdatasets(settings: Settings, store: Store) -> Iterator[SuperdatasetRow]:
    """The superdatasets that there are."""
    for subject in subjects_of(settings, store):
        repository = store.dataset(subject.dataset_id)
        refs = repository.refs() if repository.path.is_dir() else {}
        if DRAFT not in refs:
            continue
        with repository.objects() as objects:
            draft = trailers(objects.commit(refs[DRAFT]).message)
            chain = trailers(objects.commit(refs[RELEASES]).message) if RELEASES in refs else {}
        yield SuperdatasetRow(
            name=subject.name,
            path=str(store.alias(subject.name)),
            draft=refs[DRAFT].hex(),
            releases=refs[RELEASES].hex() if RELEASES in refs else None,
            dandisets=int(draft.get("Dandisets", 0)),
            versions=int(chain.get("Versions", 0)),
        )


def waiting(settings: Settings, store: Store) -> tuple[int, str] | None:
    """How many published versions the chain of all releases does not have yet, and what it waits for."""
    mark = store.published()
    if mark is None or not mark.held_back:
        return None
    states = [state for state in store.states() if settings.select.includes(state.identifier)]
    horizon = horizon_of(store.frontier(), settings.select.which, states, store.skips())
    return (mark.held_back, horizon.waits_for) if horizon.waits_for is not None else None


def hosts(settings: Settings, store: Store) -> Iterator[HostRow]:
    """The hosts of the settings. Nothing is asked of them."""
    if not settings.publish.hosts:
        return
    with store.catalogue() as catalogue:
        found = all_publications(settings, store, catalogue)
    for host in settings.publish.hosts:
        rows = behind(host, found, store.host_marks)
        yield HostRow(host.name, host.kind, len(found), rows, trouble(host, store.host_marks))
