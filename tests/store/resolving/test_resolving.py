"""Whatever a thing is called, all the places where it is or was are found, and the commands for it are right."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mirror.config import Settings
from mirror.dataset.identity import superdataset_id
from mirror.dataset.references import parse
from mirror.demo import DemoArchive
from mirror.store.chronicle import Chronicle
from mirror.store.resolving import Resolver
from mirror.store.resolving.addresses import Addresses
from mirror.store.resolving.answers import Answer, Kind, Missing
from mirror.store.store import Store
from mirror.sync.engine import sync

START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)
URL = "https://mirror.example.org/dandi"
FIRST, SECOND = "000003", "000004"


@dataclass
class Scene:
    """An archive, its mirror, and the names of what is in it."""

    archive: DemoArchive
    store: Store
    settings: Settings
    versions: list[str] = field(default_factory=list)
    asset_ids: dict[str, str] = field(default_factory=dict)
    zarr_id: str = ""
    past_commit: str = ""

    def follow(self) -> None:
        self.archive.clock.advance(300)
        sync(self.settings, []).check()
        with Chronicle(self.store) as chronicle:
            chronicle.begin()
            chronicle.catch_up()
            for identifier in self.store.dandisets():
                chronicle.follow(identifier)
            chronicle.finish()

    def git(self, identifier: str, *args: str) -> str:
        command = ["git", "-C", str(self.store.alias(identifier)), *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def resolve(self, what: str, url: str | None = None) -> tuple[Answer, ...] | Missing:
        with self.store.catalogue() as catalogue:
            return Resolver(self.store, catalogue, Addresses.of(self.store.public, url)).resolve(parse(what))

    def found(self, what: str, url: str | None = None) -> tuple[Answer, ...]:
        answers = self.resolve(what, url)
        assert not isinstance(answers, Missing), answers
        return answers

    def one(self, what: str, url: str | None = None) -> Answer:
        (answer,) = self.found(what, url)
        return answer

    def missing(self, what: str) -> Missing:
        answers = self.resolve(what)
        assert isinstance(answers, Missing)
        return answers

    def address(self, name: str) -> str:
        return f"datalad clone 'ria+file://{self.store.public}#~{name}'"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two versions and a draft that went on, and a second Dandiset that shares a Zarr and a content with it."""
    with DemoArchive(start=START, seed=1) as archive:
        folder = tmp_path_factory.mktemp("resolving") / "store"
        connection = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        settings = Settings.model_validate({"archive": {**connection, "settle_seconds": 0}, "store": folder, "jobs": 1})
        archive.create_dandiset("Ripples", identifier=FIRST)
        archive.create_dandiset("More ripples", identifier=SECOND)
        sync(settings, []).check()
        scene = Scene(archive, Store.open(folder), settings)
        _fill(scene)
        yield scene


def _fill(scene: Scene) -> None:
    archive, ids = scene.archive, scene.asset_ids
    ids["a"] = archive.add_asset(FIRST, "sub-1/a.nwb", b"a recording")
    ids["old"] = archive.add_asset(FIRST, "sub-1/old name.nwb", b"a renamed recording")
    archive.add_asset(FIRST, "README.md", b"# Ripples\n")
    archive.add_asset(FIRST, "-notes.dat", b"notes")
    archive.add_asset(FIRST, ".datalad/x.bin", b"under a name of our own")
    scene.versions.append(archive.publish(FIRST))
    scene.follow()
    ids["new"] = archive.rename_asset(FIRST, "sub-1/old name.nwb", "sub-1/new-name.nwb")
    archive.clock.advance(300)
    scene.versions.append(archive.publish(FIRST))
    ids["brief"] = archive.add_asset(FIRST, "sub-2/brief.nwb", b"never published")
    scene.zarr_id = archive.add_zarr(FIRST, "sub-2/c.zarr", {".zgroup": b"{}", "0/0": b"chunk"})
    scene.follow()
    scene.past_commit = scene.git(FIRST, "rev-parse", "draft")
    archive.remove_asset(FIRST, "sub-2/brief.nwb")
    archive.add_asset(SECOND, "elsewhere/a.nwb", b"a recording")
    archive.link_zarr(SECOND, "d.zarr", scene.zarr_id)
    scene.follow()


