"""Where a key is to be looked at, by what the clone holds."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from mirror.annex.hashdirs import link_target
from mirror.annex_remotes.named_files import NamedFile, named_file
from mirror.annex_remotes.pages import Pages
from mirror.archive.addresses import AssetAddress, ObjectAddress

from .conftest import run

API = "https://api.dandiarchive.org/api"
ASSET = AssetAddress(API, "9fc4d41e-898a-471a-afb4-3d06055cabb9")
OBJECT = ObjectAddress("https://dandiarchive.s3.amazonaws.com/blobs/x")
DOWNLOAD = f"{API}/assets/{ASSET.asset_id}/download/"
RECORD = '{\n  "asset_count": 1,\n  "identifier": "000003",\n  "version": "0.230629.1955"\n}\n'


def key_of(text: str, ending: str = ".nwb") -> str:
    return f"SHA256E-s{len(text)}--{hashlib.sha256(text.encode()).hexdigest()}{ending}"


class Clone:
    """A repository with what a clone of a mirror has in its tree."""

    def __init__(self, path: Path, *, object_format: str = "sha1") -> None:
        self.path = path
        run("git", "init", "-q", f"--object-format={object_format}", path)
        self.write(".dandi/version.json", RECORD)

    def write(self, path: str, text: str) -> None:
        (self.path / path).parent.mkdir(parents=True, exist_ok=True)
        (self.path / path).write_text(text)

    def link(self, path: str, key: str) -> None:
        (self.path / path).parent.mkdir(parents=True, exist_ok=True)
        (self.path / path).symlink_to(link_target(path.encode(), key).decode())

    def pages(self) -> Pages:
        run("git", "add", "-A", cwd=self.path)
        run("git", "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qm", "x", cwd=self.path)
        return Pages(self.path / ".git")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def test_the_page_of_the_file_and_neurosift_for_nwb(clone: Clone) -> None:
    key = key_of("a")
    clone.link("sub-1/ses 1/a&b.nwb", key)
    assert clone.pages().of_key(key, [OBJECT, ASSET]) == (
        "https://dandiarchive.org/dandiset/000003/0.230629.1955/files?location=sub-1/ses%201/a%26b.nwb "
        f"(Neurosift: https://neurosift.app/nwb?url={DOWNLOAD}&dandisetId=000003&dandisetVersion=0.230629.1955)"
    )


def test_what_is_no_nwb_has_a_page_only(clone: Clone) -> None:
    key = key_of("a", ".tif")
    clone.link("a.tif", key)
    found = clone.pages().of_key(key, [ASSET])
    assert found == "https://dandiarchive.org/dandiset/000003/0.230629.1955/files?location=a.tif"


def test_of_a_key_that_head_does_not_have_the_record_at_the_api(clone: Clone) -> None:
    assert clone.pages().of_key(key_of("old", ".tif"), [ASSET]) == f"{API}/assets/{ASSET.asset_id}/"


def test_of_a_key_without_an_asset_there_is_nothing(clone: Clone) -> None:
    assert clone.pages().of_key(key_of("b", ".tif"), [OBJECT]) is None


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_links_at_any_depth_are_found_and_unlocked_files_too(tmp_path: Path, object_format: str) -> None:
    clone = Clone(tmp_path / "deep", object_format=object_format)
    deep, unlocked = "a/b/c/d/e/f/g/h/i/j/k.nwb", "x.nwb"
    clone.link(deep, key_of("deep"))
    clone.write(unlocked, f"/annex/objects/{key_of('unlocked')}\n")
    pages = clone.pages()
    assert pages.path_of(key_of("deep")) == deep
    assert pages.path_of(key_of("unlocked")) == unlocked
    assert pages.path_of(key_of("neither")) is None


def test_another_archive_s_site_is_the_one_that_its_drafts_name(clone: Clone) -> None:
    clone.write("dandiset.yaml", "name: x\nrepository: https://archive.example.org/\nversion: draft\n")
    clone.link("a.tif", key_of("a", ".tif"))
    found = clone.pages().of_key(key_of("a", ".tif"), [AssetAddress("https://api.example.org/api", ASSET.asset_id)])
    assert found == "https://archive.example.org/dandiset/000003/0.230629.1955/files?location=a.tif"


def test_that_is_looked_up_once_whatever_number_of_keys_there_is(clone: Clone) -> None:
    clone.write("dandiset.yaml", "repository: https://archive.example.org\n")
    pages, asset = clone.pages(), AssetAddress("https://api.example.org/api", ASSET.asset_id)
    assert pages.of_key(key_of("a", ".tif"), [asset]) == f"https://api.example.org/api/assets/{ASSET.asset_id}/"
    shutil.rmtree(clone.path)
    assert pages.of_key(key_of("b", ".tif"), [asset]) == f"https://api.example.org/api/assets/{ASSET.asset_id}/"
    assert pages._own_site == "https://archive.example.org"


def test_a_repository_without_commits_tells_of_nothing(tmp_path: Path) -> None:
    run("git", "init", "-q", tmp_path / "empty")
    pages = Pages(tmp_path / "empty/.git")
    assert pages.dandiset is None
    assert pages.of_key(key_of("a", ".tif"), [OBJECT]) is None


def test_a_file_by_its_name_and_the_archive_is_asked_for_nwb_only(tmp_path: Path) -> None:
    run("git", "init", "-q", tmp_path / "own")
    pages = Pages(tmp_path / "own/.git")
    asked: list[NamedFile] = []

    def asset_of(named: NamedFile) -> AssetAddress | None:
        asked.append(named)
        return ASSET

    image, recording = NamedFile("000003", "draft", "a.tif"), NamedFile("000003", "draft", "a.nwb")
    page = "https://dandiarchive.org/dandiset/000003/draft/files?location="
    assert pages.of_name(image, API, asset_of) == f"{page}a.tif"
    assert pages.of_name(recording, API, asset_of) == (
        f"{page}a.nwb (Neurosift: https://neurosift.app/nwb?url={DOWNLOAD}&dandisetId=000003&dandisetVersion=draft)"
    )
    assert asked == [recording]


def test_a_hundred_thousand_files_are_looked_through_in_a_moment(clone: Clone) -> None:
    """The tree is made without a work tree; it is read once, whichever key is asked for."""
    blob = run("git", "hash-object", "-w", "--stdin", cwd=clone.path).strip()
    lines = "".join(f"100644 blob {blob}\tf{number:06}.dat\n" for number in range(100_000))
    made = subprocess.run(
        ["git", "mktree", "--missing"], cwd=clone.path, input=lines, text=True, capture_output=True, check=True
    )
    commit = run(
        "git",
        "-c",
        "user.name=T",
        "-c",
        "user.email=t@e",
        "commit-tree",
        "-m",
        "x",
        made.stdout.strip(),
        cwd=clone.path,
    )
    run("git", "update-ref", "HEAD", commit.strip(), cwd=clone.path)
    pages, started = Pages(clone.path / ".git"), time.monotonic()
    assert pages.path_of(key_of("none")) is None
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("dandi:000003/draft/a.nwb", NamedFile("000003", "draft", "a.nwb")),
        ("dandi:000003/0.230629.1955/sub-1/a%20b.nwb", NamedFile("000003", "0.230629.1955", "sub-1/a b.nwb")),
        ("dandi:000003/0.230629.1955/sub-1/a b.nwb", NamedFile("000003", "0.230629.1955", "sub-1/a b.nwb")),
        ("dandi:3/draft/a.nwb", None),
        ("dandi:000003/a.nwb", None),
        ("dandi:000003/draft/", None),
        ("dandi://dandi/000003/draft/a.nwb", None),
        ("https://dandiarchive.org/dandiset/000003", None),
    ],
)
def test_dandi_urls(url: str, named: NamedFile | None) -> None:
    assert named_file(url) == named


def test_of_what_is_no_dandiset_the_tree_is_not_read(tmp_path: Path) -> None:
    """A Zarr may have a million files, and none of them a page."""
    clone = Clone(tmp_path / "zarr")
    (clone.path / ".dandi/version.json").unlink()
    key = key_of("a", "")
    clone.link("0/0", key)
    pages = clone.pages()
    assert pages.of_key(key, [ASSET]) == f"{API}/assets/{ASSET.asset_id}/"
    assert "_paths" not in vars(pages)
