"""The demo archive in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import requests

from mirror.demo import DemoArchive, DemoProcess
from mirror.errors import MirrorError


def test_it_is_driven_from_here() -> None:
    with DemoProcess("empty", start="2026-11-20T15:34:00+00:00", seed=3) as archive, requests.Session() as session:
        identifier = archive.call("create_dandiset", name="Remote")
        archive.call("add_asset", identifier=identifier, path="a.bin", content=b"\0\xff")
        archive.call("add_assets", identifier=identifier, files=[("b", b"b"), ("c", b"c", {"keywords": ["k"]})])
        version = archive.call("publish", identifier=identifier, release_notes="n")
        assert version == "0.261120.1534"
        address = f"{archive.api_url}/dandisets/{identifier}/versions/{version}/assets/?metadata=true"
        found = {asset["path"]: asset for asset in session.get(address).json()["results"]}
        assert found.keys() == {"a.bin", "b", "c"}
        assert found["c"]["metadata"]["keywords"] == ["k"]
        assert session.get(found["a.bin"]["metadata"]["contentUrl"][1]).content == b"\0\xff"
        assert archive.call("count", server="api") == 1
        assert archive.call("advance_clock", seconds=60).startswith("2026-11-20T15:35:00")


def test_what_it_refuses_is_an_error_here() -> None:
    with DemoProcess() as archive:
        with pytest.raises(MirrorError, match="has no Dandiset 000009"):
            archive.call("publish", identifier="000009")
        with pytest.raises(MirrorError, match="knows no"):
            archive.call("close")


def test_it_stops_when_left() -> None:
    with DemoProcess() as archive:
        pid = archive.pid
        assert requests.get(f"{archive.api_url}/info/").status_code == 200
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{archive.api_url}/info/")


def test_a_process_that_cannot_start_says_so() -> None:
    with DemoArchive() as taken:
        process = DemoProcess(port=int(taken.api_url.split(":")[2].split("/")[0]))
        with pytest.raises(MirrorError, match="did not start"):
            process.__enter__()


def test_the_control_is_off_unless_asked_for() -> None:
    with DemoArchive() as archive:
        root = archive.api_url.removesuffix("/api")
        assert requests.post(f"{root}/demo/create_dandiset", json={}).status_code in (401, 404)
        assert archive.dandisets == {}


def test_the_control_takes_no_forms() -> None:
    with DemoArchive(control=True) as archive:
        root = archive.api_url.removesuffix("/api")
        assert requests.post(f"{root}/demo/create_dandiset", data={"name": "x"}).status_code == 405
        assert requests.get(f"{root}/demo/create_dandiset").status_code == 405
        assert archive.dandisets == {}
        assert requests.post(f"{root}/demo/create_dandiset", json={"name": "x"}).json() == {"result": "000001"}


@pytest.mark.parametrize(("preset", "dandisets", "assets"), [("bench-2000", 1, 2000), ("many-dandisets", 1000, 3)])
def test_presets_for_benchmarks(preset: str, dandisets: int, assets: int) -> None:
    with DemoProcess(preset) as archive:
        listing = requests.get(f"{archive.api_url}/dandisets/?page_size=1000").json()
        assert len(listing["results"]) == listing["count"] == dandisets
        assert {one["draft_version"]["asset_count"] for one in listing["results"]} == {assets}
        assert listing["results"][0]["most_recent_published_version"]["asset_count"] == assets


def test_the_command_ends_at_a_signal() -> None:
    command = [sys.executable, "-m", "mirror.demo.server", "--preset", "empty"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"api_url" in process.stdout.readline()
        before = time.perf_counter()
        process.terminate()
        assert process.wait(timeout=10) == 0
        assert time.perf_counter() - before < 5