# --- Dandisets and versions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["000003", "DEMO-DANDI:000003", "https://demo-dandi.example.org/dandiset/000003/draft"]
)
def test_a_dandiset_is_its_draft_with_all_versions_that_there_are(scene: Scene, form: str) -> None:
    answer = scene.one(form)
    assert (answer.kind, answer.dataset, answer.title) == (Kind.DANDISET, FIRST, "Ripples")
    assert [spot.version for spot in answer.versions] == scene.versions
    assert [spot.commit for spot in answer.versions] == [
        scene.git(FIRST, "rev-parse", f"{v}^{{}}") for v in scene.versions
    ]
    assert answer.draft is not None
    assert answer.draft.commit == scene.git(FIRST, "rev-parse", "draft")
    assert answer.clone == scene.address(FIRST)


def test_a_version_is_found_by_name_address_doi_and_commit(scene: Scene) -> None:
    version = scene.versions[0]
    doi = f"10.80507/demo-dandi.{FIRST}/{version}"
    commit = scene.git(FIRST, "rev-parse", f"{version}^{{}}")
    answer = scene.one(f"{FIRST}@{version}")
    assert (answer.kind, answer.dataset, answer.doi) == (Kind.VERSION, FIRST, doi)
    assert [(spot.version, spot.commit) for spot in answer.versions] == [(version, commit)]
    assert answer.draft is None
    assert answer.clone == scene.address(f"{FIRST}@{version}")
    forms = [
        f"DEMO-DANDI:{FIRST}/{version}",
        f"dandi://demo-dandi/{FIRST}@{version}",
        *(doi, f"doi:{doi.upper()}", f"https://doi.org/{doi}", f"http://dx.doi.org/{doi}"),
        f"https://demo-dandi.example.org/dandiset/{FIRST}/{version}/files",
        f"{scene.archive.api_url}/dandisets/{FIRST}/versions/{version}/",
        commit,
        scene.git(FIRST, "rev-parse", version),  # the annotated tag's own name
    ]
    assert {form for form in forms if scene.found(form) != (answer,)} == set()


def test_the_doi_of_a_dandiset_is_the_dandiset(scene: Scene) -> None:
    assert scene.found(f"https://doi.org/10.80507/demo-dandi.{FIRST}") == scene.found(FIRST)
    assert scene.found(f"10.80507/demo-dandi.{SECOND}") == scene.found(SECOND)  # of which nothing is published


def test_of_a_version_that_is_not_here_those_that_are_are_named(scene: Scene) -> None:
    for form in (f"{FIRST}@0.1.2", f"10.80507/demo-dandi.{FIRST}/0.1.2"):
        missing = scene.missing(form)
        assert missing.reason == f"version 0.1.2 of Dandiset {FIRST} is not mirrored here"
        assert missing.hint == f"mirrored are {scene.versions[0]}, {scene.versions[1]}"


def test_a_dandiset_that_is_not_here_is_said_to_be_had_by_a_sync(scene: Scene) -> None:
    missing = scene.missing("000027")
    assert missing.reason == "Dandiset 000027 is not mirrored here"
    assert missing.hint == "`dandi-mirror sync 000027` mirrors what the archive has"


@pytest.mark.parametrize(
    "form",
    [
        *("DANDI:000003", "DANDI-SANDBOX:000003", "dandi://dandi/000003/sub-1/a.nwb"),
        *("https://dandiarchive.org/dandiset/000003", "https://api.sandbox.dandiarchive.org/api/dandisets/000003/"),
    ],
)
def test_what_is_of_another_archive_is_not_taken_for_what_has_its_number_here(scene: Scene, form: str) -> None:
    assert scene.missing(form).reason == "this is a mirror of DEMO-DANDI (https://demo-dandi.example.org)"


@pytest.mark.parametrize("doi", ["10.48324/dandi.000003", "10.48324/dandi.000003/0.1.2", "10.1038/s41586-020-2649-2"])
def test_a_doi_of_another_archive_is_not_found(scene: Scene, doi: str) -> None:
    assert scene.missing(doi) == Missing("no version here has the DOI")


# --- assets --------------------------------------------------------------------------------------------------------


def test_an_asset_is_found_by_all_that_it_goes_by(scene: Scene) -> None:
    answer = scene.one(scene.asset_ids["a"])
    assert (answer.kind, answer.dataset, answer.path, answer.title) == (Kind.ASSET, FIRST, "sub-1/a.nwb", "Ripples")
    assert [spot.version for spot in answer.versions] == scene.versions
    assert answer.draft is not None
    assert answer.past is None
    assert answer.clone == scene.address(FIRST)
    assert answer.get == f"datalad -C {FIRST} get sub-1/a.nwb"
    assert answer.asset is not None
    forms = [
        f"{scene.archive.api_url}/assets/{answer.asset.asset_id}/download/",
        *("sub-1/a.nwb", f"{FIRST}/sub-1/a.nwb", f"{FIRST}@draft/sub-1/a.nwb"),
        f"https://demo-dandi.example.org/dandiset/{FIRST}/draft/files?location=sub-1%2Fa.nwb",
    ]
    assert {form for form in forms if scene.found(form) != (answer,)} == set()


