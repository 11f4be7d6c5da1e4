"""What a Zarr is in a mirror: a dataset of its own, which its Dandiset has as a submodule."""

from __future__ import annotations

import json
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mirror.dataset.commits import trailers
from mirror.demo import DemoArchive
from mirror.demo.zarr_files import ZarrFormat, ome_zarr_files, sample_image, zarr_files
from mirror.store.store import Store

if TYPE_CHECKING:
    from tests.sync.conftest import Git, MirrorOnce, RepositoryOf
    from tests.sync.zarr.conftest import Addresses, AddressesOf, Keys, Submodules, ZarrRefs

PATH = "sub-1/micr/sub-1_SPIM.ome.zarr"
FILES = {".zgroup": b'{"zarr_format": 2}', "0/.zarray": b"{}", "0/0/0": b"one", "0/0/1.5": b"two", "0/1/0": b"one"}


def key(path: str, content: bytes) -> str:
    """For names whose extension is plain to see."""
    name = path.rpartition("/")[2]
    ending = name[name.rindex(".") :] if "." in name.lstrip(".") else ""
    return f"MD5E-s{len(content)}--{md5(content, usedforsecurity=False).hexdigest()}{ending}"


@pytest.fixture
def zarr(archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce) -> str:
    """A Zarr that is mirrored; its id."""
    zarr_id = archive.add_zarr(dandiset, PATH, FILES)
    mirror_once().check()
    return zarr_id


def test_it_is_a_dataset_of_its_own_at_its_path(
    git: Git, dandiset: str, zarr: str, submodules: Submodules, zarr_refs: ZarrRefs, repository_of: RepositoryOf
) -> None:
    assert submodules(dandiset) == {PATH: zarr_refs(zarr)["refs/heads/draft"]}
    assert git(repository_of(dandiset), "show", "draft:.gitmodules").splitlines() == [
        f'[submodule "{PATH}"]',
        f"\tpath = {PATH}",
        f"\turl = ../{zarr}",
        f"\tdatalad-id = {zarr}",
    ]
    repository = repository_of(zarr)
    assert git(repository, "config", "--blob", "draft:.datalad/config", "datalad.dataset.id") == zarr
    assert git(repository, "symbolic-ref", "HEAD") == "refs/heads/draft"
    assert repository.resolve().parts[-2:] == (zarr[:3], zarr[3:])
    for either in (repository, repository_of(dandiset)):
        assert git(either, "fsck", "--strict", "--full") == ""  # not even an object that nothing leads to


def test_its_record_stands_among_those_of_the_assets(
    git: Git, dandiset: str, zarr: str, repository_of: RepositoryOf
) -> None:
    record = json.loads(git(repository_of(dandiset), "show", "draft:.dandi/assets/sub-1/micr/assets.jsonl"))
    assert (record["path"], record["zarr"]) == (PATH, zarr)


def test_its_tree_has_its_files_as_keys_of_their_md5(
    git: Git, zarr: str, keys_in: Keys, repository_of: RepositoryOf
) -> None:
    assert keys_in(zarr) == {path: key(path, content) for path, content in FILES.items()}
    assert key("0/0/1.5", b"two").endswith(".5")
    own = set(git(repository_of(zarr), "ls-tree", "-r", "--name-only", "draft").splitlines()) - FILES.keys()
    assert own == {".dandi/zarr.json", ".datalad/.gitattributes", ".datalad/config", ".gitattributes"}
    attributes = git(repository_of(zarr), "show", "draft:.gitattributes").splitlines()
    assert attributes[0] == "* annex.backend=MD5E"


def test_it_says_which_zarr_it_is_and_in_which_state(
    archive: DemoArchive, git: Git, zarr: str, repository_of: RepositoryOf
) -> None:
    checksum = archive.zarr(zarr).checksum
    assert json.loads(git(repository_of(zarr), "show", "draft:.dandi/zarr.json")) == {
        "bucket": archive.bucket,
        "bytes": sum(map(len, FILES.values())),
        "checksum": checksum,
        "file_count": len(FILES),
        "prefix": f"zarr/{zarr}/",
        "zarr_id": zarr,
    }
    message = git(repository_of(zarr), "log", "-1", "--format=%B", "draft")
    assert trailers(message) == {
        "Zarr": zarr,
        "Checksum": checksum,
        "Files": str(len(FILES)),
        "Bytes": str(sum(map(len, FILES.values()))),
        "Layout": "2",
    }


