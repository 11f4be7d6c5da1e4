"""What commits and tags say."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.dataset.assets import ANNEXED, PENDING, TEXT, ZARR, Held
from mirror.dataset.commits import (
    Changes,
    CommitFacts,
    changes_between,
    doi_tag,
    tag_message,
    trailers,
    version_tag,
)
from mirror.errors import RecordRefused


def test_a_release_says_what_changed_and_what_it_is() -> None:
    facts = CommitFacts(
        "000003",
        "0.230629.1955",
        Changes(3, 12, 1),
        101,
        2_559_248_010_229,
        "1",
        doi="10.48324/dandi.000003/0.230629.1955",
    )
    assert facts.message() == (
        "0.230629.1955: 3 added, 12 modified, 1 removed\n"
        "\n"
        "Dandiset: 000003\n"
        "Version: 0.230629.1955\n"
        "DOI: 10.48324/dandi.000003/0.230629.1955\n"
        "Assets: 101\n"
        "Bytes: 2559248010229\n"
        "Layout: 1\n"
    )


def test_a_draft_says_when_it_was_modified() -> None:
    facts = CommitFacts("000003", "draft", Changes(0, 0, 0), 0, 0, "1 x=y: z", modified="2026-11-20T15:34:17.1Z")
    assert facts.message() == (
        "draft: no asset changed\n\nDandiset: 000003\nVersion: draft\nArchive-Modified: 2026-11-20T15:34:17.1Z\n"
        "Assets: 0\nBytes: 0\nLayout: 1 x=y: z\n"
    )


def test_git_understands_the_trailers_and_so_do_we() -> None:
    facts = CommitFacts("000003", "draft", Changes(1, 0, 0), 5, 6, "1 a=b", modified="2026-11-20T15:34:17Z")
    told = subprocess.run(
        ["git", "interpret-trailers", "--parse"], input=facts.message(), capture_output=True, text=True, check=True
    )
    assert dict(line.split(": ", 1) for line in told.stdout.splitlines()) == trailers(facts.message())
    assert trailers(facts.message())["Assets"] == "5"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (Changes(0, 0, 0), "no asset changed"),
        (Changes(1, 0, 0), "1 added"),
        (Changes(10, 0, 20), "10 added, 20 removed"),
        (Changes(0, 100, 0), "100 modified"),
    ],
)
def test_changes_in_words(changes: Changes, text: str) -> None:
    assert str(changes) == text
    assert changes.any is (text != "no asset changed")


ONE, OTHER = "d426ff9a-bab3-446d-8104-e373ae188bd3", "838bab7b-9ab4-4d66-97b3-898a367c9c7e"


@pytest.mark.parametrize(
    ("before", "after", "modified"),
    [
        (Held(ONE, "t1", ANNEXED, "b"), Held(ONE, "t1", ANNEXED, "b"), 0),
        (Held(ONE, "t1", ANNEXED, "b"), Held(OTHER, "t2", ANNEXED, "b"), 1),
        # publishing, and times that flutter, change no asset
        (Held(ONE, "t1", ANNEXED, "b"), Held(ONE, None, ANNEXED, "b"), 0),
        (Held(ONE, "t1", ANNEXED, "b"), Held(ONE, "t2", ANNEXED, "b"), 0),
        # hashed at last
        (Held(ONE, "t1", PENDING, "b"), Held(ONE, "t1", TEXT, "b"), 1),
        # a Zarr stays the same asset while its content changes
        (Held(ONE, "t1", ZARR, "z"), Held(ONE, "t2", ZARR, "z"), 1),
    ],
)
def test_what_counts_as_a_modified_asset(before: Held, after: Held, modified: int) -> None:
    assert changes_between({"a": before}, {"a": after}) == Changes(0, modified, 0)


ids = st.sampled_from([ONE, OTHER])
states = st.dictionaries(st.sampled_from("abcdef"), st.builds(Held, ids, st.none(), st.just(ANNEXED), st.just("b")))


@given(states, states)
def test_counts_are_those_of_set_arithmetic(before: dict[str, Held], after: dict[str, Held]) -> None:
    both = before.keys() & after.keys()
    assert changes_between(before, after) == Changes(
        len(after.keys() - before.keys()),
        sum(before[path].asset_id != after[path].asset_id for path in both),
        len(before.keys() - after.keys()),
    )


@pytest.mark.parametrize("version", ["0.230629.1955", "0.1", "1_2-rc"])
def test_a_versions_name_is_its_tag(version: str) -> None:
    assert version_tag(version) == version
    check_ref(f"refs/tags/{version}")


@pytest.mark.parametrize("version", ["", "a/b", "-x", ".x", "x..y", "x.lock", "x.", "a b", "a\n", "ä", "a~1", "draft^"])
def test_a_name_that_could_mean_something_else_to_git_is_refused(version: str) -> None:
    with pytest.raises(RecordRefused, match="no name for a tag"):
        version_tag(version)


@pytest.mark.parametrize("doi", ["10.48324/dandi.000003/0.230629.1955", "10.80507/dandi.000027/0.1", "10.1/a/b_c-d"])
def test_a_doi_is_a_tag_too(doi: str) -> None:
    assert doi_tag(doi) == f"doi/{doi}"
    check_ref(f"refs/tags/doi/{doi}")


@pytest.mark.parametrize(
    "doi", ["", "10.1", "11.1/a", "10.1/a..b", "10.1/a.lock/b", "10.1/(a)", "10.1//a", "10.1/a/", "10.1/.a"]
)
def test_a_doi_that_git_cannot_hold_gets_none(doi: str) -> None:
    assert doi_tag(doi) is None


@given(st.text(st.sampled_from("a0./-_~^:@{\\ *?[lock\n\0é"), max_size=12))
def test_every_name_we_accept_is_one_for_git(name: str) -> None:
    try:
        tag = version_tag(name)
    except RecordRefused:
        tag = None
    for ref in (tag, doi_tag(f"10.{name}"), doi_tag(f"10.1/{name}")):
        if ref is not None:
            check_ref(f"refs/tags/{ref}")


def check_ref(ref: str) -> None:
    subprocess.run(["git", "check-ref-format", ref], check=True)


DOCUMENT: dict[str, Any] = {
    "name": "Sharp-wave\n  ripples",
    "citation": "Doe, Jane (2026) Sharp-wave ripples",
    "doi": "10.80507/demo-dandi.000001/0.261120.1534",
    "license": ["spdx:CC-BY-4.0", "spdx:CC0-1.0"],
    "releaseNotes": "\nFirst release.\n\nWith a second paragraph.\n",
}


def test_the_tag_cites() -> None:
    assert tag_message(DOCUMENT) == (
        "Sharp-wave ripples\n\n"
        "Doe, Jane (2026) Sharp-wave ripples\n\n"
        "DOI: https://doi.org/10.80507/demo-dandi.000001/0.261120.1534\n"
        "License: spdx:CC-BY-4.0, spdx:CC0-1.0\n\n"
        "First release.\n\nWith a second paragraph.\n"
    )


@pytest.mark.parametrize("missing", ["doi", "license", "releaseNotes", "name", "citation"])
def test_what_a_version_lacks_leaves_no_hole(missing: str) -> None:
    message = tag_message({key: value for key, value in DOCUMENT.items() if key != missing})
    assert "\n\n\n" not in message
    assert "None" not in message
    assert message.endswith("\n")


def test_no_zero_byte_gets_into_a_tag() -> None:
    assert "\0" not in tag_message({**DOCUMENT, "releaseNotes": "a\0b", "name": "c\0d"})
