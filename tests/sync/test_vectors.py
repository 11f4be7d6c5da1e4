"""The bytes pinned down: what a small Dandiset of literal records is written as, hash by hash.

These hashes are the format. Whoever changes one raises `mirror.dataset.layout.NUMBER`: mirrors of equal `Layout` have
equal hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pytest

from mirror.annex.remotes import dandiapi_remote
from mirror.archive.records import Asset, VersionInfo
from mirror.dataset import layout
from mirror.dataset.assets import AssetEntry, Held, describe
from mirror.dataset.canonical import read_document
from mirror.dataset.identity import api_remote_uuid, dandiset_dataset_id
from mirror.dataset.layout import Layout
from mirror.git.repository import Repository
from mirror.store.index import Index
from mirror.sync.history import Subject
from mirror.sync.mirrored import Mirrored
from mirror.sync.observe import Base, Observation
from mirror.sync.spool import Spool
from mirror.sync.writing import DandisetWriter

if TYPE_CHECKING:
    from tests.sync.conftest import Git

T = TypeVar("T")
IDENTIFIER = "000027"
INSTANCE_URL = "https://dandiarchive.org"
API_HOST = "api.dandiarchive.org"
BUCKET = "https://dandiarchive.s3.amazonaws.com"
LAYOUT = Layout()
README = "# Zoë's ripples 😀\n\nno newline at the end".encode()


def uuid(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-000000000000"


def asset(number: int, path: str, content: bytes, *, published: bool, blob: int, more: str = "") -> Asset:
    """A literal record, as the archive writes one."""
    blob_id = uuid(blob)
    publication = '"datePublished": "2026-11-20T15:34:17.000000+00:00", ' if published else ""
    metadata = (
        f'{{"path": "{path}", {publication}{more}"contentSize": {len(content)}, '
        f'"access": [{{"status": "dandi:OpenAccess"}}], '
        f'"contentUrl": ["https://{API_HOST}/api/assets/{uuid(number)}/download/", '
        f'"{BUCKET}/blobs/{blob_id[:3]}/{blob_id[3:6]}/{blob_id}"], '
        f'"digest": {{"dandi:sha2-256": "{sha256(content).hexdigest()}", "dandi:dandi-etag": "0-1"}}}}'
    )
    return Asset(
        asset_id=uuid(number),
        path=path,
        size=len(content),
        created=f"2026-11-20T15:00:0{number}.000000Z",
        modified=f"2026-11-20T15:30:0{number}.000000Z",
        blob=blob_id,
        metadata=msgspec.Raw(metadata.encode()),
    )


MOUSE = (
    '"wasAttributedTo": [{"identifier": "M541", "species": {"name": "Mus musculus"}, "sex": {"name": "Female"}}], '
    '"numbers": [1.0, 1e5, 1E-7, -0, -0.0, 123456789012345678901234567890, 0.10], "é": "😀\\u2028\\/\\n", '
)
RELEASED = [
    asset(1, "sub-M541/sub-M541_ses-1.nwb", b"nwb 1", published=True, blob=101, more=MOUSE),
    asset(2, "sub-M541/é 😀.tar.gz", b"tar", published=True, blob=102, more='"approach": [{"name": "two words"}], '),
    asset(3, "README.md", README, published=True, blob=103),
    asset(4, ".git/100%.nwb", b"nwb 1", published=True, blob=101),
]
PENDING = Asset(
    asset_id=uuid(5),
    path="sub-M541/late.nwb",
    size=9,
    created="2026-11-20T16:00:00.000000Z",
    modified="2026-11-20T16:00:01.000000Z",
    blob=uuid(105),
    metadata=msgspec.Raw(b'{"digest": {"dandi:dandi-etag": "0-1"}, "x": 1.50}'),
)
ZARR = Asset(
    asset_id=uuid(6),
    path="image.ome.zarr",
    size=7,
    created="2026-11-20T16:00:02.000000Z",
    modified="2026-11-20T16:00:03.000000Z",
    zarr=uuid(106),
    metadata=msgspec.Raw(b'{"digest": {"dandi:dandi-zarr-checksum": "00000000000000000000000000000000-2--7"}}'),
)
DRAFTED = [*RELEASED[1:], asset(7, "sub-M541/sub-M541_ses-1.nwb", b"nwb 2", published=False, blob=107), PENDING, ZARR]

DOCUMENT = """{
    "@context": "https://example.org/context.json", "identifier": "DANDI:000027", "name": "Zoë's ripples 😀.",
    "version": %s, "url": "https://dandiarchive.org/dandiset/000027", "license": ["spdx:CC-BY-4.0"],
    "contributor": [{"name": "Buzsáki, György", "includeInCitation": true}, {"name": "A Foundation"}],
    "citation": "of the day", "assetsSummary": {"numberOfBytes": 54, "ratio": 1.50, "large": 1e22, "yes": true},
    "keywords": ["no", "12:30", "0x1F", "null", "~", "", " spaced ", "two\\nlines", "1e5", "2026-11-20"]%s
}"""
PUBLICATION = """, "doi": "10.48324/dandi.000027/0.261120.1534", "releaseNotes": "First: ü",
    "datePublished": "2026-11-20T15:34:17.000000+00:00" """


def version(name: str, assets: list[Asset], modified: str, more: str = "") -> VersionInfo:
    return VersionInfo(
        version=name,
        name="Zoë's ripples 😀.",
        asset_count=len(assets),
        size=sum(one.size for one in assets),
        status="Valid",
        created="2026-11-20T15:34:18.500000Z",
        modified=modified,
        metadata=msgspec.Raw((DOCUMENT % (f'"{name}"', more)).encode()),
    )


class Literal:
    """Contents and addresses without a server."""

    def texts(self, entries: Iterable[AssetEntry], add: Callable[[bytes], T]) -> dict[str, T]:
        return {entry.path: add(README) for entry in entries}

    def recorded_urls(self, entries: Iterable[AssetEntry]) -> dict[str, str]:
        return {entry.s3_url: f"{entry.s3_url}?versionId=v.{entry.size}" for entry in entries if entry.s3_url}


def observation(info: VersionInfo, assets: list[Asset], before: dict[str, Held], spool: Spool) -> Observation:
    """What an observer finds next to an earlier state."""
    release = info.version != "draft"
    entries = [describe(one, LAYOUT, release=release, keep=spool.keep) for one in assets]
    return Observation(
        info=info,
        metadata=read_document(bytes(info.metadata)).value,
        answered=datetime(2026, 11, 21, tzinfo=UTC),
        assets={entry.path: entry.held for entry in entries},
        entries=[entry for entry in entries if entry.held != before.get(entry.path)],
        removed=[path for path in before if path not in {entry.path for entry in entries}],
        before=before,
        base=Base.RELEASE if before else Base.NOTHING,
        size=info.size,
    )


VECTORS = {
    "release": "db8acf01278ffa5bb953f33217fc77ea48f75e38",
    "release's tree": "41a360096d4f9dc60c6438a59cf0d73725699c7c",
    "tag": "7d8d9fee1a540680e444a9091b6ce85356d46571",
    "doi tag": "db8acf01278ffa5bb953f33217fc77ea48f75e38",
    "draft": "7ae5e41e46b6de6b19cdf9052f04052861833068",
    "draft's tree": "0c387dbeb7277c483ba83da9eac4bd992d8f39ef",
    "annex": "934f3c5ef0c5535010194ed77cfe5fe90f1658d6",
    "annex tree": "8d7de6ca1d5e3b56260aed71da69f7e4ba0f8a55",
    "dandiset.yaml": "dd96310c247ea7e54741090c2872a021bb607ff3",
    "version.json": "0ee4a1574df8b422939c2b234ef29fdf2ccee04e",
    "records": "086de916963f07e2d6ff96adc303f771ea5118ec",
    "pending": "6fe151ff468754dfcb9aa2313e55a707f2c510cb",
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """The literal Dandiset, written: one release and a draft."""
    repository = Repository.create(tmp_path / "repository", head="draft")
    subject = Subject(IDENTIFIER, dandiset_dataset_id(INSTANCE_URL, IDENTIFIER), INSTANCE_URL, LAYOUT)
    with (
        Index(tmp_path / "index.sqlite") as index,
        Spool(tmp_path) as spool,
        repository.writer() as pack,
        repository.objects(pack) as objects,
    ):
        release = observation(
            version("0.261120.1534", RELEASED, "2026-11-20T15:34:20.000000Z", PUBLICATION), RELEASED, {}, spool
        )
        draft = observation(version("draft", DRAFTED, "2026-11-20T16:00:04.250000Z"), DRAFTED, release.assets, spool)
        written = DandisetWriter(
            subject,
            Mirrored({}, objects, index, IDENTIFIER, LAYOUT),
            objects,
            pack,
            Literal(),
            spool.read,
            remote=dandiapi_remote(api_remote_uuid(INSTANCE_URL), API_HOST),
            annex_metadata=True,
        ).write([release], draft, {})
        repository.publish(pack, written.updates)
    return repository


def hashes(git: Git, repository: Path) -> dict[str, str]:
    names = {
        "release": "releases",
        "release's tree": "releases^{tree}",
        "tag": "refs/tags/0.261120.1534",
        "doi tag": "refs/tags/doi/10.48324/dandi.000027/0.261120.1534",
        "draft": "draft",
        "draft's tree": "draft^{tree}",
        "annex": "git-annex",
        "annex tree": "git-annex^{tree}",
        "dandiset.yaml": "releases:dandiset.yaml",
        "version.json": "releases:.dandi/version.json",
        "records": "releases:.dandi/assets/sub-M541/assets.jsonl",
        "pending": "draft:.dandi/pending.jsonl",
    }
    return {what: git(repository, "rev-parse", "--verify", name) for what, name in names.items()}


def test_the_hashes_are_those_of_this_layout(repository: Repository, git: Git) -> None:
    assert layout.NUMBER == 1
    assert hashes(git, repository.path) == VECTORS


def test_git_finds_nothing_wrong(repository: Repository, git: Git) -> None:
    git(repository.path, "fsck", "--strict", "--full")
