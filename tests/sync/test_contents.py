"""What an asset becomes: a link, a text in git, or a line of pending.jsonl. Zarrs have tests of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mirror.demo import DemoArchive
from mirror.demo.faults import Status
from mirror.errors import SomeFailed
from mirror.store.store import Store

if TYPE_CHECKING:
    from tests.sync.conftest import Git, MirrorOnce, RefsOf, RepositoryOf


@pytest.fixture
def dandiset(archive: DemoArchive) -> str:
    return archive.create_dandiset("Ripples")


def files(git: Git, repository: Path, commit: str = "draft") -> dict[str, str]:
    """Every file but those that each version has, by path, with its mode."""
    lines = git(repository, "ls-tree", "-r", "--format=%(objectmode) %(path)", commit).splitlines()
    found = {path: mode for mode, path in (line.split(" ", 1) for line in lines)}
    usual = {".datalad/.gitattributes", ".datalad/config", ".gitattributes", "dandiset.yaml", ".dandi/version.json"}
    assert usual <= found.keys()
    return {path: found[path] for path in found.keys() - usual}


def test_a_dandiset_without_assets_is_a_dataset_all_the_same(
    dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    mirror_once().check()
    assert files(git, repository_of(dandiset)) == {}
    assert git(repository_of(dandiset), "log", "--format=%s", "draft") == "draft: no asset changed"


def test_name_and_size_decide_what_is_a_text(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    archive.add_assets(
        dandiset,
        [
            ("README", b"r" * 1_048_576),
            ("large.json", b"x" * 1_048_577),
            ("sub-1/notes.txt", b"no newline, \xff and \x00"),
            ("sub-1/empty.tsv", b""),
            ("sub-1/a.nwb", b"text in a file of another name"),
        ],
    )
    mirror_once()
    repository = repository_of(dandiset)
    found = files(git, repository)
    assert {path: mode for path, mode in found.items() if not path.startswith(".dandi/")} == {
        "README": "100644",
        "large.json": "120000",
        "sub-1/notes.txt": "100644",
        "sub-1/empty.tsv": "100644",
        "sub-1/a.nwb": "120000",
    }
    assert git(repository, "cat-file", "-s", "draft:sub-1/notes.txt") == "19"
    assert git(repository, "cat-file", "blob", "draft:sub-1/a.nwb").startswith("../.git/annex/objects/")
    assert git(repository, "cat-file", "blob", "draft:large.json").startswith(".git/annex/objects/")


def test_every_asset_has_its_record_beside_those_of_its_folder(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    archive.add_assets(dandiset, [(path, path.encode()) for path in ("b.nwb", "a.json", "x/y/2.nwb", "x/y/10.nwb")])
    mirror_once()
    repository = repository_of(dandiset)
    at_top = git(repository, "show", "draft:.dandi/assets/assets.jsonl").splitlines()
    assert [json.loads(line)["path"] for line in at_top] == ["a.json", "b.nwb"]
    below = [json.loads(line) for line in git(repository, "show", "draft:.dandi/assets/x/y/assets.jsonl").splitlines()]
    assert [record["path"] for record in below] == ["x/y/10.nwb", "x/y/2.nwb"]
    for record in below:
        asset = archive.asset(dandiset, record["path"])
        assert record["asset_id"] == asset.asset_id
        assert not {"contentUrl", "access"} & record["metadata"].keys()


class TestPending:
    """Assets the archive has not hashed yet."""

    def test_they_wait_in_a_list_and_appear_once_hashed_though_no_time_moves(
        self,
        archive: DemoArchive,
        dandiset: str,
        git: Git,
        mirror_once: MirrorOnce,
        repository_of: RepositoryOf,
        store: Path,
    ) -> None:
        archive.add_asset(dandiset, "ready.nwb", b"ready")
        archive.add_asset(dandiset, "sub-1/late.nwb", b"late", hashed=False)
        archive.add_asset(dandiset, "sub-1/late.json", b"{}", hashed=False)
        report = mirror_once()
        repository = repository_of(dandiset)
        assert files(git, repository).keys() == {
            ".dandi/assets/assets.jsonl",
            ".dandi/pending.jsonl",
            "ready.nwb",
        }
        waiting = git(repository, "show", "draft:.dandi/pending.jsonl").splitlines()
        assert [json.loads(line)["path"] for line in waiting] == ["sub-1/late.json", "sub-1/late.nwb"]
        assert any(text.startswith("2 assets wait for the archive") for text in report.outcomes[0].warnings)
        assert Store.open(store).state(dandiset).pending == 2

        # looked at each time, and nothing written while nothing is new
        assert [outcome.result for outcome in mirror_once().outcomes] == ["unchanged"]

        archive.hash_now()
        (outcome,) = mirror_once().outcomes
        assert outcome.message == "draft: 2 modified"
        assert files(git, repository).keys() == {
            ".dandi/assets/assets.jsonl",
            ".dandi/assets/sub-1/assets.jsonl",
            "ready.nwb",
            "sub-1/late.json",
            "sub-1/late.nwb",
        }
        assert mirror_once().still == 1

    def test_new_content_that_is_not_hashed_takes_the_old_away(
        self, archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
    ) -> None:
        archive.add_asset(dandiset, "sub-1/a.nwb", b"old")
        mirror_once()
        archive.replace_asset(dandiset, "sub-1/a.nwb", content=b"new", hashed=False)
        mirror_once()
        assert files(git, repository_of(dandiset)).keys() == {".dandi/pending.jsonl"}


class TestTextsThatCannotBeHad:
    """Then the Dandiset is left as it was: a text is never quietly annexed instead."""

    def test_a_text_that_is_not_what_its_digest_says(
        self,
        archive: DemoArchive,
        dandiset: str,
        mirror_once: MirrorOnce,
        refs_of: RefsOf,
        store: Path,
    ) -> None:
        archive.add_asset(dandiset, "README.md", b"first")
        mirror_once()
        before = refs_of(dandiset)
        archive.replace_asset(dandiset, "README.md", content=b"second")
        blob = archive.asset(dandiset, "README.md").blob
        assert blob is not None
        archive.objects.put(blob.key, b"forged")
        report = mirror_once()
        assert report.count("failed") == 1
        assert "README.md" in report.outcomes[0].message
        assert "SHA-256" in report.outcomes[0].message
        assert refs_of(dandiset) == before
        failure = Store.open(store).state(dandiset).failure
        assert failure is not None
        assert (failure.kind, failure.count) == ("ContentRefused", 1)

        # tried again though nothing moved, until it works
        mirror_once()
        failure = Store.open(store).state(dandiset).failure
        assert failure is not None
        assert failure.count == 2
        archive.objects.put(blob.key, b"second")
        mirror_once().check()
        assert Store.open(store).state(dandiset).failure is None
        assert refs_of(dandiset) != before

    def test_a_first_sync_that_fails_leaves_nothing_to_clone(
        self, archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path
    ) -> None:
        archive.add_asset(dandiset, "README.md", b"text")
        archive.s3_faults.add(Status(404), path="blobs/", times=None)
        assert mirror_once().count("failed") == 1
        assert Store.open(store).dandisets() == []
        assert not Store.open(store).repository(dandiset).path.exists()
        archive.s3_faults.clear()
        mirror_once().check()
        assert Store.open(store).dandisets() == [dandiset]

    def test_the_others_are_mirrored(
        self, archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path
    ) -> None:
        archive.add_asset(dandiset, "README.md", b"text")
        archive.s3_faults.add(Status(404), path="blobs/", times=None)
        other = archive.create_dandiset("Place cells")
        archive.add_asset(other, "a.nwb", b"a")
        report = mirror_once()
        with pytest.raises(SomeFailed, match="1 Dandiset failed, 1 did not") as caught:
            report.check()
        assert caught.value.exit_code == 3
        assert Store.open(store).dandisets() == [other]


def test_one_content_at_many_paths_is_fetched_once(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce
) -> None:
    archive.add_assets(dandiset, [(f"sub-{number}/README.md", b"the same") for number in range(20)])
    mirror_once()
    assert archive.count(server="s3", method="GET") == 1
