"""The instances known by name."""

from __future__ import annotations

import pytest

from mirror.archive.instances import KNOWN_INSTANCES, instance_at, known_instance, token_variable
from mirror.errors import UsageError


def test_instances_are_found_by_name_and_by_url() -> None:
    for name, instance in KNOWN_INSTANCES.items():
        assert known_instance(name) is instance
        assert instance_at(f"{instance.api_url}/") is instance
    assert instance_at("https://archive.example/api") is None


def test_an_unknown_name_says_which_are_known() -> None:
    with pytest.raises(UsageError, match=r"'dandy'.*dandi, dandi-sandbox, ember-dandi, linc"):
        known_instance("dandy")


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("dandi", "DANDI_API_KEY"),
        ("dandi-sandbox", "DANDI_SANDBOX_API_KEY"),
        ("ember-dandi", "EMBER_DANDI_API_KEY"),
        ("linc", "LINC_API_KEY"),
    ],
)
def test_tokens_are_where_users_of_the_dandi_client_keep_them(name: str, variable: str) -> None:
    assert token_variable(name) == variable
    assert known_instance(name).token_variable == variable
