"""Clones follow the mirror, also those in which their users have been at work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

LEAVING = "sub-M1/sub-M1_draft.nwb"
NEW = "sub-R2/sub-R2_ecephys.nwb"


def move_on(mirror: Any) -> None:
    """A file comes, a text changes, an unpublished file goes; the store follows."""
    mirror.add(NEW, b"a new rat")
    mirror.archive.replace_asset(mirror.identifier, "README.md", content=b"# Ripples, continued\n")
    mirror.archive.remove_asset(mirror.identifier, LEAVING)
    assert mirror.sync() == "draft: 1 added, 1 modified, 1 removed"


@pytest.mark.parametrize("how", ["ff-only", "merge"])
def test_an_untouched_clone_moves_to_the_new_draft(filled: Any, clone_of: Callable[..., Any], how: str) -> None:
    clone = clone_of(filled.alias)
    move_on(filled)
    clone.datalad("update", "--how", how)
    assert clone.git("rev-parse", "HEAD") == filled.refs()["refs/heads/draft"]
    assert clone.read("README.md") == b"# Ripples, continued\n"
    clone.datalad("get", NEW)
    assert clone.read(NEW) == b"a new rat"
    clone.assert_clean()


def test_a_clone_with_work_of_its_own_merges(filled: Any, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(f"ria+file://{filled.public}#~000001")
    clone.datalad("get", "sub-M1")
    clone.annex("metadata", "--set", "quality=good", "sub-M1/sub-M1_ecephys.nwb")
    clone.annex("merge")
    (clone.path / "analysis.txt").write_text("my own result\n")
    clone.datalad("save", "-m", "An analysis")
    own = clone.git("rev-parse", "git-annex")
    move_on(filled)
    clone.datalad("update", "--how", "merge")
    clone.git("merge-base", "--is-ancestor", own, "git-annex")
    clone.git("merge-base", "--is-ancestor", filled.refs()["refs/heads/git-annex"], "git-annex")
    assert clone.annex("find", "--metadata", "quality=good", "--metadata", "subject=M1") == "sub-M1/sub-M1_ecephys.nwb"
    clone.datalad("get", NEW)
    assert clone.read("analysis.txt") == b"my own result\n"
    assert clone.read("README.md") == b"# Ripples, continued\n"
    clone.assert_clean()


def test_a_new_version_arrives_with_its_tags(filled: Any, clone_of: Callable[..., Any]) -> None:
    clone = clone_of(filled.alias)
    version = filled.publish("The third.")
    filled.sync()
    clone.datalad("update", "--how", "ff-only")
    assert clone.git("describe", "--abbrev=0") == version
    assert clone.git("rev-parse", f"{version}^0") == clone.git("rev-parse", f"doi/{filled.doi(version)}")


def test_bytes_that_the_archive_let_go_of_are_withdrawn_everywhere(filled: Any, clone_of: Callable[..., Any]) -> None:
    idle, busy = clone_of(filled.alias, "idle"), clone_of(f"ria+file://{filled.public}#~000001", "busy")
    busy.datalad("get", ".")
    busy.annex("drop", ".")
    key, blob = idle.key(LEAVING), filled.asset(LEAVING).blob
    version_id = filled.archive.objects.latest(blob.key).version_id
    move_on(filled)
    filled.archive.objects.delete(blob.key)
    filled.sync(everything=True)
    idle.datalad("update", "--how", "ff-only")
    # Gone from the draft and, like every deleted object of the archive, readable for some weeks more.
    assert "(1 copy)" in idle.annex("whereis", "--key", key)
    filled.archive.objects.delete_version(blob.key, version_id)
    filled.sync(everything=True)
    for clone in (idle, busy):
        clone.datalad("update", "--how", "merge")
        assert "(0 copies)" in clone.annex("whereis", "--key", key, ok=False)
        assert "failed" not in clone.annex("fsck")
        clone.datalad("get", NEW)
        clone.assert_clean()
    assert "(0 copies)" in clone_of(filled.alias, "new").annex("whereis", "--key", key, ok=False)
