"""An archive with a Dandiset that is not for everybody, and a mirror by somebody who may see it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mirror.archive import http
from mirror.archive.instances import token_variable
from mirror.config import Settings
from mirror.demo import DemoArchive, samples
from mirror.demo.nwb import nwb_bytes
from mirror.demo.samples import embargoed_dandiset
from mirror.demo.zarr_files import Files, ome_zarr_files, sample_image
from mirror.git.repository import Repository
from mirror.publish.publishing import Published, Publisher
from mirror.store import contents
from mirror.store.locations import annex_uuid, note_locations
from mirror.store.store import Store
from mirror.sync.dandiset import layout_of
from mirror.sync.engine import Report, sync

if TYPE_CHECKING:
    from tests.sync.conftest import SettingsOf

TOKEN_VARIABLE = token_variable("demo-dandi")
OPEN_TEXT = b"# For everybody\n"
SECRETS = ["secret-recording", "secret-note", "secret words", "secret-chunk", "secret-replaced"]
"""Names, and what texts say, of what comes and goes under embargo."""
_RECORDING = "sub-G1/secret-recording.nwb"


@dataclass
class Mirror:
    """A mirror of the archive, which asks for what is under embargo unless told otherwise."""

    archive: DemoArchive
    root: Path
    settings_of: SettingsOf

    def settings(self, *, embargoed: bool = True, **more: Any) -> Settings:
        return self.settings_of(self.archive, self.root, select__embargoed=embargoed, **more)

    def run(self, *named: str, everything: bool = False, patient: bool = False, **more: Any) -> Report:
        """Sync once, and publish."""
        return self.publish(*named, everything=everything, patient=patient, **more)[0]

    def publish(
        self, *named: str, everything: bool = False, patient: bool = False, **more: Any
    ) -> tuple[Report, Published]:
        settings = self.settings(**more)
        with Publisher(settings, layout_of(settings)) as publisher:
            report = sync(settings, named, everything=everything, patient=patient, follower=publisher)
        return report, publisher.published

    @property
    def store(self) -> Store:
        return Store.open(self.root)

    def git(self, name: str, *args: str) -> str:
        """git's answer about a dataset, by its name."""
        command = ["git", "-C", str(self.store.alias(name)), *args]
        done = subprocess.run(command, capture_output=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull})
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().rstrip("\n")

    def urls(self, name: str) -> set[str]:
        """Every address that is recorded in a dataset, as git-annex reads its logs."""
        names = self.git(name, "ls-tree", "-r", "--name-only", "git-annex").splitlines()
        logs = [self.git(name, "show", f"git-annex:{log}") for log in names if log.endswith(".log.web")]
        return {words[2] for log in logs for line in log.splitlines() if (words := line.split(" ", 2))[1] == "1"}

    def results(self, *named: str, **more: Any) -> dict[str, str]:
        return {one.identifier: one.result for one in self.run(*named, **more).outcomes}


_recording = cache(nwb_bytes)


@cache
def _picture(size: int) -> Files:
    return ome_zarr_files(sample_image(size), chunks=(16, 16))


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Files of the samples are made once for all tests, and nobody waits for long before asking again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "nwb_bytes", _recording)
        patch.setattr(samples, "sample_image", lambda size: size)
        patch.setattr(samples, "ome_zarr_files", lambda size, **_: _picture(size))
        patch.setattr(http, "_backoff", lambda _attempt: 0.01)
        # Not until everything on this machine's disk is on it, what others write too.
        patch.setattr(contents, "settle", Path.stat)
        # Of what a dead process left, nobody is alive whose it might be.
        assert Repository.repair.__kwdefaults__ is not None
        patch.setitem(Repository.repair.__kwdefaults__, "grace", 0.1)
        yield


@pytest.fixture
def token(archive: DemoArchive, monkeypatch: pytest.MonkeyPatch) -> str:
    """That of the user who owns every Dandiset."""
    monkeypatch.setenv(TOKEN_VARIABLE, archive.token)
    return archive.token


