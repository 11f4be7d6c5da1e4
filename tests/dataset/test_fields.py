"""Which of an asset's metadata people can ask git-annex for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.dataset.fields import annex_fields, merged

NWB: dict[str, Any] = {
    "approach": [{"name": "electrophysiological approach"}],
    "measurementTechnique": [{"name": "spike sorting technique"}, {"name": "fourier analysis technique"}],
    "encodingFormat": "application/x-nwb",
    "wasAttributedTo": [
        {"identifier": "M541", "species": {"name": "Mus musculus"}, "sex": {"name": "Female"}},
        {"identifier": "M542", "species": {"name": "Mus musculus"}, "sex": {"name": "Male"}},
    ],
    "wasGeneratedBy": [
        {"schemaKey": "Session", "identifier": "20240102", "name": "a session"},
        {"schemaKey": "Activity", "name": "Metadata generation", "identifier": "no session"},
    ],
}


def test_the_fields_of_an_nwb_file() -> None:
    assert annex_fields(NWB) == (
        ("approach", ("electrophysiological approach",)),
        ("format", ("application/x-nwb",)),
        ("session", ("20240102",)),
        ("sex", ("Female", "Male")),
        ("species", ("Mus musculus",)),
        ("subject", ("M541", "M542")),
        ("technique", ("fourier analysis technique", "spike sorting technique")),
    )


def test_a_session_without_identifier_goes_by_its_name() -> None:
    fields = annex_fields({"wasGeneratedBy": [{"schemaKey": "Session", "name": "night one", "identifier": None}]})
    assert fields == (("session", ("night one",)),)


def test_white_space_around_a_value_is_none_of_it() -> None:
    assert annex_fields({"approach": [{"name": "  spaced "}, {"name": " "}]}) == (("approach", ("spaced",)),)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"approach": None, "wasAttributedTo": None, "encodingFormat": None},
        {"approach": "text", "wasAttributedTo": "text", "wasGeneratedBy": {"name": "x"}, "encodingFormat": ["a"]},
        {"approach": [], "wasAttributedTo": [None, "M541", 5], "measurementTechnique": [None, "x", {"name": 5}]},
        {"wasAttributedTo": [{"species": "mouse", "sex": None, "identifier": 5}]},
        {"approach": {"name": "an object where a list belongs"}},
    ],
)
def test_what_does_not_look_as_expected_is_passed_over(metadata: dict[str, Any]) -> None:
    assert annex_fields(metadata) == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "species"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(list(NWB)), json_values))
def test_no_metadata_is_too_strange(metadata: dict[str, Any]) -> None:
    for name, values in annex_fields(metadata):
        assert name.isalpha()
        assert list(values) == sorted(set(values)) != []


def test_the_fields_of_sharers_add_up() -> None:
    one = (("sex", ("Female",)), ("species", ("Mus musculus",)))
    other = (("approach", ("optical",)), ("species", ("Rattus norvegicus", "Mus musculus")))
    assert merged(one, other) == (
        ("approach", ("optical",)),
        ("sex", ("Female",)),
        ("species", ("Mus musculus", "Rattus norvegicus")),
    )
    assert merged(one, other) == merged(other, one)
    assert merged(one, one) == one
