"""The store belongs to the mirror: what its users push at it is refused, and nothing of it changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def clone(reading: Any) -> Any:
    """A clone with a commit and a file of the user's own."""
    (reading.path / "analysis.dat").write_bytes(b"my own result")
    reading.datalad("save", "-m", "An analysis")
    return reading


@pytest.mark.parametrize(
    "what",
    [
        ["draft"],
        ["draft:another"],
        ["HEAD:refs/tags/mine"],
        ["--force", "HEAD~2:refs/heads/draft"],
        ["--force", "git-annex"],
        ["--delete", "releases"],
        ["--mirror"],
    ],
    ids=" ".join,
)
def test_git_push_is_refused(scene: Any, clone: Any, what: list[str]) -> None:
    before = scene.mirror.files()
    said = clone.git("push", scene.mirror.alias, *what, ok=False)
    assert "hidden ref" in said or "remote ref does not exist" in said
    assert scene.mirror.files() == before


def test_datalad_push_is_refused(scene: Any, clone: Any) -> None:
    before = scene.mirror.files()
    assert "publish(error)" in clone.datalad("push", "--to", "origin", ok=False)
    clone.annex("push", "origin", ok=False)
    assert scene.mirror.files() == before


def test_a_static_server_takes_no_push(scene: Any, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(scene.address("http"))
    clone.git("commit", "-q", "--allow-empty", "-m", "Mine")
    before = scene.mirror.files()
    clone.git("push", "origin", "draft", ok=False)
    assert scene.mirror.files() == before


def test_content_that_its_owner_puts_there_is_found_and_the_next_sync_builds_on_it(
    filled: Any, clone_of: Callable[..., Any], run: Callable[..., str]
) -> None:
    path = "sub-M1/sub-M1_ecephys.nwb"
    run("git", "annex", "get", "--branch=draft", cwd=filled.alias)
    filled.add("sub-M1/sub-M1_later.nwb", b"later")
    assert filled.sync() == "draft: 1 added"
    assert not [entry for entry in (Path(filled.alias) / "refs" / "heads").rglob("*") if entry.is_file()]
    clone = clone_of(filled.alias)
    assert "(2 copies)" in clone.annex("whereis", path)
    asked = filled.archive.count(server="s3")
    clone.datalad("get", path)
    assert clone.read(path) == b"a recording of a mouse"
    assert filled.archive.count(server="s3") == asked
    clone.datalad("get", "sub-M1/sub-M1_later.nwb")
    clone.assert_clean()
