"""Which repositories the hosts are to have, and what is worth saying of each there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mirror.config import Settings
from mirror.dataset.facts import Facts
from mirror.dataset.superdataset import Subject, title
from mirror.git.objects import MODE_GITLINK
from mirror.git.repository import Repository
from mirror.publish.closed import all_closed
from mirror.publish.publication import Publication, Rank, Release
from mirror.publish.superdatasets import DRAFT, RELEASES, Holdings, subjects_of
from mirror.store.catalogue import Catalogue, Standing
from mirror.store.store import Store


def all_publications(settings: Settings, store: Store, catalogue: Catalogue, held: Holdings) -> list[Publication]:
    """Everything that can be cloned here, what is under embargo included, in the order in which it is to be pushed."""
    superdatasets = [subject for subject in subjects_of(settings, store) if store.alias(subject.name).is_symlink()]
    zarrs = {name for name in store.zarrs() if store.alias(name).is_symlink()}
    wanted: dict[str, list[bool]] = {}
    dandisets = []
    released = _by_dandiset(held.published)
    for private, members in ((False, held.members), (True, held.embargoed)):
        for member in members:
            mine = frozenset(catalogue.zarr_ids(member.identifier) & zarrs)
            for zarr in mine:
                wanted.setdefault(zarr, []).append(private)
            versions = released.get(member.identifier, [])
            dandisets.append(_dandiset(store, member.facts, mine, versions, private=private))
    for closed in all_closed(store):
        mine = frozenset(zarr for zarr in closed.zarrs if store.alias(zarr).is_symlink())
        for zarr in mine:
            wanted.setdefault(zarr, []).append(store.is_private(zarr))
        dandisets.append(_dandiset(store, closed.facts, mine, closed.published, private=True))
    found = [_zarr(store, zarr, private=all(private)) for zarr, private in sorted(wanted.items())]
    found += sorted(dandisets, key=lambda one: one.name)
    found += [_superdataset(store, subject) for subject in superdatasets]
    return found


def _by_dandiset(published: Iterable[Standing]) -> dict[str, list[Standing]]:
    found: dict[str, list[Standing]] = {}
    for one in published:
        found.setdefault(one.facts.identifier, []).append(one)
    return found


def _zarr(store: Store, zarr: str, *, private: bool) -> Publication:
    return Publication(
        name=zarr,
        rank=Rank.ZARR,
        dataset_id=zarr,
        repository=store.dataset(zarr).path,
        description="A Zarr of a Dandiset",
        homepage=store.facts.instance_url,
        private=private,
        needs=frozenset(),
    )


def _dandiset(
    store: Store, facts: Facts, zarrs: frozenset[str], versions: Sequence[Standing], *, private: bool
) -> Publication:
    return Publication(
        name=facts.identifier,
        rank=Rank.DANDISET,
        dataset_id=store.dataset_id(facts.identifier),
        repository=store.repository(facts.identifier).path,
        description=facts.name,
        homepage=f"{store.facts.instance_url}/dandiset/{facts.identifier}",
        private=private,
        needs=zarrs,
        releases=_releases(versions),
    )


def _superdataset(store: Store, subject: Subject) -> Publication:
    return Publication(
        name=subject.name,
        rank=Rank.SUPERDATASET,
        dataset_id=subject.dataset_id,
        repository=store.dataset(subject.dataset_id).path,
        description=title(subject),
        homepage=subject.instance_url,
        private=False,
        needs=_named_in(store.dataset(subject.dataset_id)),
    )


def _named_in(repository: Repository) -> frozenset[str]:
    """The Dandisets that a superdataset points into, on either branch."""
    refs = repository.refs()
    names: set[str] = set()
    with repository.objects() as objects:
        for ref in (DRAFT, RELEASES):
            if ref in refs:
                entries = objects.tree(objects.commit(refs[ref]).tree)
                names |= {name.decode() for name, entry in entries.items() if entry.mode == MODE_GITLINK}
    return frozenset(names)


def _releases(versions: Sequence[Standing]) -> Callable[[], tuple[Release, ...]]:
    return lambda: tuple(_notes(version) for version in versions)


def _notes(version: Standing) -> Release:
    facts = version.facts
    parts = [facts.citation]
    if facts.doi:
        parts.append(f"DOI: [{facts.doi}](https://doi.org/{facts.doi})")
    if facts.license:
        parts.append(f"License: {', '.join(facts.license)}")
    if facts.release_notes:
        parts.append(facts.release_notes.strip())
    notes = "\n\n".join(part for part in parts if part)
    return Release(facts.version, f"{facts.name} ({facts.version})", notes, facts.created)
