"""An archive to mirror, and runs as the command makes them: a sync, and what follows it."""

from __future__ import annotations

import os
import subprocess
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

ALWAYS = 1_000_000
RELEASES = "refs/heads/releases"
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

    def run(
        self, *named: str, everything: bool = False, patient: bool = False, **more: Any
    ) -> tuple[Report, Published]:
        """Sync once, and publish."""
        settings = self.settings(**more)
        with Publisher(settings, layout_of(settings), patient=patient) as publisher:
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


def git(mirror: Mirror, *args: str, name: str = "dandisets") -> str:
    command = ["git", "-C", str(mirror.store.alias(name)), *args]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull})
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().rstrip("\n")


def chain(mirror: Mirror) -> list[str]:
    """The Dandisets of the releases, oldest first."""
    if RELEASES not in mirror.refs("dandisets"):
        return []
    return git(mirror, "log", "--reverse", "--format=%(trailers:key=Dandiset,valueonly,separator=)", "releases").split()


def released(mirror: Mirror, name: str = "dandisets") -> dict[str, str]:
    """What has to be equal in every mirror of the same selection."""
    return {ref: oid for ref, oid in mirror.refs(name).items() if ref == RELEASES or ref.startswith("refs/tags/")}


@pytest.fixture
def dandisets(archive: DemoArchive) -> list[str]:
    """Three Dandisets of a text each; the first and the third are published, in this order."""
    identifiers = []
    for number in range(3):
        identifier = archive.create_dandiset(f"Dandiset {number}")
        archive.add_asset(identifier, "README.md", f"# {number}\n".encode())
        identifiers.append(identifier)
    for identifier in (identifiers[0], identifiers[2]):
        release(archive, identifier)
    return identifiers


def release(archive: DemoArchive, identifier: str) -> str:
    archive.clock.advance(3600)
    return archive.publish(identifier)


@pytest.fixture
def fresh(archive: DemoArchive, tmp_path: Path) -> Mirror:
    """Another mirror, made later."""
    return Mirror(archive, tmp_path / "fresh")
