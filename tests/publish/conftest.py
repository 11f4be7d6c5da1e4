"""An archive to mirror, and runs as the command makes them: a sync, and what follows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.publish.publishing import Published, Publisher
from mirror.store.store import Store
from mirror.sync.dandiset import layout_of
from mirror.sync.engine import Report, sync

START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)


@dataclass
class Mirror:
    """A mirror of a demo archive."""

    archive: DemoArchive
    root: Path

    def settings(self, **more: Any) -> Settings:
        archive = {
            "instance": "demo-dandi",
            "api_url": self.archive.api_url,
            "s3_endpoint": self.archive.s3_endpoint,
            "settle_seconds": more.pop("settle_seconds", 0),
        }
        return Settings.model_validate({"archive": archive, "store": self.root, "jobs": 1, **more})

    def run(self, *named: str, everything: bool = False, **more: Any) -> tuple[Report, Published]:
        """Sync once, and publish."""
        settings = self.settings(**more)
        with Publisher(settings, layout_of(settings)) as publisher:
            report = sync(settings, named, everything=everything, follower=publisher)
        return report, publisher.published

    @property
    def store(self) -> Store:
        return Store.open(self.root)

    def refs(self, name: str) -> dict[str, str]:
        """The refs of a dataset, by their full names."""
        from mirror.git.repository import Repository

        return {ref: oid.hex() for ref, oid in Repository(self.store.alias(name).resolve()).refs().items()}


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    """An empty archive whose clock stands still until advanced."""
    with DemoArchive(start=START, seed=1) as archive:
        yield archive


@pytest.fixture
def mirror(archive: DemoArchive, tmp_path: Path) -> Mirror:
    return Mirror(archive, tmp_path / "mirror")
