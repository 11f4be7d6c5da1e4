"""The Dandisets of the first five minutes, and the NWB files in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests

from mirror.demo import DemoArchive, sample_dandisets
from mirror.demo.nwb import RAT, Recording, nwb_bytes
from mirror.demo.samples import SLICE, chunks_of_a_zarr, embargoed_dandiset
from mirror.demo.zarr_files import sample_image

RECORDING = Recording("M1", "s1", 1, RAT, sex="F")


def test_an_nwb_file_is_valid_and_says_what_its_metadata_says(tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    path = tmp_path / "a.nwb"
    path.write_bytes(nwb_bytes(RECORDING))
    assert pynwb.validate(path=str(path)) == []
    with pynwb.NWBHDF5IO(path, "r") as reader:
        nwbfile = reader.read()
        subject = RECORDING.metadata()["wasAttributedTo"][0]
        assert nwbfile.subject.subject_id == subject["identifier"] == "M1"
        assert nwbfile.subject.species == subject["species"]["identifier"]
        assert nwbfile.session_id == RECORDING.metadata()["wasGeneratedBy"][0]["identifier"]
        assert nwbfile.acquisition["ElectricalSeries"].data.shape == (1000, 4)


def test_the_same_recording_is_the_same_file() -> None:
    pytest.importorskip("pynwb")
    assert nwb_bytes(RECORDING) == nwb_bytes(RECORDING)
    assert nwb_bytes(RECORDING) != nwb_bytes(Recording("M1", "s1", 2, RAT, sex="F"))


def test_there_may_be_one_that_only_its_owner_sees(archive: DemoArchive, session: requests.Session) -> None:
    identifier = embargoed_dandiset(archive)
    address = f"{archive.api_url}/dandisets/{identifier}/"
    assert session.get(address).status_code == 401
    shown = session.get(address, headers={"Authorization": f"token {archive.token}"}).json()
    assert (shown["embargo_status"], shown["draft_version"]["asset_count"]) == ("EMBARGOED", 5)


def test_the_first_five_minutes(archive: DemoArchive, session: requests.Session) -> None:
    pytest.importorskip("pynwb")
    assert sample_dandisets(archive) == ["000001", "000002", "000003"]
    listing = session.get(f"{archive.api_url}/dandisets/").json()["results"]
    versions = [len(archive.dandiset(one["identifier"]).published) for one in listing]
    assert versions == [2, 0, 1]
    draft = session.get(f"{archive.api_url}/dandisets/000001/versions/draft/").json()
    summary = draft["assetsSummary"]
    assert summary["numberOfSubjects"] == 2
    assert summary["species"][0]["name"] == "Mus musculus - House mouse"
    assert {standard["identifier"] for standard in summary["dataStandard"]} == {"RRID:SCR_015242", "RRID:SCR_016124"}
    assets = archive.dandiset("000001").draft.assets
    assert {"README.md", "dataset_description.json", "participants.tsv"} < assets.keys()
    assert sum(path.endswith(".nwb") for path in assets) == 4


def test_the_draft_among_the_first_has_a_zarr(archive: DemoArchive, session: requests.Session, tmp_path: Path) -> None:
    pytest.importorskip("pynwb")
    zarr = pytest.importorskip("zarr")
    identifier = sample_dandisets(archive)[1]
    found = archive.asset(identifier, SLICE).zarr
    assert found is not None
    record = session.get(f"{archive.api_url}/zarr/{found.zarr_id}/").json()
    assert (record["status"], record["file_count"]) == ("Complete", 57)
    for file in session.get(f"{archive.api_url}/zarr/{found.zarr_id}/files/").json()["results"]:
        path = tmp_path / file["Key"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(session.get(f"{archive.s3_endpoint}/{archive.bucket}/{found.key}{file['Key']}").content)
    assert (zarr.open_group(tmp_path, mode="r")["0"][:] == sample_image()).all()


def test_a_large_zarr_is_a_zarr_too(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    files = dict(chunks_of_a_zarr(10_500))
    assert len(files) == 10_500
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    array = zarr.open_group(tmp_path, mode="r")["0"]
    assert [int(array[at]) for at in ((0, 0, 1, 2), (0, 1, 4, 96), (0, 1, 4, 97))] == [102, 10_496, 0]


def test_without_pynwb_only_nwb_files_are_missing() -> None:
    code = (
        "import sys; sys.modules['pynwb'] = sys.modules['h5py'] = None\n"
        "from mirror.demo import DemoArchive, sample_dandisets\n"
        "from mirror.errors import UsageError\n"
        "archive = DemoArchive()\n"
        "archive.add_asset(archive.create_dandiset(), 'a', b'a')\n"
        "try: sample_dandisets(archive)\n"
        "except UsageError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "need pynwb" in said
    assert "pip install" in said


def test_importing_the_demo_imports_none_of_what_the_samples_need() -> None:
    code = "import sys, mirror.demo; print({'pynwb', 'h5py', 'numpy', 'zarr', 'zarr_checksum'} & sys.modules.keys())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"
