"""The archive and both mirrors, when all has settled: nothing is lost, and both are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from crashtest.looking import Loss, Refs, check_objects, refs
from crashtest.published import check_feed, check_links
from mirror.dataset.identity import ALL_DANDISETS
from mirror.demo.inventory import Entry
from mirror.store.store import Store
from simulation.holding import Content, contents, tree

Inventory = Mapping[str, Sequence[Entry]]
"""what the archive has of each version of a Dandiset"""

DRAFT = "draft"
_MOST_NAMED = 3
_OF_TIMES = ".dandi/version.json"
"""has the draft's times: of a draft in which nothing else moved, a mirror keeps those that it saw"""


@dataclass(frozen=True)
class Compared:
    """What was looked at, and what is wrong."""

    dandisets: int
    versions: int
    assets: int
    """of all versions and drafts, each that the archive lists and a mirror must hold"""
    repositories: int
    """that `git fsck` looked at"""
    closely: int
    """Dandisets of which it was looked at, too, whether the feed and the superdatasets tell all their commits"""
    wrong: tuple[str, ...]


def compare(
    inventories: Callable[[str], Inventory],
    identifiers: Sequence[str],
    stores: Sequence[Store],
    *,
    closely: Sequence[str] | None = None,
    threads: int = 2,
) -> Compared:
    """Look at everything. `stores`: the mirrors; the first is compared with the archive, the others with it.

    `closely`: of these Dandisets, or all, every commit is looked for in the feed and the superdatasets: that takes many
    processes.
    """
    versions = assets = 0
    wrong: list[str] = []

    def look(identifier: str) -> tuple[Inventory, list[str]]:
        inventory = inventories(identifier)
        return inventory, list(_complaints(identifier, inventory, stores))

    with ThreadPoolExecutor(threads) as pool:
        for inventory, complaints in pool.map(look, identifiers):
            versions += len(inventory) - 1
            assets += sum(map(len, inventory.values()))
            wrong += complaints
        zarrs = sorted({zarr_id for store in stores for zarr_id in store.zarrs()})
        wrong += [told for found in pool.map(lambda one: list(_of_zarr(one, stores)), zarrs) for told in found]
    wrong += _of_superdatasets(stores)
    closely = identifiers if closely is None else closely
    wrong += _of_whole(closely, stores)
    repositories = len(stores) * (len(identifiers) + len(zarrs) + 1)
    return Compared(len(identifiers), versions, assets, repositories, len(closely), tuple(wrong))


def _complaints(identifier: str, inventory: Inventory, stores: Sequence[Store]) -> Iterator[str]:
    """What is wrong with a Dandiset, in words."""
    paths = [store.repository(identifier).path for store in stores]
    found = [refs(path) for path in paths]
    for store, mine in zip(stores, found, strict=True):
        yield from _told(f"{store.root.name}: {identifier}", _lost(inventory, mine))
        yield from _told(f"{store.root.name}: {identifier}", _unsound(store.repository(identifier).path))
    yield from _told(f"{identifier}: the mirrors differ", _differing(found))
    try:
        names = [name for name in inventory if _ref_of(name) in found[0]]
        held = contents(paths[0], [tree(paths[0], _ref_of(name)) for name in names])
        for name, assets in zip(names, held, strict=True):
            yield from _told(f"{stores[0].root.name}: {identifier}, {name}", _unequal(inventory[name], assets))
        if "refs/heads/draft" in found[0]:
            yield from _told(f"{identifier}: the drafts of the mirrors differ", _other_drafts(paths))
    except Loss as loss:
        yield f"{identifier}: {loss}"


def _told(where: str, complaints: Iterable[str]) -> Iterator[str]:
    return (f"{where}: {one}" for one in complaints)


def _ref_of(version: str) -> str:
    return f"refs/heads/{DRAFT}" if version == DRAFT else f"refs/tags/{version}"


