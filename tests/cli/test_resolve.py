"""`dandi-mirror resolve` as a user or a script sees it: in a process of its own, of a store that a sync made."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mirror.config import Settings
from mirror.dataset.identity import superdataset_id
from mirror.demo import DemoArchive
from mirror.store.chronicle import Chronicle
from mirror.store.store import Store
from mirror.sync.engine import sync

from ..warm import warm_program

START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)
IDENTIFIER = "000003"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Scene:
    folder: Path
    store: Store
    version: str
    asset_id: str
    zarr_id: str

    @property
    def public(self) -> Path:
        return self.store.public

    def commit(self, ref: str) -> str:
        command = ["git", "-C", str(self.store.alias(IDENTIFIER)), "rev-parse", f"{ref}^{{}}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A Dandiset with a version, and a draft that went on; for tests that change nothing."""
    folder = tmp_path_factory.mktemp("resolve")
    with DemoArchive(start=START, seed=1) as archive:
        connection = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        settings = Settings.model_validate(
            {"archive": {**connection, "settle_seconds": 0}, "store": folder / "store", "jobs": 1}
        )
        archive.create_dandiset("Ripples", identifier=IDENTIFIER)
        asset_id = archive.add_asset(IDENTIFIER, "sub-1/a.nwb", b"a recording")
        version = archive.publish(IDENTIFIER)
        zarr_id = archive.add_zarr(IDENTIFIER, "sub-1/c.zarr", {".zgroup": b"{}"})
        sync(settings).check()
    store = Store.open(folder / "store")
    with Chronicle(store) as chronicle:
        chronicle.begin()
        chronicle.catch_up()
        chronicle.finish()
    return Scene(folder, store, version, asset_id, zarr_id)


@pytest.fixture
def run(scene: Scene) -> Run:
    """Runs `python -m mirror resolve --store store ARGS`."""

    def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return warm_program().run("resolve", "--store", "store", *args, cwd=scene.folder, env=env)

    return run


def records(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_version_is_told_in_aligned_lines_the_last_a_command(run: Run, scene: Scene) -> None:
    doi = f"10.80507/demo-dandi.{IDENTIFIER}/{scene.version}"
    done = run(f"https://doi.org/{doi}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"Dandiset  {IDENTIFIER}  Ripples",
        f"doi       {doi}",
        f"version   {scene.version}  {scene.commit(scene.version)}  2026-11-20 15:34",
        f"clone     datalad clone 'ria+file://{scene.public}#~{IDENTIFIER}@{scene.version}'",
    ]


def test_an_asset_is_told_with_where_it_is_and_how_to_get_it(run: Run, scene: Scene) -> None:
    assert run("sub-1/a.nwb").stdout.splitlines() == [
        "asset     sub-1/a.nwb  11 B",
        f"Dandiset  {IDENTIFIER}  Ripples",
        f"version   {scene.version}  {scene.commit(scene.version)}  2026-11-20 15:34",
        f"draft     {scene.commit('draft')}  2026-11-20 15:34",
        f"clone     datalad clone 'ria+file://{scene.public}#~{IDENTIFIER}'",
        f"get       datalad -C {IDENTIFIER} get sub-1/a.nwb",
    ]


def test_several_are_told_one_after_the_other_with_a_line_between(run: Run, scene: Scene) -> None:
    done = run(IDENTIFIER, scene.zarr_id)
    assert done.returncode == 0
    first, second = done.stdout.split("\n\n")
    assert first.startswith(f"Dandiset  {IDENTIFIER}")
    assert second.startswith("zarr      sub-1/c.zarr")
    assert second.splitlines()[-1] == f"alone     datalad clone 'ria+file://{scene.public}#~{scene.zarr_id}'"


def test_json_is_a_record_for_each_place_all_with_the_same_keys(run: Run, scene: Scene) -> None:
    done = run("--json", scene.asset_id, scene.zarr_id, IDENTIFIER, "0" * 40)
    assert done.returncode == 1
    asset, zarr, dandiset, missing = records(done)
    when = dandiset["versions"][0]["when"]
    assert when.startswith("2026-11-20T15:34:17")
    assert dandiset["draft"]["commit"] == scene.commit("draft")
    assert asset == {
        "action": "resolve",
        "path": str(scene.store.alias(IDENTIFIER)),
        "status": "ok",
        "type": "file",
        "message": "",
        "what": scene.asset_id,
        "kind": "asset",
        "dandiset": IDENTIFIER,
        "name": "Ripples",
        "doi": None,
        "asset_path": "sub-1/a.nwb",
        "asset_id": scene.asset_id,
        "blob": asset["blob"],
        "zarr": None,
        "sha256": asset["sha256"],
        "size": 11,
        "versions": [{"version": scene.version, "commit": scene.commit(scene.version), "when": when}],
        "draft": dandiset["draft"],
        "past": None,
        "clone": f"datalad clone 'ria+file://{scene.public}#~{IDENTIFIER}'",
        "checkout": None,
        "get": f"datalad -C {IDENTIFIER} get sub-1/a.nwb",
        "zarr_clone": None,
    }
    assert (zarr["type"], zarr["kind"], zarr["zarr"]) == ("dataset", "zarr", scene.zarr_id)
    assert (dandiset["type"], dandiset["kind"], dandiset["asset_path"]) == ("dataset", "dandiset", None)
    assert (missing["status"], missing["path"], missing["what"]) == ("error", "0" * 40, "0" * 40)
    assert missing["message"] == "no dataset here has the commit"
    assert asset.keys() == zarr.keys() == dandiset.keys() == missing.keys()


def test_what_is_not_here_is_1_with_the_reason_and_what_there_is(run: Run, scene: Scene) -> None:
    done = run(f"{IDENTIFIER}@0.1.2")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"dandi-mirror: error: {IDENTIFIER}@0.1.2: version 0.1.2 of Dandiset {IDENTIFIER} is not mirrored here\n"
        f"  mirrored are {scene.version}\n"
    )


