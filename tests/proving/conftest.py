"""A small archive, a mirror of it, and what proving finds in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Protocol

import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.proving.findings import Finding, SubjectProved
from mirror.store.ledger import Level
from mirror.store.store import Store
from mirror.sync.engine import sync

START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)


class Git(Protocol):
    def __call__(self, repository: Path, *args: str, stdin: bytes = b"") -> str: ...


Build = Callable[[DemoArchive], str]
"""puts a Dandiset into an archive; its identifier"""
Mirror = Callable[[Settings], object]
Mirrored = Callable[..., Path]


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    """An empty archive whose clock stands still until advanced."""
    with DemoArchive(start=START, seed=1) as archive:
        yield archive


@pytest.fixture
def settings(archive: DemoArchive, tmp_path: Path) -> Settings:
    return settings_for(archive, tmp_path / "store")


@pytest.fixture(scope="session")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Mirrored:
    """Gives a store that mirrors what `build` puts into an archive, made once and for copying.

    The archive of a test is like that one, having the same seed; only the ports of its addresses are others, which of
    content that is open are not asked.
    """

    @cache
    def make(build: Build, mirror: Mirror = sync) -> Path:
        store = tmp_path_factory.mktemp("mirrored") / "store"
        with DemoArchive(start=START, seed=1) as archive:
            build(archive)
            mirror(settings_for(archive, store))
        return store

    return make


def settings_for(archive: DemoArchive, store: Path) -> Settings:
    """The settings of a mirror of an archive that may ask as often as it likes."""
    where = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
    given = {"archive": {**where, "settle_seconds": 0}, "store": store, "jobs": 1}
    return Settings.model_validate({**given, "verify": {"requests_per_second": 1000}})


def copied(store: Path, settings: Settings) -> Store:
    """A copy of a store, where the settings want one."""
    shutil.copytree(store, settings.store, symlinks=True)
    return Store.open(settings.store)


def ripples(archive: DemoArchive) -> str:
    """A Dandiset with two recordings, a text, one published version and a draft that went on."""
    identifier = archive.create_dandiset("Ripples")
    archive.add_asset(identifier, "README.md", b"Ripples of two mice\n")
    archive.add_asset(identifier, "sub-1/sub-1_ecephys.nwb", b"spikes of one")
    archive.add_asset(identifier, "sub-2/sub-2_ecephys.nwb", b"spikes of two")
    archive.publish(identifier)
    archive.add_asset(identifier, "sub-3/sub-3_ecephys.nwb", b"spikes of three")
    return identifier


@pytest.fixture
def dandiset(archive: DemoArchive) -> str:
    """The identifier of a Dandiset with recordings."""
    return ripples(archive)


ZARR_PATH = "sub-1/sub-1_image.ome.zarr"


@pytest.fixture
def zarr_path() -> str:
    return ZARR_PATH


def slices(archive: DemoArchive) -> str:
    """A Dandiset with a Zarr in its draft."""
    identifier = archive.create_dandiset("Slices")
    files = {".zattrs": b"{}", "0/.zarray": b"{1}", "0/0/0": b"pixels", "0/0/1": b"more pixels", "0/1": b"pixels"}
    archive.add_zarr(identifier, ZARR_PATH, files)
    return identifier


@pytest.fixture
def with_zarr(archive: DemoArchive) -> str:
    """The identifier of a Dandiset with a Zarr."""
    return slices(archive)


@pytest.fixture
def store(dandiset: str, settings: Settings, mirrored: Mirrored) -> Store:
    """A mirror of the Dandiset with recordings."""
    assert dandiset
    return copied(mirrored(ripples), settings)


def holding_manifests(settings: Settings) -> None:
    """Mirror Zarrs as manifests only."""
    sync(settings.model_copy(update={"zarr": settings.zarr.model_copy(update={"hold": "manifest"})}))


@pytest.fixture
def zarr_store(with_zarr: str, settings: Settings, mirrored: Mirrored) -> Store:
    """A mirror of the Dandiset with a Zarr."""
    assert with_zarr
    return copied(mirrored(slices), settings)


@pytest.fixture(scope="session")
def git() -> Git:
    """What git prints, without the newline at its end."""

    def run(repository: Path, *args: str, stdin: bytes = b"") -> str:
        command = ["git", "-C", str(repository), *args]
        done = subprocess.run(command, input=stdin, capture_output=True, env={**os.environ})
        assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr.decode(errors='replace')}"
        return done.stdout.decode().removesuffix("\n")

    return run


@dataclass
class Told:
    """Remembers what it is told."""

    findings: list[Finding] = field(default_factory=list)
    subjects: list[SubjectProved] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def begun(self, subject: str, level: Level) -> None:
        pass

    def how_far(self, text: str) -> None:
        self.said.append(text)

    def found(self, finding: Finding) -> None:
        self.findings.append(finding)

    def proved(self, subject: SubjectProved) -> None:
        self.subjects.append(subject)

    @property
    def kinds(self) -> set[str]:
        return {finding.kind for finding in self.findings}

    def where(self, kind: str) -> list[str]:
        return [finding.where for finding in self.findings if finding.kind == kind]


@pytest.fixture
def told() -> Told:
    return Told()
