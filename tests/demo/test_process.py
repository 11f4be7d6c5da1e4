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


def test_its_zarrs_are_driven_from_here() -> None:
    with DemoProcess("empty") as archive, requests.Session() as session:
        identifier = archive.call("create_dandiset", name="Remote")
        files = {"0/0": b"\0\xff", ".zgroup": b"{}"}
        zarr_id = archive.call("add_zarr", identifier=identifier, path="a.zarr", files=files, ingested=False)
        address = f"{archive.api_url}/zarr/{zarr_id}/"
        assert session.get(address).json()["status"] == "Pending"
        archive.call("ingest_zarr", identifier=identifier, path="a.zarr")
        assert session.get(address).json()["checksum"].endswith("-2--4")
        archive.call("change_zarr", identifier=identifier, path="a.zarr", put={"base64": b"six"}, remove=["0/0"])
        assert [file["Key"] for file in session.get(f"{address}files/").json()["results"]] == [".zgroup", "base64"]
        assert session.get(f"{address}files/?prefix=base64&download=true").content == b"six"
        archive.call("ingest_zarr", identifier=identifier, path="a.zarr", checksum=f"{'0' * 32}-7--99")
        assert session.get(address).json()["file_count"] == 7
        archive.call("link_zarr", identifier=identifier, path="b.zarr", zarr_id=zarr_id)
        with pytest.raises(MirrorError, match="contain zarrs"):
            archive.call("publish", identifier=identifier)
        version = archive.call("publish", identifier=identifier, allow_zarrs=True)
        listing = session.get(f"{archive.api_url}/dandisets/{identifier}/versions/{version}/assets/").json()
        assert {asset["zarr"] for asset in listing["results"]} == {zarr_id}


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


def test_the_preset_of_one_large_zarr() -> None:
    with DemoProcess("zarr-100000") as archive:
        (zarr,) = requests.get(f"{archive.api_url}/zarr/").json()["results"]
        assert (zarr["status"], zarr["file_count"]) == ("Complete", 100_000)
        listing = requests.get(f"{archive.api_url}/zarr/{zarr['zarr_id']}/files/?prefix=0/0/9/&limit=300").json()
        folders = {file["Key"].rpartition("/")[0] for file in listing["results"]}
        assert folders == {"0/0/9/0", "0/0/9/1", "0/0/9/10"}
        assert len({file["ETag"] for file in listing["results"]}) == 300


def test_the_command_ends_at_a_signal() -> None:
    command = [sys.executable, "-m", "mirror.demo.server", "--preset", "empty"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"api_url" in process.stdout.readline()
        before = time.perf_counter()
        process.terminate()
        assert process.wait(timeout=10) == 0
        assert time.perf_counter() - before < 5
