"""A version's documents: what a release keeps of them for ever, and how it is cited."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import yaml

from mirror.archive.records import VersionInfo
from mirror.dataset.documents import citation, dandiset_yaml, release_document, version_json, without_times
from mirror.errors import RecordRefused

INSTANCE_URL = "https://dandiarchive.org"
PUBLISHED: dict[str, Any] = {
    "@context": "https://example.org/context.json",
    "id": "DANDI:000003/0.230629.1955",
    "identifier": "DANDI:000003",
    "version": "0.230629.1955",
    "doi": "10.48324/dandi.000003/0.230629.1955",
    "name": "Physiological Properties.",
    "url": "https://dandiarchive.org/dandiset/000003/0.230629.1955",
    "repository": "https://dandiarchive.org",
    "access": [{"status": "dandi:OpenAccess"}],
    "manifestLocation": ["https://example.org/assets.yaml"],
    "citation": "whatever the server said when it last saved it (2031)",
    "datePublished": "2023-06-29T19:55:31.683591+00:00",
    "contributor": [
        {"name": "Senzai, Yuta", "includeInCitation": True},
        {"name": "A Foundation", "includeInCitation": False},
        {"name": "Buzsáki, György", "includeInCitation": True},
        {"includeInCitation": True},
        "not a person",
    ],
}
INFO = VersionInfo(
    version="0.230629.1955",
    name="Physiological Properties.",
    asset_count=101,
    size=2_559_248_010_229,
    status="Published",
    created="2023-06-29T19:55:31.000000Z",
    modified="2023-06-29T19:55:35.000000Z",
    metadata=msgspec.Raw(b"{}"),
)


def test_a_release_holds_nothing_that_the_server_rewrites() -> None:
    kept = release_document(PUBLISHED, INSTANCE_URL)
    assert set(PUBLISHED) - set(kept) == {"@context", "url", "repository", "access", "manifestLocation"}
    assert kept["citation"] != PUBLISHED["citation"]
    assert {key: kept[key] for key in kept if key != "citation"} == {
        key: PUBLISHED[key] for key in kept if key != "citation"
    }


def test_saved_again_in_another_year_it_is_the_same() -> None:
    again = PUBLISHED | {
        "citation": "said otherwise",
        "access": [{"status": "dandi:OpenAccess", "contactPoint": {}}],
        "url": "https://elsewhere.example.org",
    }
    assert release_document(again, INSTANCE_URL) == release_document(PUBLISHED, INSTANCE_URL)


def test_it_is_cited_in_the_archives_form_with_the_year_of_publication() -> None:
    assert citation(PUBLISHED, INSTANCE_URL) == (
        "Senzai, Yuta; Buzsáki, György (2023) Physiological Properties (Version 0.230629.1955) [Data set]."
        " DANDI Archive. https://doi.org/10.48324/dandi.000003/0.230629.1955"
    )


def test_without_a_doi_it_is_cited_by_its_page() -> None:
    cited = citation({**PUBLISHED, "doi": None}, INSTANCE_URL)
    assert cited.endswith("DANDI Archive. https://dandiarchive.org/dandiset/000003/0.230629.1955")


def test_without_authors_the_name_comes_first() -> None:
    cited = citation({**PUBLISHED, "contributor": None}, INSTANCE_URL)
    assert cited.startswith("Physiological Properties (2023). (Version 0.230629.1955)")


@pytest.mark.parametrize("date", [None, "", "MMXXIII", 2023])
def test_a_release_must_say_when_it_was_published(date: object) -> None:
    with pytest.raises(RecordRefused, match=r"version '0\.230629\.1955' does not say when it was published"):
        release_document({**PUBLISHED, "datePublished": date}, INSTANCE_URL)


def test_a_draft_is_written_as_answered() -> None:
    assert yaml.safe_load(dandiset_yaml(PUBLISHED)) == PUBLISHED
    assert dandiset_yaml({"b": "😀", "a": [1.5, "é", "x" * 300]}) == f"a:\n- 1.5\n- é\n- {'x' * 300}\nb: 😀\n".encode()


def test_a_releases_record_has_no_times_that_move() -> None:
    assert version_json(INFO, "000003", PUBLISHED) == (
        b'{\n  "asset_count": 101,\n  "created": "2023-06-29T19:55:31.000000Z",\n'
        b'  "doi": "10.48324/dandi.000003/0.230629.1955",\n  "identifier": "000003",\n'
        b'  "size": 2559248010229,\n  "version": "0.230629.1955"\n}\n'
    )


def test_a_drafts_record_has_its_times_and_can_be_compared_without_them() -> None:
    body = version_json(INFO, "000003", {}, draft_times=("2026-11-20T15:34:17Z", "Valid"))
    record = json.loads(body)
    assert (record["modified"], record["status"]) == ("2026-11-20T15:34:17Z", "Valid")
    assert "doi" not in record
    later = version_json(INFO, "000003", {}, draft_times=("2026-11-21T00:00:00Z", "Pending"))
    assert body != later
    assert (
        without_times(body)
        == without_times(later)
        == {key: value for key, value in record.items() if key not in ("modified", "status")}
    )