@pytest.fixture
def opened(archive: DemoArchive) -> str:
    """A Dandiset for everybody."""
    identifier = archive.create_dandiset("Open")
    archive.add_assets(identifier, [("README.md", OPEN_TEXT), ("sub-1/sub-1.nwb", b"open")])
    return identifier


@pytest.fixture
def closed(archive: DemoArchive, opened: str) -> str:
    """A Dandiset under embargo: texts, recordings, a Zarr. It comes after the open one."""
    assert opened in archive.dandisets
    return embargoed_dandiset(archive)


@pytest.fixture
def zarr_id(archive: DemoArchive, closed: str) -> str:
    """The Zarr in it."""
    return next(asset.zarr.zarr_id for asset in archive.dandiset(closed).draft.assets.values() if asset.zarr)


@pytest.fixture
def mirror(archive: DemoArchive, store: Path, settings_of: SettingsOf) -> Mirror:
    return Mirror(archive, store, settings_of)


@pytest.fixture
def another(archive: DemoArchive, tmp_path: Path, settings_of: SettingsOf) -> Callable[[str], Mirror]:
    """Makes further mirrors, by name."""
    return lambda name: Mirror(archive, tmp_path / name, settings_of)


def public_files(store: Store) -> dict[str, bytes]:
    """Every file of the store that is not on the closed side."""
    return {
        str(path.relative_to(store.root)): path.read_bytes()
        for path in sorted(store.root.rglob("*"))
        if path.is_file() and not path.is_symlink() and store.private not in path.parents
    }


def all_objects(repository: Path) -> bytes:
    """Every object that is in any file of a repository, whether or not anything leads to it."""
    command = ["git", "-C", str(repository), "cat-file", "--batch-all-objects", "--batch"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def found_in_public(store: Store, *secrets: str) -> list[tuple[str, str]]:
    """Where any of these is said, in files as in objects."""
    places: list[tuple[str, bytes]] = list(public_files(store).items())
    for dataset_id in store.open_side.repositories():
        path = store.open_side.folder(dataset_id)
        places.append((str(path), all_objects(path)))
    return [(place, one) for place, body in places for one in secrets if one.encode() in body or one in place]


def live_under_embargo(archive: DemoArchive, mirror: Mirror, identifier: str, zarr: str) -> list[str]:
    """Have an asset, a text and a file of the Zarr come and go. The digest of what nobody is to know of."""
    archive.clock.advance(60)
    archive.add_asset(identifier, _RECORDING, b"the bytes of a secret")
    archive.add_asset(identifier, "secret-note.txt", b"secret words\n")
    archive.add_asset(identifier, "kept.txt", b"secret-replaced\n")
    archive.change_zarr(identifier, zarr, {"0/secret-chunk": b"a secret chunk"})
    mirror.run().check()
    digest = mirror.git(identifier, "show", f"draft:{_RECORDING}").rpartition("--")[2].partition(".")[0]
    archive.clock.advance(60)
    archive.remove_asset(identifier, _RECORDING)
    archive.remove_asset(identifier, "secret-note.txt")
    archive.replace_asset(identifier, "kept.txt", content=b"fit to be read\n")
    archive.change_zarr(identifier, zarr, remove=["0/secret-chunk"])
    mirror.run().check()
    archive.clock.advance(60)
    return [digest]


def populate(store: Store, name: str, most: int | None = None) -> dict[str, bytes]:
    """Put content into a dataset of the store for each key that its git-annex branch has, and say so; by key."""
    repository = Repository(store.alias(name).resolve())
    command = ["git", "-C", str(repository.path), "ls-tree", "-r", "--name-only", "git-annex"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    logs = [Path(path).name for path in listed.splitlines() if path.endswith(".log") and "--" in path][:most]
    keys = {log.removesuffix(".log"): log.encode() for log in logs}
    for key, body in keys.items():
        file = store.private / "state" / "tmp" / "content"
        file.write_bytes(body)
        contents.adopt(repository.path, key, file)
    note_locations(repository, annex_uuid(repository), present=keys)
    return keys