def test_what_is_here_is_told_before_what_is_not(run: Run) -> None:
    done = run("no/such/file", IDENTIFIER, "000027")
    assert done.returncode == 1
    assert done.stdout.startswith(f"Dandiset  {IDENTIFIER}")
    assert done.stderr.splitlines() == [
        "dandi-mirror: error: 2 of 3 not found",
        "  no/such/file: no Dandiset here has, or had, an asset at the path"
        " (a folder is found only with its Dandiset before it, as in 000003/sub-1)",
        "  000027: Dandiset 000027 is not mirrored here (`dandi-mirror sync 000027` mirrors what the archive has)",
    ]


def test_what_cannot_be_looked_up_is_a_usage_error(run: Run) -> None:
    done = run("DANDI:abc")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'DANDI:abc' is nothing that can be looked up\n  understood are a Dandiset or a version" in done.stderr


def test_whatever_becomes_of_one_of_several_the_others_are_answered(run: Run, scene: Scene) -> None:
    odd = ["DANDI:abc", "n" * 300, f"zarr/{scene.zarr_id}/..", f"zarr/{scene.zarr_id}/%00", "a/" * 25_000 + "a"]
    done = run("--json", *odd, IDENTIFIER)
    assert done.returncode == 2
    told = records(done)
    assert [record["what"] for record in told] == [*odd, IDENTIFIER]
    assert [record["status"] for record in told] == ["error"] * 5 + ["ok"]
    assert "dandi-mirror: error: 5 of 6 not found" in done.stderr
    assert len(done.stderr) < 5000


def test_a_repository_that_cannot_be_read_keeps_no_other_answer_back(run: Run, scene: Scene, tmp_path: Path) -> None:
    packed = scene.store.repository(IDENTIFIER).path / "packed-refs"
    aside = tmp_path / "packed-refs"
    if packed.exists():
        shutil.copy(packed, aside)
    packed.unlink(missing_ok=True)
    packed.mkdir()
    try:
        done = run(IDENTIFIER, "sub-1/a.nwb")
    finally:
        packed.rmdir()
        if aside.exists():
            shutil.copy(aside, packed)
    assert done.returncode == 1
    assert done.stdout.startswith("asset     sub-1/a.nwb")
    assert f"  {IDENTIFIER}: " in done.stderr
    assert run(IDENTIFIER).returncode == 0


