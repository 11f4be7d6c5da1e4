"""When the recorded S3 address is dead, the archive's API takes over: for those who enabled it, and only for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MOVED = "sub-M1/sub-M1_image.nwb"


@pytest.fixture
def clone(filled: Any, clone_of: Callable[..., Any]) -> Any:
    """A clone in which one file's bytes have since gone to another address."""
    clone = clone_of(filled.alias)
    filled.move_object(MOVED)
    return clone


def enable(clone: Any) -> None:
    """The two commands of the README."""
    clone.annex("enableremote", "dandiapi")
    clone.annex("verifyremote", "dandiapi", "--safe", "1")


def downloads(mirror: Any) -> int:
    return int(mirror.archive.count(server="api", path="/download/"))


def test_without_it_such_a_file_is_a_clean_failure(filled: Any, clone: Any) -> None:
    said = clone.datalad("get", MOVED, ok=False)
    assert "get(error)" in said
    assert "Not Found" in said
    assert not clone.has(MOVED)
    assert downloads(filled) == 0
    clone.assert_clean()
    clone.datalad("get", "sub-M1/sub-M1_ecephys.nwb")


def test_with_it_the_file_comes_from_the_api(filled: Any, clone: Any) -> None:
    enable(clone)
    assert "from dandiapi" in clone.annex("get", MOVED)
    assert clone.read(MOVED) == b"an image of a mouse"
    assert downloads(filled) == 1
    clone.datalad("get", ".")
    assert downloads(filled) == 1, "the API is asked only where the bucket has nothing"
    clone.assert_clean()


def test_a_file_still_counts_as_one_copy(clone: Any) -> None:
    enable(clone)
    assert "(1 copy)" in clone.annex("whereis", MOVED)


def test_what_came_that_way_is_dropped_only_by_force(clone: Any) -> None:
    """The remotes share one identity, and the one that is asked first finds nothing."""
    enable(clone)
    clone.annex("get", MOVED)
    assert "unsafe" in clone.annex("drop", MOVED, ok=False)
    clone.datalad("drop", "--reckless", "availability", MOVED)
    assert not clone.has(MOVED)
    clone.annex("get", MOVED)
    assert clone.read(MOVED) == b"an image of a mouse"


def test_enabled_but_not_verified_it_stands_in_the_way(clone: Any, tmp_path: Path, run: Callable[..., str]) -> None:
    """Why it is not enabled by itself, and why there are two commands."""
    run("git", "init", "-q", "--bare", tmp_path / "own.git")
    clone.git("remote", "add", "own", tmp_path / "own.git")
    clone.annex("enableremote", "dandiapi")
    assert "verifyremote dandiapi" in clone.git("push", "own", "draft", ok=False)
    assert "verifyremote dandiapi" in clone.annex("get", MOVED, ok=False)


def test_once_verified_everything_works_as_before(
    filled: Any, clone: Any, tmp_path: Path, run: Callable[..., str]
) -> None:
    run("git", "init", "-q", "--bare", tmp_path / "own.git")
    clone.git("remote", "add", "own", tmp_path / "own.git")
    clone.datalad("create-sibling", "-s", "sibling", tmp_path / "sibling")
    enable(clone)
    # Enabling leaves an entry for `web` without an address behind, at which `fetch --all` stumbles.
    clone.git("config", "--remove-section", "remote.web")
    clone.git("push", "own", "draft", "git-annex")
    clone.datalad("push", "--to", "sibling")
    clone.git("fetch", "--all")
    filled.add("sub-M1/sub-M1_later.nwb", b"later")
    filled.sync()
    clone.datalad("update", "--how", "ff-only", "-s", "origin")
    clone.datalad("get", "sub-M1/sub-M1_later.nwb")
    clone.annex("get", MOVED)
    clone.git("fetch", "--all")
    clone.assert_clean()
