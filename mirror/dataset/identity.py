"""The ids of datasets and annex remotes: derived, so that every mirror in the world gives the same ones."""

from __future__ import annotations

from uuid import NAMESPACE_URL, UUID, uuid5


def dandiset_dataset_id(instance_url: str, identifier: str) -> str:
    """The DataLad dataset id of a Dandiset."""
    return str(uuid5(NAMESPACE_URL, f"{instance_url.rstrip('/')}/dandiset/{identifier}"))


ALL_DANDISETS = "dandisets"
"""The name of the superdataset of all Dandisets."""


def superdataset_id(instance_url: str, name: str) -> str:
    """The DataLad dataset id of a superdataset."""
    return str(uuid5(NAMESPACE_URL, f"{instance_url.rstrip('/')}/superdataset/{name}"))


def store_annex_uuid(dataset_id: str, store_id: str) -> str:
    """The annex uuid of one store's copy of a dataset: content it holds is found under this uuid."""
    return str(uuid5(UUID(store_id), dataset_id))


def api_remote_uuid(instance_url: str) -> str:
    """The uuid of the second, dearer web remote: the archive's own download addresses."""
    return str(uuid5(NAMESPACE_URL, f"{instance_url.rstrip('/')}/annex/dandiapi"))
