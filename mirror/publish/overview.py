"""What stands of superdatasets and hosts: for `status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mirror.config import Settings
from mirror.dataset.commits import trailers
from mirror.dataset.superdataset import RELEASES_FILE, rows
from mirror.dataset.times import moment
from mirror.errors import MirrorError
from mirror.git.repository import Repository
from mirror.publish.hosts import Behind, Trouble, behind, trouble
from mirror.publish.publications import all_publications
from mirror.publish.superdatasets import DRAFT, RELEASES, holdings, subjects_of
from mirror.store.store import Store


@dataclass(frozen=True)
class SuperdatasetRow:
    """A superdataset, as its branches stand."""

    name: str
    path: str
    draft: str | None = None
    """the commit of `draft`"""
    releases: str | None = None
    """the commit of `releases`; None: nothing was published"""
    dandisets: int = 0
    versions: int = 0
    """in the chain of releases"""
    late: tuple[str, ...] = ()
    """those of them that came too late for their place"""
    damage: str | None = None
    """why nothing can be told of it"""


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
        if not repository.path.is_dir():
            continue
        row = SuperdatasetRow(subject.name, str(store.alias(subject.name)))
        try:
            yield _read(row, repository)
        except (MirrorError, OSError, ValueError, KeyError) as error:
            yield replace(row, damage=str(error))


def _read(row: SuperdatasetRow, repository: Repository) -> SuperdatasetRow:
    refs = repository.refs()
    with repository.objects() as objects:
        draft = trailers(objects.commit(refs[DRAFT]).message)
        row = replace(row, draft=refs[DRAFT].hex(), dandisets=int(draft["Dandisets"]))
        if RELEASES not in refs:
            return row
        chain = objects.commit(refs[RELEASES])
        listed = rows(objects.blob(objects.tree(chain.tree)[RELEASES_FILE].oid))
    return replace(row, releases=refs[RELEASES].hex(), versions=len(listed), late=tuple(_late(listed)))


def _late(listed: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """The releases that stand behind one which they ought to stand before."""
    reached = None
    for row in listed:
        place = moment(row["created"]), row["dandiset"], row["version"]
        if reached is not None and place < reached:
            yield f"{row['dandiset']} {row['version']}"
        else:
            reached = place


def waiting(store: Store) -> tuple[int, str] | None:
    """How many published versions a chain of releases does not have yet, and what it waits for."""
    mark = store.published()
    if mark is None or not mark.held_back or mark.waits_for is None:
        return None
    return mark.held_back, mark.waits_for


def hosts(settings: Settings, store: Store) -> Iterator[HostRow]:
    """The hosts of the settings. Nothing is asked of them."""
    if not settings.publish.hosts:
        return
    embargoed = frozenset(store.embargoed())
    with store.catalogue() as catalogue:
        held = holdings(store, catalogue.standings(), embargoed)
        found = all_publications(settings, store, catalogue, held)
    for host in settings.publish.hosts:
        rows = behind(host, found, store.host_marks)
        yield HostRow(host.name, host.kind, len(found), rows, trouble(host, store.host_marks))
