"""`scripts/bench`: measure, print each figure next to its limit, end with 1 if one is missed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import bundle, content, dandiset, publish, resolve, sync, zarr
from benchmarks.results import Results

Benchmark = Callable[[Path, argparse.Namespace], Iterable[Results]]
BENCHMARKS: dict[str, Benchmark] = {
    "write": lambda folder, given: dandiset.write(folder, given.assets or dandiset.FULL),
    "end-to-end": lambda folder, _: [sync.end_to_end(folder)],
    "poll": lambda folder, _: [sync.nothing_changed(folder)],
    "publish": lambda folder, given: publish.benchmark(folder, given.dandisets),
    "resolve": lambda folder, given: resolve.benchmark(folder, given.assets or resolve.FULL),
    "zarr": lambda folder, given: zarr.benchmark(folder, given.entries),
    "bundle": lambda folder, given: bundle.benchmark(folder, given.entries),
    "content": lambda folder, given: content.benchmark(folder, given.mebibytes),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure, and compare with peers in one run.")
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument(
        "--assets", type=int, metavar="N", help="for `write` (default: 100000) and `resolve` (default: 1000000)"
    )
    parser.add_argument(
        "--dandisets", type=int, default=publish.FULL, metavar="N", help="for `publish` (default: 2000)"
    )
    parser.add_argument(
        "--entries", type=int, default=zarr.FULL, metavar="N", help="for `zarr` and `bundle` (default: 1000000)"
    )
    parser.add_argument(
        "--mebibytes", type=int, default=content.FULL, metavar="N", help="the large file of `content` (default: 1024)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a benchmark")
    given = parser.parse_args()
    if unknown := set(given.benchmarks) - BENCHMARKS.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    kept = True
    for name in given.benchmarks or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            for results in BENCHMARKS[name](Path(folder), given):
                print(results.as_json() if given.json else results.text() + "\n", flush=True)
                kept = kept and results.kept
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
