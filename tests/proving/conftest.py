"""A small archive, a mirror of it, and what proving finds in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
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


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    """An empty archive whose clock stands still until advanced."""
    with DemoArchive(start=START, seed=1) as archive:
        yield archive


@pytest.fixture
def dandiset(archive: DemoArchive) -> str:
    """A Dandiset with two recordings, a text, one published version and a draft that went on."""
    identifier = archive.create_dandiset("Ripples")
    archive.add_asset(identifier, "README.md", b"Ripples of two mice\n")
    archive.add_asset(identifier, "sub-1/sub-1_ecephys.nwb", b"spikes of one")
    archive.add_asset(identifier, "sub-2/sub-2_ecephys.nwb", b"spikes of two")
    archive.publish(identifier)
    archive.add_asset(identifier, "sub-3/sub-3_ecephys.nwb", b"spikes of three")
    return identifier


@pytest.fixture
def zarr_path() -> str:
    return "sub-1/sub-1_image.ome.zarr"


@pytest.fixture
def with_zarr(archive: DemoArchive, zarr_path: str) -> str:
    """A Dandiset with a Zarr in its draft; its identifier."""
    identifier = archive.create_dandiset("Slices")
    files = {".zattrs": b"{}", "0/.zarray": b"{1}", "0/0/0": b"pixels", "0/0/1": b"more pixels", "0/1": b"pixels"}
    archive.add_zarr(identifier, zarr_path, files)
    return identifier


@pytest.fixture
def store(dandiset: str, settings: Settings) -> Store:
    """A mirror of the Dandiset with recordings."""
    assert dandiset
    sync(settings)
    return Store.open(settings.store)


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
