"""What people and scripts see of publishing: `sync`, `status`, `publish` and `skip`, in processes of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mirror.demo import DemoArchive
from mirror.demo.faults import Status
from mirror.git.process import run_git

from ..warm import warm_program
from .conftest import Mirror

ALWAYS = 1_000_000
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def dandisets(archive: DemoArchive) -> list[str]:
    """Two Dandisets of a text each, both published, the first one first."""
    identifiers = []
    for number in range(2):
        identifier = archive.create_dandiset(f"Dandiset {number}")
        archive.add_asset(identifier, "README.md", f"# {number}\n".encode())
        archive.clock.advance(3600)
        archive.publish(identifier)
        identifiers.append(identifier)
    return identifiers


@pytest.fixture
def settings(mirror: Mirror, tmp_path: Path) -> dict[str, Any]:
    """What the settings file says; a test may change it."""
    archive = mirror.settings().archive
    return {
        "archive": {
            "instance": "demo-dandi",
            "api_url": archive.api_url,
            "s3_endpoint": archive.s3_endpoint,
            "settle_seconds": 0,
        },
        "store": str(mirror.root),
        "jobs": 1,
        "publish": {"hosts": [{"name": "backup", "kind": "ria", "url": str(tmp_path / "backup")}]},
    }


@pytest.fixture
def run(settings: dict[str, Any], tmp_path: Path) -> Run:
    def run(*args: str) -> Done:
        (tmp_path / "dandi-mirror.yaml").write_text(yaml.safe_dump(settings))
        return warm_program().run(*args, cwd=tmp_path)

    return run


def records(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_sync_tells_of_superdatasets_and_hosts(run: Run, dandisets: list[str], tmp_path: Path) -> None:
    done = run("sync")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "dandisets  2 releases; draft: 000001 000002 added" in lines
    assert "backup  3 pushed, 3 created" in lines
    pushed = run_git(tmp_path / "backup" / "alias" / "dandisets", "ls-tree", "--name-only", "draft").decode()
    assert set(dandisets) <= set(pushed.split())


@pytest.mark.usefixtures("dandisets")
def test_for_scripts_each_is_a_record(run: Run) -> None:
    found = {record["action"]: record for record in records(run("sync", "--json"))}
    assert found["publish"]["superdataset"] == "dandisets"
    assert len(found["publish"]["releases"]) == 2
    assert found["push"]["status"] == "ok"
    assert found["push"]["pushed"] == ["000001", "000002", "dandisets"]


def test_status_tells_what_there_is_and_what_hosts_lack(
    run: Run, dandisets: list[str], archive: DemoArchive, tmp_path: Path, settings: dict[str, Any]
) -> None:
    run("sync")
    lines = run("status").stdout.splitlines()
    assert "superdataset dandisets: 2 Dandisets, 2 releases" in lines
    assert "host backup (ria): has everything" in lines
    settings["publish"]["hosts"][0]["url"] = str(tmp_path / "file" / "backup")
    (tmp_path / "file").write_text("no folder")
    archive.add_asset(dandisets[0], "notes.md", b"new")
    failed = run("sync")
    assert failed.returncode == 3
    assert "host without everything: backup" in failed.stderr
    assert any("host backup (ria): 3 of 3 repositories behind" in line for line in run("status").stdout.splitlines())


@pytest.mark.usefixtures("dandisets")
def test_a_host_that_was_out_of_reach_is_made_up_for_by_publish(run: Run, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    backup.write_text("no folder")
    assert run("sync").returncode == 3
    backup.unlink()
    done = run("publish")
    assert done.returncode == 0, done.stderr
    assert "backup  3 pushed, 3 created" in done.stdout.splitlines()
    assert run("publish").stdout == "up to date\n"


def test_what_the_chain_waits_for_is_said_and_can_be_skipped(
    run: Run, dandisets: list[str], archive: DemoArchive, mirror: Mirror
) -> None:
    first = dandisets[0]
    archive.api_faults.add(Status(404), path=f"/dandisets/{first}/versions/0.*/assets/", times=ALWAYS)
    done = run("sync")
    assert done.returncode == 3
    (version,) = mirror.store.state(first).awaited
    waits = f"which waits for {first} {version}: "
    assert any(
        line.startswith("note: 1 published version not in the chain") and waits in line
        for line in done.stdout.splitlines()
    )
    assert any(f"it waits for {first} {version}: " in line for line in run("status").stdout.splitlines())

    refused = run("skip", first, version)
    assert refused.returncode == 2
    assert "--why" in refused.stderr
    assert run("skip", first, version, "--why", "its assets are gone").returncode == 0
    assert run("skip").stdout.startswith(f"{first} {version} of 2026-11-20: its assets are gone (since 20")
    done = run("sync")
    assert done.returncode == 0, done.stderr
    assert any(line.startswith(f"dandisets  release {dandisets[1]} ") for line in done.stdout.splitlines())
    assert records(run("skip", "--json"))[0]["why"] == "its assets are gone"

    archive.api_faults.clear()
    assert run("skip", first, version, "--undo").returncode == 0
    done = run("sync")
    assert f"note: {first} {version} came too late for its place in the chain of releases" in done.stdout
    assert run("skip").stdout == "no version is skipped\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("000001",), "which version of 000001?"),
        (("000001", "0.1.2", "--why", "x"), "no version 0.1.2 of 000001 is waited for"),
        (("000001", "0.1.2", "--undo"), "is not skipped"),
    ],
)
@pytest.mark.usefixtures("dandisets")
def test_a_skip_of_what_is_not_missing_is_refused(run: Run, args: tuple[str, ...], said: str) -> None:
    run("sync")
    done = run("skip", *args)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_chain_can_be_written_anew(
    run: Run, dandisets: list[str], settings: dict[str, Any], mirror: Mirror, archive: DemoArchive
) -> None:
    archive.clock.advance(60)
    del settings["publish"]
    settings["select"] = {"dandisets": [dandisets[1]]}
    run("sync")
    settings["select"] = {"dandisets": dandisets}
    assert "came too late" in run("sync").stdout
    done = run("publish", "--anew", "dandisets")
    assert done.returncode == 0, done.stderr
    order = run_git(mirror.store.alias("dandisets"), "log", "--reverse", "--format=%s", "releases").decode()
    assert [line.split()[0] for line in order.splitlines()] == dandisets
    assert run("publish", "--anew", "no-such").returncode == 2


def test_a_key_for_a_wrong_superdataset_is_told_before_anything_is_done(
    run: Run, settings: dict[str, Any], mirror: Mirror
) -> None:
    settings["superdatasets"] = [{"name": "mice", "where": "specis ~ mouse"}]
    done = run("sync")
    assert done.returncode == 2
    assert "species" in done.stderr
    assert not mirror.root.exists()