def _lost(inventory: Inventory, found: Refs) -> Iterator[str]:
    lacking = [name for name in inventory if _ref_of(name) not in found]
    if lacking:
        yield f"not mirrored: {', '.join(lacking)}"
    tags = {name.removeprefix("refs/tags/") for name in found if name.startswith("refs/tags/")}
    if beyond := sorted(tag for tag in tags if not tag.startswith("doi/") and tag not in inventory):
        yield f"not in the archive: {', '.join(beyond)}"


def _unsound(repository: Path) -> Iterator[str]:
    try:
        check_objects(repository)
    except Loss as loss:
        yield str(loss)


def _differing(found: Sequence[Refs]) -> Iterator[str]:
    """Published history is the same everywhere: its branch and all tags."""
    first, *others = ({name: oid for name, oid in one.items() if _published(name)} for one in found)
    for other in others:
        if names := sorted(name for name in first.keys() | other.keys() if first.get(name) != other.get(name)):
            yield f"{', '.join(f'{name} is {first.get(name)} and {other.get(name)}' for name in names[:_MOST_NAMED])}"


def _published(ref: str) -> bool:
    return ref == "refs/heads/releases" or ref.startswith("refs/tags/")


def _unequal(entries: Sequence[Entry], held: Mapping[str, Content]) -> Iterator[str]:
    """What differs between what the archive lists of a version and what the mirror holds of it."""
    listed = {path: (asset_id, content, size) for path, asset_id, content, size in entries}
    if lacking := sorted(listed.keys() - held.keys()):
        yield f"{len(lacking)} assets are not there, the first is {lacking[0]}"
    if beyond := sorted(held.keys() - listed.keys()):
        yield f"{len(beyond)} assets are not in the archive, the first is {beyond[0]}"
    differing = sorted(path for path in listed.keys() & held.keys() if listed[path] != held[path])
    for path in differing[:_MOST_NAMED]:
        yield f"{path} is {held[path]}, in the archive {listed[path]}"
    if len(differing) > _MOST_NAMED:
        yield f"and {len(differing) - _MOST_NAMED} more"


def _other_drafts(paths: Sequence[Path]) -> Iterator[str]:
    """Of Zarrs only where they are: the history of one depends on the states of it that were seen."""
    first, *others = ({path: _seen(entry) for path, entry in tree(one, "draft").items()} for one in paths)
    for other in others:
        differing = {path for path in first.keys() | other.keys() if first.get(path) != other.get(path)} - {_OF_TIMES}
        if differing:
            yield f"in {', '.join(sorted(differing)[:_MOST_NAMED])}"


def _seen(entry: tuple[str, str]) -> tuple[str, str]:
    mode, oid = entry
    return mode, "" if mode == "160000" else oid


def _of_zarr(zarr_id: str, stores: Sequence[Store]) -> Iterator[str]:
    paths = [store.dataset(zarr_id).path for store in stores]
    trees = []
    for path in paths:
        if "refs/heads/draft" not in refs(path):
            yield f"{path}: the Zarr {zarr_id} is not mirrored"
            return
        yield from _unsound(path)
        trees.append(tree(path, "draft"))
    if any(one != trees[0] for one in trees):
        yield f"the drafts of the Zarr {zarr_id} differ"


def _of_superdatasets(stores: Sequence[Store]) -> Iterator[str]:
    paths = [store.alias(ALL_DANDISETS).resolve() for store in stores]
    for path in paths:
        yield from _unsound(path)
    yield from _told("the superdatasets differ", _differing([refs(path) for path in paths]))


def _of_whole(identifiers: Sequence[str], stores: Sequence[Store]) -> Iterator[str]:
    """Links of superdatasets lead somewhere, and the feed tells of each commit once."""
    for store in stores:
        try:
            check_links(store.public, [ALL_DANDISETS], identifiers)
            check_feed(store, identifiers, ended=True)
        except Loss as loss:
            yield f"{store.root.name}: {loss}"
