"""A bundle as its users meet it: with neither the archive nor the store, by the commands of its README."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from kept_store import FILES, ZARR, Clone, Kept, run

pytestmark = pytest.mark.usefixtures("plain_git")


def unpack(bundle: Path, target: Path) -> Clone:
    """By the two commands of its README."""
    commands = re.findall(r"^    (git clone .*|sh .*)$", (bundle / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        words = re.sub(r"~/\d+", str(target), command).split(" ")
        run(*words, cwd=bundle)
    return Clone(target)


def test_two_commands_make_a_clone_with_content_and_zarrs(made: Kept, disk: Path, tmp_path: Path) -> None:
    clone = unpack(disk, tmp_path / "clone")
    clone.annex("get", *FILES)
    assert {path: clone.read(path) for path in FILES} == FILES
    zarr = clone.sub("sub-1/image.zarr")
    zarr.annex("get", ".")
    assert {name: zarr.read(name) for name in ZARR} == ZARR
    for one in (clone, zarr):
        assert "failed" not in one.annex("fsck")
        assert one.git("status", "--porcelain") == ""
        remote = f"bundle-{made.second}"
        assert f"[{remote}]" in one.annex("whereis")
        assert "checksum" in one.annex("fsck", "--from", remote)
    assert clone.git("describe", "--tags", "--match", "0.*") == made.second


def test_content_that_was_got_may_be_dropped_since_the_disk_has_it(disk: Path, tmp_path: Path) -> None:
    clone = unpack(disk, tmp_path / "clone")
    clone.annex("get", "sub-1/a.nwb")
    clone.annex("drop", "sub-1/a.nwb")
    clone.annex("get", "sub-1/a.nwb")
    assert clone.read("sub-1/a.nwb") == FILES["sub-1/a.nwb"]


def test_a_disk_found_in_another_place_is_told_by_the_same_command(made: Kept, disk: Path, tmp_path: Path) -> None:
    clone = unpack(disk, tmp_path / "clone")
    again = tmp_path / "again"
    run("git", "-c", "protocol.file.allow=always", "clone", clone.path, again)
    disk.rename(tmp_path / "another place")
    for target in (clone, Clone(again)):
        run("sh", tmp_path / "another place/connect.sh", target.path)
        target.annex("get", "--from", f"bundle-{made.second}", "sub-2/b.nwb")
        assert target.read("sub-2/b.nwb") == FILES["sub-2/b.nwb"]


def test_datalad_clones_it_too(made: Kept, disk: Path, tmp_path: Path) -> None:
    run("datalad", "clone", disk / "git" / made.one, tmp_path / "clone")
    said = run("sh", disk / "connect.sh", tmp_path / "clone")
    assert said.splitlines()[-1] == f"{tmp_path / 'clone'} now gets its content from {disk}"
    clone = Clone(tmp_path / "clone")
    run("datalad", "get", "sub-1/a.nwb", "sub-1/image.zarr", cwd=clone.path)
    assert clone.read("sub-1/a.nwb") == FILES["sub-1/a.nwb"]
    assert clone.read("sub-1/image.zarr/0/0/1") == ZARR["0/0/1"]
    assert run("datalad", "status", "-r", cwd=clone.path) == "nothing to save, working tree clean"


def test_by_hand_it_is_one_command_of_git_annex(kept: Any, commands: Any, tmp_path: Path) -> None:
    commands.bundle(kept.two, "-o", tmp_path / "disk")
    kept.vanish()
    run("git", "clone", tmp_path / "disk/git" / kept.two, tmp_path / "clone")
    clone = Clone(tmp_path / "clone")
    said = re.search(r"^    git (annex initremote .*)$", (tmp_path / "disk/README.md").read_text(), re.MULTILINE)
    assert said is not None
    clone.git(*said[1].replace("HERE", str(tmp_path / "disk")).split(" "))
    clone.annex("get", ".")
    assert clone.read("other.nwb") == b"another recording"


def test_one_without_content_makes_a_clone_too(kept: Any, commands: Any, tmp_path: Path) -> None:
    commands.bundle(kept.one, "-o", tmp_path / "disk", "--no-content")
    kept.vanish()
    clone = unpack(tmp_path / "disk", tmp_path / "clone")
    for one in (clone, clone.sub("sub-1/image.zarr")):
        assert one.git("status", "--porcelain") == ""
        assert "web" in one.annex("whereis", ".", ok=True)
    assert "initremote" not in (tmp_path / "disk/README.md").read_text()


def test_two_bundles_serve_one_clone(kept: Any, commands: Any, tmp_path: Path) -> None:
    commands.bundle(f"{kept.one}@draft", "-o", tmp_path / "one", "--path", "sub-1")
    commands.bundle(f"{kept.one}@{kept.second}", "-o", tmp_path / "two", "--path", "sub-2")
    kept.vanish()
    clone = unpack(tmp_path / "one", tmp_path / "clone")
    clone.git("fetch", tmp_path / "two/git" / kept.one, "git-annex:refs/remotes/two/git-annex")
    run("sh", tmp_path / "two/connect.sh", clone.path)
    clone.annex("get", "sub-1/a.nwb", "sub-2/b.nwb")
    assert clone.read("sub-2/b.nwb") == FILES["sub-2/b.nwb"]


def test_later_the_clone_follows_the_mirror(kept: Any, commands: Any, tmp_path: Path) -> None:
    commands.bundle(f"{kept.one}@{kept.first}", "-o", tmp_path / "disk")
    clone = unpack(tmp_path / "disk", tmp_path / "clone")
    shutil.rmtree(tmp_path / "disk")
    clone.git("remote", "set-url", "origin", kept.store.alias(kept.one))
    clone.git("config", "--unset", "remote.origin.annex-ignore")
    clone.git("fetch")
    clone.git("checkout", "--quiet", "draft")
    clone.annex("get", "sub-3/new.nwb")
    assert clone.read("sub-3/new.nwb") == b"what is in the draft only"