def test_a_content_is_found_in_every_dandiset_that_has_it(scene: Scene) -> None:
    (asset,) = scene.found(scene.asset_ids["a"])
    assert asset.asset is not None
    sha256, blob = asset.asset.sha256, str(asset.asset.content)
    key = scene.git(FIRST, "cat-file", "blob", "draft:sub-1/a.nwb").rpartition("/")[2]
    address = f"{scene.archive.s3_endpoint}/demo-archive/blobs/{blob[:3]}/{blob[3:6]}/{blob}?versionId=1"
    plain_key = key.replace("SHA256E", "SHA256").removesuffix(".nwb")
    for form in (blob, address, str(sha256), f"sha256:{sha256}", key, plain_key):
        places = [(answer.dataset, answer.path) for answer in scene.found(form)]
        assert places == [(FIRST, "sub-1/a.nwb"), (SECOND, "elsewhere/a.nwb")]
    assert scene.missing(key.replace("-s11-", "-s12-")) == Missing("no file here has, or had, the content")


def test_a_path_that_was_renamed_is_found_in_the_versions_that_have_it(scene: Scene) -> None:
    answer = scene.one(f"{FIRST}/sub-1/old name.nwb")
    assert [spot.version for spot in answer.versions] == scene.versions[:1]
    assert answer.draft is None
    assert answer.clone == scene.address(f"{FIRST}@{scene.versions[0]}")
    assert answer.get == f"datalad -C {FIRST} get 'sub-1/old name.nwb'"
    assert [spot.version for spot in scene.one("sub-1/new-name.nwb").versions] == scene.versions[1:]


def test_a_path_in_a_version_is_got_from_that_version(scene: Scene) -> None:
    for version in scene.versions:
        answer = scene.one(f"{FIRST}@{version}/sub-1/a.nwb")
        assert answer.clone == scene.address(f"{FIRST}@{version}")
        assert answer.asset is not None
        assert answer.asset.asset_id == scene.asset_ids["a"]


def test_of_a_path_that_a_version_has_not_those_that_have_are_named(scene: Scene) -> None:
    first, second = scene.versions
    missing = scene.missing(f"{FIRST}@{second}/sub-1/old name.nwb")
    assert missing.reason == f"nothing is at 'sub-1/old name.nwb' in Dandiset {FIRST}, version {second}"
    assert missing.hint == f"it is in {first}"
    assert scene.missing(f"{FIRST}@draft/sub-2/brief.nwb").hint == "it was in an earlier draft"
    assert scene.missing(f"{FIRST}/sub-9/x.nwb") == Missing(f"nothing is at 'sub-9/x.nwb' in Dandiset {FIRST}")
    assert "000027 is not mirrored here" in scene.missing("000027/sub-9/x.nwb").reason


def test_an_asset_that_no_version_has_any_more_is_found_in_the_draft_that_last_had_it(scene: Scene) -> None:
    answer = scene.one(scene.asset_ids["brief"])
    assert (answer.versions, answer.draft) == ((), None)
    assert answer.past is not None
    assert answer.past.commit == scene.past_commit
    said = scene.git(FIRST, "log", "-1", "--format=%(trailers:key=Archive-Modified,valueonly)", scene.past_commit)
    assert answer.past.when == said
    assert answer.checkout == f"git -C {FIRST} checkout {scene.past_commit}"
    assert answer.note == "no version has it any more, so its bytes may be gone from the archive"
    assert scene.one("sub-2/brief.nwb") == answer


def test_a_folder_is_found_in_a_version_that_has_it(scene: Scene) -> None:
    answer = scene.one(f"{FIRST}/sub-2")
    assert (answer.kind, answer.path, answer.versions) == (Kind.FOLDER, "sub-2", ())
    assert answer.get == f"datalad -C {FIRST} get sub-2"
    version = scene.versions[0]
    assert scene.one(f"{FIRST}@{version}/sub-1").clone == scene.address(f"{FIRST}@{version}")
    assert isinstance(scene.resolve(f"{FIRST}@{version}/sub-2"), Missing)


