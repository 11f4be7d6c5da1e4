"""Whole syncs over HTTP, as a user runs them, from an archive in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.measure import Cost, run
from benchmarks.results import Results
from mirror.demo import DemoProcess


def end_to_end(folder: Path, assets: int = 2000) -> Results:
    """A first mirror of one Dandiset."""
    with DemoProcess(f"bench-{assets}") as archive:
        cost = _sync(archive, folder / "store")
        results = Results(f"First mirror over HTTP: {assets:,} assets, one in twenty a text, one version and the draft")
        results.add("CPU of all our processes", cost.cpu, "s", limit=3)
        results.add("wall clock", cost.wall, "s")
        results.add("peak memory of the largest process", cost.peak_mib, "MiB", limit=150)
        results.add("requests", archive.call("count"))
    return results


def nothing_changed(folder: Path, dandisets: int = 1000) -> Results:
    """Polling an archive in which nothing moved."""
    with DemoProcess("many-dandisets") as archive:
        first = _sync(archive, folder / "store")
        archive.call("clear_requests")
        second = _sync(archive, folder / "store")
        results = Results(f"Nothing changed among {dandisets:,} Dandisets")
        results.add("requests", archive.call("count"), limit=3)
        results.add("CPU", second.cpu, "s", limit=1)
        results.add("wall clock", second.wall, "s")
        results.check("nothing was touched", f"0 changed, {dandisets} unchanged" in second.printed)
        results.add("for comparison, mirroring them at first: CPU per Dandiset", first.cpu / dandisets, "s")
    return results


def _sync(archive: DemoProcess, store: Path) -> Cost:
    settings = {
        "DANDI_MIRROR_ARCHIVE__INSTANCE": "demo-dandi",
        "DANDI_MIRROR_ARCHIVE__API_URL": archive.api_url,
        "DANDI_MIRROR_ARCHIVE__S3_ENDPOINT": archive.s3_endpoint,
        "DANDI_MIRROR_ARCHIVE__SETTLE_SECONDS": "0",
    }
    return run([sys.executable, "-m", "mirror", "sync", "-J", "1", "--store", store], environment=settings)