def test_a_snapshot_has_no_parent_and_one_fixed_date_and_the_draft_strings_the_states_together(
    archive: DemoArchive, git: Git, dandiset: str, zarr: str, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    first, repository = archive.zarr(zarr).checksum, repository_of(zarr)
    archive.clock.advance(days=1)
    archive.change_zarr(dandiset, PATH, {"0/0/0": b"three"})
    mirror_once().check()
    second = archive.zarr(zarr).checksum

    assert git(repository, "tag").splitlines() == sorted([str(first), str(second)])
    for tag in (first, second):
        assert git(repository, "cat-file", "-t", f"refs/tags/{tag}") == "commit"
        assert git(repository, "log", "-1", "--format=%P %aI %cI", f"refs/tags/{tag}") == (
            " 2020-01-01T00:00:00+00:00 2020-01-01T00:00:00+00:00"
        )
    snapshots = [git(repository, "rev-parse", f"refs/tags/{tag}") for tag in (second, first)]
    drafts = git(repository, "log", "-2", "--first-parent", "--format=%P", "draft").splitlines()
    assert [parents.split()[-1] for parents in drafts] == snapshots
    assert [len(parents.split()) for parents in drafts] == [2, 1]
    for commit, snapshot in zip(("draft", "draft^1"), snapshots, strict=True):
        assert git(repository, "rev-parse", f"{commit}^{{tree}}") == git(
            repository, "rev-parse", f"{snapshot}^{{tree}}"
        )
    dates = git(repository, "log", "-2", "--first-parent", "--format=%as", "draft").splitlines()
    assert dates == ["2026-11-21", "2026-11-20"]


def test_a_snapshot_is_the_same_in_every_mirror_whatever_it_saw_before(
    archive: DemoArchive, dandiset: str, zarr: str, mirror_once: MirrorOnce, zarr_refs: ZarrRefs, tmp_path: Path
) -> None:
    for content in (b"three", b"four"):
        archive.clock.advance(days=1)
        archive.change_zarr(dandiset, PATH, {"0/0/0": content, f"1/{content.decode()}": content})
        mirror_once().check()
    archive.clock.advance(days=300)
    mirror_once(store=tmp_path / "later").check()
    tag = f"refs/tags/{archive.zarr(zarr).checksum}"
    followed, later = zarr_refs(zarr), zarr_refs(zarr, store=tmp_path / "later")
    assert followed[tag] == later[tag]
    assert followed["refs/heads/draft"] != later["refs/heads/draft"]
    assert len(later) == 3


def test_its_keys_are_to_be_had_from_the_bucket_and_dearer_from_the_api(
    git: Git, zarr: str, addresses_in: Addresses, addresses_of: AddressesOf, repository_of: RepositoryOf
) -> None:
    assert addresses_in(zarr) == {
        key(".zgroup", FILES[".zgroup"]): addresses_of(zarr, ".zgroup"),
        key("0/.zarray", b"{}"): addresses_of(zarr, "0/.zarray"),
        key("0/0/0", b"one"): addresses_of(zarr, "0/0/0", "0/1/0"),
        key("0/0/1.5", b"two"): addresses_of(zarr, "0/0/1.5"),
    }
    remotes = git(repository_of(zarr), "show", "git-annex:remote.log").splitlines()
    assert len(remotes) == 1
    assert " cost=300 " in remotes[0]
    assert " type=web " in remotes[0]


def test_odd_names_are_escaped_in_addresses_and_are_themselves_in_the_tree(
    archive: DemoArchive,
    dandiset: str,
    mirror_once: MirrorOnce,
    keys_in: Keys,
    addresses_in: Addresses,
    addresses_of: AddressesOf,
) -> None:
    names = ["a b", "é \U0001f9e0", "a+b", "a&b=c?d#e", '"quoted"', "a.b/c", "a/c", "tab\there", "new\nline", "a;b"]
    files = {f"{name}": name.encode() for name in names}
    zarr_id = archive.add_zarr(dandiset, PATH, files)
    mirror_once().check()
    assert keys_in(zarr_id).keys() == files.keys()
    addresses = addresses_in(zarr_id)
    for name, found in keys_in(zarr_id).items():
        assert addresses[found] == addresses_of(zarr_id, name)


def test_what_git_and_datalad_reserve_is_escaped_inside_a_zarr(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, keys_in: Keys, repository_of: RepositoryOf
) -> None:
    escaped = {
        ".git": "%2Egit",
        "0/.git/config": "0/%2Egit/config",
        "0/.GIT": "0/%2EGIT",
        ".gitattributes": "%2Egitattributes",
        "0/.gitattributes": "0/%2Egitattributes",
        ".gitmodules": "%2Egitmodules",
        ".datalad/config": "%2Edatalad/config",
        ".dandi/zarr.json": "%2Edandi/zarr.json",
        "0/.dandi/zarr.json": "0/.dandi/zarr.json",
        "100%": "100%25",
        "%2Egit": "%252Egit",
    }
    zarr_id = archive.add_zarr(dandiset, "x.zarr", {path: path.encode() for path in escaped})
    mirror_once().check()
    assert keys_in(zarr_id) == {where: key(path, path.encode()) for path, where in escaped.items()} | {
        where: keys_in(zarr_id)[where] for where in escaped.values() if "." in where.rpartition("/")[2]
    }
    assert git(repository_of(zarr_id), "fsck", "--strict", "--full") == ""
    assert git(repository_of(zarr_id), "config", "--blob", "draft:.datalad/config", "datalad.dataset.id") == zarr_id


def test_an_empty_zarr(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, submodules: Submodules, keys_in: Keys
) -> None:
    zarr_id = archive.add_zarr(dandiset, "empty.zarr", {})
    mirror_once().check()
    assert submodules(dandiset).keys() == {"empty.zarr"}
    assert keys_in(zarr_id) == {}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_real_zarrs_of_both_formats(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, keys_in: Keys, zarr_format: ZarrFormat
) -> None:
    image = sample_image()
    for path, files in {
        "nested.zarr": zarr_files(image, chunks=(16, 16), zarr_format=zarr_format),
        "flat.zarr": zarr_files(image, chunks=(16, 16), zarr_format=zarr_format, separator="."),
        "image.ome.zarr": ome_zarr_files(image, chunks=(16, 16), zarr_format=zarr_format),
    }.items():
        zarr_id = archive.add_zarr(dandiset, path, files)
        mirror_once().check()
        digests = {where: found.partition("--")[2][:32] for where, found in keys_in(zarr_id).items()}
        assert digests == {name: md5(body, usedforsecurity=False).hexdigest() for name, body in files.items()}


def test_one_zarr_under_two_paths_and_in_two_dandisets_is_one_dataset(
    archive: DemoArchive,
    dandiset: str,
    zarr: str,
    mirror_once: MirrorOnce,
    submodules: Submodules,
    zarr_refs: ZarrRefs,
    store: Path,
) -> None:
    other = archive.create_dandiset("Place cells")
    archive.link_zarr(dandiset, "copy.zarr", zarr)
    archive.link_zarr(other, "theirs.zarr", zarr)
    archive.change_zarr(dandiset, PATH, {"0/0/0": b"three"})
    archive.requests.clear()
    report = mirror_once()
    report.check()
    tip = zarr_refs(zarr)["refs/heads/draft"]
    assert submodules(dandiset) == {PATH: tip, "copy.zarr": tip}
    assert submodules(other) == {"theirs.zarr": tip}
    assert archive.count(server="s3", path=f"prefix=zarr/{zarr}") == 1
    assert Store.open(store).zarrs() == [zarr]


def test_its_alias_is_there_from_the_first_sync_on_and_no_zarr_is_taken_for_a_dandiset(
    dandiset: str, zarr: str, store: Path
) -> None:
    opened = Store.open(store)
    assert opened.alias(zarr).is_symlink()
    assert opened.dandisets() == [dandiset]
    assert opened.zarrs() == [zarr]
