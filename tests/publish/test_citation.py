"""`CITATION.cff` of superdatasets, held against what the Citation File Format 1.2.0 demands."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mirror.dataset.facts import Facts
from mirror.dataset.superdataset import Subject, citation_cff

TEXT = {"cff-version", "title", "message", "type", "url", "version", "date-released"}
DATE = re.compile(r"[0-9]{4}-(0[1-9]|1[012])-(0[1-9]|[12][0-9]|3[01])")
DOI = re.compile(r"10\.\d{4,9}(\.\d+)?/[A-Za-z0-9:/_;\-.()\[\]\\]+")
URL = re.compile(r"(https|http|ftp|sftp)://.+")
ANYTHING = re.compile(r".+", re.DOTALL)
IDENTIFIERS = {"doi": DOI, "url": URL, "other": ANYTHING}


def read(cff: bytes) -> dict[str, Any]:
    """What a citation file says; everything in it is of the format and of the right type."""
    document = yaml.safe_load(cff)
    assert document.keys() <= TEXT | {"authors", "identifiers"}
    assert document.keys() >= {"cff-version", "message", "title", "authors"}
    for key in TEXT & document.keys():
        assert isinstance(document[key], str)
        assert document[key]
    assert document["cff-version"] == "1.2.0"
    assert document["type"] == "dataset"
    assert URL.fullmatch(document["url"])
    assert DATE.fullmatch(document.get("date-released", "2026-11-20"))
    assert document["authors"]
    for author in document["authors"]:
        assert author.keys() == {"name", "website"}
        assert author["name"]
        assert URL.fullmatch(author["website"])
    for identifier in document.get("identifiers", ()):
        assert identifier.keys() == {"type", "value", "description"}
        assert IDENTIFIERS[identifier["type"]].fullmatch(identifier["value"])
        assert identifier["description"]
    return dict(document)


def subject(instance: str = "DANDI", name: str = "dandisets", where: str | None = None) -> Subject:
    return Subject(name, instance, "https://dandiarchive.org", "3f0f8888-099a-580b-84c5-a7f6f8b40d8d", where)


def version(doi: str | None) -> Facts:
    return Facts("000003", "0.230629.1955", "A name", "2023-06-29T19:55:31.5Z", 3, 1000, doi=doi)


def test_before_anything_is_published_it_has_no_version_and_no_date() -> None:
    document = read(citation_cff(subject(), None))
    assert document["title"] == "The Dandisets of DANDI"
    assert document["authors"] == [{"name": "DANDI Archive", "website": "https://dandiarchive.org"}]
    assert document.keys().isdisjoint({"version", "date-released", "identifiers"})


def test_the_latest_version_is_its_version_and_its_date() -> None:
    """Both are text to YAML, too: not a date, not a number."""
    doi = "10.48324/dandi.000003/0.230629.1955"
    document = read(citation_cff(subject(), version(doi)))
    assert document["version"] == "000003/0.230629.1955"
    assert document["date-released"] == "2023-06-29"
    assert doi in document["identifiers"][0]["value"]


def test_a_version_without_doi_identifies_nothing() -> None:
    document = read(citation_cff(subject(), version(None)))
    assert document["version"] == "000003/0.230629.1955"
    assert "identifiers" not in document


@pytest.mark.parametrize(
    "instance",
    [
        "O'Reilly's \"archive\"",
        "a: b # c",
        "- a list",
        "{braces} [brackets] & anchors * aliases",
        "null",
        "1.0",
        "%YAML 1.1 ---",
        "\\n is no line break",
        "脳 🧠 archive",
        "several\nlines\tof  it",
        "very long " * 1000,
    ],
)
def test_whatever_the_archive_is_called_it_is_one_line_of_text(instance: str) -> None:
    document = read(citation_cff(subject(instance, "mouse-ephys", "name ~ 'a: b'"), version(None)))
    name = " ".join(instance.split())
    assert document["title"] == f"mouse-ephys: Dandisets of {name}"
    assert document["authors"][0]["name"] == " ".join(f"{instance} Archive".split())


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cn", "Cs"]), min_size=1))
def test_any_name_comes_out_of_yaml_as_it_went_in(instance: str) -> None:
    document = read(citation_cff(subject(instance), None))
    assert document["title"] == " ".join(f"The Dandisets of {instance}".split())


def test_of_a_mirror_every_commit_of_every_superdataset_has_a_valid_one(mirror: Any, archive: Any) -> None:
    ours = {"superdatasets": [{"name": "mouse-ephys", "where": "name !~ 'nothing'"}]}
    for number, name in enumerate(('It\'s "quoted": yes', "# 🧠 - {not} YAML", "very long " * 30), 1):
        identifier = archive.create_dandiset(name)
        archive.add_asset(identifier, "README.md", b"# Hello\n")
        if number > 1:
            archive.clock.advance(days=1)
            archive.publish(identifier)
        mirror.run(**ours)
    for superdataset in ("dandisets", "mouse-ephys"):
        drafts = [read(cff) for cff in history(mirror.store.alias(superdataset), "draft")]
        releases = [read(cff) for cff in history(mirror.store.alias(superdataset), "releases")]
        assert [one.get("date-released") for one in drafts] == [None, "2026-11-21", "2026-11-22"]
        assert [one.get("date-released") for one in releases] == ["2026-11-21", "2026-11-22"]


def history(repository: Path, branch: str) -> Iterator[bytes]:
    """The citation file of each commit on a branch's own line, oldest first."""

    def git(*args: str) -> bytes:
        return subprocess.run(["git", "-C", str(repository), *args], check=True, capture_output=True).stdout

    for commit in git("rev-list", "--first-parent", "--reverse", branch).decode().split():
        yield git("show", f"{commit}:CITATION.cff")
