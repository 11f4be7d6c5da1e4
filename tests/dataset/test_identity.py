"""Ids that every mirror in the world derives alike."""

from __future__ import annotations

from uuid import NAMESPACE_URL, UUID, uuid5

import pytest

from mirror.dataset.identity import api_remote_uuid, dandiset_dataset_id, store_annex_uuid

DANDI = "https://dandiarchive.org"


def test_the_dataset_id_is_derived_from_the_instance_and_the_identifier() -> None:
    assert dandiset_dataset_id(DANDI, "000027") == str(uuid5(NAMESPACE_URL, "https://dandiarchive.org/dandiset/000027"))
    # pinned: this id is in `.datalad/config` of every tree
    assert dandiset_dataset_id(DANDI, "000027") == "f3af2357-15f9-54ef-9308-e4c574534b99"


@pytest.mark.parametrize("url", [DANDI, f"{DANDI}/", f"{DANDI}//"])
def test_a_slash_at_the_end_of_the_instance_url_makes_no_difference(url: str) -> None:
    assert dandiset_dataset_id(url, "000003") == dandiset_dataset_id(DANDI, "000003")
    assert api_remote_uuid(url) == api_remote_uuid(DANDI)


def test_dandisets_and_instances_have_ids_of_their_own() -> None:
    ids = {
        dandiset_dataset_id(instance, identifier)
        for instance in (DANDI, "https://sandbox.dandiarchive.org")
        for identifier in ("000003", "000004")
    }
    assert len(ids) == 4


def test_each_store_has_an_annex_uuid_of_its_own_for_each_dataset() -> None:
    one, other = "9d9c0a4e-8f0b-4f0e-8a64-0a8e7e4c3b21", "7b1c6c1e-3c55-4a6b-9a65-3c1d7a3c3d10"
    dataset = dandiset_dataset_id(DANDI, "000003")
    uuids = {store_annex_uuid(dataset, store) for store in (one, other)}
    uuids |= {store_annex_uuid(dandiset_dataset_id(DANDI, "000004"), one)}
    assert len(uuids) == 3
    assert store_annex_uuid(dataset, one) == str(uuid5(UUID(one), dataset))
