"""Zarrs change in place: clones follow, and what a Zarr was before can still be had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest
import zarr

from mirror.demo.zarr_files import sample_image, zarr_files

PATH = "sub-1/sub-1_SPIM.zarr"
CHUNK = "1/1"
LEAVING = "1/0"
OWN = (".git", ".dan", ".dat")
"""what the names of our own files start with"""
IMAGES = [sample_image(32), sample_image(32) + 1, sample_image(32) + 2]
IMAGES[1][16:, :16] = 0  # a Zarr leaves out the chunks that are all zero
STATES = [zarr_files(image, chunks=(16, 16)) for image in IMAGES]


@pytest.fixture
def growing(mirror: Any) -> Any:
    """A mirror of a Dandiset with a Zarr in the first of its states."""
    mirror.add_zarr(PATH, STATES[0])
    mirror.add("README.md", b"# An image that is being worked on\n")
    mirror.sync()
    return mirror


def change(mirror: Any, state: int) -> str:
    """The Zarr goes on to a state, and the mirror follows; the Zarr's checksum then."""
    mirror.change_zarr(PATH, STATES[state - 1], STATES[state])
    mirror.sync()
    return str(mirror.zarr_checksum(PATH))


def assert_in_place(clone: Any) -> None:
    """The Zarr is installed, at the commit that its Dandiset names."""
    assert clone.git("submodule", "status")[0] == " "
    assert clone.sub(PATH).git("rev-parse", "HEAD") == clone.git("rev-parse", f"HEAD:{PATH}")
    assert clone.sub(PATH).git("status", "--porcelain") == ""
    clone.assert_clean()


def assert_reads(clone: Any, image: Any) -> None:
    numpy.testing.assert_array_equal(zarr.open_array(clone.path / PATH, mode="r")[:], image)


@pytest.mark.parametrize(("how", "way"), [("ff-only", "path"), ("merge", "ria+http")])
def test_a_clone_with_the_zarr_in_it_follows_two_changes(
    growing: Any, clone_of: Callable[..., Any], served: Callable[..., Any], how: str, way: str
) -> None:
    checksums = [growing.zarr_checksum(PATH)]
    with served(growing.public) as url:
        clone = clone_of(growing.alias if way == "path" else f"ria+{url}#~{growing.identifier}")
        clone.datalad("get", PATH)
        assert_reads(clone, IMAGES[0])
        for state in (1, 2):
            checksums.append(change(growing, state))
            clone.datalad("update", "-r", "--how", how)
            assert clone.git("rev-parse", "HEAD") == growing.refs()["refs/heads/draft"]
            assert_in_place(clone)
            assert not clone.sub(PATH).has(CHUNK), "new content is there only once it was asked for"
            clone.datalad("get", PATH)
            assert_reads(clone, IMAGES[state])
            assert_in_place(clone)
        assert set(clone.sub(PATH).git("tag").splitlines()) == set(checksums)


def test_an_old_state_is_had_by_its_checksum(growing: Any, clone_of: Callable[..., Any]) -> None:
    first = growing.zarr_checksum(PATH)
    second = change(growing, 1)
    change(growing, 2)
    clone = clone_of(growing.alias)
    clone.datalad("get", "-n", PATH)
    inside = clone.sub(PATH)
    for checksum, state in ((first, 0), (second, 1)):
        inside.git("checkout", "-q", checksum)
        assert set(STATES[state]) == {name for name in inside.git("ls-files").splitlines() if name[:4] not in OWN}
        inside.datalad("get", ".")
        assert_reads(clone, IMAGES[state])
        inside.annex("fsck")
        assert inside.git("status", "--porcelain") == ""
    inside.git("checkout", "-q", "draft")
    assert_in_place(clone)


def test_what_changed_between_two_states_is_a_diff(growing: Any, clone_of: Callable[..., Any]) -> None:
    first = growing.zarr_checksum(PATH)
    second = change(growing, 1)
    clone = clone_of(growing.public / "alias" / growing.asset(PATH).zarr.zarr_id)
    said = dict(reversed(line.split("\t")) for line in clone.git("diff", "--name-status", first, second).splitlines())
    differing = {name for name in STATES[0].keys() | STATES[1].keys() if STATES[0].get(name) != STATES[1].get(name)}
    assert said.keys() == differing | {".dandi/zarr.json"}
    assert (said[LEAVING], said[CHUNK]) == ("D", "M")


def test_bytes_that_the_bucket_let_go_of_are_a_clean_failure(growing: Any, clone_of: Callable[..., Any]) -> None:
    first, zarr_id = growing.zarr_checksum(PATH), growing.asset(PATH).zarr.zarr_id
    key = f"zarr/{zarr_id}/{LEAVING}"
    old = growing.archive.objects.latest(key).version_id
    change(growing, 1)
    growing.archive.objects.delete_version(key, old)
    clone = clone_of(growing.public / "alias" / zarr_id)
    clone.git("checkout", "-q", first)
    assert "get(error)" in clone.datalad("get", LEAVING, ok=False)
    clone.datalad("get", CHUNK)
    assert clone.read(CHUNK) == STATES[0][CHUNK]
    assert clone.git("status", "--porcelain") == ""


