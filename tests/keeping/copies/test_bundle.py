"""`dandi-mirror bundle`: what is in a bundle, and that it depends on nothing but that."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirror.git.process import run_git
from mirror.keeping.bundle.git import refs_of_version
from mirror.keeping.bundle.making import make_bundle, place_of
from mirror.keeping.bundle.target import partial_of
from mirror.store.contents import drop, found
from mirror.store.moving import close_dataset

HELD = ("sub-1/a.nwb", "sub-1/odd name [1] & (2).bin", "sub-2/b.nwb")


class Doing:
    """Does something as soon as a key's turn has come."""

    def __init__(self, key: str, deed: Callable[[], object]) -> None:
        self._key = key
        self._deed = deed

    def total(self, files: int, size: int) -> None: ...

    def done(self, size: int) -> None: ...

    def doing(self, what: str) -> None:
        if what == self._key:
            self._deed()


def zarr_of(kept: Any) -> Path:
    path: Path = kept.store.dataset(kept.zarr).path
    return path


def files_of(bundle: Path) -> dict[str, bytes]:
    return {str(path.relative_to(bundle)): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}


def contents_of(bundle: Path) -> set[str]:
    return {path.name for path in (bundle / "annex").rglob("*") if path.is_file()}


def facts_of(bundle: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((bundle / "bundle.json").read_text())
    return facts


def test_a_version_has_its_content_its_zarrs_and_says_what_is_missing(kept: Any, commands: Any, tmp_path: Path) -> None:
    said = commands.bundle(f"{kept.one}@{kept.second}", "-o", tmp_path / "disk", "--json")
    assert said.code == 0
    zarr_keys = {kept.key(f"sub-1/image.zarr/{name}") for name in (".zgroup", "0/0/0", "0/0/1")}
    assert contents_of(tmp_path / "disk") == {*(kept.key(path) for path in HELD), *zarr_keys}
    (record,) = said.records
    assert (record["status"], record["version"], record["files"], record["zarrs"]) == ("ok", kept.second, 6, 1)
    assert record["missing"] == {"not held by the store": 1}
    (line,) = (tmp_path / "disk/missing.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == "sub-2/not-held.nwb"
    assert sorted(path.name for path in (tmp_path / "disk/git").iterdir()) == sorted([kept.one, kept.zarr])


def test_a_dandiset_alone_means_its_latest_version(kept: Any, commands: Any, tmp_path: Path) -> None:
    commands.bundle(kept.one, "-o", tmp_path / "latest")
    commands.bundle(kept.two, "-o", tmp_path / "draft")
    assert facts_of(tmp_path / "latest")["version"] == kept.second
    assert facts_of(tmp_path / "draft")["version"] == "draft"


def test_a_doi_means_its_version(kept: Any, commands: Any, tmp_path: Path) -> None:
    doi = next(name for name in kept.refs() if name.startswith("refs/tags/doi/") and name.endswith(kept.first))
    assert commands.bundle(doi.removeprefix("refs/tags/doi/"), "-o", tmp_path / "disk").code == 0
    assert facts_of(tmp_path / "disk")["version"] == kept.first


def test_the_tags_of_later_versions_are_not_in_it(kept: Any, commands: Any, tmp_path: Path) -> None:
    commands.bundle(f"{kept.one}@{kept.first}", "-o", tmp_path / "disk")
    heads = subprocess.run(
        ["git", "bundle", "list-heads", tmp_path / "disk/git" / kept.one], capture_output=True, text=True, check=True
    ).stdout
    names = {line.split()[1] for line in heads.splitlines()}
    assert {"HEAD", "refs/heads/releases", "refs/heads/git-annex", f"refs/tags/{kept.first}"} <= names
    assert f"refs/tags/{kept.second}" not in names
    assert "refs/heads/draft" not in names


def test_the_same_version_gives_the_same_bytes_however_the_store_is_packed(
    kept: Any, commands: Any, tmp_path: Path
) -> None:
    commands.bundle(kept.one, "-o", tmp_path / "a")
    commands.bundle(kept.one, "-o", tmp_path / "a.tar")
    for dataset in (kept.repository, kept.store.dataset(kept.zarr).path):
        run_git(dataset, "repack", "-a", "-d", "-f", "--depth=5")
    commands.bundle(kept.one, "-o", tmp_path / "b")
    (tmp_path / "later").mkdir()
    os.utime(tmp_path / "later", (0, 0))
    commands.bundle(kept.one, "-o", tmp_path / "later/a.tar")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "later/a.tar").read_bytes()


def test_a_tar_file_has_what_the_folder_has(kept: Any, commands: Any, tmp_path: Path) -> None:
    commands.bundle(kept.one, "-o", tmp_path / "disk")
    commands.bundle(kept.one, "-o", tmp_path / "disk.tar")
    with tarfile.open(tmp_path / "disk.tar") as tar:
        tar.extractall(tmp_path / "untarred")
        assert {(member.uid, member.uname, member.mode) for member in tar} == {(0, "", 0o644)}
    assert files_of(tmp_path / "untarred/disk") == files_of(tmp_path / "disk")


def test_its_checksums_are_those_that_sha256sum_knows(kept: Any, commands: Any, tmp_path: Path) -> None:
    commands.bundle(kept.one, "-o", tmp_path / "disk")
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "disk", check=True)
    listed = {line.split("  ", 1)[1] for line in (tmp_path / "disk/SHA256SUMS").read_text().splitlines()}
    assert listed == files_of(tmp_path / "disk").keys() - {"SHA256SUMS"}


