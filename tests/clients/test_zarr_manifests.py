"""A Zarr of which only the manifest is held: what its users are told, and that they have it once it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

PATH, SMALL = "sub-1/sub-1_SPIM.ome.zarr", "sub-1/small.zarr"
STATES = [{f"0/{number}": f"chunk {number} of state {state}".encode() for number in range(5)} for state in (1, 2, 3)]
CHUNK = "0/3"


@pytest.fixture
def manifests(mirror_with: Callable[..., Any]) -> Any:
    """A mirror that keeps only manifests of Zarrs."""
    mirror = mirror_with(zarr={"hold": "manifest"})
    mirror.zarr_id = mirror.add_zarr(PATH, STATES[0])
    mirror.add("sub-1/sub-1_ecephys.nwb", b"a recording")
    mirror.sync()
    return mirror


def address(mirror: Any, url: str, way: str) -> str:
    return {
        "path": str(mirror.alias),
        "ria+http": f"ria+{url}#~{mirror.identifier}",
    }[way]


def change(mirror: Any, state: int) -> None:
    """The Zarr goes on to a state, and the mirror follows."""
    mirror.change_zarr(PATH, STATES[state - 1], STATES[state])
    mirror.sync()


@pytest.mark.parametrize("way", ["path", "ria+http"])
def test_it_is_had_in_the_very_same_clone_once_it_is_written(
    manifests: Any, clone_of: Callable[..., Any], served: Callable[..., Any], run: Callable[..., str], way: str
) -> None:
    with served(manifests.public) as url:
        clone = clone_of(address(manifests, url, way))
        tip = clone.git("rev-parse", "HEAD")
        said = clone.datalad("get", "-n", PATH, ok=False)
        assert f"install(error): {clone.path / PATH} (dataset)" in said
        assert "Failed to clone from any candidate source URL" in said
        tried = manifests.alias_of(manifests.zarr_id) if way == "path" else f"{url}/alias/{manifests.zarr_id}/"
        assert f"fatal: repository '{tried}' {'does not exist' if way == 'path' else 'not found'}" in said
        clone.assert_clean()
        run("dandi-mirror", "materialize", manifests.identifier, "--store", manifests.store)
        clone.datalad("get", "-n", PATH)
        clone.datalad("get", f"{PATH}/{CHUNK}")
    assert clone.read(f"{PATH}/{CHUNK}") == STATES[0][CHUNK]
    assert clone.git("rev-parse", "HEAD") == tip
    assert clone.git("submodule", "status")[0] == " "
    clone.assert_clean()


def test_everything_else_is_had_without_it(manifests: Any, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(manifests.alias)
    said = clone.datalad("get", "-r", ".", ok=False)
    assert "get(ok): sub-1/sub-1_ecephys.nwb (file)" in said
    assert "install (error: 1)" in said
    said = clone.datalad("get", f"{PATH}/{CHUNK}", ok=False)
    assert f"get(impossible): {PATH}/{CHUNK} [path does not exist]" in said
    clone.datalad("get", ".")
    clone.datalad("update", "-r", "--how", "ff-only")
    clone.assert_clean()


def test_git_alone_says_that_there_is_no_such_repository(
    manifests: Any, run: Callable[..., str], tmp_path: Any, clone_at: Callable[..., Any]
) -> None:
    run("git", "clone", "-q", manifests.alias, tmp_path / "clone")
    clone = clone_at(tmp_path / "clone")
    said = clone.git("submodule", "update", "--init", ok=False)
    assert f"fatal: repository '{manifests.alias_of(manifests.zarr_id)}' does not exist" in said
    assert f"Failed to clone '{PATH}' a second time, aborting" in said
    assert clone.git("submodule", "status")[0] == "-"
    run("dandi-mirror", "materialize", manifests.zarr_id, "--store", manifests.store)
    clone.git("submodule", "update", "--init")
    assert clone.git("submodule", "status")[0] == " "
    clone.assert_clean()


def test_all_that_was_seen_of_it_is_written_and_it_goes_on_from_there(
    manifests: Any, clone_of: Callable[..., Any], run: Callable[..., str]
) -> None:
    old, checksums = clone_of(manifests.alias), [manifests.zarr_checksum(PATH)]
    change(manifests, 1)
    checksums.append(manifests.zarr_checksum(PATH))
    manifests.archive.requests.clear()
    run("dandi-mirror", "materialize", manifests.zarr_id, "--store", manifests.store)
    assert len(manifests.archive.requests) == 0, "the archive is not asked"
    old.datalad("get", f"{PATH}/{CHUNK}")
    assert old.read(f"{PATH}/{CHUNK}") == STATES[0][CHUNK]
    assert set(old.sub(PATH).git("tag").splitlines()) == set(checksums)
    old.assert_clean()
    change(manifests, 2)
    old.datalad("update", "-r", "--how", "ff-only")
    old.datalad("get", PATH)
    assert old.read(f"{PATH}/{CHUNK}") == STATES[2][CHUNK]
    inside = old.sub(PATH)
    inside.git("checkout", "-q", checksums[1])
    inside.datalad("get", CHUNK)
    assert inside.read(CHUNK) == STATES[1][CHUNK]
    assert "failed" not in inside.annex("fsck")
    inside.git("checkout", "-q", "draft")
    old.assert_clean()


def test_of_a_zarr_with_many_files_only_the_manifest_is_held(
    mirror_with: Callable[..., Any], clone_of: Callable[..., Any]
) -> None:
    mirror = mirror_with(zarr={"repository_max_entries": 3})
    mirror.add_zarr(PATH, STATES[0])
    mirror.add_zarr(SMALL, {"0": b"the only chunk"})
    mirror.sync()
    clone = clone_of(mirror.alias)
    clone.datalad("get", SMALL)
    assert clone.read(f"{SMALL}/0") == b"the only chunk"
    assert "install(error)" in clone.datalad("get", "-n", PATH, ok=False)
    clone.assert_clean()
