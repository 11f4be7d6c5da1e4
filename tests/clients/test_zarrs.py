"""Zarrs in a Dandiset: each a dataset within it, to be had as a whole or chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import zarr

OME, NESTED, FLAT, V3, OME_V3, EVEN = ZARRS = (
    "sub-1/micr/sub-1_SPIM.ome.zarr",
    "sub-1/v2.zarr",
    "sub-1/v2 flat.zarr",
    "sub-1/v3.zarr",
    "sub-1/v3.ome.zarr",
    "even.zarr",
)
A_CHUNK = {OME: "0/0/1", NESTED: "0/1", FLAT: "0.1", V3: "c/0/1", OME_V3: "0/c/0/1", EVEN: "0/1"}


@pytest.fixture(scope="module")
def whole(
    zarr_scene: Any, tmp_path_factory: pytest.TempPathFactory, run: Callable[..., str], clone_at: Callable[..., Any]
) -> Any:
    """A clone with all the Zarrs in it, content and all."""
    path = tmp_path_factory.mktemp("whole") / "clone"
    run("datalad", "clone", zarr_scene.address("ria+http"), path)
    run("datalad", "get", "-r", ".", cwd=path)
    return clone_at(path)


def installed(clone: Any) -> set[str]:
    """The paths of the Zarrs that are there, each at the commit that is asked for."""
    return {line[42:].rpartition(" (")[0] for line in clone.git("submodule", "status").splitlines() if line[0] == " "}


def array_in(path: Path, within: str) -> Any:
    """What the zarr package reads there."""
    return zarr.open_array(path / within, mode="r")[:]


@pytest.mark.parametrize("way", ["path", "http"])
def test_a_zarr_is_installed_without_content_and_then_had_chunk_by_chunk(
    zarr_scene: Any, clone_of: Callable[..., Any], way: str
) -> None:
    archive, chunk = zarr_scene.mirror.archive, A_CHUNK[OME]
    clone = clone_of(zarr_scene.address(way))
    assert list((clone.path / OME).iterdir()) == []
    clone.datalad("get", "-n", OME)
    assert installed(clone) == {OME}
    inside = clone.sub(OME)
    assert set(inside.git("ls-files").splitlines()) > set(zarr_scene.zarrs[OME].files)
    assert not inside.has(chunk)
    archive.requests.clear()
    clone.datalad("get", f"{OME}/{chunk}")
    assert inside.read(chunk) == zarr_scene.zarrs[OME].files[chunk]
    assert not inside.has("0/0/0")
    assert archive.count(server="s3", method="GET") == 1
    assert archive.count(server="api") == 0
    clone.assert_clean()


@pytest.mark.parametrize("path", ZARRS)
def test_every_kind_of_zarr_opens_as_what_was_put_in(zarr_scene: Any, whole: Any, path: str) -> None:
    given = zarr_scene.zarrs[path]
    numpy.testing.assert_array_equal(array_in(whole.path / path, given.within), given.array)
    for name, content in given.files.items():
        assert (whole.path / path / name).read_bytes() == content


@pytest.mark.parametrize(("path", "version"), [(OME, "0.4"), (OME_V3, "0.5")])
def test_an_image_is_found_by_its_multiscales(zarr_scene: Any, whole: Any, path: str, version: str) -> None:
    attributes = dict(zarr.open_group(whole.path / path, mode="r").attrs)
    image = attributes if version == "0.4" else attributes["ome"]
    levels = [array_in(whole.path / path, entry["path"]) for entry in image["multiscales"][0]["datasets"]]
    full = zarr_scene.zarrs[path].array
    for level, found in enumerate(levels):
        numpy.testing.assert_array_equal(found, full[:: 2**level, :: 2**level])


def test_the_labels_of_an_image_come_with_it(zarr_scene: Any, whole: Any) -> None:
    assert zarr.open_group(whole.path / OME / "labels", mode="r").attrs["labels"] == ["cells"]
    labels = array_in(whole.path / OME, "labels/cells/0")
    numpy.testing.assert_array_equal(labels, zarr_scene.zarrs[OME].array // 100)


@pytest.mark.parametrize("path", ZARRS)
def test_fsck_finds_every_chunk_as_it_should_be(whole: Any, path: str) -> None:
    said = whole.sub(path).annex("fsck")
    assert "(checksum...) ok" in said
    assert "failed" not in said
    assert whole.sub(path).annex("find", "--not", "--in", "here") == ""


def test_a_dandiset_got_with_all_its_zarrs_is_clean(whole: Any) -> None:
    whole.assert_clean()
    assert installed(whole) == {*ZARRS, "derived/the same.zarr"}


def test_a_chunk_is_known_by_its_versioned_address(zarr_scene: Any, whole: Any) -> None:
    archive, zarr_id, chunk = zarr_scene.mirror.archive, zarr_scene.ids[V3], A_CHUNK[V3]
    version = archive.objects.latest(f"zarr/{zarr_id}/{chunk}").version_id
    address = f"{archive.s3_endpoint}/{archive.bucket}/zarr/{zarr_id}/{chunk}?versionId={version}"
    assert f"web: {address}" in whole.sub(V3).annex("whereis", chunk)


@pytest.mark.parametrize("way", ["path", "http"])
def test_git_alone_clones_zarrs_along_with_their_dandiset(
    zarr_scene: Any, run: Callable[..., str], tmp_path: Path, clone_at: Callable[..., Any], way: str
) -> None:
    run("git", "clone", "-q", "--recurse-submodules", zarr_scene.address(way), tmp_path / "clone")
    clone = clone_at(tmp_path / "clone")
    assert installed(clone) == {*ZARRS, "derived/the same.zarr"}
    inside = clone.sub(FLAT)
    inside.annex("get", A_CHUNK[FLAT])
    assert inside.read(A_CHUNK[FLAT]) == zarr_scene.zarrs[FLAT].files[A_CHUNK[FLAT]]
    clone.assert_clean()


@pytest.mark.parametrize("way", ["path", "http"])
def test_git_alone_adds_a_zarr_later(
    zarr_scene: Any, run: Callable[..., str], tmp_path: Path, clone_at: Callable[..., Any], way: str
) -> None:
    run("git", "clone", "-q", zarr_scene.address(way), tmp_path / "clone")
    clone = clone_at(tmp_path / "clone")
    clone.git("submodule", "update", "--init", NESTED)
    assert installed(clone) == {NESTED}
    inside = clone.sub(NESTED)
    inside.annex("get", ".")
    numpy.testing.assert_array_equal(array_in(inside.path, ""), zarr_scene.zarrs[NESTED].array)
    clone.assert_clean()


@pytest.mark.parametrize("way", ["ria+file", "http"])
def test_a_zarr_is_cloned_by_itself(zarr_scene: Any, clone_of: Callable[..., Any], way: str) -> None:
    clone = clone_of(zarr_scene.address(way, zarr_scene.ids[NESTED]))
    clone.datalad("get", ".")
    numpy.testing.assert_array_equal(array_in(clone.path, ""), zarr_scene.zarrs[NESTED].array)
    assert clone.git("config", "-f", ".datalad/config", "datalad.dataset.id") == zarr_scene.ids[NESTED]
    clone.assert_clean()


def test_a_zarr_is_cloned_in_the_state_of_a_checksum(zarr_scene: Any, clone_of: Callable[..., Any]) -> None:
    checksum = zarr_scene.mirror.zarr_checksum(V3)
    clone = clone_of(f"{zarr_scene.address('ria+http', zarr_scene.ids[V3])}@{checksum}")
    assert clone.git("rev-parse", "HEAD") == clone.git("rev-parse", f"{checksum}^0")
    assert clone.git("rev-list", "--count", "HEAD") == "1", "a snapshot has no history"
    clone.datalad("get", A_CHUNK[V3])
    assert clone.read(A_CHUNK[V3]) == zarr_scene.zarrs[V3].files[A_CHUNK[V3]]
    clone.assert_clean()


def test_one_zarr_under_two_paths_is_one_dataset(zarr_scene: Any, whole: Any) -> None:
    for path in (zarr_scene.shared, zarr_scene.second_path):
        numpy.testing.assert_array_equal(array_in(whole.path / path, ""), zarr_scene.zarrs[zarr_scene.shared].array)


def test_one_zarr_in_two_dandisets_is_one_dataset(zarr_scene: Any, clone_of: Callable[..., Any]) -> None:
    first = clone_of(zarr_scene.address("path"), "first")
    second = clone_of(zarr_scene.address("http", zarr_scene.other), "second")
    for clone in (first, second):
        clone.datalad("get", zarr_scene.shared)
        array = array_in(clone.path / zarr_scene.shared, "")
        numpy.testing.assert_array_equal(array, zarr_scene.zarrs[zarr_scene.shared].array)
        clone.assert_clean()
    assert first.git("rev-parse", f"HEAD:{zarr_scene.shared}") == second.git("rev-parse", f"HEAD:{zarr_scene.shared}")


def test_many_equal_chunks_are_downloaded_once_and_all_there(zarr_scene: Any, clone_of: Callable[..., Any]) -> None:
    archive, files = zarr_scene.mirror.archive, zarr_scene.zarrs[EVEN].files
    chunks = [name for name in files if not name.startswith(".")]
    assert len(chunks) > 16
    assert len({files[name] for name in chunks}) == 1
    clone = clone_of(zarr_scene.address("path", zarr_scene.ids[EVEN]))
    archive.requests.clear()
    clone.datalad("get", chunks[-1])
    assert archive.count(server="s3", method="GET") == 1
    assert all(clone.read(name) == files[name] for name in chunks)
    assert clone.annex("whereis", chunks[-1]).count("versionId=") == 16
    assert set(clone.annex("find", "--in", "here").splitlines()) == set(chunks)


def test_annex_finds_and_gets_in_a_zarr_with_several_jobs(zarr_scene: Any, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(zarr_scene.address("ria+http", zarr_scene.ids[OME]))
    files = zarr_scene.zarrs[OME].files
    assert clone.annex("find", "--in", "here") == ""
    assert set(clone.annex("find", "--not", "--in", "here").splitlines()) == set(files)
    clone.annex("get", "--jobs", "4", ".")
    assert {name: clone.read(name) for name in files} == files
    assert set(clone.annex("find", "--include", "labels/*").splitlines()) == {
        name for name in files if name.startswith("labels/")
    }
    clone.assert_clean()
