"""The Zarrs that the demo has written are real ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mirror.demo.zarr_files import Separator, ZarrFormat, changed_files, ome_zarr_files, sample_image, zarr_files

numpy = pytest.importorskip("numpy")
zarr = pytest.importorskip("zarr")

FORMATS: list[tuple[ZarrFormat, Separator, str]] = [
    (2, "/", "1/0"),
    (2, ".", "1.0"),
    (3, "/", "c/1/0"),
    (3, ".", "c.1.0"),
]


def written(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(("zarr_format", "separator", "chunk"), FORMATS)
def test_an_array_comes_back(zarr_format: ZarrFormat, separator: Separator, chunk: str, tmp_path: Path) -> None:
    array = sample_image(40)
    files = zarr_files(array, chunks=(16, 16), zarr_format=zarr_format, separator=separator)
    assert chunk in files
    read = zarr.open_array(written(files, tmp_path), mode="r")
    assert read.metadata.zarr_format == zarr_format
    assert (read[:] == array).all()


@pytest.mark.parametrize(("zarr_format", "separator", "chunk"), FORMATS)
def test_an_image_comes_back_in_every_resolution(
    zarr_format: ZarrFormat, separator: Separator, chunk: str, tmp_path: Path
) -> None:
    stack = numpy.stack([sample_image(40), sample_image(40) + 1])
    files = ome_zarr_files(stack, chunks=(1, 16, 16), zarr_format=zarr_format, separator=separator)
    assert f"0/{chunk}{separator}0" in files
    group = zarr.open_group(written(files, tmp_path), mode="r")
    attributes = group.attrs.asdict()
    (scales,) = attributes.get("ome", attributes)["multiscales"]
    assert [axis["name"] for axis in scales["axes"]] == ["z", "y", "x"]
    assert [one["path"] for one in scales["datasets"]] == ["0", "1", "2"]
    assert (group["0"][:] == stack).all()
    assert (group["1"][:] == stack[::2, ::2, ::2]).all()
    assert group["2"].shape == (1, 10, 10)


def test_the_same_image_is_the_same_files() -> None:
    assert ome_zarr_files(sample_image(), chunks=(16, 16)) == ome_zarr_files(sample_image(), chunks=(16, 16))


def test_the_sample_has_chunks_that_are_alike() -> None:
    files = ome_zarr_files(sample_image(), chunks=(16, 16))
    chunks = [content for name, content in files.items() if not name.rpartition("/")[2].startswith(".")]
    assert len(chunks) == 36 + 9 + 4
    assert 20 < len(set(chunks)) < len(chunks)


def test_changed_files_make_one_zarr_the_other() -> None:
    image = sample_image(40)
    before = zarr_files(image, chunks=(16, 16))
    image[20, 20] += 1
    image[:16, :16] = 0  # what is all zero has no file
    after = zarr_files(image, chunks=(16, 16))
    put, remove = changed_files(before, after)
    assert (put.keys(), remove) == ({"1/1"}, ["0/0"])
    assert {name: {**before, **put}[name] for name in before.keys() - set(remove)} == after
    assert changed_files(after, after) == ({}, [])


def test_without_the_zarr_package_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['zarr'] = None\n"
        "from mirror.demo.zarr_files import sample_image, zarr_files\n"
        "from mirror.errors import UsageError\n"
        "try: zarr_files(sample_image(), chunks=(16, 16))\n"
        "except UsageError as error: print(error, error.hint)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "need the zarr package" in said
    assert "pip install" in said
