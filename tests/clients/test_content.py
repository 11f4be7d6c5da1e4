"""git-annex in a clone knows where the bytes are, what they are of, and gets, checks and drops them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mirror.demo.nwb import Recording, nwb_bytes

MOUSE_FILES = ["sub-M1/sub-M1_draft.nwb", "sub-M1/sub-M1_ecephys.nwb", "sub-M1/sub-M1_image.nwb"]
RAT_FILES = ["sub-R1/odd name [1] & (2).bin", "sub-R1/ses-1/sub-R1_ses-1_ecephys.nwb"]


def test_whereis_names_the_bucket_and_the_api(scene: Any, reading: Any) -> None:
    shown = reading.annex("whereis", "sub-M1/sub-M1_image.nwb")
    assert "(1 copy)" in shown
    asset = scene.mirror.asset("sub-M1/sub-M1_image.nwb")
    version_id = scene.mirror.archive.objects.latest(asset.blob.key).version_id
    urls = {line.strip().removeprefix("web: ") for line in shown.splitlines() if line.strip().startswith("web: ")}
    assert urls == {
        f"{scene.mirror.archive.api_url}/assets/{asset.asset_id}/download/",
        f"{scene.mirror.archive.s3_endpoint}/demo-archive/{asset.blob.key}?versionId={version_id}",
    }


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("species=Mus musculus - House mouse", MOUSE_FILES),
        ("species=Rattus*", RAT_FILES),
        ("subject=R1", RAT_FILES),
        ("session=a", ["sub-M1/sub-M1_ecephys.nwb"]),
        ("subject=nobody", []),
    ],
)
def test_files_are_found_by_what_they_are_of(reading: Any, asked: str, found: list[str]) -> None:
    # `--not --in=here`: git-annex otherwise tells only of files whose content is here.
    assert reading.annex("find", "--metadata", asked, "--not", "--in=here").splitlines() == found


def test_a_view_sorts_files_by_species(scene: Any, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(scene.address("path"))
    clone.annex("view", "species=*")
    folders = sorted(path.name for path in clone.path.iterdir() if path.name.startswith(("Mus ", "Rattus ")))
    assert folders == ["Mus musculus - House mouse", "Rattus norvegicus - Norway rat"]


def test_files_are_got_checked_dropped_and_got_again(scene: Any, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(scene.address("ria+http"))
    assert "failed" not in clone.annex("fsck")
    checked = clone.annex("fsck", "--from", "web")
    assert checked.count("ok\n") >= len(scene.contents)
    assert clone.annex("find", "--in=here") == ""
    clone.datalad("get", "-J2", "-r", ".")
    assert {path: clone.read(path) for path in scene.contents} == scene.contents
    assert "checksum" in clone.annex("fsck")
    asked = scene.mirror.archive.count(server="s3", method="HEAD")
    clone.annex("drop", ".")
    assert scene.mirror.archive.count(server="s3", method="HEAD") >= asked + len(scene.contents)
    assert not any(clone.has(path) for path in scene.contents)
    clone.datalad("get", *RAT_FILES)
    assert [clone.read(path) for path in RAT_FILES] == [scene.contents[path] for path in RAT_FILES]
    clone.assert_clean()


def test_nothing_is_dropped_that_the_archive_has_lost(filled: Any, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(filled.alias)
    lost = "sub-M1/sub-M1_ecephys.nwb"
    clone.datalad("get", lost)
    blob = filled.asset(lost).blob
    filled.archive.objects.delete_version(blob.key, filled.archive.objects.latest(blob.key).version_id)
    assert "unsafe" in clone.annex("drop", lost, ok=False)
    assert clone.read(lost) == b"a recording of a mouse"


def test_bytes_that_are_not_those_of_the_archive_are_refused(filled: Any, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(filled.alias)
    blob = filled.asset("sub-M1/sub-M1_ecephys.nwb").blob
    key = clone.key("sub-M1/sub-M1_ecephys.nwb")
    other = filled.archive.objects.put("blobs/000/000/of-the-same-size", b"A recording of a mouse")
    url = f"{filled.archive.s3_endpoint}/demo-archive/blobs/000/000/of-the-same-size?versionId={other.version_id}"
    filled.archive.objects.delete_version(blob.key, filled.archive.objects.latest(blob.key).version_id)
    clone.annex("registerurl", key, url)
    assert "Verification of content failed" in clone.annex("get", "sub-M1/sub-M1_ecephys.nwb", ok=False)
    assert not clone.has("sub-M1/sub-M1_ecephys.nwb")


def test_a_recording_is_opened_with_pynwb(mirror: Any, clone_of: Callable[..., Any]) -> None:
    from pynwb import NWBHDF5IO

    recording = Recording("M541", "20240102", seed=1)
    mirror.add(recording.path, nwb_bytes(recording), recording.metadata())
    mirror.sync()
    clone = clone_of(mirror.alias)
    clone.datalad("get", recording.path)
    with NWBHDF5IO(clone.path / recording.path, mode="r") as reader:
        recorded = reader.read()
        assert recorded.subject.subject_id == "M541"
        assert recorded.acquisition["ElectricalSeries"].data.shape == (1000, 4)
