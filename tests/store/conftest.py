"""A store, empty but for what a test puts there; and one that mirrors a small archive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mirror.archive.records import Instance
from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.store.chronicle import Chronicle
from mirror.store.feed import Change
from mirror.store.store import Store
from mirror.sync.engine import sync


@pytest.fixture
def instance() -> Instance:
    return Instance("DANDI", "https://dandiarchive.org", "10.48324")


@pytest.fixture
def store(tmp_path: Path, instance: Instance) -> Store:
    return Store.open_or_create(tmp_path / "store", instance)


class Mirror:
    """An archive with one Dandiset, and its mirror with a chronicle."""

    def __init__(self, archive: DemoArchive, folder: Path) -> None:
        self.archive = archive
        connection = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        self._settings = Settings.model_validate(
            {"archive": {**connection, "settle_seconds": 0}, "store": folder, "jobs": 1}
        )
        self.one = archive.create_dandiset("Ripples")
        archive.add_assets(self.one, [("sub-1/a.nwb", b"one"), ("sub-1/b.nwb", b"three"), ("README.md", b"# Read\n")])
        self.sync()
        self.store = Store.open(folder)

    def sync(self, *, everything: bool = False) -> None:
        sync(self._settings, everything=everything).check()

    @contextmanager
    def chronicle(self) -> Iterator[Chronicle]:
        with self.store.lock("a test"), Chronicle(self.store) as chronicle:
            yield chronicle

    def follow(self) -> list[Change]:
        """What a run announces that looks at everything."""
        with self.chronicle() as chronicle:
            chronicle.begin()
        with self.chronicle() as chronicle:
            changes = chronicle.catch_up()
            assert not chronicle.failures
            chronicle.finish()
        return changes

    def sync_and_follow(self) -> list[Change]:
        self.sync()
        return self.follow()

    def refs(self, identifier: str | None = None) -> dict[str, str]:
        refs = self.store.repository(identifier or self.one).peeled_refs()
        return {name: oid.hex() for name, oid in refs.items()}

    @property
    def draft(self) -> str:
        return self.refs()["refs/heads/draft"]


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """Synced, and nothing of it catalogued yet."""
    with DemoArchive(start=datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC), seed=1) as archive:
        yield Mirror(archive, tmp_path / "mirror")
