"""The annexed files of a version, and where the archive has them."""

from __future__ import annotations

from hashlib import md5, sha256
from typing import Any

import pytest

from mirror.annex.keys import md5e_key, sha256e_key
from mirror.errors import UsageError
from mirror.store.version_keys import VersionKey, latest_version, urls_of, version_keys


def key_of(path: str, body: bytes) -> str:
    return sha256e_key(path, len(body), sha256(body).hexdigest())


def test_the_files_of_a_draft_without_those_that_are_text(mirror: Any) -> None:
    dataset_id = mirror.store.dataset_id(mirror.one)
    assert list(version_keys(mirror.store, mirror.one)) == [
        VersionKey("sub-1/a.nwb", key_of("a.nwb", b"one"), 3, dataset_id),
        VersionKey("sub-1/b.nwb", key_of("b.nwb", b"three"), 5, dataset_id),
    ]


def test_a_published_version_is_asked_for_by_its_name(mirror: Any) -> None:
    version = mirror.archive.publish(mirror.one)
    mirror.archive.add_assets(mirror.one, [("sub-2/c.nwb", b"seven")])
    mirror.sync()
    released = [one.path for one in version_keys(mirror.store, mirror.one, version)]
    assert released == ["sub-1/a.nwb", "sub-1/b.nwb"]
    assert [one.path for one in version_keys(mirror.store, mirror.one)] == [*released, "sub-2/c.nwb"]
    assert latest_version(mirror.store.repository(mirror.one)) == version


def test_names_are_those_of_the_archive(mirror: Any) -> None:
    mirror.archive.add_assets(mirror.one, [("100%/.gitattributes/x.dat", b"odd")])
    mirror.sync()
    assert "100%/.gitattributes/x.dat" in [one.path for one in version_keys(mirror.store, mirror.one)]


@pytest.mark.parametrize("path", ["image.zarr", '-odd "1"/im%age.zarr'])
def test_files_of_zarrs_are_among_them_and_known_by_their_own_dataset(mirror: Any, path: str) -> None:
    files = {"0/0": b"chunk", "0/.zarray": b"{}", "0/1": b"chunk"}
    zarr_id = mirror.archive.add_zarr(mirror.one, path, files)
    mirror.sync()
    found = [one for one in version_keys(mirror.store, mirror.one) if one.dataset_id == zarr_id]
    assert {one.path: one.key for one in found} == {
        f"{path}/{name}": md5e_key(name, len(body), md5(body).hexdigest()) for name, body in files.items()
    }
    assert not [one for one in version_keys(mirror.store, mirror.one, zarrs=False) if one.dataset_id == zarr_id]


@pytest.mark.parametrize(("identifier", "version"), [("000999", "draft"), ("000001", "0.1.2")])
def test_what_is_not_there_is_the_users_mistake(mirror: Any, identifier: str, version: str) -> None:
    with pytest.raises(UsageError, match="the store has no"):
        list(version_keys(mirror.store, identifier, version))


def test_a_key_has_the_addresses_of_bucket_and_api(mirror: Any) -> None:
    repository = mirror.store.repository(mirror.one)
    keys = [one.key for one in version_keys(mirror.store, mirror.one)]
    unknown = key_of("a.nwb", b"nobody has it")
    found = dict(urls_of(repository, [*keys, unknown]))
    assert found[unknown] == frozenset()
    asset = mirror.archive.asset(mirror.one, "sub-1/a.nwb")
    assert any(asset.blob.key in url for url in found[keys[0]])
    assert any(asset.asset_id in url for url in found[keys[0]])
