"""Content that the store holds is had from the store, whatever becomes of the archive."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pytest
import zarr
from click.testing import CliRunner

from mirror.cli.populate import populate
from mirror.config_layers import load
from mirror.demo import DemoArchive
from mirror.demo.nwb import Recording, nwb_bytes
from mirror.demo.zarr_files import sample_image, zarr_files
from mirror.sync.engine import sync

IMAGE = "sub-M541/sub-M541_image.zarr"
RECORDING = Recording("M541", "20240102", seed=1)
OTHER = "sub-M541/notes.dat"


@dataclass(frozen=True)
class Offline:
    """A store with content, whose archive is gone."""

    store: Path
    url: str
    identifier: str
    zarr_id: str
    array: Any

    def address(self, way: str, name: str | None = None) -> str:
        public = self.store / "public"
        name = name or self.identifier
        return {
            "path": str(public / "alias" / name),
            "ria+file": f"ria+file://{public}#~{name}",
            "ria+http": f"ria+{self.url}#~{name}",
            "http": f"{self.url}/alias/{name}",
            "ssh": f"ssh://store.example.org{public}/alias/{name}",
        }[way]


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory, served: Callable[[Path], Any]) -> Iterator[Offline]:
    store = tmp_path_factory.mktemp("offline") / "store"
    image = sample_image(32)
    with DemoArchive() as archive:
        identifier = archive.create_dandiset("Ripples", contributors=["Doe, Jane"])
        archive.add_asset(identifier, RECORDING.path, nwb_bytes(RECORDING), RECORDING.metadata())
        archive.add_asset(identifier, OTHER, b"notes that nobody populates")
        zarr_id = archive.add_zarr(identifier, IMAGE, zarr_files(image, chunks=(16, 16)))
        where = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        config = store.with_name("mirror.yaml")
        config.write_text(json.dumps({"archive": {**where, "settle_seconds": 0}, "store": str(store)}))
        sync(load(config, {}).settings).check()
        wanted = [f"{identifier}/draft/{path}" for path in (RECORDING.path, IMAGE)]
        said = CliRunner().invoke(populate, ["-c", str(config), *wanted], catch_exceptions=False)
        assert said.exit_code == 0
    with served(store / "public") as url:
        yield Offline(store, url, identifier, zarr_id, image)


_SSH = """#!/bin/sh
for word; do
    shift
    [ "$word" = store.example.org ] && [ $# -gt 0 ] && exec sh -c "$*"
done
exit 255
"""


@pytest.fixture
def ssh(tmp_path: Path) -> Mapping[str, str]:
    """An environment in which that host is this machine."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(_SSH)
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "DATALAD_SSH_EXECUTABLE": str(program), "DATALAD_SSH_MULTIPLEX__CONNECTIONS": "0"}


def opened(clone: Any, offline: Offline) -> None:
    """What is populated can be opened."""
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(clone.path / RECORDING.path, mode="r") as reader:
        assert reader.read().subject.subject_id == "M541"
    assert numpy.array_equal(zarr.open_array(clone.path / IMAGE, mode="r")[:], offline.array)


@pytest.mark.parametrize("way", ["path", "http"])
def test_a_plain_clone_has_it_at_once(offline: Offline, clone_of: Callable[..., Any], way: str) -> None:
    clone = clone_of(offline.address(way))
    clone.datalad("get", RECORDING.path)
    clone.datalad("get", IMAGE)
    opened(clone, offline)
    clone.assert_clean()


@pytest.mark.parametrize("way", ["ria+file", "ria+http"])
def test_a_ria_clone_has_it_after_one_command(offline: Offline, clone_of: Callable[..., Any], way: str) -> None:
    clone = clone_of(offline.address(way))
    clone.git("config", "remote.origin.annex-ignore", "false")
    clone.datalad("get", RECORDING.path)
    clone.datalad("get", "-n", IMAGE)
    clone.sub(IMAGE).git("config", "remote.origin.annex-ignore", "false")
    clone.datalad("get", IMAGE)
    opened(clone, offline)
    clone.assert_clean()


def test_over_ssh_it_is_as_with_a_path(offline: Offline, clone_of: Callable[..., Any], ssh: Mapping[str, str]) -> None:
    clone = clone_of(offline.address("ssh"), env=ssh)
    clone.datalad("get", RECORDING.path)
    assert "ok" in clone.annex("fsck", RECORDING.path)


def test_what_nobody_populated_is_still_asked_of_the_archive(offline: Offline, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(offline.address("path"))
    assert OTHER in clone.datalad("get", OTHER, ok=False)
    shown = clone.annex("whereis", OTHER)
    assert "(1 copy)" in shown
    assert "web" in shown


@pytest.mark.parametrize("way", ["path", "http"])
def test_a_zarr_alone_has_it_too(offline: Offline, clone_of: Callable[..., Any], way: str) -> None:
    clone = clone_of(offline.address(way, offline.zarr_id))
    clone.datalad("get", ".")
    assert numpy.array_equal(zarr.open_array(clone.path, mode="r")[:], offline.array)


def test_the_store_comes_before_the_archive(mirror: Any, clone_of: Callable[..., Any], tmp_path: Path) -> None:
    mirror.add("sub-1/a.nwb", b"a recording")
    mirror.sync()
    where = {"instance": "demo-dandi", "api_url": mirror.archive.api_url, "s3_endpoint": mirror.archive.s3_endpoint}
    config = tmp_path / "mirror.yaml"
    config.write_text(json.dumps({"archive": where, "store": str(mirror.store)}))
    assert CliRunner().invoke(populate, ["-c", str(config), mirror.identifier]).exit_code == 0
    clone = clone_of(mirror.alias)
    mirror.archive.requests.clear()
    assert "from origin" in clone.annex("get", "sub-1/a.nwb")
    assert mirror.archive.count() == 0