def test_of_a_superdataset_that_the_settings_dropped_it_is_said(run: Run, scene: Scene) -> None:
    dataset_id = superdataset_id(scene.store.facts.instance_url, "mice")
    scene.store.create_dataset(dataset_id)
    scene.store.publish_as("mice", dataset_id)
    (record,) = records(run("--json", "mice"))
    assert record["kind"] == "superdataset"
    assert record["message"] == "the settings do not have this superdataset any more, so it stays as it is"
    (scene.folder / "mirror.yaml").write_text("superdatasets: [{name: mice, where: species ~ mouse}]\n")
    (record,) = records(run("--json", "mice", "-c", "mirror.yaml"))
    assert record["message"] == ""


def test_the_printed_commands_get_what_has_a_name_that_does_not_print(tmp_path: Path) -> None:
    names = ["a\tb's.nwb", "a\nb.nwb", "a\u00a0b\\.nwb", "ü\u202e.nwb"]
    with DemoArchive(start=START, seed=1) as archive:
        connection = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        archive.create_dandiset("Odd names", identifier=IDENTIFIER)
        archive.add_assets(IDENTIFIER, [(f"sub-1/{name}", name.encode()) for name in names])
        archive.clock.advance(300)
        sync(Settings.model_validate({"archive": connection, "store": tmp_path / "store"})).check()
        with Chronicle(Store.open(tmp_path / "store")) as chronicle:
            chronicle.follow(IDENTIFIER)
        done = warm_program().run("resolve", "--store", "store", *(f"./sub-1/{name}" for name in names), cwd=tmp_path)
        told = [(line[:10].strip(), line[10:]) for line in done.stdout.splitlines()]
        assert all(command.isprintable() for _, command in told)
        (clone,) = {command for label, command in told if label == "clone"}
        gets = [words_of(command) for label, command in told if label == "get"]
        assert [words[:-1] for words in gets] == [["datalad", "-C", IDENTIFIER, "get"]] * len(names)
        subprocess.run(["bash", "-ec", clone], cwd=tmp_path, check=True, capture_output=True)
        subprocess.run([*gets[0], *(words[-1] for words in gets[1:])], cwd=tmp_path, check=True, capture_output=True)
        assert {file.name: file.read_text() for file in (tmp_path / IDENTIFIER / "sub-1").iterdir()} == {
            name: name for name in names
        }


def words_of(command: str) -> list[str]:
    """What bash gives to the program."""
    script = f"datalad() {{ printf '%s\\0' datalad \"$@\"; }}; {command}"
    return subprocess.run(["bash", "-ec", script], check=True, capture_output=True, text=True).stdout.split("\0")[:-1]


def test_without_a_store_it_is_10(run: Run) -> None:
    assert run("--store", "nowhere", IDENTIFIER).returncode == 10


def test_commands_name_the_address_in_the_settings(run: Run) -> None:
    (record,) = records(run("--json", IDENTIFIER, DANDI_MIRROR_PUBLISH__URL="https://mirror.example.org/dandi/"))
    assert record["clone"] == f"datalad clone 'ria+https://mirror.example.org/dandi#~{IDENTIFIER}'"


def test_a_catalogue_that_does_not_tell_of_all_says_so(run: Run, scene: Scene) -> None:
    catalogue = scene.store.root / "state" / "catalogue.sqlite"
    aside = catalogue.with_name("aside")
    catalogue.rename(aside)
    try:
        done = run(IDENTIFIER)
    finally:
        aside.rename(catalogue)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == (
        "The catalogue does not tell of all that is mirrored; the next `dandi-mirror sync` completes it."
    )
    assert f"the catalogue does not have Dandiset {IDENTIFIER}" in done.stderr
    assert run(IDENTIFIER).returncode == 0


def test_names_from_the_archive_cannot_play_tricks_on_a_terminal(tmp_path: Path) -> None:
    with DemoArchive(start=START, seed=1) as archive:
        connection = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        archive.create_dandiset("\x1b[31mRed", identifier=IDENTIFIER)
        sync(Settings.model_validate({"archive": connection, "store": tmp_path / "store"})).check()
    with Chronicle(Store.open(tmp_path / "store")) as chronicle:
        chronicle.follow(IDENTIFIER)
    done = warm_program().run("resolve", "--store", "store", IDENTIFIER, cwd=tmp_path)
    assert done.stdout.splitlines()[0] == f"Dandiset  {IDENTIFIER}  \\x1b[31mRed"
