"""A clone with a Zarr in it is worked with, pushed and published like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PATH, CHUNK = "sub-1/v2.zarr", "0/1"


@pytest.fixture
def clone(zarr_scene: Any, clone_of: Callable[..., Any], request: pytest.FixtureRequest) -> Any:
    """A clone with a Zarr, and work of the user's own beside it and in it."""
    clone = clone_of(zarr_scene.address(request.param))
    clone.datalad("get", f"{PATH}/{CHUNK}")
    (clone.path / "analysis.dat").write_bytes(b"my own result")
    (clone.path / PATH / "mask.dat").write_bytes(b"my own mask")
    clone.datalad("save", "-r", "-m", "An analysis")
    clone.assert_clean()
    return clone


@pytest.mark.parametrize("clone", ["path"], indirect=True)
def test_git_push_to_bare_repositories(clone: Any, run: Callable[..., str], tmp_path: Path) -> None:
    for name, here in (("zarr", clone.sub(PATH)), ("dandiset", clone)):
        own = tmp_path / f"{name}.git"
        run("git", "init", "-q", "--bare", own)
        here.git("remote", "add", "own", own)
        here.git("push", "--recurse-submodules=check", "own", "draft", "git-annex", "--tags")
        assert run("git", "rev-parse", "draft", cwd=own) == here.git("rev-parse", "HEAD")
        here.git("fetch", "--all")
    clone.assert_clean()


@pytest.mark.parametrize("clone", ["ria+http"], indirect=True)
def test_datalad_push_to_a_sibling(zarr_scene: Any, clone: Any, clone_of: Callable[..., Any], tmp_path: Path) -> None:
    clone.datalad("create-sibling", "-r", "-s", "sibling", tmp_path / "sibling")
    clone.datalad("push", "-r", "--to", "sibling")
    clone.git("fetch", "--all")
    clone.assert_clean()
    # Whoever clones from the user gets the user's files from the user, and the archive's from the archive.
    second = clone_of(tmp_path / "sibling", "second")
    second.datalad("get", "analysis.dat", PATH)
    assert second.read("analysis.dat") == b"my own result"
    assert second.read(f"{PATH}/mask.dat") == b"my own mask"
    for name, content in zarr_scene.zarrs[PATH].files.items():
        assert second.read(f"{PATH}/{name}") == content
    second.assert_clean()
