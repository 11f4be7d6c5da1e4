"""An archive to mirror, and a mirror to look at with git's own eyes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.store.store import Store
from mirror.sync.engine import Report, sync

START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)


class MakeSettings(Protocol):
    def __call__(self, *, store: Path | None = None, **overrides: Any) -> Settings: ...


class SettingsOf(Protocol):
    def __call__(self, archive: DemoArchive, store: Path, **overrides: Any) -> Settings: ...


class MirrorOnce(Protocol):
    def __call__(
        self, *named: str, everything: bool = False, store: Path | None = None, **overrides: Any
    ) -> Report: ...


class Git(Protocol):
    def __call__(self, repository: Path, *args: str) -> str: ...


class RepositoryOf(Protocol):
    def __call__(self, identifier: str, *, store: Path | None = None) -> Path: ...


class RefsOf(Protocol):
    def __call__(self, identifier: str, *, store: Path | None = None) -> dict[str, str]: ...


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    """An empty archive whose clock stands still until advanced."""
    with DemoArchive(start=START, seed=1) as archive:
        yield archive


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where the mirror is made, unless a test says otherwise."""
    return tmp_path / "mirror"


@pytest.fixture(scope="session")
def settings_of() -> SettingsOf:
    """Settings for a mirror of an archive; any setting by its dotted name with `__` for the dot.

    Versions count as settled at once unless `archive__settle_seconds` says otherwise.
    """

    def make(archive: DemoArchive, store: Path, **overrides: Any) -> Settings:
        given: dict[str, Any] = {
            "archive": {
                "instance": "demo-dandi",
                "api_url": archive.api_url,
                "s3_endpoint": archive.s3_endpoint,
                "settle_seconds": 0,
            },
            "store": store,
            "jobs": 1,
        }
        for name, value in overrides.items():
            section, _, key = name.partition("__")
            if key:
                given.setdefault(section, {})[key] = value
            else:
                given[section] = value
        return Settings.model_validate(given)

    return make


@pytest.fixture
def settings(archive: DemoArchive, store: Path, settings_of: SettingsOf) -> MakeSettings:
    """Settings for a mirror of `archive` in `store`, see `settings_of`."""
    default_store = store

    def make(*, store: Path | None = None, **overrides: Any) -> Settings:
        return settings_of(archive, store or default_store, **overrides)

    return make


@pytest.fixture
def mirror_once(settings: MakeSettings) -> MirrorOnce:
    """Sync once, as the command does, and return the report."""

    def run(*named: str, everything: bool = False, store: Path | None = None, **overrides: Any) -> Report:
        return sync(settings(store=store, **overrides), list(named), everything=everything)

    return run


@pytest.fixture(scope="session")
def git() -> Git:
    """git's answer, without the newline at its end; names are shown as they are."""

    def run(repository: Path, *args: str) -> str:
        command = ["git", "-c", "core.quotePath=false", "-C", str(repository), *args]
        done = subprocess.run(command, capture_output=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull})
        assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr.decode(errors='replace')}"
        return done.stdout.decode().removesuffix("\n")

    return run


@pytest.fixture
def repository_of(store: Path) -> RepositoryOf:
    """The address of a Dandiset, as its users know it."""
    default_store = store

    def find(identifier: str, *, store: Path | None = None) -> Path:
        return Store.open(store or default_store).alias(identifier)

    return find


@pytest.fixture
def refs_of(git: Git, repository_of: RepositoryOf) -> RefsOf:
    """Every ref of a Dandiset's repository with its hash, the tree of git-annex besides as `git-annex^{tree}`."""

    def read(identifier: str, *, store: Path | None = None) -> dict[str, str]:
        repository = repository_of(identifier, store=store)
        lines = git(repository, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        refs = dict(line.rsplit(" ", 1) for line in lines)
        refs["git-annex^{tree}"] = git(repository, "rev-parse", "git-annex^{tree}")
        return refs

    return read
