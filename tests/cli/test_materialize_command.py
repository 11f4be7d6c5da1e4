"""`dandi-mirror materialize` as a user or a script sees it: in a process of its own, of a store of manifests."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.git.process import run_git
from mirror.store.store import Store
from mirror.sync.engine import sync

from ..warm import warm_program

FILES = {".zgroup": b"{}", "0/.zarray": b"{}", "0/0/0": b"one", "0/0/1": b"two"}
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    with DemoArchive(seed=1) as archive:
        yield archive


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    return settings_with(zarr={"hold": "manifest"})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return warm_program().run("materialize", "--store", "store", *args, cwd=tmp_path)

    return run


def records(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_zarrs_of_a_dandiset_are_written_under_the_commits_it_names_without_asking_the_archive(
    run: Run, archive: DemoArchive, settings: Settings
) -> None:
    identifier = archive.create_dandiset()
    zarrs = [archive.add_zarr(identifier, f"sub-{number}.zarr", FILES) for number in (1, 2)]
    sync(settings)
    archive.change_zarr(identifier, "sub-1.zarr", {"0/0/0": b"another one"})
    sync(settings)
    store = Store.open(settings.store)
    named = {
        line.split()[2]: line.split()[3]
        for line in run_git(store.alias(identifier), "ls-tree", "-r", "draft").decode().splitlines()
        if line.startswith("160000")
    }
    assert not any(store.alias(zarr_id).exists() for zarr_id in zarrs)

    archive.close()
    done = run("1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{zarrs[0]}  written, with 2 states: ")
    assert lines[1].startswith(f"{zarrs[1]}  written, with 1 state: ")
    assert lines[2:] == ["2 Zarrs, 0 failed"]
    for zarr_id in zarrs:
        run_git(store.alias(zarr_id), "fsck", "--strict", "--no-dangling")
        assert run_git(store.alias(zarr_id), "rev-parse", "draft").decode().strip() in named


def test_a_zarr_that_is_there_already_needs_nothing(run: Run, archive: DemoArchive, settings: Settings) -> None:
    identifier = archive.create_dandiset()
    zarr_id = archive.add_zarr(identifier, "a.zarr", FILES)
    sync(settings)
    first, second = (records(run("--json", zarr_id.upper())) for _ in range(2))
    assert [record["status"] for record in (*first, *second)] == ["ok", "notneeded"]
    assert first[0]["commit"] == second[0]["commit"]
    assert first[0]["zarr"] == zarr_id
    assert Path(first[0]["path"]) == settings.store / "public/alias" / zarr_id


def test_from_then_on_a_sync_goes_on_in_the_repository(run: Run, archive: DemoArchive, settings: Settings) -> None:
    identifier = archive.create_dandiset()
    zarr_id = archive.add_zarr(identifier, "a.zarr", FILES)
    sync(settings)
    run(zarr_id)
    archive.change_zarr(identifier, "a.zarr", remove=["0/0/1"])
    sync(settings)
    alias = Store.open(settings.store).alias(zarr_id)
    assert run_git(alias, "ls-tree", "-r", "--name-only", "draft", "0").decode().split() == ["0/.zarray", "0/0/0"]
    assert len(run_git(alias, "tag").decode().split()) == 2


def test_what_is_not_held_is_told_and_the_others_are_written_all_the_same(
    run: Run, archive: DemoArchive, settings: Settings
) -> None:
    identifier = archive.create_dandiset()
    zarr_id = archive.add_zarr(identifier, "a.zarr", FILES)
    sync(settings)
    unknown = "00000000-0000-4000-8000-000000000000"
    done = run(unknown, zarr_id)
    assert done.returncode == 3
    assert done.stdout.splitlines()[0] == f"{unknown}  failed: no such Zarr is mirrored here"
    assert done.stdout.splitlines()[1].startswith(f"{zarr_id}  written")
    assert "1 of 2 Zarrs could not be written" in done.stderr


def test_a_damaged_manifest_is_told_and_leaves_no_repository(
    run: Run, archive: DemoArchive, settings: Settings
) -> None:
    identifier = archive.create_dandiset()
    zarr_id = archive.add_zarr(identifier, "a.zarr", FILES)
    sync(settings)
    store = Store.open(settings.store)
    (manifest,) = store.zarr(zarr_id).path.glob("manifest-*.gz")
    manifest.write_bytes(manifest.read_bytes()[:-12])
    done = run(zarr_id)
    assert done.returncode == 3
    assert "is cut short" in done.stdout
    assert not store.alias(zarr_id).exists()
    assert not store.dataset(zarr_id).path.exists()


@pytest.mark.parametrize("wrong", ["nonsense", "00000000-0000", "000004"])
def test_what_is_neither_a_zarr_nor_a_dandiset_of_the_store_is_a_usage_error(
    run: Run, archive: DemoArchive, settings: Settings, wrong: str
) -> None:
    archive.add_zarr(archive.create_dandiset(), "a.zarr", FILES)
    sync(settings)
    done = run(wrong)
    assert done.returncode == 2
    assert wrong in done.stderr


def test_without_a_store_it_says_so(run: Run) -> None:
    assert run("000001").returncode == 10
