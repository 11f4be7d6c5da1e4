"""Facts: what is told of a version, whatever its documents leave out or get wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.dataset.canonical import yaml_document
from mirror.dataset.facts import Facts, facts_in, facts_of, seen_with

REAL = sorted((Path(__file__).parents[3] / "shared" / "data" / "real").glob("*.json.gz"))

RECORD = {
    "identifier": "000003",
    "version": "0.230629.1955",
    "created": "2023-06-29T19:55:31.000000Z",
    "asset_count": 101,
    "size": 2_559_248_010_229,
    "doi": "10.48324/dandi.000003/0.230629.1955",
}
DOCUMENT: dict[str, Any] = {
    "name": "Physiological\n Properties",
    "description": "Two\n\nparagraphs",
    "citation": "Senzai, Yuta (2023) Physiological Properties",
    "datePublished": "2023-06-29T19:55:30.807473+00:00",
    "releaseNotes": "First",
    "license": ["spdx:CC-BY-4.0"],
    "keywords": ["rat", "hippocampus", "rat"],
    "contributor": [
        {"name": "Senzai, Yuta", "roleName": ["dcite:Author"]},
        {"name": "NIMH", "roleName": ["dcite:Sponsor"]},
        {"name": "A Foundation", "roleName": ["dcite:Author", "dcite:Funder"]},
        {"name": "A Lab", "roleName": ["dcite:FundingAcquisition"]},
    ],
    "assetsSummary": {
        "species": [
            {"name": "House mouse", "identifier": "http://purl.obolibrary.org/obo/NCBITaxon_10090"},
            {"name": "Unheard of"},
        ],
        "approach": [{"name": "electrophysiological approach"}],
        "measurementTechnique": [{"name": "spike sorting technique"}],
        "dataStandard": [{"name": "Neurodata Without Borders (NWB)", "identifier": "RRID:SCR_015242"}],
        "numberOfSubjects": 16,
    },
}


def of(record: dict[str, Any] | None = None, **changes: Any) -> Facts:
    """The facts of the version above, with these changes to its document and its record."""
    return facts_in(DOCUMENT | changes, RECORD | (record or {}))


def test_what_the_documents_say_is_told() -> None:
    assert of() == Facts(
        identifier="000003",
        version="0.230629.1955",
        name="Physiological Properties",
        created="2023-06-29T19:55:31.000000Z",
        assets=101,
        size=2_559_248_010_229,
        published="2023-06-29T19:55:30.807473+00:00",
        doi="10.48324/dandi.000003/0.230629.1955",
        citation="Senzai, Yuta (2023) Physiological Properties",
        description="Two\n\nparagraphs",
        subjects=16,
        license=("spdx:CC-BY-4.0",),
        keywords=("rat", "hippocampus"),
        contributors=("Senzai, Yuta", "NIMH", "A Foundation", "A Lab"),
        funders=("NIMH", "A Foundation"),
        species=("House mouse", "Unheard of"),
        species_ids=("http://purl.obolibrary.org/obo/NCBITaxon_10090",),
        approaches=("electrophysiological approach",),
        techniques=("spike sorting technique",),
        standards=("Neurodata Without Borders (NWB)",),
        release_notes="First",
    )


def test_a_draft_is_not_published_even_if_its_document_tells_when_a_version_was() -> None:
    draft = of({"version": "draft", "modified": "2024-01-01T00:00:00Z"})
    assert (draft.version, draft.modified, draft.published) == ("draft", "2024-01-01T00:00:00Z", None)


def test_a_draft_can_be_seen_with_its_latest_version() -> None:
    draft, latest = of({"version": "draft", "doi": None, "size": 7}), of()
    seen = seen_with(draft, latest)
    assert (seen.version, seen.doi, seen.published) == (latest.version, latest.doi, latest.published)
    assert seen.size == 7
    assert seen_with(draft, None) == draft


def test_embargo_is_told_from_the_access() -> None:
    assert not of().embargoed
    assert not of(access=[{"status": "dandi:OpenAccess"}]).embargoed
    assert of(access=["?", {"status": "dandi:EmbargoedAccess", "embargoedUntil": "2028-11-19"}]).embargoed


def test_a_document_that_says_nothing_is_enough() -> None:
    facts = facts_of(b"", json.dumps({"identifier": "000004", "version": "draft"}).encode())
    assert facts == Facts(identifier="000004", version="draft", name="", created="", assets=0, size=0)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "x"]), inner, max_size=2),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from([*DOCUMENT, "access"]), _ANYTHING), st.dictionaries(st.just("species"), _ANYTHING)
)
def test_what_is_not_as_expected_is_passed_over(wrong: dict[str, Any], summary: dict[str, Any]) -> None:
    facts = of(**{"assetsSummary": summary, **wrong})
    for values in (facts.license, facts.keywords, facts.contributors, facts.funders, facts.species, facts.species_ids):
        assert all(isinstance(value, str) and value and value == " ".join(value.split()) for value in values)
    assert isinstance(facts.name, str)
    assert facts.subjects is None or type(facts.subjects) is int


def test_a_license_that_is_no_list_counts() -> None:
    assert of(license="spdx:CC0-1.0").license == ("spdx:CC0-1.0",)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_facts_read_back_from_a_tree_are_those_of_the_archives_answer(text: str) -> None:
    document = DOCUMENT | {"name": text, "description": text, "keywords": [text, f"{text}b"]}
    assert facts_of(yaml_document(document), json.dumps(RECORD).encode()) == facts_in(document, RECORD)


@pytest.mark.skipif(not REAL, reason="no real Dandisets beside this project")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name.partition(".")[0])
def test_real_dandisets_say_who_paid_and_what_was_recorded(path: Path) -> None:
    with gzip.open(path) as stream:
        versions = json.load(stream)["versions"]
    for version in versions:
        record = RECORD | {"identifier": path.name[:6], "version": version["version"]}
        facts = facts_of(yaml_document(version["metadata"]), json.dumps(record).encode())
        assert facts == facts_in(version["metadata"], record)
        assert facts.species
        assert len(facts.species) == len(facts.species_ids)
        assert facts.standards == ("Neurodata Without Borders (NWB)",)
        assert facts.subjects
        assert set(facts.funders) < set(facts.contributors)
        assert bool(facts.approaches) == (facts.identifier != "000027")
        assert facts.identifier != "000004" or "McKnight Endowment for Neuroscience" in facts.funders
        assert (facts.published is None) == (version["version"] == "draft")