@pytest.mark.parametrize(
    ("patterns", "paths"),
    [
        (["sub-1/a.nwb"], ["sub-1/a.nwb"]),
        (["sub-2/"], ["sub-2/b.nwb"]),
        (["*.nwb"], ["sub-1/a.nwb", "sub-2/b.nwb"]),
        (["sub-1/image.zarr/0/0"], ["sub-1/image.zarr/0/0/0", "sub-1/image.zarr/0/0/1"]),
        (["sub-1/a*", "sub-2/b*"], ["sub-1/a.nwb", "sub-2/b.nwb"]),
    ],
)
def test_content_is_chosen_by_path_folder_and_pattern(
    kept: Any, commands: Any, tmp_path: Path, patterns: list[str], paths: list[str]
) -> None:
    args = [word for pattern in patterns for word in ("--path", pattern)]
    assert commands.bundle(kept.one, "-o", tmp_path / "disk", *args).code == 0
    assert contents_of(tmp_path / "disk") == {kept.key(path) for path in paths}
    # A Zarr of which nothing is chosen is not carried along, and is told of.
    has_zarr = any("zarr" in path for path in paths)
    assert (tmp_path / "disk/git" / kept.zarr).exists() is has_zarr
    told = [json.loads(line)["zarr"] for line in (tmp_path / "disk/missing.jsonl").read_text().splitlines()]
    assert (kept.zarr in told) is not has_zarr


def test_without_content_there_are_the_datasets_alone(kept: Any, commands: Any, tmp_path: Path) -> None:
    assert commands.bundle(kept.one, "-o", tmp_path / "disk", "--no-content").code == 0
    assert not (tmp_path / "disk/annex").exists()
    assert (tmp_path / "disk/git" / kept.zarr).exists()


def test_damaged_content_is_left_out_and_told(kept: Any, commands: Any, tmp_path: Path) -> None:
    place = found(kept.repository, kept.key("sub-2/b.nwb"))
    place.chmod(0o644)
    place.write_bytes(place.read_bytes().replace(b"second", b"s3cond"))
    for target in ("disk", "disk.tar"):
        said = commands.bundle(kept.one, "-o", tmp_path / target, "--json")
        assert said.code == 3
        assert said.records[0]["missing"]["damaged in the store"] == 1
        assert commands.bundle("--verify", tmp_path / target).code == 0
    assert kept.key("sub-2/b.nwb") not in contents_of(tmp_path / "disk")


