"""The bytes pinned down: what a small Dandiset of literal records is written as, hash by hash.

These hashes are the format. Whoever changes one raises `mirror.dataset.layout.NUMBER`: mirrors of equal `Layout` have
equal hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hashlib import md5, sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import pytest

from mirror.annex.remotes import dandiapi_remote
from mirror.archive.records import Asset, Instance, VersionInfo
from mirror.archive.s3 import ObjectVersion
from mirror.dataset import layout
from mirror.dataset.assets import AssetEntry, Held, describe
from mirror.dataset.canonical import read_document
from mirror.dataset.identity import api_remote_uuid, dandiset_dataset_id
from mirror.dataset.layout import Layout
from mirror.dataset.zarr.folders import folders_of
from mirror.git.objects import Oid
from mirror.git.repository import Repository
from mirror.store.index import Index
from mirror.store.store import Store
from mirror.sync.history import Subject
from mirror.sync.mirrored import Mirrored
from mirror.sync.observe import Base, Observation
from mirror.sync.spool import Spool
from mirror.sync.writing import DandisetWriter
from mirror.sync.zarr.held import HeldZarr
from mirror.sync.zarr.in_repository import RepositoryTarget
from mirror.sync.zarr.subject import Subject as ZarrSubject

if TYPE_CHECKING:
    from tests.sync.conftest import Git

T = TypeVar("T")
IDENTIFIER = "000027"
INSTANCE_URL = "https://dandiarchive.org"
API_HOST = "api.dandiarchive.org"
BUCKET = "https://dandiarchive.s3.amazonaws.com"
REMOTE = dandiapi_remote(api_remote_uuid(INSTANCE_URL), API_HOST)
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
ZARR_ID = uuid(106)
ZARR_ADDRESS = f"{BUCKET}/zarr/{ZARR_ID}/"
ZARR_CHECKSUM = "f35eab3ff40f0765c4782864c86ad5e7-9--44"
ZARR = Asset(
    asset_id=uuid(6),
    path="image.ome.zarr",
    size=44,
    created="2026-11-20T16:00:02.000000Z",
    modified="2026-11-20T16:00:03.000000Z",
    zarr=ZARR_ID,
    metadata=msgspec.Raw(
        f'{{"contentUrl": ["https://{API_HOST}/api/assets/{uuid(6)}/download/", "{ZARR_ADDRESS}"], '
        f'"digest": {{"dandi:dandi-zarr-checksum": "{ZARR_CHECKSUM}"}}}}'.encode()
    ),
)
CHUNKS = {
    ".git/config": b"git's",
    ".zattrs": b"{}",
    ".zgroup": b'{"zarr_format": 2}',
    "0/.zarray": b"{}",
    "0/0.0": b"same",
    "0/0/é 😀.nii.gz": b"same",
    "0/1+1%": b"",
    "a.b/0": b"before a/",
    "a/0": b"",
}
"""The files of a Zarr, in the order in which a bucket lists them."""
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


def observation(
    info: VersionInfo, assets: list[Asset], before: dict[str, Held], spool: Spool, links: dict[str, Oid]
) -> Observation:
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
        links=links,
    )


def listed(name: str, content: bytes) -> ObjectVersion:
    """A file of the Zarr, as the bucket tells of it."""
    digest = md5(content, usedforsecurity=False).hexdigest()
    when = f"2026-11-20T15:59:{len(name) + 10}.000Z"
    return ObjectVersion(f"zarr/{ZARR_ID}/{name}", f"v.{len(name)}_{len(content)}", digest, len(content), when, True)


VECTORS = {
    "release": "309cad47288fe445baf580c7c0c5a7e60d1c4306",
    "release's tree": "41a360096d4f9dc60c6438a59cf0d73725699c7c",
    "tag": "32680a42428b33e15c08187f23b151396ef54059",
    "doi tag": "309cad47288fe445baf580c7c0c5a7e60d1c4306",
    "draft": "362f5033dda5a716145ac3fcdf35f89d90819e12",
    "draft's tree": "2c4f602ebb00ebd7fdd8a4a56da40c56943e2029",
    "annex": "934f3c5ef0c5535010194ed77cfe5fe90f1658d6",
    "annex tree": "8d7de6ca1d5e3b56260aed71da69f7e4ba0f8a55",
    "dandiset.yaml": "dd96310c247ea7e54741090c2872a021bb607ff3",
    "version.json": "0ee4a1574df8b422939c2b234ef29fdf2ccee04e",
    "records": "086de916963f07e2d6ff96adc303f771ea5118ec",
    "pending": "6fe151ff468754dfcb9aa2313e55a707f2c510cb",
    "submodules": "103caff6c418147de403f603a81fcb5eec5d1c1f",
    "Zarr": "9496a53db9243690710b8b076525111dc55d8df5",
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open_or_create(tmp_path / "store", Instance("DANDI", INSTANCE_URL, "10.48324"))


@pytest.fixture
def zarr(store: Store) -> HeldZarr:
    """The literal Zarr, written."""
    subject = ZarrSubject(ZARR_ID, ZARR_ADDRESS, f"https://{API_HOST}/api", REMOTE)
    pages = [[listed(name, content)] for name, content in CHUNKS.items()]
    folder = store.zarr(ZARR_ID)
    with folder.lock(), RepositoryTarget(store, folder, subject, None) as target:
        return target.keep(target.record(folders_of(pages, subject.location.key)))


@pytest.fixture
def repository(tmp_path: Path, zarr: HeldZarr) -> Repository:
    """The literal Dandiset, written: one release and a draft."""
    links = {ZARR.path: zarr.oid}
    repository = Repository.create(tmp_path / "repository", head="draft")
    subject = Subject(IDENTIFIER, dandiset_dataset_id(INSTANCE_URL, IDENTIFIER), INSTANCE_URL, LAYOUT)
    with (
        Index(tmp_path / "index.sqlite") as index,
        Spool(tmp_path) as spool,
        repository.writer() as pack,
        repository.objects(pack) as objects,
    ):
        release = observation(
            version("0.261120.1534", RELEASED, "2026-11-20T15:34:20.000000Z", PUBLICATION), RELEASED, {}, spool, {}
        )
        draft = observation(
            version("draft", DRAFTED, "2026-11-20T16:00:04.250000Z"), DRAFTED, release.assets, spool, links
        )
        written = DandisetWriter(
            subject,
            Mirrored({}, objects, index, IDENTIFIER, LAYOUT),
            objects,
            pack,
            Literal(),
            spool.read,
            remote=REMOTE,
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
        "submodules": "draft:.gitmodules",
        "Zarr": "draft:image.ome.zarr",
    }
    return {what: git(repository, "rev-parse", "--verify", name) for what, name in names.items()}


ZARR_VECTORS = {
    "snapshot": "15dbebd962a617442eff0e586632fa3ed9885719",
    "draft": "9496a53db9243690710b8b076525111dc55d8df5",
    "tree": "8431314761e284513151c2dbe70ef43c128f5bba",
    "annex": "da49a6525aef3e2244e5b2d58a0cf2198f4ad89b",
    "annex tree": "26e3d7a1b12c032fa61fa15445ca4da9ce2922c5",
    "zarr.json": "346318d47b58327e00d9a9f16cec717da4fe8ebf",
}


def zarr_hashes(git: Git, repository: Path) -> dict[str, str]:
    names = {
        "snapshot": f"refs/tags/{ZARR_CHECKSUM}",
        "draft": "draft",
        "tree": "draft^{tree}",
        "annex": "git-annex",
        "annex tree": "git-annex^{tree}",
        "zarr.json": "draft:.dandi/zarr.json",
    }
    return {what: git(repository, "rev-parse", "--verify", name) for what, name in names.items()}


def test_the_hashes_are_those_of_this_layout(repository: Repository, git: Git) -> None:
    assert layout.NUMBER == 2
    assert hashes(git, repository.path) == VECTORS


def test_the_hashes_of_a_zarr_are_those_of_this_layout(store: Store, zarr: HeldZarr, git: Git) -> None:
    assert layout.NUMBER == 2
    assert str(zarr.checksum) == ZARR_CHECKSUM
    assert zarr_hashes(git, store.alias(ZARR_ID)) == ZARR_VECTORS
    git(store.alias(ZARR_ID), "fsck", "--strict", "--full")


def test_the_tree_of_the_zarr_is_literally_this(store: Store, zarr: HeldZarr, git: Git) -> None:
    """What the hashes stand for, to be read by people."""
    repository = store.alias(ZARR_ID)
    assert git(repository, "ls-tree", "-r", "--name-only", zarr.oid.hex()).splitlines() == [
        "%2Egit/config",
        ".dandi/zarr.json",
        ".datalad/.gitattributes",
        ".datalad/config",
        ".gitattributes",
        ".zattrs",
        ".zgroup",
        "0/.zarray",
        "0/0.0",
        "0/0/é 😀.nii.gz",
        "0/1+1%25",
        "a.b/0",
        "a/0",
    ]
    same, empty = "51037a4a37730f52c8732586d3aaa316", "d41d8cd98f00b204e9800998ecf8427e"
    for path, key in {"0/0.0": f"MD5E-s4--{same}.0", "0/1+1%25": f"MD5E-s0--{empty}"}.items():
        assert git(repository, "cat-file", "blob", f"draft:{path}").startswith("../.git/annex/objects/")
        assert git(repository, "cat-file", "blob", f"draft:{path}").endswith(f"/{key}/{key}")


def test_git_finds_nothing_wrong(repository: Repository, git: Git) -> None:
    git(repository.path, "fsck", "--strict", "--full")
