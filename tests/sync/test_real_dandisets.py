"""Real Dandisets, as the archive tells them and as the mirror in production today has them: ours must agree."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import pytest

from mirror.annex import hashdirs, logs
from mirror.annex.remotes import dandiapi_remote
from mirror.archive.records import Asset, VersionInfo
from mirror.dataset.assets import ANNEXED, TEXT, AssetEntry, Held, describe
from mirror.dataset.identity import api_remote_uuid, dandiset_dataset_id
from mirror.dataset.layout import Layout
from mirror.git.objects import MODE_LINK
from mirror.git.repository import Repository
from mirror.store.index import Index
from mirror.sync.history import Subject
from mirror.sync.mirrored import Mirrored
from mirror.sync.observe import Base, Observation
from mirror.sync.spool import Spool
from mirror.sync.trees import annex_key
from mirror.sync.writing import DandisetWriter

T = TypeVar("T")
REAL = Path(__file__).parents[3] / "shared" / "data" / "real"
FILES = sorted(REAL.glob("*.json.gz"))
INSTANCE_URL = "https://dandiarchive.org"
LAYOUT = Layout()
UNTOLD = "2020-01-01T00:00:00Z"
"""a time where a record has none; it plays no part in what is compared"""
pytestmark = pytest.mark.skipif(not FILES, reason="no real Dandisets beside this project")


@pytest.fixture(params=FILES, ids=lambda path: path.name.partition(".")[0])
def real(request: pytest.FixtureRequest) -> dict[str, Any]:
    with gzip.open(request.param) as stream:
        found: dict[str, Any] = json.load(stream)
    return found


def asset_of(record: dict[str, Any]) -> Asset:
    return Asset(
        asset_id=record["asset_id"],
        path=record["path"],
        size=record["metadata"]["contentSize"],
        created=record.get("created", UNTOLD),
        modified=record.get("modified", UNTOLD),
        blob=record["blob"],
        metadata=msgspec.Raw(msgspec.json.encode(record["metadata"])),
    )


def test_every_asset_gets_the_key_that_production_has(real: dict[str, Any]) -> None:
    for version in real["versions"]:
        release = version["version"] != "draft"
        entries = [describe(asset_of(one), LAYOUT, release=release, keep=len) for one in version["assets"]]
        assert {entry.path for entry in entries} == version["tree"].keys()
        for entry in entries:
            there = version["tree"][entry.path]
            if "key" in there:
                assert entry.held.kind == ANNEXED
                assert annex_key(entry) == there["key"]
            else:
                assert entry.held.kind == TEXT


class S3Versions:
    """Addresses with the version ids that production has on record; no texts, for these Dandisets have none."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._versioned = {url.partition("?")[0]: url for url in urls if "?versionId=" in url}

    def texts(self, entries: Iterable[AssetEntry], add: Callable[[bytes], T]) -> dict[str, T]:  # noqa: ARG002
        assert list(entries) == []
        return {}

    def recorded_urls(self, entries: Iterable[AssetEntry]) -> dict[str, str]:
        return {entry.s3_url: self._versioned[entry.s3_url] for entry in entries if entry.s3_url}


def observed(version: dict[str, Any], before: dict[str, Held], spool: Spool) -> Observation:
    name, release = version["version"], version["version"] != "draft"
    assets = [asset_of(one) for one in version["assets"]]
    entries = [describe(one, LAYOUT, release=release, keep=spool.keep) for one in assets]
    when = datetime.fromisoformat(version["author_date"]).astimezone(UTC).isoformat()
    size = sum(one.size for one in assets)
    raw = msgspec.Raw(msgspec.json.encode(version["metadata"]))
    return Observation(
        info=VersionInfo(name, version["metadata"]["name"], len(assets), size, "Valid", when, when, raw),
        metadata=version["metadata"],
        answered=datetime(2026, 11, 20, tzinfo=UTC),
        assets={entry.path: entry.held for entry in entries},
        entries=[entry for entry in entries if entry.held != before.get(entry.path)],
        removed=[path for path in before if path not in version["tree"]],
        before=before,
        base=Base.RELEASE if before else Base.NOTHING,
        size=size,
    )


@pytest.fixture
def repository(real: dict[str, Any], tmp_path: Path) -> Repository:
    """A real Dandiset with all its versions, written."""
    identifier = real["identifier"]
    repository = Repository.create(tmp_path / "repository", head="draft")
    with (
        Index(tmp_path / "index.sqlite") as index,
        Spool(tmp_path) as spool,
        repository.writer() as pack,
        repository.objects(pack) as objects,
    ):
        seen: list[Observation] = []
        for version in real["versions"]:
            seen.append(observed(version, seen[-1].assets if seen else {}, spool))
        *releases, draft = seen
        written = DandisetWriter(
            Subject(identifier, dandiset_dataset_id(INSTANCE_URL, identifier), INSTANCE_URL, LAYOUT),
            Mirrored({}, objects, index, identifier, LAYOUT),
            objects,
            pack,
            S3Versions(url for urls in real["urls"].values() for url in urls),
            spool.read,
            remote=dandiapi_remote(api_remote_uuid(INSTANCE_URL), "api.dandiarchive.org"),
            annex_metadata=True,
        ).write(releases, draft, {})
        repository.publish(pack, written.updates)
    return repository


def test_every_link_in_every_version_is_that_of_production(real: dict[str, Any], repository: Repository) -> None:
    refs = repository.peeled_refs()
    with repository.objects() as objects:
        for version in real["versions"]:
            name = version["version"]
            ref = "refs/heads/draft" if name == "draft" else f"refs/tags/{name}"
            links = {
                path.decode(): objects.blob(entry.oid).decode()
                for path, entry in objects.list_tree(objects.commit(refs[ref]).tree)
                if entry.mode == MODE_LINK
            }
            assert {path: link.rpartition("/")[2] for path, link in links.items()} == {
                path: there["key"] for path, there in version["tree"].items()
            }
            for path, link in links.items():
                assert link.startswith("../" * path.count("/") + ".git/annex/objects/")


def test_every_key_has_the_s3_addresses_of_production(real: dict[str, Any], repository: Repository) -> None:
    keys = {there["key"] for version in real["versions"] for there in version["tree"].values()}
    refs = repository.refs()
    with repository.objects() as objects:
        annex = objects.commit(refs["refs/heads/git-annex"]).tree
        for key in keys:
            where = hashdirs.lower(key) + b"/" + key.encode()
            web, location = objects.lookup(annex, where + b".log.web"), objects.lookup(annex, where + b".log")
            assert web is not None
            assert location is not None
            urls = {url.decode() for url in logs.present(objects.blob(web.oid))}
            s3 = {url for url in urls if urlsplit(url).hostname == "dandiarchive.s3.amazonaws.com"}
            named = {
                url.partition("?")[0]
                for version in real["versions"]
                for one in version["assets"]
                if version["tree"][one["path"]]["key"] == key
                for url in one["metadata"]["contentUrl"]
            }
            theirs = {url for url in real["urls"][key] if url.partition("?")[0] in named and "?versionId=" in url}
            assert s3 == theirs != set()
            assert logs.present(objects.blob(location.oid)) == {logs.WEB_UUID.encode()}
