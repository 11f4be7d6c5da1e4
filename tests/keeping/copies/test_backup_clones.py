"""Clones get content from a backup, with both the archive and the store's content gone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from kept_store import FILES, UNPUBLISHED, ZARR, BackedUpOnce, Clone, moto_server, run

HELD = {**FILES, UNPUBLISHED[0]: UNPUBLISHED[1]}
ACCESS, SECRET = "AKIAIOSFODNN7EXAMPLE", "a-secret-that-nobody-may-find"


def cloned(kept: Any, tmp_path: Path, *, zarrs: bool = True) -> Clone:
    """A clone of a store that has lost all its content."""
    path = tmp_path / "clone"
    run("datalad", "clone", kept.store.alias(kept.one), path)
    if zarrs:
        run("datalad", "get", "--no-data", "-r", ".", cwd=path)
    for objects in kept.root.glob("public/*/*/annex/objects"):
        shutil.rmtree(objects)
    return Clone(path)


def enable(clone: Clone, name: str, *options: str) -> None:
    """As the README has it."""
    clone.annex("enableremote", name, *options)
    clone.annex("verifyremote", name, "--safe", "1")


def assert_all_can_be_got(clone: Clone, name: str) -> None:
    clone.annex("get", "--from", name, *HELD)
    assert {path: clone.read(path) for path in HELD} == HELD
    assert "checksum" in clone.annex("fsck", *HELD)


def test_from_a_directory_with_its_zarrs_by_datalad(backed: BackedUpOnce, tmp_path: Path) -> None:
    clone = cloned(backed.kept, tmp_path)
    for dataset in (clone, clone.sub("sub-1/image.zarr")):
        enable(dataset, "nas", f"directory={backed.folder / 'nas'}")
    run("datalad", "get", *HELD, "sub-1/image.zarr", cwd=clone.path)
    assert {path: clone.read(path) for path in HELD} == HELD
    assert {name: clone.read(f"sub-1/image.zarr/{name}") for name in ZARR} == ZARR
    # The store and the backup are two copies.
    assert "[nas]" in clone.annex("whereis", "sub-1/a.nwb")
    assert run("datalad", "status", "-r", cwd=clone.path) == "nothing to save, working tree clean"


def test_a_clone_that_enables_nothing_pushes_as_ever(backed: BackedUpOnce, tmp_path: Path) -> None:
    clone = cloned(backed.kept, tmp_path, zarrs=False)
    run("git", "init", "--bare", "--quiet", tmp_path / "own.git")
    clone.git("remote", "add", "own", tmp_path / "own.git")
    clone.git("push", "--quiet", "own", "HEAD", "git-annex")
    clone.git("fetch", "--all")
    assert "nas" not in clone.git("remote").split()


def test_from_a_directory_in_chunks(kept: Any, commands: Any, tmp_path: Path) -> None:
    (tmp_path / "nas").mkdir()
    options = {"directory": str(tmp_path / "nas"), "chunk": "10B"}
    commands.backup(backup=[{"name": "nas", "type": "directory", "options": options}])
    clone = cloned(kept, tmp_path, zarrs=False)
    enable(clone, "nas", f"directory={tmp_path / 'nas'}")
    assert_all_can_be_got(clone, "nas")


@pytest.mark.skipif(shutil.which("rsync") is None, reason="there is no rsync here")
def test_from_rsync(kept: Any, commands: Any, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    options = {"rsyncurl": str(tmp_path / "there")}
    assert commands.backup(backup=[{"name": "there", "type": "rsync", "options": options}]).code == 0
    clone = cloned(kept, tmp_path, zarrs=False)
    enable(clone, "there")
    assert_all_can_be_got(clone, "there")


@pytest.fixture(scope="module")
def s3_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of buckets listens there."""
    port = tmp_path_factory.mktemp("s3") / "port"
    server = moto_server(port)
    try:
        until = time.monotonic() + 60
        while not (port.exists() and port.read_text()):
            assert time.monotonic() < until
            time.sleep(0.05)
        yield port.read_text()
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def s3(s3_port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A bucket, as the settings name it."""
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    bucket = f"dandi-{sha256(str(tmp_path).encode()).hexdigest()[:16]}"
    url = f"http://127.0.0.1:{s3_port}"
    boto3.client("s3", endpoint_url=url, region_name="us-east-1").create_bucket(Bucket=bucket)
    options = {"host": "127.0.0.1", "port": s3_port, "protocol": "http", "requeststyle": "path", "bucket": bucket}
    return {"name": "cloud", "type": "S3", "options": options}


def test_from_a_bucket_and_the_secret_is_nowhere(kept: Any, commands: Any, tmp_path: Path, s3: dict[str, Any]) -> None:
    assert commands.backup(backup=[s3]).code == 0
    # Whoever reads the store finds the place, and no way in.
    assert f"bucket={s3['options']['bucket']}".encode() in kept.branch("remote.log")
    found = [path for path in kept.root.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert not found
    for body in (kept.branch("remote.log"), (kept.root / "state/backups/cloud.remote").read_bytes()):
        assert ACCESS.encode() not in body
        assert b"s3creds" not in body
    clone = cloned(kept, tmp_path, zarrs=False)
    enable(clone, "cloud")
    assert_all_can_be_got(clone, "cloud")
    assert commands.backup("--verify", "--json", backup=[s3]).records[-1]["copied"] == 0


def test_a_bucket_that_does_not_answer_takes_nothing_back(kept: Any, commands: Any, s3: dict[str, Any]) -> None:
    commands.backup(kept.one, backup=[s3])
    before = kept.refs()
    s3["options"]["port"] = "9"
    said = commands.backup("--verify", backup=[s3])
    assert said.code == 3
    assert SECRET not in said.out
    assert kept.refs() == before
