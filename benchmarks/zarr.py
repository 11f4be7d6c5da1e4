"""Zarrs: writing a large one, following a change of it, holding its manifest only, and a sync over HTTP."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec

from benchmarks import fast_import
from benchmarks.measure import Cost, run
from benchmarks.results import Results
from benchmarks.zarr_load import ZARR_ID
from benchmarks.zarr_writing import Took
from mirror.demo import DemoProcess
from mirror.store.store import Store

FULL = 1_000_000
"""What the limits are for; of fewer files, what it takes to begin with is too large a part."""
_SERVED = 100_000
"""so many files the Zarr of the demo archive has"""
_MOST_MIB = 1024
_ROUNDS = 3

Refs = dict[str, str]


@dataclass(frozen=True)
class Done:
    """A deed of `zarr_writing` that was done in a process of its own."""

    took: Took
    whole: Cost
    """the process, from its start to its end"""


def benchmark(folder: Path, count: int) -> Iterator[Results]:
    """One Zarr of `count` files, in all its forms; then those that are small enough to be served or added up."""
    results, refs = _writing(folder, count)
    yield results
    yield _one_changed(folder / "store", count)
    shutil.rmtree(folder / "store")
    yield _manifest(folder / "manifest", count, refs)
    shutil.rmtree(folder / "manifest")
    yield _one_changed_in_one_folder(folder / "flat", count)
    shutil.rmtree(folder / "flat")
    yield _over_http(folder)
    yield _checksum(folder, count // 10)


def _writing(folder: Path, count: int) -> tuple[Results, Refs]:
    """All of it at once, against `git fast-import` and against a tenth of it; also the refs that came of it."""
    small = [_do("repository", folder / f"small-{number}", count // 10) for number in range(_ROUNDS)]
    ours = _do("repository", folder / "store", count)
    repository = _repository(folder / "store")
    refs, peer = fast_import.heads_and_tags(repository), _peer(folder / "peer", repository)
    small_peer = _peer(folder / "small-peer", _repository(folder / "small-0"))
    results = Results(f"Writing a Zarr of {count:,} files, its listing in memory")
    results.add("from the listing to moved refs", ours.took.wall, "s")
    results.add("CPU", ours.took.cpu, "s")
    results.add("git fast-import of the same content from a ready-made stream", peer.wall, "s")
    results.add("CPU", peer.cpu, "s")
    results.add("ratio", ours.took.wall / peer.wall, limit=_at_full(count, 0.4))
    results.add("ratio of CPU time", ours.took.cpu / peer.cpu, limit=_at_full(count, 0.4))
    # git's own time a file grows with their number, so that the ratio is another for fewer.
    results.add(f"ratio of CPU time for {count // 10:,} files", small[0].took.cpu / small_peer.cpu)
    results.check("hashes equal", refs == fast_import.heads_and_tags(folder / "peer"))
    _add_memory(results, ours, limit=_MOST_MIB)
    results.add("peak memory, git fast-import", peer.peak_mib, "MiB")
    _add_growth(results, ours, small, count)
    results.add("on disk, bytes a file", _bytes(repository / "objects") / count)
    results.add("with the manifest beside it, bytes a file", _bytes(folder / "store") / count)
    results.add("on disk, bytes a file, git fast-import", _bytes(folder / "peer" / "objects") / count)
    _add_repacked(results, folder / "small-0", small[0], count // 10)
    shutil.rmtree(folder / "peer")
    return results, refs


def _peer(target: Path, repository: Path) -> Cost:
    """The same content, written by git."""
    stream = target.with_name(f"{target.name}-stream")
    run([sys.executable, "-m", "benchmarks.fast_import", repository, stream])
    cost = fast_import.measure(stream, target)
    stream.unlink()
    return cost


def _add_growth(results: Results, ours: Done, small: list[Done], count: int) -> None:
    """How much more a file takes than where there is a tenth of them."""
    cpu, wall = median(done.took.cpu for done in small), median(done.took.wall for done in small)
    results.add(
        f"CPU a file, times that of {count // 10:,} files", ours.took.cpu / cpu / 10, limit=_at_full(count, 1.25)
    )
    results.add("seconds a file, likewise", ours.took.wall / wall / 10)


def _add_repacked(results: Results, root: Path, ours: Done, count: int) -> None:
    """How much smaller git would make it, given time."""
    repository = _repository(root)
    before = _bytes(repository / "objects")
    cost = run(["git", "repack", "-adfq"], cwd=repository)
    results.add(f"git repack -adf of {count:,} files: size, times ours", _bytes(repository / "objects") / before)
    results.add("and takes, times what we took", cost.cpu / ours.took.cpu)


def _one_changed(root: Path, count: int) -> Results:
    results = Results(f"One chunk of {count:,} changed, the new listing in memory")
    before = fast_import.heads_and_tags(_repository(root))
    changed = _do("repository", root, count, "changed")
    _add_seconds(results, changed, cpu_limit=10)
    _add_memory(results, changed, limit=_MOST_MIB)
    _check_one_differs(results, root, before)
    return results


def _one_changed_in_one_folder(root: Path, count: int) -> Results:
    """The largest folder there can be: what is done folder by folder is done all at once."""
    first = _do("repository", root, count, "flat")
    results = Results(f"One chunk of {count:,} changed, all in one folder")
    before = fast_import.heads_and_tags(_repository(root))
    changed = _do("repository", root, count, "flat", "changed")
    _add_seconds(results, changed)
    _add_memory(results, changed)
    _check_one_differs(results, root, before)
    results.add("before it, writing them all: CPU", first.took.cpu, "s")
    results.add("peak memory of that", first.whole.peak_mib, "MiB")
    return results


def _check_one_differs(results: Results, root: Path, before: Refs) -> None:
    repository = _repository(root)
    now = fast_import.heads_and_tags(repository)
    command = ["git", "diff-tree", "-r", "--name-only", before["refs/heads/draft"], now["refs/heads/draft"]]
    names = run(command, cwd=repository).printed.splitlines()
    results.check(
        "nothing but that chunk and .dandi/zarr.json differs", len(names) == 2 and ".dandi/zarr.json" in names
    )


def _manifest(root: Path, count: int, refs: Refs) -> Results:
    results = Results(f"hold: manifest of {count:,} files")
    held = _do("manifest", root, count)
    _add_seconds(results, held)
    _add_memory(results, held)
    results.add("on disk, bytes a file", _bytes(root / "state" / "zarrs") / count)
    results.check("the commit is that of the repository", held.took.result == refs["refs/heads/draft"])
    materialized = _do("materialize", root)
    results.add("materialized afterwards, without the archive", materialized.took.wall, "s")
    results.add("CPU", materialized.took.cpu, "s")
    results.add("peak memory", materialized.whole.peak_mib, "MiB")
    results.check("hashes equal", refs == fast_import.heads_and_tags(_repository(root)))
    return results


def _over_http(folder: Path) -> Results:
    results = Results(f"A Zarr of {_SERVED:,} files from an S3 server, in a process of its own")
    with DemoProcess(f"zarr-{_SERVED}") as archive:
        where = (archive.api_url, archive.s3_endpoint)
        rounds = []
        for number in range(_ROUNDS):
            archive.call("clear_requests")
            synced = _do("sync", folder / f"synced-{number}", *where)
            requests = archive.call("count", server="s3")
            rounds.append((synced, _do("listed", folder / f"listed-{number}", *where)))
    synced, listed = sorted(rounds, key=lambda pair: pair[0].took.cpu / pair[1].took.cpu)[_ROUNDS // 2]
    results.add("sync of the Zarr: CPU a file, listing included", synced.took.cpu / _SERVED * 1e6, "µs")
    results.add("writing alone, of the same listing in memory", listed.took.cpu / _SERVED * 1e6, "µs")
    results.add("ratio", synced.took.cpu / listed.took.cpu, limit=1.5)
    results.add("wall clock of the sync", synced.took.wall, "s")
    results.add("wall clock of writing alone", listed.took.wall, "s")
    results.add("requests to the bucket", requests)
    results.add("peak memory of the sync", synced.whole.peak_mib, "MiB")
    results.check("hashes equal", synced.took.result == listed.took.result)
    return results


def _checksum(folder: Path, count: int) -> Results:
    rounds = [[_do(f"{who}-checksum", folder, count).took for who in ("our", "their")] for _ in range(_ROUNDS)]
    ours, theirs = sorted(rounds, key=lambda pair: pair[0].cpu / pair[1].cpu)[_ROUNDS // 2]
    results = Results(f"The checksum alone, of {count:,} files")
    results.add("from the listing: CPU", ours.cpu, "s")
    results.add("the zarr-checksum package: CPU", theirs.cpu, "s")
    results.add("ratio", ours.cpu / theirs.cpu)
    results.check("checksums equal", ours.result == theirs.result)
    return results


def _do(deed: str, root: Path, *words: object) -> Done:
    cost = run([sys.executable, "-m", "benchmarks.zarr_writing", deed, root, *map(str, words)])
    return Done(msgspec.json.decode(cost.printed, type=Took), cost)


def _add_seconds(results: Results, done: Done, *, cpu_limit: float | None = None) -> None:
    results.add("CPU", done.took.cpu, "s", limit=cpu_limit)
    results.add("wall clock", done.took.wall, "s")


def _add_memory(results: Results, done: Done, *, limit: float | None = None) -> None:
    results.add("peak memory", done.whole.peak_mib, "MiB", limit=limit)
    results.add("of which the listing", done.took.listing_mib, "MiB")


def _at_full(count: int, limit: float) -> float | None:
    return limit if count >= FULL else None


def _repository(root: Path) -> Path:
    return Store.open(root).dataset(ZARR_ID).path


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
