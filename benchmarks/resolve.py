"""Looking things up among a million assets: cataloguing them, and asking for one by all the names that it has."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.archive import identifiers
from benchmarks.measure import Cost, run
from benchmarks.publishing import Took
from benchmarks.resolving import DANDISETS, archive
from benchmarks.results import Results

FULL = 1_000_000
_MOST_MS = 10
"""`milliseconds`, that is: for a look-up in a process that runs already."""


def benchmark(folder: Path, count: int) -> Iterator[Results]:
    """As many assets in ten Dandisets, of which each has two published versions, and a draft that moved once."""
    root, count = folder / "store", archive(count).assets * DANDISETS
    _do("load", root, count)
    yield _catalogued(root, count)
    yield _moved_on(root, count)
    yield _looked_up(root, count)


def _catalogued(root: Path, count: int) -> Results:
    whole = run([sys.executable, "-m", "benchmarks.publishing", "catalogue", root])
    took = msgspec.json.decode(whole.printed, type=Took)
    results = Results(f"Cataloguing {count:,} assets in {DANDISETS} Dandisets with two published versions each")
    results.add("CPU", took.cpu, "s")
    results.add("CPU an asset", took.cpu / count * 1e6, "µs")
    results.add("wall clock", took.wall, "s")
    results.add("peak memory", whole.peak_mib, "MiB")
    results.add("on disk, bytes an asset", _bytes(root) / count)
    return results


def _moved_on(root: Path, count: int) -> Results:
    """One asset in a hundred replaced in each draft."""
    _do("edit", root, count)
    whole = run([sys.executable, "-m", "benchmarks.publishing", "follow", root, *identifiers(DANDISETS)])
    took = msgspec.json.decode(whole.printed, type=Took)
    results = Results(f"{count // 100:,} of these replaced")
    results.add("CPU of following that, superdataset included", took.cpu, "s")
    results.add("CPU a replaced asset", took.cpu / (count // 100) * 1e6, "µs")
    results.add("peak memory", whole.peak_mib, "MiB")
    return results


def _looked_up(root: Path, count: int) -> Results:
    results = Results(f"Looking up one of {count:,} assets, and {count // 100:,} that no version holds any more")
    printed = _do("look-up", root, count).printed
    for what, milliseconds in msgspec.json.decode(printed, type=dict[str, float]).items():
        results.add(what, milliseconds, "ms", limit=_MOST_MS)
    asset = archive(count).asset_in("000001", 0, 0)
    command = run([sys.executable, "-m", "mirror", "resolve", "--store", root, asset.asset_id])
    results.add("the whole command `dandi-mirror resolve`: CPU", command.cpu, "s")
    results.add("wall clock", command.wall, "s")
    results.add("peak memory", command.peak_mib, "MiB")
    return results


def _do(deed: str, root: Path, count: int) -> Cost:
    return run([sys.executable, "-m", "benchmarks.resolving", deed, root, str(count)])


def _bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in (root / "state").glob("catalogue.sqlite*"))
