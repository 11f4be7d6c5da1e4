"""What a further sync costs and writes: as much as changed, and nothing when nothing did."""

from __future__ import annotations

import os
import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mirror.dataset.commits import trailers
from mirror.demo import DemoArchive
from mirror.errors import Locked, StoreError
from mirror.store.store import Store
from mirror.sync.engine import sync

if TYPE_CHECKING:
    from tests.sync.conftest import Git, MirrorOnce, RefsOf, RepositoryOf, SettingsOf

MOUSE = {"wasAttributedTo": [{"species": {"name": "Mus musculus", "identifier": "mouse"}}]}
RAT = {"wasAttributedTo": [{"species": {"name": "Rattus norvegicus", "identifier": "rat"}}]}


@pytest.fixture
def dandiset(archive: DemoArchive) -> str:
    """A Dandiset of a few assets, one version and nothing new in the draft."""
    identifier = archive.create_dandiset("Ripples")
    archive.add_assets(identifier, [(f"sub-1/{number}.nwb", b"%d" % number, MOUSE) for number in range(5)])
    archive.add_asset(identifier, "README.md", b"Ripples\n")
    archive.publish(identifier)
    return identifier


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and link with its inode, size and time."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            status = path.lstat()
            found[str(path.relative_to(folder))] = status.st_ino, status.st_size, status.st_mtime_ns
    return found


def packs(repository: Path) -> set[Path]:
    return set(repository.resolve().glob("objects/pack/*.idx"))


def new_objects(git: Git, repository: Path, before: set[Path]) -> set[str]:
    """The objects in the packs that came since."""
    found: set[str] = set()
    for index in packs(repository) - before:
        lines = git(repository, "verify-pack", "-v", str(index)).splitlines()
        found |= {line[:40] for line in lines if re.match("[0-9a-f]{40} ", line)}
    return found


@pytest.mark.usefixtures("dandiset")
def test_nothing_changed_nothing_written(archive: DemoArchive, store: Path, mirror_once: MirrorOnce) -> None:
    archive.create_dandiset("Another")
    mirror_once()
    before = snapshot(store / "public"), snapshot(store / "state" / "dandisets")
    archive.requests.clear()
    report = mirror_once()
    assert (report.outcomes, report.still) == ([], 2)
    assert (snapshot(store / "public"), snapshot(store / "state" / "dandisets")) == before
    assert 2 <= archive.count() <= 3


def test_an_empty_look_at_everything_writes_nothing_either(dandiset: str, store: Path, mirror_once: MirrorOnce) -> None:
    mirror_once()
    before = snapshot(store / "public")
    report = mirror_once(everything=True)
    assert [outcome.result for outcome in report.outcomes] == ["unchanged"]
    assert snapshot(store / "public") == before
    assert Store.open(store).state(dandiset).checked is not None


def test_a_changed_draft_is_one_commit(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, refs_of: RefsOf, repository_of: RepositoryOf
) -> None:
    mirror_once()
    repository, before = repository_of(dandiset), refs_of(dandiset)
    archive.add_asset(dandiset, "sub-1/new.nwb", b"new")
    archive.replace_asset(dandiset, "sub-1/0.nwb", content=b"other")
    archive.remove_asset(dandiset, "sub-1/1.nwb")
    mirror_once()
    after = refs_of(dandiset)
    assert git(repository, "rev-parse", "draft^") == before["refs/heads/draft"]
    assert git(repository, "rev-list", "--count", f"{before['refs/heads/draft']}..draft") == "1"
    assert git(repository, "log", "-1", "--format=%s", "draft") == "draft: 1 added, 1 modified, 1 removed"
    unmoved = after.keys() - {"refs/heads/draft", "refs/heads/git-annex", "git-annex^{tree}"}
    assert {name: before[name] for name in unmoved} == {name: after[name] for name in unmoved}


