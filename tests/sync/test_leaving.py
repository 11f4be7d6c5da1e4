"""Addresses over time: shared keys, published assets, and bytes that the archive lets go of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mirror.annex import hashdirs, logs, metadata
from mirror.demo import DemoArchive
from mirror.store.store import Store

if TYPE_CHECKING:
    from tests.sync.conftest import Git, MirrorOnce, RefsOf, RepositoryOf

MOUSE = {"wasAttributedTo": [{"species": {"name": "Mus musculus", "identifier": "mouse"}, "identifier": "M1"}]}
RAT = {"wasAttributedTo": [{"species": {"name": "Rattus norvegicus", "identifier": "rat"}, "identifier": "R1"}]}


class Branch:
    """What the git-annex branch says of the key that `path` has, or had, in the draft."""

    def __init__(self, git: Git, repository: Path, path: str, commit: str = "draft") -> None:
        self._git = git
        self._repository = repository
        self.key = git(repository, "cat-file", "blob", f"{commit}:{path}").rpartition("/")[2]

    def log(self, suffix: str) -> bytes:
        path = f"{hashdirs.lower(self.key).decode()}/{self.key}{suffix}"
        return self._git(self._repository, "cat-file", "blob", f"git-annex:{path}").encode() + b"\n"

    @property
    def urls(self) -> set[str]:
        return {url.decode() for url in logs.present(self.log(".log.web"))}

    @property
    def is_on_the_web(self) -> bool:
        return logs.WEB_UUID.encode() in logs.present(self.log(".log"))

    @property
    def fields(self) -> dict[str, list[str]]:
        return metadata.decode(self.log(".log.met"))


@pytest.fixture
def dandiset(archive: DemoArchive) -> str:
    identifier = archive.create_dandiset("Ripples")
    archive.add_asset(identifier, "a.nwb", b"bytes of a", MOUSE)
    archive.add_asset(identifier, "README.md", b"Ripples")
    return identifier


def blob_key(archive: DemoArchive, identifier: str, path: str) -> str:
    blob = archive.asset(identifier, path).blob
    assert blob is not None
    return blob.key


def s3_url(archive: DemoArchive, key: str) -> str:
    latest = archive.objects.latest(key)
    assert latest is not None
    return f"{archive.addresses.bucket_url}/{key}?versionId={latest.version_id}"


def test_a_key_has_its_s3_address_with_version_and_its_download_address(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    mirror_once()
    branch = Branch(git, repository_of(dandiset), "a.nwb")
    asset_id = archive.asset(dandiset, "a.nwb").asset_id
    assert branch.urls == {
        s3_url(archive, blob_key(archive, dandiset, "a.nwb")),
        f"{archive.api_url}/assets/{asset_id}/download/",
    }
    assert branch.is_on_the_web


def test_without_version_ids_the_plain_address_is_recorded(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    mirror_once(archive__s3_version_ids=False)
    urls = Branch(git, repository_of(dandiset), "a.nwb").urls
    assert f"{archive.addresses.bucket_url}/{blob_key(archive, dandiset, 'a.nwb')}" in urls
    assert archive.count(server="s3", method="HEAD") == 0


def test_publishing_adds_the_download_address_of_the_published_asset(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    first = archive.asset(dandiset, "a.nwb").asset_id
    mirror_once()
    second = archive.replace_asset(dandiset, "a.nwb", metadata=RAT)
    mirror_once()
    branch = Branch(git, repository_of(dandiset), "a.nwb")
    # an unpublished asset's address is good for a while only: the key has one already
    assert not any(second in url for url in branch.urls)
    archive.publish(dandiset)
    mirror_once()
    assert {url for url in branch.urls if "/assets/" in url} == {
        f"{archive.api_url}/assets/{asset_id}/download/" for asset_id in (first, second)
    }


def test_a_key_at_two_paths_has_the_metadata_of_both(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    archive.add_asset(dandiset, "b.nwb", b"bytes of a", RAT)
    mirror_once()
    branch = Branch(git, repository_of(dandiset), "a.nwb")
    assert branch.fields["species"] == ["Mus musculus", "Rattus norvegicus"]
    # one of the two says something else now
    archive.replace_asset(dandiset, "b.nwb", metadata=RAT | {"approach": [{"name": "optical"}]})
    mirror_once()
    assert branch.fields["species"] == ["Mus musculus", "Rattus norvegicus"]
    assert branch.fields["approach"] == ["optical"]
    # one of the two goes
    archive.remove_asset(dandiset, "a.nwb")
    mirror_once()
    assert branch.fields["species"] == ["Rattus norvegicus"]


def test_so_it_has_where_the_archive_holds_the_same_bytes_twice(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    archive._blobs.clear()  # so that these bytes get a blob of their own
    archive.add_asset(dandiset, "b.nwb", b"bytes of a", RAT)
    mirror_once()
    branch = Branch(git, repository_of(dandiset), "a.nwb")
    assert {s3_url(archive, blob_key(archive, dandiset, path)) for path in ("a.nwb", "b.nwb")} <= branch.urls
    archive.replace_asset(dandiset, "b.nwb", metadata=RAT | {"approach": [{"name": "optical"}]})
    mirror_once()
    assert branch.fields["approach"] == ["optical"]
    assert branch.fields["species"] == ["Mus musculus", "Rattus norvegicus"]


def test_metadata_that_changes_replaces_what_was_said(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    mirror_once()
    archive.replace_asset(dandiset, "a.nwb", metadata=RAT)
    mirror_once()
    branch = Branch(git, repository_of(dandiset), "a.nwb")
    assert branch.fields["species"] == ["Rattus norvegicus"]
    assert branch.fields["subject"] == ["R1"]


def test_an_asset_that_left_keeps_its_addresses_while_its_bytes_are_there(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    mirror_once()
    before = refs_of(dandiset)["refs/heads/git-annex"]
    archive.remove_asset(dandiset, "a.nwb")
    mirror_once()
    mirror_once(everything=True)
    assert refs_of(dandiset)["refs/heads/git-annex"] == before


def test_bytes_that_are_gone_are_withdrawn_and_come_back_with_a_newer_word(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf, store: Path
) -> None:
    mirror_once()
    key = blob_key(archive, dandiset, "a.nwb")
    url = s3_url(archive, key)
    branch = Branch(git, repository_of(dandiset), "a.nwb")
    first = logs.parse(branch.log(".log.web"))
    archive.clock.advance(days=1)
    archive.remove_asset(dandiset, "a.nwb")
    mirror_once()
    assert set(Store.open(store).state(dandiset).leaving) == {url}

    latest = archive.objects.latest(key)
    assert latest is not None
    archive.objects.delete_version(key, latest.version_id)
    mirror_once(everything=True)
    assert branch.urls == set()
    assert not branch.is_on_the_web
    assert Store.open(store).state(dandiset).leaving == {}
    withdrawn = logs.parse(branch.log(".log.web"))
    for value, said in withdrawn.items():
        assert said.status == b"0"
        assert said.timestamp > first[value].timestamp

    archive.clock.advance(days=1)
    archive._blobs.clear()  # the archive knows nothing of these bytes any more
    archive.add_asset(dandiset, "again.nwb", b"bytes of a")
    mirror_once()
    assert s3_url(archive, blob_key(archive, dandiset, "again.nwb")) in branch.urls
    assert branch.is_on_the_web
    location = logs.parse(branch.log(".log"))[logs.WEB_UUID.encode()]
    assert location.timestamp > withdrawn[url.encode()].timestamp


def test_a_version_below_a_delete_marker_is_not_gone(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    mirror_once()
    key = blob_key(archive, dandiset, "a.nwb")
    url = s3_url(archive, key)
    branch = Branch(git, repository_of(dandiset), "a.nwb")
    archive.remove_asset(dandiset, "a.nwb")
    mirror_once()
    archive.objects.delete(key)
    mirror_once(everything=True)
    assert url in branch.urls


def test_what_was_published_is_never_let_go_of(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf, store: Path
) -> None:
    version = archive.publish(dandiset)
    mirror_once()
    archive.remove_asset(dandiset, "a.nwb")
    mirror_once()
    mirror_once(everything=True)
    assert Store.open(store).state(dandiset).leaving == {}
    assert Branch(git, repository_of(dandiset), "a.nwb", version).is_on_the_web


def test_what_another_path_still_has_is_not_let_go_of(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path
) -> None:
    archive.add_asset(dandiset, "b.nwb", b"bytes of a")
    mirror_once()
    archive.remove_asset(dandiset, "a.nwb")
    mirror_once()
    assert Store.open(store).state(dandiset).leaving == {}


def test_what_the_bucket_does_not_answer_for_is_not_gone(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf, store: Path
) -> None:
    mirror_once()
    key = blob_key(archive, dandiset, "a.nwb")
    branch = Branch(git, repository_of(dandiset), "a.nwb")
    archive.remove_asset(dandiset, "a.nwb")
    mirror_once()
    archive.objects.set_private(key, True)
    mirror_once(everything=True)
    assert branch.is_on_the_web
    assert len(Store.open(store).state(dandiset).leaving) == 1


def test_what_comes_back_before_it_is_gone_stays(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf, store: Path
) -> None:
    mirror_once()
    key = blob_key(archive, dandiset, "a.nwb")
    archive.remove_asset(dandiset, "a.nwb")
    mirror_once()
    assert len(Store.open(store).state(dandiset).leaving) == 1
    archive.add_asset(dandiset, "elsewhere.nwb", b"bytes of a")
    mirror_once(everything=True)
    branch = Branch(git, repository_of(dandiset), "elsewhere.nwb")
    assert s3_url(archive, key) in branch.urls
    assert branch.is_on_the_web
