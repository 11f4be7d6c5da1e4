"""What belongs to the layout: which assets are texts, which are wanted, and the name of it all."""

from __future__ import annotations

import pytest

from mirror.config import Select, Settings, TextInGit, Zarr
from mirror.dataset import layout
from mirror.dataset.commits import Changes, CommitFacts, trailers
from mirror.dataset.layout import Layout, fixed_files, named_like_text
from mirror.sync.dandiset import layout_of

TEXTS = [
    *("a.json", "a.tsv", "a.csv", "a.txt", "a.md", "a.rst", "a.yaml", "a.yml", "a.toml", "a.xml", "a.html"),
    *("a.m", "a.py", "a.r", "a.R", "a.sh", "a.c", "a.h", "a.js", "README.MD", "sub-1/deep/a_b.c.json"),
    *("README", "readme", "CHANGES", "LICENSE", ".bidsignore", ".mailmap", "code/README", "x/Makefile"),
]
NO_TEXTS = ["a.nwb", "a.tif", "a.json.gz", "json", ".json", "README.nwb", "a.md/b", "a.jsonl", "a", "README.", "a.txt~"]


@pytest.mark.parametrize("path", TEXTS)
def test_these_names_are_those_of_texts(path: str) -> None:
    assert named_like_text(path)


@pytest.mark.parametrize("path", NO_TEXTS)
def test_these_names_are_not(path: str) -> None:
    assert not named_like_text(path)


def test_a_text_is_stored_in_git_up_to_the_limit() -> None:
    usual = Layout()
    assert usual.is_text("a.json", 1_048_576)
    assert not usual.is_text("a.json", 1_048_577)
    assert Layout(text_max_bytes=10).is_text("a.json", 10)
    assert not Layout(text_max_bytes=10).is_text("a.json", 11)


def test_the_size_alone_makes_no_text() -> None:
    assert not Layout().is_text("a.nwb", 0)


def test_a_limit_of_nothing_leaves_empty_texts_in_git() -> None:
    assert Layout(text_max_bytes=0).is_text("README", 0)
    assert not Layout(text_max_bytes=0).is_text("README", 1)


def test_an_asset_filter_looks_anywhere_in_the_path() -> None:
    only = Layout(assets=r"sub-1/.*\.nwb$")
    assert only.wants("x/sub-1/a.nwb")
    assert not only.wants("sub-1/a.nwb.gz")
    assert Layout().wants("anything at all")


def test_the_trailer_is_the_number_and_what_differs_from_the_default() -> None:
    assert Layout().trailer == "2"
    assert Layout(text_max_bytes=0).trailer == "2 text_in_git.max_bytes=0"
    assert Layout(text_max_bytes=1_048_576, assets="nwb$").trailer == "2 select.assets=nwb$"
    assert Layout(text_max_bytes=5, assets="a b").trailer == "2 select.assets=a b text_in_git.max_bytes=5"
    assert Layout(assets="a", zarrs=False).trailer == "2 select.assets=a zarr.hold=none"


@pytest.mark.parametrize("pattern", ["a\nVersion: 9", "ü|日", r"\d+\.nwb", "a\u2028b"])
def test_a_filter_of_any_letters_stays_one_trailer(pattern: str) -> None:
    trailer = Layout(assets=pattern).trailer
    assert trailer.isascii()
    message = CommitFacts("000003", "draft", Changes(0, 0, 0), 0, 0, trailer).message()
    assert trailers(message)["Layout"] == trailer
    assert trailers(message)["Version"] == "draft"


def test_every_setting_that_changes_trees_is_in_the_trailer() -> None:
    number = str(layout.NUMBER)
    assert layout_of(Settings()).trailer == number
    assert layout_of(Settings(select=Select(assets="a"))).trailer == f"{number} select.assets=a"
    assert layout_of(Settings(text_in_git=TextInGit(max_bytes=0))).trailer == f"{number} text_in_git.max_bytes=0"
    assert layout_of(Settings(zarr=Zarr(hold="none"))).trailer == f"{number} zarr.hold=none"
    assert layout_of(Settings(zarr=Zarr(hold="manifest", repository_max_entries=1))).trailer == number
    assert layout_of(Settings(jobs=9, annex_metadata=False, select=Select(exclude=("000003",)))).trailer == number


def test_the_fixed_files_are_part_of_the_format() -> None:
    # Whoever changes a byte here raises `layout.NUMBER`.
    assert fixed_files("4bf7b6a5-4f8b-5a3e-9a0f-0e6d6f3a0c55") == {
        b".datalad/.gitattributes": b"config annex.largefiles=nothing\nmetadata/aggregate* annex.largefiles=nothing\n"
        b"metadata/objects/** annex.largefiles=(anything)\n",
        b".datalad/config": b'[datalad "dataset"]\n\tid = 4bf7b6a5-4f8b-5a3e-9a0f-0e6d6f3a0c55\n',
        b".gitattributes": b"* annex.backend=SHA256E\n**/.git* annex.largefiles=nothing\n"
        b"dandiset.yaml annex.largefiles=nothing\n.dandi/** annex.largefiles=nothing\n",
    }