def test_a_draft_is_dated_by_the_archive(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    mirror_once()
    archive.clock.advance(days=1)
    archive.add_asset(dandiset, "new.nwb", b"new")
    mirror_once()
    message = git(repository_of(dandiset), "log", "-1", "--format=%B", "draft")
    when = datetime.fromisoformat(trailers(message)["Archive-Modified"]).replace(microsecond=0)
    assert trailers(message)["Archive-Modified"] == archive.dandiset(dandiset).draft.modified
    for date in ("%aI", "%cI"):
        seen = datetime.fromisoformat(git(repository_of(dandiset), "log", "-1", f"--format={date}", "draft"))
        assert seen.astimezone(UTC) == when


def test_a_new_version_is_one_release_a_pair_of_tags_and_one_draft(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, refs_of: RefsOf, repository_of: RepositoryOf
) -> None:
    mirror_once()
    repository, before = repository_of(dandiset), refs_of(dandiset)
    archive.clock.advance(60)
    archive.add_asset(dandiset, "new.nwb", b"new")
    version = archive.publish(dandiset)
    mirror_once()
    after = refs_of(dandiset)
    doi = archive.version(dandiset, version).stored["doi"]
    assert after.keys() - before.keys() == {f"refs/tags/{version}", f"refs/tags/doi/{doi}"}
    release, draft = after["refs/heads/releases"], after["refs/heads/draft"]
    assert git(repository, "rev-parse", "releases^@") == before["refs/heads/releases"]
    assert git(repository, "rev-parse", "draft^@").split() == [before["refs/heads/draft"], release]
    assert git(repository, "rev-parse", f"{version}^{{commit}}", f"doi/{doi}").split() == [release, release]
    assert git(repository, "cat-file", "-t", version) == "tag"
    assert git(repository, "cat-file", "-t", f"doi/{doi}") == "commit"
    assert git(repository, "rev-list", "--count", f"{before['refs/heads/draft']}..{draft}") == "2"
    assert git(repository, "describe", "draft").startswith(version)


def test_the_first_draft_descends_from_the_releases(
    dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    mirror_once()
    repository = repository_of(dandiset)
    assert git(repository, "rev-parse", "draft^@") == git(repository, "rev-parse", "releases")
    assert git(repository, "symbolic-ref", "HEAD") == "refs/heads/draft"


def test_two_versions_between_polls_come_one_after_the_other(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    mirror_once()
    versions = []
    for content in (b"second", b"third"):
        archive.clock.advance(60)
        archive.replace_asset(dandiset, "README.md", content=content)
        versions.append(archive.publish(dandiset))
    mirror_once()
    repository = repository_of(dandiset)
    subjects = git(repository, "log", "--format=%s", "releases").splitlines()
    assert subjects[:2] == [f"{versions[1]}: 1 modified", f"{versions[0]}: 1 modified"]
    assert git(repository, "show", f"{versions[0]}:README.md") == "second"
    assert git(repository, "show", f"{versions[1]}:README.md") == "third"
    assert len(git(repository, "rev-parse", "draft^@").split()) == 2


def test_times_and_status_alone_make_no_commit_but_are_remembered(
    archive: DemoArchive, dandiset: str, store: Path, mirror_once: MirrorOnce
) -> None:
    mirror_once()
    before = snapshot(store / "public")
    archive.clock.advance(60)
    archive.touch_draft(dandiset, status="Pending")
    report = mirror_once()
    assert [outcome.result for outcome in report.outcomes] == ["unchanged"]
    assert snapshot(store / "public") == before
    assert Store.open(store).state(dandiset).draft_modified == archive.dandiset(dandiset).draft.modified
    archive.requests.clear()
    assert mirror_once().still == 1
    assert archive.count() <= 3


def test_a_change_of_the_dandisets_own_metadata_is_a_commit(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    mirror_once()
    archive.edit_dandiset(dandiset, description="Said better")
    mirror_once()
    repository = repository_of(dandiset)
    assert git(repository, "log", "-1", "--format=%s", "draft") == "draft: no asset changed"
    changed = git(repository, "diff", "--name-only", "draft^", "draft").splitlines()
    assert changed == [".dandi/version.json", "dandiset.yaml"]


def test_the_pack_of_a_change_holds_what_changed(
    archive: DemoArchive, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    files = [
        (f"sub-{subject}/{number}.nwb", b"%d %d" % (subject, number)) for subject in range(9) for number in range(9)
    ]
    sizes = []
    for count in (36, 81):
        identifier = archive.create_dandiset("Large")
        archive.add_assets(identifier, files[:count])
        mirror_once()
        repository = repository_of(identifier)
        before = packs(repository)
        archive.replace_asset(identifier, "sub-3/3.nwb", content=b"other %d" % count)
        mirror_once()
        new = new_objects(git, repository, before)
        sizes.append(len(new))
        in_draft = dict(line.split("\t", 1) for line in _tree_lines(git, repository))
        changed = {in_draft[oid] for oid in new & in_draft.keys()}
        assert {path for path in changed if "sub-" in path} == {"sub-3/3.nwb", ".dandi/assets/sub-3/assets.jsonl"}
    assert sizes[0] == sizes[1] <= 24


def _tree_lines(git: Git, repository: Path) -> list[str]:
    return git(repository, "ls-tree", "-r", "--format=%(objectname)%x09%(path)", "draft").splitlines()


def test_a_rename_moves_the_link_and_little_else(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf, refs_of: RefsOf
) -> None:
    mirror_once()
    before = refs_of(dandiset)
    archive.rename_asset(dandiset, "sub-1/0.nwb", "sub-2/zero.nwb")
    mirror_once()
    repository = repository_of(dandiset)
    assert git(repository, "log", "-1", "--format=%s", "draft") == "draft: 1 added, 1 removed"
    # same name of the key, so not a word about it
    assert refs_of(dandiset)["refs/heads/git-annex"] == before["refs/heads/git-annex"]


def test_a_change_of_metadata_alone_says_so_and_records_no_address(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf, refs_of: RefsOf
) -> None:
    mirror_once(annex_metadata=False)
    before = refs_of(dandiset)
    archive.replace_asset(dandiset, "sub-1/0.nwb", metadata=RAT)
    archive.requests.clear()
    mirror_once(annex_metadata=False)
    assert refs_of(dandiset)["refs/heads/git-annex"] == before["refs/heads/git-annex"]
    assert archive.count(server="s3") == 0
    changed = git(repository_of(dandiset), "diff", "--name-only", "draft^", "draft").splitlines()
    assert ".dandi/assets/sub-1/assets.jsonl" in changed
    assert "sub-1/0.nwb" not in changed


def test_a_text_reuploaded_as_it_was_is_not_fetched_again(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce
) -> None:
    mirror_once()
    archive.replace_asset(dandiset, "README.md", content=b"Ripples\n")
    archive.requests.clear()
    report = mirror_once()
    assert [outcome.message for outcome in report.outcomes] == ["draft: 1 modified"]
    assert archive.count(server="s3") == 0


def test_a_changed_asset_costs_a_handful_of_requests(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce
) -> None:
    mirror_once()
    archive.replace_asset(dandiset, "sub-1/0.nwb", content=b"other")
    archive.requests.clear()
    mirror_once()
    assert archive.count(server="s3") == 1
    # what it is and what moved; versions; the draft twice, its list; the asset
    assert archive.count(server="api") <= 7


@pytest.mark.parametrize("loss", ["gone", "garbage", "of another format"])
def test_a_lost_index_changes_nothing(
    archive: DemoArchive,
    dandiset: str,
    tmp_path: Path,
    store: Path,
    mirror_once: MirrorOnce,
    refs_of: RefsOf,
    loss: str,
) -> None:
    kept = tmp_path / "kept"
    for root in (store, kept):
        mirror_once(store=root)
    archive.replace_asset(dandiset, "sub-1/0.nwb", content=b"other")
    archive.remove_asset(dandiset, "sub-1/1.nwb")
    index = store / "state" / "index.sqlite"
    for file in index.parent.glob("index.sqlite*"):
        file.unlink()
    if loss == "garbage":
        index.write_bytes(os.urandom(5000))
    elif loss == "of another format":
        with sqlite3.connect(index) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
    for root in (store, kept):
        mirror_once(store=root).check()
    assert refs_of(dandiset) == refs_of(dandiset, store=kept)


@pytest.mark.parametrize("loss", [None, b"", b"{", b'{"identifier": "999999"}', b"\xff\xfe"])
def test_a_lost_state_file_costs_a_second_look_and_no_more(
    dandiset: str, store: Path, mirror_once: MirrorOnce, refs_of: RefsOf, loss: bytes | None
) -> None:
    mirror_once()
    before = refs_of(dandiset), snapshot(store / "public")
    marks = store / "state" / "dandisets" / f"{dandiset}.json"
    if loss is None:
        marks.unlink()
    else:
        marks.write_bytes(loss)
    report = mirror_once()
    assert [outcome.result for outcome in report.outcomes] == ["unchanged"]
    assert (refs_of(dandiset), snapshot(store / "public")) == before
    assert mirror_once().still == 1


def test_a_store_that_is_in_use_is_left_alone(
    dandiset: str, store: Path, mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    mirror_once()
    before = refs_of(dandiset)
    with Store.open(store).lock("dandi-mirror sync 000027"), pytest.raises(Locked, match="dandi-mirror sync 000027"):
        mirror_once(everything=True)
    assert refs_of(dandiset) == before


def test_a_store_of_another_archive_is_left_alone(
    dandiset: str, store: Path, settings_of: SettingsOf, mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    mirror_once()
    before = refs_of(dandiset)
    with (
        DemoArchive(seed=2, instance_url="https://other.example.org/") as other,
        pytest.raises(StoreError, match=r"mirrors https://demo-dandi\.example\.org, not https://other\.example\.org"),
    ):
        sync(settings_of(other, store))
    assert refs_of(dandiset) == before


@pytest.mark.parametrize(("changed", "singles", "pages"), [(29, 29, 0), (30, 0, 1)])
def test_changed_assets_are_asked_for_one_by_one_when_few_and_by_the_page_when_many(
    archive: DemoArchive, mirror_once: MirrorOnce, changed: int, singles: int, pages: int
) -> None:
    identifier = archive.create_dandiset("Many")
    archive.add_assets(identifier, [(f"sub-1/{number:04d}.nwb", b"%d" % number) for number in range(1200)])
    mirror_once().check()
    for number in range(changed):
        archive.replace_asset(identifier, f"sub-1/{number:04d}.nwb", content=b"new %d" % number)
    archive.requests.clear()

    [outcome] = mirror_once().outcomes

    assert outcome.message == f"draft: {changed} modified"
    assert archive.count(path=r"^/api/assets/[^/]+/info/") == singles
    listings = [one for one in archive.requests if one.path.endswith("/versions/draft/assets/")]
    assert sum("metadata" in str(one.query) for one in listings) == pages
    assert len(listings) == 2 + pages  # the slim listing has two pages