def test_names_that_are_written_otherwise_in_the_tree_are_so_in_the_commands(scene: Scene) -> None:
    assert scene.one(f"{FIRST}/.datalad/x.bin").get == f"datalad -C {FIRST} get %2Edatalad/x.bin"
    assert scene.one(f"{FIRST}/-notes.dat").get == f"datalad -C {FIRST} get ./-notes.dat"


def test_a_path_that_begins_like_a_dandiset_is_found_too(scene: Scene) -> None:
    scene.archive.add_asset(SECOND, "000003/odd.nwb", b"in a folder with a number")
    scene.follow()
    answer = scene.one("000003/odd.nwb")
    assert (answer.dataset, answer.path) == (SECOND, "000003/odd.nwb")


# --- Zarrs ---------------------------------------------------------------------------------------------------------


def test_a_zarr_is_found_in_every_dandiset_that_has_it_and_alone(scene: Scene) -> None:
    forms = [
        scene.zarr_id,
        f"s3://demo-archive/zarr/{scene.zarr_id}/",
        f"{scene.archive.api_url}/zarr/{scene.zarr_id}/",
    ]
    for form in forms:
        first, second = scene.found(form)
        assert [(one.kind, one.dataset, one.path) for one in (first, second)] == [
            (Kind.ZARR, FIRST, "sub-2/c.zarr"),
            (Kind.ZARR, SECOND, "d.zarr"),
        ]
        assert first.get == f"datalad -C {FIRST} get -n sub-2/c.zarr"
        assert first.zarr_clone == second.zarr_clone == scene.address(scene.zarr_id)


def test_a_file_in_a_zarr_is_got_from_the_zarr(scene: Scene) -> None:
    for form in (f"{FIRST}/sub-2/c.zarr/0/0", f"s3://demo-archive/zarr/{scene.zarr_id}/0/0", "sub-2/c.zarr/0/0"):
        answer = scene.found(form)[0]
        assert (answer.kind, answer.path, answer.note) == (Kind.ZARR, "sub-2/c.zarr", "")
        assert answer.get == f"datalad -C {FIRST} get sub-2/c.zarr/0/0"
    assert scene.one(f"{FIRST}/sub-2/c.zarr/1/1").note == "the Zarr has nothing at '1/1' now"


def test_a_file_of_a_zarr_by_its_key_is_not_found_and_it_is_said_why(scene: Scene) -> None:
    missing = scene.missing("MD5E-s2--99914b932bd37a50b983c5e7c90ae93b")
    assert missing.reason == "files in Zarrs have such keys, and no index of these is kept"
    assert "git annex whereused --key=MD5E-s2--99914b932bd37a50b983c5e7c90ae93b" in (missing.hint or "")
    assert scene.missing("WORM-s2-m1--x").reason == "no dataset of a mirror has keys of WORM"


def test_of_a_zarr_held_as_a_manifest_it_is_said_what_makes_it_a_dataset(tmp_path: Path) -> None:
    with DemoArchive(start=START, seed=1) as archive:
        connection = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        given: dict[str, Any] = {"archive": connection, "store": tmp_path / "store", "zarr": {"hold": "manifest"}}
        archive.create_dandiset(identifier=FIRST)
        zarr_id = archive.add_zarr(FIRST, "c.zarr", {".zgroup": b"{}"})
        sync(Settings.model_validate(given), []).check()
        scene = Scene(archive, Store.open(tmp_path / "store"), Settings.model_validate(given))
        scene.follow()
        answer = scene.one(zarr_id)
        assert (answer.get, answer.zarr_clone) == (None, None)
        assert answer.note == f"held as a manifest: `dandi-mirror materialize {zarr_id}` writes its dataset"


# --- ids and commits of datasets -----------------------------------------------------------------------------------


def test_a_dandiset_is_found_by_the_id_of_its_dataset(scene: Scene) -> None:
    assert scene.found(scene.store.dataset_id(FIRST)) == scene.found(FIRST)


def test_a_state_of_a_draft_is_found_by_its_commit(scene: Scene) -> None:
    answer = scene.one(scene.past_commit)
    assert (answer.kind, answer.dataset) == (Kind.COMMIT, FIRST)
    assert answer.past is not None
    assert (answer.past.version, answer.past.commit) == ("draft", scene.past_commit)
    assert answer.checkout == f"git -C {FIRST} checkout {scene.past_commit}"
    assert scene.found(scene.git(FIRST, "rev-parse", "draft")) == scene.found(FIRST)


