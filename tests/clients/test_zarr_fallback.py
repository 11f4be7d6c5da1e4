"""When the recorded S3 address of a Zarr's chunk is dead, the archive's API takes over, as it does for blobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mirror.demo.zarr_files import sample_image, zarr_files

PATH = "sub-1/an image & more.zarr"
MOVED, OTHER = "1/1", "0/0"
ODD, ODD_IN_TREE = "notes on it [1] & 50%+ #2 é?.txt", "notes on it [1] & 50%25+ #2 é?.txt"
FILES = {**zarr_files(sample_image(48), chunks=(16, 16)), ODD: b"a name with all that has a meaning in addresses"}


@pytest.fixture
def moved(mirror: Any) -> Any:
    """A mirror of a Zarr of which two files have since gone to other addresses."""
    mirror.add_zarr(PATH, FILES)
    mirror.sync()
    for name in (MOVED, ODD):
        mirror.move_zarr_file(PATH, name)
    return mirror


@pytest.fixture
def inside(moved: Any, clone_of: Callable[..., Any]) -> Any:
    """The Zarr, installed in a clone of its Dandiset."""
    clone = clone_of(moved.alias)
    clone.datalad("get", "-n", PATH)
    return clone.sub(PATH)


def enable(clone: Any) -> None:
    """The two commands of the README."""
    clone.annex("enableremote", "dandiapi")
    clone.annex("verifyremote", "dandiapi", "--safe", "1")


def downloads(mirror: Any) -> int:
    return int(mirror.archive.count(server="api", path="download=true"))


def test_without_it_such_a_chunk_is_a_clean_failure(moved: Any, inside: Any) -> None:
    assert "get(error)" in inside.datalad("get", MOVED, ok=False)
    assert not inside.has(MOVED)
    assert downloads(moved) == 0
    inside.datalad("get", OTHER)
    assert inside.read(OTHER) == FILES[OTHER]
    inside.assert_clean()


def test_with_it_the_chunk_comes_from_the_api(moved: Any, inside: Any) -> None:
    enable(inside)
    assert "from dandiapi" in inside.annex("get", MOVED)
    assert inside.read(MOVED) == FILES[MOVED]
    assert "(1 copy)" in inside.annex("whereis", OTHER)
    inside.datalad("get", ".")
    assert {name: inside.read(name) for name in FILES if name != ODD} | {ODD: inside.read(ODD_IN_TREE)} == FILES
    assert downloads(moved) == 2, "the API is asked only where the bucket has nothing"
    inside.annex("fsck")
    inside.assert_clean()


def test_enabled_in_the_zarr_its_dandiset_works_as_before(
    moved: Any, inside: Any, clone_at: Callable[..., Any]
) -> None:
    clone = clone_at(inside.path.parent.parent)
    enable(inside)
    moved.change_zarr(PATH, FILES, {**FILES, "later": b"later"})
    moved.sync()
    clone.datalad("update", "-r", "--how", "ff-only")
    clone.datalad("get", PATH)
    assert inside.read("later") == b"later"
    clone.assert_clean()
