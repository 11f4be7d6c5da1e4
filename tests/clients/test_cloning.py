"""Whatever way a Dandiset is cloned, and at whatever version, it is a clean DataLad dataset whose files can be got."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ODD = "sub-R1/odd name [1] & (2).bin"
NESTED = "sub-R1/ses-1/sub-R1_ses-1_ecephys.nwb"


@pytest.mark.parametrize("way", ["path", "ria+file", "ria+http", "http"])
def test_a_clone_is_clean_and_its_files_can_be_got(scene: Any, clone_of: Callable[..., Any], way: str) -> None:
    clone = clone_of(scene.address(way))
    assert clone.git("symbolic-ref", "--short", "HEAD") == "draft"
    assert clone.read("README.md") == b"# Ripples\n\nTwo animals, one image.\n"
    assert not clone.has(ODD)
    clone.datalad("get", ODD)
    assert clone.read(ODD) == scene.contents[ODD]
    clone.assert_clean()
    assert clone.git("tag", "--list", "0.*").splitlines() == sorted(scene.versions)
    assert clone.git("branch", "--remotes", "--list", "origin/releases").strip() == "origin/releases"


@pytest.mark.parametrize("way", ["path", "http"])
def test_plain_git_and_git_annex_do_without_datalad(
    scene: Any, run: Callable[..., str], tmp_path: Path, way: str
) -> None:
    run("git", "clone", "-q", scene.address(way), tmp_path / "clone")
    run("git", "annex", "get", "--", "-notes of the lab.dat", cwd=tmp_path / "clone")
    assert (tmp_path / "clone" / "-notes of the lab.dat").read_bytes() == b"notes that begin with a dash"
    assert run("git", "status", "--porcelain", cwd=tmp_path / "clone") == ""


@pytest.mark.parametrize("way", ["ria+file", "ria+http"])
def test_a_version_is_cloned_by_its_name_or_its_doi(scene: Any, clone_of: Callable[..., Any], way: str) -> None:
    first, second = scene.versions
    old = clone_of(f"{scene.address(way)}@{first}", "by-name")
    assert old.git("describe") == first
    assert old.read("README.md") == b"# Ripples\n\nTwo animals.\n"
    old.datalad("get", NESTED)
    assert old.read(NESTED) == scene.contents[NESTED]
    old.assert_clean()
    new = clone_of(f"{scene.address(way)}@doi/{scene.mirror.doi(second)}", "by-doi")
    assert new.git("describe") == second
    new.assert_clean()


def test_versions_are_checked_out_by_name_or_doi(scene: Any, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(scene.address("path"))
    first, second = scene.versions
    clone.git("checkout", "-q", first)
    assert not (clone.path / "sub-M1/sub-M1_image.nwb").is_symlink()
    clone.assert_clean()
    clone.git("checkout", "-q", f"doi/{scene.mirror.doi(second)}")
    assert clone.git("describe") == second
    clone.datalad("get", "sub-M1/sub-M1_image.nwb")
    assert clone.read("sub-M1/sub-M1_image.nwb") == b"an image of a mouse"
    clone.assert_clean()


def test_every_clone_is_the_same_dataset(scene: Any, clone_of: Callable[..., Any]) -> None:
    clones = [clone_of(scene.address(way), way) for way in ("path", "ria+http")]
    ids = {clone.datalad("configuration", "get", "datalad.dataset.id") for clone in clones}
    assert len(ids) == 1
    assert ids.pop().replace("-", "") == "".join(scene.mirror.alias.resolve().parts[-2:]).replace("-", "")
