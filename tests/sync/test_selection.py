"""Which Dandisets and assets are mirrored, what becomes of those that vanish, and what a changed layout does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mirror.dataset.commits import trailers
from mirror.demo import DemoArchive
from mirror.store.store import Store

if TYPE_CHECKING:
    from tests.sync.conftest import Git, MirrorOnce, RefsOf, RepositoryOf


@pytest.fixture
def dandisets(archive: DemoArchive) -> list[str]:
    """Five Dandisets of one asset each."""
    found = [archive.create_dandiset(f"Number {number}") for number in range(1, 6)]
    for identifier in found:
        archive.add_asset(identifier, "a.nwb", identifier.encode())
    return found


@pytest.mark.parametrize("count", [1, 3, 4])
def test_only_those_selected_are_mirrored(
    dandisets: list[str], mirror_once: MirrorOnce, store: Path, count: int
) -> None:
    mirror_once(select__dandisets=dandisets[:count]).check()
    assert Store.open(store).dandisets() == dandisets[:count]
    assert mirror_once(select__dandisets=dandisets[:count]).still == count


def test_those_excluded_are_not(dandisets: list[str], mirror_once: MirrorOnce, store: Path) -> None:
    report = mirror_once(select__exclude=dandisets[1:3])
    assert [outcome.result for outcome in report.outcomes] == ["changed"] * 3
    assert Store.open(store).dandisets() == [dandisets[0], *dandisets[3:]]


def test_one_mirrored_before_it_was_excluded_is_kept_and_not_missed(
    archive: DemoArchive, dandisets: list[str], mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    mirror_once()
    before = refs_of(dandisets[0])
    archive.add_asset(dandisets[0], "b.nwb", b"b")
    report = mirror_once(select__exclude=dandisets[:1])
    assert (report.outcomes, report.still) == ([], 4)
    assert refs_of(dandisets[0]) == before


def test_whoever_is_named_is_mirrored_though_excluded(
    dandisets: list[str], mirror_once: MirrorOnce, store: Path
) -> None:
    mirror_once(dandisets[0], select__exclude=dandisets)
    assert Store.open(store).dandisets() == dandisets[:1]


def test_one_that_was_never_there_fails(mirror_once: MirrorOnce, store: Path) -> None:
    report = mirror_once("000999")
    assert [(outcome.result, outcome.message) for outcome in report.outcomes] == [
        ("failed", "the archive has no Dandiset 000999")
    ]
    assert Store.open(store).known() == []


def test_an_embargoed_dandiset_is_passed_over(archive: DemoArchive, mirror_once: MirrorOnce, store: Path) -> None:
    identifier = archive.create_dandiset("Secret", embargoed=True)
    mirror_once().check()
    report = mirror_once(identifier)
    assert [outcome.result for outcome in report.outcomes] == ["embargoed"]
    assert Store.open(store).dandisets() == []


class TestVanished:
    """A Dandiset that the archive does not have any more."""

    def test_it_is_kept_and_marked_and_told_once(
        self, archive: DemoArchive, dandisets: list[str], mirror_once: MirrorOnce, refs_of: RefsOf, store: Path
    ) -> None:
        mirror_once()
        before = refs_of(dandisets[0])
        archive.delete_dandiset(dandisets[0])
        report = mirror_once()
        report.check()
        assert [(outcome.identifier, outcome.result) for outcome in report.outcomes] == [(dandisets[0], "vanished")]
        assert Store.open(store).state(dandisets[0]).vanished is not None
        assert refs_of(dandisets[0]) == before
        assert (mirror_once().outcomes, mirror_once(dandisets[0]).count("vanished")) == ([], 1)

    def test_it_is_unmarked_when_it_returns(
        self, archive: DemoArchive, dandisets: list[str], mirror_once: MirrorOnce, refs_of: RefsOf, store: Path
    ) -> None:
        mirror_once()
        before = refs_of(dandisets[0])
        gone = archive.dandisets[dandisets[0]]
        archive.delete_dandiset(dandisets[0])
        mirror_once()
        archive.dandisets = {gone.identifier: gone, **archive.dandisets}
        archive.assets |= {asset.asset_id: asset for asset in gone.draft.assets.values()}
        mirror_once().check()
        assert Store.open(store).state(dandisets[0]).vanished is None
        assert refs_of(dandisets[0]) == before
        assert mirror_once().still == 5


class TestLayout:
    """Settings that change what trees hold."""

    @pytest.fixture
    def dandiset(self, archive: DemoArchive) -> str:
        identifier = archive.create_dandiset("Ripples")
        archive.add_assets(identifier, [("README.md", b"Ripples"), ("sub-1/a.nwb", b"a"), ("sub-2/b.nwb", b"b")])
        archive.publish(identifier)
        return identifier

    def test_an_asset_filter_leaves_the_others_out(
        self, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
    ) -> None:
        mirror_once(select__assets="^sub-1/").check()
        names = git(repository_of(dandiset), "ls-tree", "-r", "--name-only", "draft").splitlines()
        assert [name for name in names if "sub-" in name] == [".dandi/assets/sub-1/assets.jsonl", "sub-1/a.nwb"]
        facts = trailers(git(repository_of(dandiset), "log", "-1", "--format=%B", "releases"))
        assert (facts["Assets"], facts["Bytes"], facts["Layout"]) == ("1", "1", "2 select.assets=^sub-1/")

    @pytest.mark.parametrize(
        ("setting", "value", "trailer"),
        [
            ("text_in_git__max_bytes", 0, "2 text_in_git.max_bytes=0"),
            ("select__assets", "nwb$", "2 select.assets=nwb$"),
        ],
    )
    def test_a_changed_layout_is_a_new_draft_and_old_tags_stay(
        self,
        dandiset: str,
        git: Git,
        mirror_once: MirrorOnce,
        repository_of: RepositoryOf,
        refs_of: RefsOf,
        tmp_path: Path,
        setting: str,
        value: Any,
        trailer: str,
    ) -> None:
        changed: dict[str, Any] = {setting: value}
        mirror_once()
        before = refs_of(dandiset)
        mirror_once(**changed).check()
        after = refs_of(dandiset)
        moved = {name for name in after if after[name] != before[name]}
        assert moved - {"refs/heads/git-annex", "git-annex^{tree}"} == {"refs/heads/draft"}
        repository = repository_of(dandiset)
        assert git(repository, "rev-parse", "draft^@") == before["refs/heads/draft"]
        assert trailers(git(repository, "log", "-1", "--format=%B", "draft"))["Layout"] == trailer
        assert mirror_once(**changed).still == 1

        fresh = tmp_path / "fresh"
        mirror_once(store=fresh, **changed)
        assert git(repository, "rev-parse", "draft^{tree}") == git(
            repository_of(dandiset, store=fresh), "rev-parse", "draft^{tree}"
        )

    def test_a_layout_that_changes_no_tree_is_a_commit_all_the_same(
        self, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
    ) -> None:
        mirror_once()
        mirror_once(text_in_git__max_bytes=1000)
        repository = repository_of(dandiset)
        assert git(repository, "diff", "--name-only", "draft^", "draft") == ""
        assert "Layout: 2 text_in_git.max_bytes=1000" in git(repository, "log", "-1", "--format=%B", "draft")

    def test_and_back_again(
        self, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
    ) -> None:
        mirror_once()
        first = git(repository_of(dandiset), "rev-parse", "draft^{tree}")
        mirror_once(text_in_git__max_bytes=0)
        mirror_once()
        assert git(repository_of(dandiset), "rev-parse", "draft^{tree}") == first

    def test_the_message_of_that_commit_does_not_depend_on_a_cache(
        self, dandiset: str, mirror_once: MirrorOnce, refs_of: RefsOf, tmp_path: Path
    ) -> None:
        with_index, without = tmp_path / "with", tmp_path / "without"
        for root in (with_index, without):
            mirror_once(store=root)
        for file in without.glob("state/index.sqlite*"):
            file.unlink()
        for root in (with_index, without):
            mirror_once(store=root, text_in_git__max_bytes=0)
        assert refs_of(dandiset, store=with_index) == refs_of(dandiset, store=without)

    def test_a_version_published_later_is_in_the_new_layout(
        self, archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
    ) -> None:
        mirror_once()
        archive.clock.advance(60)
        archive.add_asset(dandiset, "new.json", b"{}")
        version = archive.publish(dandiset)
        mirror_once(select__assets="json$").check()
        names = git(repository_of(dandiset), "ls-tree", "-r", "--name-only", version).splitlines()
        assert [name for name in names if not name.startswith(".")] == ["dandiset.yaml", "new.json"]
        assert "Layout: 2 select.assets=json$" in git(repository_of(dandiset), "log", "-1", "--format=%B", version)