def test_a_bundle_that_was_broken_off_is_gone_on_with(
    kept: Any, commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mirror.keeping.bundle.making.write_git_bundle", full)
        said = commands.bundle(kept.one, "-o", tmp_path / "disk")
    assert said.code == 1
    assert "--path" in (said.error.hint or "")
    assert not (tmp_path / "disk").exists()
    partial = tmp_path / ".disk.partial"
    before = {path.name: path.stat().st_ino for path in (partial / "annex").rglob("*") if path.is_file()}
    assert len(before) == 6
    victim = next(path for path in (partial / "annex").rglob("SHA256E*") if path.is_file())
    victim.write_bytes(b"half")
    assert commands.bundle(kept.one, "-o", tmp_path / "disk").code == 0
    after = {path.name: path.stat().st_ino for path in (tmp_path / "disk/annex").rglob("*") if path.is_file()}
    assert {name for name in before if before[name] != after[name]} == {victim.name}
    assert not partial.exists()
    assert commands.bundle("--verify", tmp_path / "disk").code == 0


def test_what_was_begun_for_another_choice_is_begun_anew(
    kept: Any, commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("mirror.keeping.bundle.making.readme", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            commands.bundle(kept.one, "-o", tmp_path / "disk")
    commands.bundle(kept.one, "-o", tmp_path / "disk", "--path", "sub-1/a.nwb")
    assert contents_of(tmp_path / "disk") == {kept.key("sub-1/a.nwb")}
    assert commands.bundle("--verify", tmp_path / "disk").code == 0


def test_of_a_bundle_that_was_broken_off_nothing_is_kept_that_is_told_as_missing_now(
    kept: Any, commands: Any, tmp_path: Path
) -> None:
    gone, partial = kept.key("sub-2/b.nwb"), tmp_path / ".disk.partial"
    with pytest.raises(ZeroDivisionError):
        make_bundle(kept.store, kept.one, None, tmp_path / "disk", teller=Doing(kept.key("sub-1/a.nwb"), lambda: 1 / 0))
    # What a power cut leaves, and a kill: half of a content, and half of another on its way.
    half = partial / place_of(gone)
    half.parent.mkdir(parents=True, exist_ok=True)
    half.write_bytes(b"half")
    (partial / "unfinished").write_bytes(b"half")
    drop_later = Doing(gone, lambda: drop(kept.repository, gone))
    done = make_bundle(kept.store, kept.one, None, tmp_path / "disk", teller=drop_later)
    assert done.facts.missing == {"not held by the store": 2}
    assert gone not in contents_of(tmp_path / "disk")
    assert commands.bundle("--verify", tmp_path / "disk").out.startswith("whole")


def test_what_was_missing_from_one_that_was_broken_off_and_is_not_any_more_is_told_no_more(
    kept: Any, commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = found(kept.store.repository(kept.two).path, kept.key("other.nwb", identifier=kept.two))
    body = place.read_bytes()
    place.chmod(0o644)
    place.write_bytes(b"damaged")
    with monkeypatch.context() as patch:
        patch.setattr("mirror.keeping.bundle.making.readme", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            commands.bundle(kept.two, "-o", tmp_path / "disk")
    place.write_bytes(body)
    assert commands.bundle(kept.two, "-o", tmp_path / "disk").code == 0
    assert not (tmp_path / "disk/missing.jsonl").exists()
    assert commands.bundle("--verify", tmp_path / "disk").code == 0


@pytest.mark.parametrize("name", ["disk", "disk.tar"])
def test_what_vanishes_from_the_store_meanwhile_is_told_as_missing(
    kept: Any, commands: Any, tmp_path: Path, name: str
) -> None:
    gone = kept.key("sub-2/b.nwb")
    done = make_bundle(
        kept.store, kept.one, None, tmp_path / name, teller=Doing(gone, lambda: drop(kept.repository, gone))
    )
    assert done.lacking == 2
    assert commands.bundle("--verify", tmp_path / name).code == 0


def test_a_tar_file_is_whole_though_a_killed_one_left_another_and_its_first_content_is_damaged(
    kept: Any, commands: Any, tmp_path: Path
) -> None:
    (tmp_path / ".disk.tar.partial").write_bytes(b"x" * 1_000_000)
    keys = [kept.key(path) for path in (*HELD, "sub-1/image.zarr/.zgroup", "sub-1/image.zarr/0/0/0")]
    first = min(keys, key=place_of)
    place = next(place for place in (found(kept.repository, first), found(zarr_of(kept), first)) if place is not None)
    place.chmod(0o644)
    place.write_bytes(b"damaged")
    assert commands.bundle(kept.one, "-o", tmp_path / "disk.tar").code == 3
    assert commands.bundle("--verify", tmp_path / "disk.tar").out.startswith("whole")


def test_a_bundle_that_somebody_else_has_just_made_is_not_begun_anew(
    kept: Any, commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, partial = fcntl.flock, tmp_path / ".disk.tar.partial"

    def made_by_another(descriptor: int, how: int) -> None:
        if partial.exists():
            partial.rename(tmp_path / "disk.tar")
            (tmp_path / "disk.tar").write_bytes(b"theirs")
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", made_by_another)
    assert commands.bundle(kept.one, "-o", tmp_path / "disk.tar").code == 11
    assert (tmp_path / "disk.tar").read_bytes() == b"theirs"


def test_two_do_not_make_one_bundle_at_once(kept: Any, commands: Any, tmp_path: Path) -> None:
    for name in ("disk", "disk.tar"):
        partial = partial_of(tmp_path / name)
        partial.mkdir() if name == "disk" else partial.touch()
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            assert commands.bundle(kept.one, "-o", tmp_path / name).code == 11
        finally:
            os.close(descriptor)
        assert partial.exists()


def test_what_a_killed_one_left_in_the_store_is_cleared_away(kept: Any, commands: Any, tmp_path: Path) -> None:
    temporary = kept.root / "state/tmp"
    for name in ("bundle-dead", "bundle-alive"):
        (temporary / name / "borrower").mkdir(parents=True)
    alive = os.open(temporary / "bundle-alive", os.O_RDONLY)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX)
        assert commands.bundle(kept.two, "-o", tmp_path / "disk").code == 0
    finally:
        os.close(alive)
    assert [path.name for path in temporary.iterdir()] == ["bundle-alive"]


def test_the_draft_in_it_is_the_one_that_it_was_begun_for(kept: Any) -> None:
    repository = kept.store.repository(kept.one)
    older = bytes.fromhex(run_git(repository.path, "rev-parse", "draft~1").decode().strip())
    assert refs_of_version(repository, "draft", older).refs["refs/heads/draft"] == older


def test_a_tar_file_that_was_broken_off_leaves_nothing(
    kept: Any, commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.keeping.bundle.making.readme", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        commands.bundle(kept.one, "-o", tmp_path / "disk.tar")
    assert not list(tmp_path.glob("*disk*"))


def test_a_file_too_large_for_the_disk_is_told_as_such(
    kept: Any, commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object, **__: object) -> None:
        raise OSError(27, "File too large")

    monkeypatch.setattr("mirror.keeping.bundle.target.copied", too_large)
    said = commands.bundle(kept.one, "-o", tmp_path / "disk")
    assert said.code == 1
    assert "FAT32" in (said.error.hint or "")


def test_nothing_in_it_needs_more_than_fat_can_do(kept: Any, commands: Any, tmp_path: Path) -> None:
    commands.bundle(kept.one, "-o", tmp_path / "disk")
    paths = list((tmp_path / "disk").rglob("*"))
    assert not [path for path in paths if path.is_symlink()]
    names = [str(path.relative_to(tmp_path / "disk")) for path in paths]
    assert not [name for name in names if set(name) & set(':*?"<>|\\')]
    assert len({name.lower() for name in names}) == len(names)
    assert {path.stat().st_nlink for path in paths if path.is_file()} == {1}


def test_the_store_is_left_as_it_is(kept: Any, commands: Any, tmp_path: Path) -> None:
    before = files_of(kept.root)
    commands.bundle(kept.one, "-o", tmp_path / "disk")
    assert files_of(kept.root) == before
    assert not list((kept.root / "state/tmp").iterdir())


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    "args",
    [
        ("-o", "disk"),
        ("000001",),
        ("nonsense/", "-o", "disk"),
        ("000009", "-o", "disk"),
        ("000001@0.1.2", "-o", "disk"),
        ("000001", "-o", "missing/disk"),
        ("000001", "-o", "."),
        ("000001", "-o", "disk", "--no-content", "--path", "x"),
        ("000001", "-o", "disk", "--verify", "disk"),
        ("000001", "-o", "disk", "--path", "sub-9/*"),  # of which there is nothing
        ("--verify", "not-there"),
        ("--verify", "."),
    ],
)
def test_what_cannot_be_asked_for_is_a_usage_error(
    commands: Any, tmp_path: Path, args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = commands.bundle(*args)
    assert said.code == 2
    assert not (tmp_path / "disk").exists()


def test_of_two_bundles_with_other_content_a_clone_can_tell_which_is_which(
    kept: Any, commands: Any, tmp_path: Path
) -> None:
    commands.bundle(kept.one, "-o", tmp_path / "all")
    commands.bundle(kept.one, "-o", tmp_path / "some", "--path", "sub-1")
    assert facts_of(tmp_path / "all")["annex_uuid"] != facts_of(tmp_path / "some")["annex_uuid"]


def test_of_a_dandiset_under_embargo_only_when_that_is_said(kept: Any, commands: Any, tmp_path: Path) -> None:
    store = kept.store
    with store.lock("a test"):
        close_dataset(store, store.dataset_id(kept.two), kept.two)
    refused = commands.bundle(kept.two, "-o", tmp_path / "disk")
    assert refused.code == 2
    assert "--private" in (refused.error.hint or "")
    assert not list(tmp_path.glob("*disk*"))
    said = commands.bundle(kept.two, "-o", tmp_path / "disk", "--private")
    assert said.code == 0
    assert "under embargo" in said.out
    assert "under embargo" in (tmp_path / "disk/README.md").read_text()
    assert facts_of(tmp_path / "disk")["embargoed"] is True
    # It is nobody else's on this machine.
    commands.bundle(kept.two, "-o", tmp_path / "disk.tar", "--private")
    assert [(tmp_path / name).stat().st_mode & 0o077 for name in ("disk", "disk.tar")] == [0, 0]
