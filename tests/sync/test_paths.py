"""Asset paths in a sync: what git would take for its own, what troubles others, what no tree can hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mirror.dataset.names import asset_path
from mirror.demo import DemoArchive
from mirror.errors import SomeFailed
from mirror.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sync.conftest import Git, MirrorOnce, RefsOf, RepositoryOf

ODD = [
    *(".git/config", ".git/hooks/post-checkout", "sub/.GIT/x", "git~1", ".gitmodules", ".gitattributes"),
    *("sub/.gitattributes", "dandiset.yaml", ".dandi/assets.json", ".dandi/version.json", ".datalad/config"),
    *("assets.jsonl/a.nwb", "sub/assets-0.jsonl/b.nwb", ".dandi/assets/assets.jsonl", "100%.nwb", "%2Egit/config"),
    *(" leading.nwb", "trailing ", "-dash.txt", "back\\slash.md", "[brackets]*?.tsv", "`tick`.json", "日本/é 😀.nwb"),
    *("new\nline.txt", "tab\t.nwb", "x/dandiset.yaml", ".gitignore", ".noannex", "." * 3, ".nwb"),
]


@pytest.fixture
def dandiset(archive: DemoArchive) -> str:
    return archive.create_dandiset("Names")


def test_odd_paths_go_through_and_come_back(
    archive: DemoArchive,
    dandiset: str,
    git: Git,
    mirror_once: MirrorOnce,
    repository_of: RepositoryOf,
    tmp_path: Path,
) -> None:
    archive.add_assets(dandiset, [(path, path.encode()) for path in ODD])
    archive.publish(dandiset)
    mirror_once().check()
    repository = repository_of(dandiset)
    git(repository, "fsck", "--strict", "--full")

    in_tree = git(repository, "ls-tree", "-r", "-z", "--name-only", "draft").split("\0")[:-1]
    ours = {".datalad/.gitattributes", ".datalad/config", ".gitattributes", "dandiset.yaml", ".dandi/version.json"}
    assert ours <= set(in_tree)
    records = [path for path in in_tree if path.startswith(".dandi/assets/")]
    assets = [path for path in in_tree if path not in ours and path not in records]
    assert sorted(asset_path(path.encode()) for path in assets) == sorted(ODD)

    told = [
        json.loads(line)["path"] for path in records for line in git(repository, "show", f"draft:{path}").splitlines()
    ]
    assert sorted(told) == sorted(ODD)

    # git itself checks it out, and finds nothing changed
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(repository), str(clone))
    assert git(clone, "status", "--porcelain") == ""
    assert (clone / "%2Egit" / "config").is_symlink()
    assert not (clone / ".git" / "hooks" / "post-checkout").exists()
    assert (clone / "dandiset.yaml").read_text().startswith("'@context'")


def test_what_may_trouble_users_elsewhere_is_mirrored_with_a_warning(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path
) -> None:
    archive.add_assets(dandiset, [(path, b"x") for path in ("a.nwb", "A.nwb", "bell\x07.nwb", "x" * 256)])
    report = mirror_once()
    report.check()
    warnings = "\n".join(report.outcomes[0].warnings)
    assert "'A.nwb'" in warnings
    assert "differs only in case from" in warnings
    assert r"'bell\x07.nwb': it has control characters" in warnings
    assert "more than 255 bytes" in warnings
    assert len(Store.open(store).state(dandiset).warnings) == 3


REFUSED = {
    "../up.nwb": "it has a component '..'",
    "a/../../up.nwb": "it has a component '..'",
    "a/./b.nwb": "it has a component '.'",
    "/etc/passwd": "it is absolute",
    "a//b.nwb": "it has an empty component",
    "a/": "it has an empty component",
    "nul\0.nwb": "it has a NUL character",
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_no_tree_can_hold_leaves_that_dandiset_as_it_was_and_the_others_go_on(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, refs_of: RefsOf, store: Path, path: str
) -> None:
    archive.add_asset(dandiset, "good.nwb", b"good")
    mirror_once()
    before = refs_of(dandiset)
    archive.add_asset(dandiset, path, b"bad")
    other = archive.create_dandiset("Another")
    archive.add_asset(other, "a.nwb", b"a")

    report = mirror_once()
    with pytest.raises(SomeFailed) as caught:
        report.check()
    assert caught.value.exit_code == 3
    failed = next(outcome for outcome in report.outcomes if outcome.result == "failed")
    assert failed.identifier == dandiset
    assert f"Dandiset {dandiset}, version draft" in failed.message
    assert repr(path) in failed.message
    assert REFUSED[path] in failed.message
    assert refs_of(dandiset) == before
    assert Store.open(store).dandisets() == [dandiset, other]

    archive.remove_asset(dandiset, path)
    mirror_once().check()


def test_a_file_where_another_needs_a_folder_is_refused(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    archive.add_asset(dandiset, "sub-1/a.nwb", b"a")
    mirror_once()
    before = refs_of(dandiset)
    archive.add_asset(dandiset, "sub-1", b"in the way")
    report = mirror_once()
    assert report.count("failed") == 1
    assert "'sub-1/a.nwb' needs a folder where 'sub-1' is a file" in report.outcomes[0].message
    assert refs_of(dandiset) == before


def test_a_folder_may_take_the_place_of_a_file_and_give_it_back(
    archive: DemoArchive, dandiset: str, git: Git, mirror_once: MirrorOnce, repository_of: RepositoryOf
) -> None:
    archive.add_asset(dandiset, "x", b"a file")
    mirror_once()
    archive.rename_asset(dandiset, "x", "x/x")
    mirror_once().check()
    assert "x/x" in git(repository_of(dandiset), "ls-tree", "-r", "--name-only", "draft").splitlines()
    archive.rename_asset(dandiset, "x/x", "x")
    mirror_once().check()
    names = git(repository_of(dandiset), "ls-tree", "-r", "--name-only", "draft").splitlines()
    assert "x" in names
    assert not any(name.startswith(("x/", ".dandi/assets/x/")) for name in names)


def test_a_published_version_that_no_tree_can_hold_is_refused_too(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce
) -> None:
    archive.add_asset(dandiset, "../up.nwb", b"bad")
    version = archive.publish(dandiset)
    archive.remove_asset(dandiset, "../up.nwb")
    report = mirror_once()
    assert report.count("failed") == 1
    assert f"version {version}" in report.outcomes[0].message
