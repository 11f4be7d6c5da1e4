"""`dandi-mirror bundle --verify`: whatever is not as it was, or not there, is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def content(disk: Path) -> Path:
    return next(path for path in sorted((disk / "annex").rglob("SHA256E*")) if path.is_file())


def test_a_whole_bundle_needs_no_store_to_be_known_as_whole(
    kept: Any, commands: Any, disk: Path, tmp_path: Path
) -> None:
    commands.bundle(kept.one, "-o", tmp_path / "disk.tar")
    kept.vanish()
    for path in (disk, tmp_path / "disk.tar"):
        said = commands.bundle("--verify", path)
        assert said.code == 0
        assert said.out.startswith(f"whole: {kept.one}@{kept.second}, 13 files, but for 1 that missing.jsonl tells of")
        (record,) = commands.bundle("--verify", path, "--json").records
        assert (record["status"], record["problems"], record["version"]) == ("ok", 0, kept.second)


def _another_byte(file: Path) -> None:
    body = bytearray(file.read_bytes())
    body[len(body) // 2] ^= 1
    file.write_bytes(bytes(body))


def _without_a_sum(disk: Path) -> None:
    sums = disk / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(keepends=True) if "README" not in line))


def _moved(disk: Path) -> None:
    file = content(disk)
    (disk / "annex/000/000/K").mkdir(parents=True)
    file.rename(disk / "annex/000/000/K" / file.name)


def _no_file(disk: Path) -> None:
    (disk / "README.md").unlink()
    (disk / "README.md").symlink_to("nowhere")


def _of_no_commit(disk: Path) -> None:
    facts = json.loads((disk / "bundle.json").read_text())
    (disk / "bundle.json").write_text(json.dumps({**facts, "commit": "none of it"}))


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a byte of content": (lambda disk: _another_byte(content(disk)), "not the content that its name says"),
    "content gone": (lambda disk: content(disk).unlink(), "neither here nor told as missing"),
    "content elsewhere": (_moved, "git-annex would not look for it there"),
    "a stray file": (lambda disk: (disk / "stray").write_text("x"), "stray is not in SHA256SUMS"),
    "no checksums": (lambda disk: (disk / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
    "a checksum less": (_without_a_sum, "README.md is not in SHA256SUMS"),
    "a text changed": (lambda disk: _another_byte(disk / "README.md"), "README.md: not as its checksum says"),
    "a text that cannot be read": (_no_file, "README.md cannot be read"),
    "no facts": (lambda disk: (disk / "bundle.json").unlink(), "bundle.json cannot be read"),
    "facts that cannot be": (_of_no_commit, "bundle.json: not as its checksum says"),
    "missing no more told": (lambda disk: (disk / "missing.jsonl").unlink(), "sub-2/not-held.nwb: its content"),
    "a dataset damaged": (lambda disk: _another_byte(disk / "git/000001"), "git/000001: not"),
    "a dataset gone": (lambda disk: (disk / "git/000001").unlink(), "is not to be had"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told(commands: Any, disk: Path, damage: str) -> None:
    do, words = DAMAGES[damage]
    do(disk)
    said = commands.bundle("--verify", disk)
    assert said.code == 1
    assert words in said.out


def test_a_zarr_that_is_gone_is_told(kept: Any, commands: Any, disk: Path) -> None:
    (disk / "git" / kept.zarr).unlink()
    said = commands.bundle("--verify", disk)
    assert said.code == 1
    assert "the Zarr is neither here nor told as missing" in said.out


def test_problems_are_records_with_json(commands: Any, disk: Path) -> None:
    content(disk).unlink()
    said = commands.bundle("--verify", disk, "--json")
    *problems, verdict = said.records
    assert {record["status"] for record in problems} == {"error"}
    assert verdict["problems"] == len(problems) == 2


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_a_tar_file_cut_short_is_told(kept: Any, commands: Any, tmp_path: Path, share: float) -> None:
    commands.bundle(kept.one, "-o", tmp_path / "disk.tar")
    with (tmp_path / "disk.tar").open("r+b") as file:
        file.truncate(int((tmp_path / "disk.tar").stat().st_size * share))
    said = commands.bundle("--verify", tmp_path / "disk.tar")
    assert said.code == 1


def test_a_format_of_the_future_is_not_guessed_at(commands: Any, disk: Path) -> None:
    facts = json.loads((disk / "bundle.json").read_text()) | {"format": 99}
    (disk / "bundle.json").write_text(json.dumps(facts))
    assert "a newer dandi-mirror may know it" in commands.bundle("--verify", disk).out


def test_a_folder_that_is_no_bundle_is_no_whole_one(commands: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert commands.bundle("--verify", tmp_path / "empty").code == 2
    shutil.rmtree(tmp_path / "empty")


def test_a_ref_whose_name_is_too_long_for_a_file_is_a_problem_of_that_dataset(commands: Any, disk: Path) -> None:
    dataset = disk / "git/000001"
    refs, _, pack = dataset.read_bytes().partition(b"\n\n")
    oid = refs.splitlines()[1][:40]
    dataset.write_bytes(refs + b"\n" + oid + b" refs/heads/" + b"x" * 300 + b"\n\n" + pack)
    said = commands.bundle("--verify", disk)
    assert said.code == 1
    assert "git/000001: " in said.out
