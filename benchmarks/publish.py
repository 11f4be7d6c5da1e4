"""Publishing: catalogue and superdataset from nothing, following one Dandiset, nothing new, pushing to a host."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks import fast_import
from benchmarks.archive import MadeUpArchive, identifiers
from benchmarks.measure import Cost, run
from benchmarks.publishing import ASSETS, Took
from benchmarks.results import Results
from mirror.dataset.identity import ALL_DANDISETS
from mirror.store.store import Store

FULL = 2000
"""Dandisets, and as many published versions: what the limits are for."""
_ROUNDS = 3

Refs = dict[str, str]


@dataclass(frozen=True)
class Done:
    """A deed of `publishing` that was done in a process of its own."""

    took: Took
    whole: Cost
    """the process, from its start to its end"""


def benchmark(folder: Path, count: int) -> Iterator[Results]:
    """A store of `count` Dandisets with about as many published versions, from nothing on."""
    root = folder / "store"
    versions = sum(map(MadeUpArchive(ASSETS).published, identifiers(count)))
    what = f"{count:,} Dandisets with {versions:,} published versions"
    _do("load", root, count)
    lost = _do("publish", root)
    refs, size = _refs(root), _bytes(_superdataset(root))
    catalogue = _catalogue_again(root)
    written = _superdataset_again(root)

    results = Results(f"Superdataset of {what}, from nothing")
    _add(results, "of what is catalogued", written, limit=10)
    _add(results, "catalogue and feed from nothing, too", lost)
    results.add("peak memory of that", lost.whole.peak_mib, "MiB")
    results.add("on disk", size / 2**20, "MiB")
    results.check("hashes equal", refs == _refs(root))
    results.check("each version has a commit and a tag", versions == _versions(root) == len(_tags(refs)))
    yield results
    yield _against_fast_import(folder, root, written)
    yield _catalogue(what, root, catalogue, count + versions)
    yield _one_moved(what, root, count)
    yield _host(root, folder / "host", count)


def _against_fast_import(folder: Path, root: Path, written: Done) -> Results:
    """The same superdataset, written by git."""
    stream, peer = folder / "stream", folder / "peer"
    run([sys.executable, "-m", "benchmarks.fast_import", _superdataset(root), stream, "by-path"])
    cost = fast_import.measure(stream, peer)
    results = Results("The same superdataset by git fast-import, from a ready-made stream")
    results.add("the stream", stream.stat().st_size / 2**20, "MiB")
    results.add("CPU", cost.cpu, "s")
    results.add("our CPU, with reading the catalogue and composing, times that", written.took.cpu / cost.cpu)
    results.add("wall clock", cost.wall, "s")
    results.add("peak memory", cost.peak_mib, "MiB")
    results.add("on disk", _bytes(peer) / 2**20, "MiB")
    results.check("hashes equal", _refs(root) == fast_import.heads_and_tags(peer))
    stream.unlink()
    shutil.rmtree(peer)
    return results


def _catalogue(what: str, root: Path, done: Done, states: int) -> Results:
    results = Results(f"Catalogue and feed of {what}, from nothing")
    _add(results, "all of it", done)
    results.add("CPU a version or draft", done.took.cpu / states * 1000, "ms")
    results.add("peak memory", done.whole.peak_mib, "MiB")
    results.add("catalogue on disk", _bytes(root / "state", "catalogue.sqlite*") / 2**20, "MiB")
    lines = Store.open(root).changes.read_bytes().count(b"\n")
    results.check("the feed has a line for each", lines == states)
    return results


def _one_moved(what: str, root: Path, count: int) -> Results:
    """What follows a sync in which one Dandiset moved, or none."""
    results = Results(f"After a sync of {what}")
    names = [name for name in identifiers(count) if MadeUpArchive(ASSETS).published(name) == 1]
    for deed, moved in (("edit", "a draft that changed"), ("release", "a new version")):
        before = _refs(root)
        rounds = [_moved(root, deed, names.pop(0)) for _ in range(_ROUNDS)]
        _add(results, moved, _middle(rounds), limit=0.5)
        now = _refs(root)
        results.check(f"{moved}: the superdataset moved", before["refs/heads/draft"] != now["refs/heads/draft"])
        new = _ROUNDS if deed == "release" else 0
        results.check(f"{moved}: {new} new tags after {_ROUNDS} rounds", len(_tags(now)) == len(_tags(before)) + new)
    refs = _refs(root)
    _add(results, "nothing moved", _middle([_do("follow", root) for _ in range(_ROUNDS)]))
    results.check("nothing moved: nothing was touched", refs == _refs(root))
    results.check("git fsck is content", _is_sound(_superdataset(root)))
    return results


def _moved(root: Path, deed: str, identifier: str) -> Done:
    _do(deed, root, identifier)
    return _do("follow", root, identifier)


def _host(root: Path, host: Path, count: int) -> Results:
    """Another RIA store, at a path."""
    first = _do("publish", root, host)
    results = Results(f"{count:,} Dandisets and the superdataset on another RIA store, at a path")
    _add(results, "nothing to push", _middle([_do("follow-with-host", root, host) for _ in range(_ROUNDS)]))
    identifier = next(name for name in identifiers(count) if MadeUpArchive(ASSETS).published(name) == 3)
    _do("edit", root, identifier)
    moved = _do("follow-with-host", root, host, identifier)
    _add(results, "a Dandiset and the superdataset to push", moved)
    results.add("for comparison, pushing all of it at first: CPU each", first.took.cpu / (count + 1), "s")
    there = {name: fast_import.heads_and_tags(host / "alias" / name) for name in (identifier, ALL_DANDISETS)}
    here = {name: fast_import.heads_and_tags(Store.open(root).alias(name)) for name in there}
    results.check("the host has what the store has", there == here)
    return results


def _catalogue_again(root: Path) -> Done:
    store = Store.open(root)
    for path in (root / "state").glob("catalogue.sqlite*"):
        path.unlink()
    store.changes.unlink()
    return _do("catalogue", root)


def _superdataset_again(root: Path) -> Done:
    shutil.rmtree(_superdataset(root))
    Store.open(root).alias(ALL_DANDISETS).unlink()
    return _do("publish", root)


def _do(deed: str, root: Path, *words: object) -> Done:
    cost = run([sys.executable, "-m", "benchmarks.publishing", deed, root, *map(str, words)])
    return Done(msgspec.json.decode(cost.printed, type=Took), cost)


def _middle(rounds: list[Done]) -> Done:
    return sorted(rounds, key=lambda done: done.took.cpu)[len(rounds) // 2]


def _add(results: Results, what: str, done: Done, *, limit: float | None = None) -> None:
    results.add(f"{what}: CPU", done.took.cpu, "s", limit=limit)
    results.add(f"{what}: CPU with program start", done.whole.cpu, "s")
    results.add(f"{what}: wall clock", done.took.wall, "s")


def _superdataset(root: Path) -> Path:
    return Store.open(root).alias(ALL_DANDISETS).resolve()


def _refs(root: Path) -> Refs:
    return fast_import.heads_and_tags(_superdataset(root))


def _tags(refs: Refs) -> list[str]:
    return [ref for ref in refs if ref.startswith("refs/tags/doi/")]


def _versions(root: Path) -> int:
    return int(run(["git", "rev-list", "--count", "releases"], cwd=_superdataset(root)).printed)


def _is_sound(repository: Path) -> bool:
    return subprocess.run(["git", "fsck", "--strict"], cwd=repository, stderr=subprocess.DEVNULL).returncode == 0


def _bytes(folder: Path, pattern: str = "*") -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())