def test_a_clone_without_the_zarr_installed_stays_so(growing: Any, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(growing.alias)
    change(growing, 1)
    clone.datalad("update", "-r", "--how", "ff-only")
    assert clone.git("submodule", "status")[0] == "-"
    clone.assert_clean()
    clone.datalad("get", PATH)
    assert_reads(clone, IMAGES[1])
    assert_in_place(clone)


def test_git_alone_follows_a_change(
    growing: Any, run: Callable[..., str], tmp_path: Any, clone_at: Callable[..., Any]
) -> None:
    run("git", "clone", "-q", "--recurse-submodules", growing.alias, tmp_path / "clone")
    clone = clone_at(tmp_path / "clone")
    change(growing, 1)
    clone.git("pull", "-q", "--ff-only", "--recurse-submodules")
    clone.git("submodule", "update", "--init")
    assert_in_place(clone)
    clone.sub(PATH).annex("get", ".")
    assert_reads(clone, IMAGES[1])


def test_work_of_ones_own_beside_a_zarr_is_merged(growing: Any, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(growing.alias)
    clone.datalad("get", "-n", PATH)
    (clone.path / "analysis.txt").write_text("my own result\n")
    clone.datalad("save", "-m", "My work")
    change(growing, 1)
    clone.datalad("update", "-r", "--how", "merge")
    assert_in_place(clone)
    assert clone.read("analysis.txt") == b"my own result\n"


def test_work_of_ones_own_in_a_zarr_is_merged_there_first(growing: Any, clone_of: Callable[..., Any]) -> None:
    """Git does not merge two lines of a submodule by itself; where ours has theirs in it, it takes ours."""
    clone = clone_of(growing.alias)
    clone.datalad("get", "-n", PATH)
    inside = clone.sub(PATH)
    (inside.path / "notes.txt").write_text("looked at\n")
    clone.datalad("save", "-r", "-m", "My notes")
    clone.assert_clean()
    for state in (1, 2):
        change(growing, state)
        inside.datalad("update", "--how", "merge")
        clone.datalad("save", "-m", "The Zarr with my notes, updated")
        clone.datalad("update", "--how", "merge")
        assert_in_place(clone)
    clone.datalad("get", PATH)
    assert_reads(clone, IMAGES[2])
    assert inside.read("notes.txt") == b"looked at\n"


def test_a_zarr_that_leaves_its_dandiset_leaves_clones(growing: Any, clone_of: Callable[..., Any]) -> None:
    other = "sub-2/sub-2_SPIM.zarr"
    clone = clone_of(growing.alias)
    growing.add_zarr(other, STATES[2])
    growing.archive.rename_asset(growing.identifier, PATH, "sub-1/renamed.zarr")
    growing.sync()
    clone.datalad("update", "-r", "--how", "ff-only")
    clone.datalad("get", other, "sub-1/renamed.zarr")
    numpy.testing.assert_array_equal(zarr.open_array(clone.path / other, mode="r")[:], IMAGES[2])
    numpy.testing.assert_array_equal(zarr.open_array(clone.path / "sub-1/renamed.zarr", mode="r")[:], IMAGES[0])
    growing.archive.remove_asset(growing.identifier, other)
    growing.sync()
    clone.datalad("update", "--how", "ff-only")
    assert other not in clone.git("ls-files")
    assert other not in clone.datalad("subdatasets")


@pytest.mark.parametrize("when", ["before the update", "after it"])
def test_the_earlier_of_two_zarrs_at_one_path_is_dropped_as_the_readme_says(
    growing: Any, clone_of: Callable[..., Any], when: str
) -> None:
    """DataLad goes on in the Zarr that it has, and saves that: no mirror can tell it otherwise."""
    clone = clone_of(growing.alias)
    clone.datalad("get", PATH)
    growing.archive.remove_asset(growing.identifier, PATH)
    growing.add_zarr(PATH, STATES[2])
    growing.sync()

    drop = ("drop", "--what", "all", "--reckless", "kill", "-r", PATH)
    if when == "before the update":
        clone.datalad(*drop)
        clone.datalad("update", "-r", "--how", "ff-only")
    else:
        clone.datalad("update", "-r", "--how", "ff-only")
        assert_reads(clone, IMAGES[0])  # the earlier one
        clone.datalad(*drop)
        clone.git("reset", "--hard", "origin/draft")
    clone.datalad("get", PATH)
    assert_reads(clone, IMAGES[2])
    assert_in_place(clone)
    assert clone.git("diff", "origin/draft") == ""


def test_a_version_has_the_zarr_as_it_was_published(growing: Any, clone_of: Callable[..., Any]) -> None:
    """The archive publishes no Dandisets with Zarrs so far."""
    version = growing.archive.publish(growing.identifier, allow_zarrs=True)
    checksum = growing.zarr_checksum(PATH)
    growing.sync()
    change(growing, 1)
    clone = clone_of(f"ria+file://{growing.public}#~{growing.identifier}@{version}")
    clone.datalad("get", PATH)
    assert_reads(clone, IMAGES[0])
    assert_in_place(clone)
    assert clone.git("rev-parse", f"HEAD:{PATH}") == clone.sub(PATH).git("rev-parse", f"{checksum}^0")
    clone.git("checkout", "-q", "-b", "draft", "origin/draft")
    clone.git("submodule", "update")
    clone.datalad("get", PATH)
    assert_reads(clone, IMAGES[1])
    assert_in_place(clone)