def test_a_commit_of_a_zarr_is_found(scene: Scene) -> None:
    commit = scene.git(scene.zarr_id, "rev-parse", "draft")
    answer = scene.one(commit)
    assert (answer.kind, answer.dataset) == (Kind.ZARR, scene.zarr_id)
    assert answer.checkout == f"git -C {scene.zarr_id} checkout {commit}"


def test_a_superdataset_is_found_by_name_id_and_commit(scene: Scene) -> None:
    dataset_id = superdataset_id(scene.store.facts.instance_url, "mouse-ephys")
    scene.store.create_dataset(dataset_id)
    scene.store.publish_as("mouse-ephys", dataset_id)
    tree = scene.git("mouse-ephys", "hash-object", "-w", "-t", "tree", os.devnull)
    commits = [scene.git("mouse-ephys", "commit-tree", "-m", text, tree) for text in ("earlier", "now")]
    scene.git("mouse-ephys", "update-ref", "refs/heads/draft", commits[1])
    answer = scene.one("mouse-ephys")
    assert (answer.kind, answer.dataset, answer.clone) == (
        Kind.SUPERDATASET,
        "mouse-ephys",
        scene.address("mouse-ephys"),
    )
    assert answer.draft is not None
    assert answer.draft.commit == commits[1]
    assert scene.found(dataset_id) == scene.found(f"ria+{URL}#~mouse-ephys") == (answer,)
    assert scene.one(commits[0]).checkout == f"git -C mouse-ephys checkout {commits[0]}"


def test_what_nobody_has_is_not_found(scene: Scene) -> None:
    tree = scene.git(FIRST, "rev-parse", "draft^{tree}")
    for commit in ("0" * 40, "f" * 40, tree):
        assert scene.missing(commit) == Missing("no dataset here has the commit")
    assert "has the id" in scene.missing("00000000-0000-4000-8000-000000000000").reason
    assert "has, or had, the content" in scene.missing("0" * 64).reason
    missing = scene.missing("sub-1")
    assert "an asset at the path" in missing.reason
    assert missing.hint == "a folder is found only with its Dandiset before it, as in 000003/sub-1"


def test_a_name_that_no_file_can_have_is_not_found(scene: Scene) -> None:
    for name in ("n" * 256, "é" * 200, "n/" * 2000 + "n"):
        assert "an asset at the path" in scene.missing(name).reason


def test_what_is_asked_for_as_a_path_is_no_dandiset_and_no_zarr(scene: Scene) -> None:
    for name in (FIRST, scene.zarr_id):
        assert "an asset at the path" in scene.missing(f"./{name}").reason


# --- commands ------------------------------------------------------------------------------------------------------


def test_commands_name_the_place_where_the_store_is_published(scene: Scene) -> None:
    answer = scene.one(f"{FIRST}@{scene.versions[0]}", url=f"{URL}/")
    assert answer.clone == f"datalad clone 'ria+{URL}#~{FIRST}@{scene.versions[0]}'"


@pytest.mark.parametrize(
    ("what", "gives"),
    [
        ("{first}@{version}/sub-1/old name.nwb", "sub-1/old name.nwb"),
        ("{brief}", "sub-2/brief.nwb"),
        ("{first}/-notes.dat", "-notes.dat"),
        ("{first}/.datalad/x.bin", "%2Edatalad/x.bin"),
        ("{first}/sub-2/c.zarr/0/0", "sub-2/c.zarr/0/0"),
        ("{first}/sub-1", "sub-1/a.nwb"),
    ],
)
def test_the_commands_do_what_they_say(scene: Scene, tmp_path: Path, what: str, gives: str) -> None:
    names = {"first": FIRST, "version": scene.versions[0], "brief": scene.asset_ids["brief"]}
    answer = scene.found(what.format(**names))[0]
    for command in filter(None, (answer.clone, answer.checkout, answer.get)):
        _run(command, tmp_path)
    assert (tmp_path / FIRST / gives).read_bytes()


def test_a_zarr_is_cloned_alone_by_its_command(scene: Scene, tmp_path: Path) -> None:
    command = scene.found(scene.zarr_id)[0].zarr_clone
    assert command is not None
    _run(command, tmp_path)
    assert (tmp_path / scene.zarr_id / ".zgroup").is_symlink()


def _run(command: str, folder: Path) -> None:
    done = subprocess.run(shlex.split(command), cwd=folder, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
