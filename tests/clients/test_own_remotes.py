"""A clone in which nothing was enabled is worked with like any other: pushed, published, fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(params=["path", "ria+http"])
def clone(scene: Any, clone_of: Callable[..., Any], request: pytest.FixtureRequest) -> Any:
    """A clone with a commit and a file of the user's own."""
    clone = clone_of(scene.address(request.param))
    (clone.path / "analysis.dat").write_bytes(b"my own result")
    clone.datalad("save", "-m", "An analysis")
    return clone


def test_git_push_to_a_bare_repository(clone: Any, run: Callable[..., str], tmp_path: Path) -> None:
    run("git", "init", "-q", "--bare", tmp_path / "own.git")
    clone.git("remote", "add", "own", tmp_path / "own.git")
    clone.git("push", "own", "draft", "git-annex", "--tags")
    assert run("git", "rev-parse", "draft", cwd=tmp_path / "own.git") == clone.git("rev-parse", "HEAD")
    clone.git("fetch", "--all")
    clone.assert_clean()


def test_datalad_push_to_a_sibling(clone: Any, clone_of: Callable[..., Any], tmp_path: Path) -> None:
    clone.datalad("create-sibling", "-s", "sibling", tmp_path / "sibling")
    clone.datalad("push", "--to", "sibling")
    clone.git("fetch", "--all")
    clone.assert_clean()
    # Whoever clones from the user gets the user's file from the user, and the archive's from the archive.
    second = clone_of(tmp_path / "sibling", "second")
    second.datalad("get", "analysis.dat", "sub-M1/sub-M1_ecephys.nwb")
    assert second.read("analysis.dat") == b"my own result"
    assert second.read("sub-M1/sub-M1_ecephys.nwb") == b"a recording of a mouse"
