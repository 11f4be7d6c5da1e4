"""Zarrs of an archive, and what a mirror has of them, in git's and git-annex's own terms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import pytest

from mirror.annex import logs
from mirror.demo import DemoArchive
from mirror.git.objects import MODE_GITLINK, MODE_LINK
from mirror.store.store import Store

if TYPE_CHECKING:
    from tests.sync.conftest import Git


class Submodules(Protocol):
    def __call__(self, identifier: str, ref: str = "draft", *, store: Path | None = None) -> dict[str, str]: ...


class ZarrRefs(Protocol):
    def __call__(self, zarr_id: str, *, store: Path | None = None) -> dict[str, str]: ...


class Keys(Protocol):
    def __call__(self, zarr_id: str, ref: str = "draft", *, store: Path | None = None) -> dict[str, str]: ...


class Addresses(Protocol):
    def __call__(self, zarr_id: str, *, store: Path | None = None) -> dict[str, list[str]]: ...


class AddressesOf(Protocol):
    def __call__(self, zarr_id: str, *paths: str) -> list[str]: ...


@pytest.fixture
def dandiset(archive: DemoArchive) -> str:
    return archive.create_dandiset("Ripples")


@pytest.fixture
def submodules(git: Git, store: Path) -> Submodules:
    """The commit that stands at the path of each Zarr in a Dandiset's tree. `.gitmodules` has to name just these."""
    default = store

    def read(identifier: str, ref: str = "draft", *, store: Path | None = None) -> dict[str, str]:
        repository = Store.open(store or default).alias(identifier)
        links = {}
        for line in git(repository, "ls-tree", "-rz", ref).split("\0"):
            mode, _, rest = line.partition(" ")
            if mode == MODE_GITLINK.decode():
                _, oid, path = rest.replace("\t", " ", 1).split(" ", 2)
                links[path] = oid
        named = []
        if git(repository, "ls-tree", "--name-only", ref, ".gitmodules"):
            told = git(repository, "config", "--blob", f"{ref}:.gitmodules", "--get-regexp", "-z", r"\.path$")
            named = [line.partition("\n")[2] for line in told.split("\0")[:-1]]
        assert sorted(named) == sorted(links)
        return links

    return read


@pytest.fixture
def zarr_refs(git: Git, store: Path) -> ZarrRefs:
    """Every ref of a Zarr's repository with its hash."""
    default = store

    def read(zarr_id: str, *, store: Path | None = None) -> dict[str, str]:
        lines = git(Store.open(store or default).alias(zarr_id), "for-each-ref", "--format=%(refname) %(objectname)")
        return dict(line.rsplit(" ", 1) for line in lines.splitlines())

    return read


@pytest.fixture
def keys_in(store: Path) -> Keys:
    """The key of every file of a Zarr, by its path in the tree."""
    default = store

    def read(zarr_id: str, ref: str = "draft", *, store: Path | None = None) -> dict[str, str]:
        repository = Store.open(store or default).dataset(zarr_id)
        kind = "heads" if ref == "draft" else "tags"
        found = {}
        with repository.objects() as objects:
            tree = objects.commit(repository.refs()[f"refs/{kind}/{ref}"]).tree
            for path, entry in objects.list_tree(tree):
                if entry.mode == MODE_LINK:
                    found[path.decode()] = objects.blob(entry.oid).rpartition(b"/")[2].decode()
        return found

    return read


@pytest.fixture
def addresses_in(store: Path) -> Addresses:
    """The addresses that a Zarr's git-annex branch has for each key at present, in order."""
    default = store

    def read(zarr_id: str, *, store: Path | None = None) -> dict[str, list[str]]:
        repository = Store.open(store or default).dataset(zarr_id)
        found = {}
        with repository.objects() as objects:
            branch = objects.commit(repository.refs()["refs/heads/git-annex"]).tree
            for path, entry in objects.list_tree(branch):
                if path.endswith(b".log.web"):
                    key = path.rpartition(b"/")[2].removesuffix(b".log.web").decode()
                    found[key] = sorted(url.decode() for url in logs.present(objects.blob(entry.oid)))
                    where = objects.lookup(branch, path.removesuffix(b".web"))
                    assert where is not None
                    assert logs.present(objects.blob(where.oid)) == {logs.WEB_UUID.encode()}
        return found

    return read


@pytest.fixture
def addresses_of(archive: DemoArchive) -> AddressesOf:
    """Where the archive has the files of a Zarr at these paths now."""

    def find(zarr_id: str, *paths: str) -> list[str]:
        found = []
        for path in paths:
            current = archive.objects.latest(f"zarr/{zarr_id}/{path}")
            assert current is not None
            where = quote(path)
            found.append(
                f"{archive.s3_endpoint}/{archive.bucket}/zarr/{zarr_id}/{where}?versionId={quote(current.version_id)}"
            )
            found.append(f"{archive.api_url}/zarr/{zarr_id}/files/?prefix={where}&download=true")
        return sorted(found)

    return find
