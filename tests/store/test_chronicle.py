"""The chronicle: each commit is told of once, in order, whatever instant the process that tells dies at."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import MirrorError, StoreError
from mirror.git.process import run_git
from mirror.store.chronicle import Chronicle
from mirror.store.feed import Change, read_changes
from mirror.store.store import Store


def announced(store: Store) -> list[Change]:
    return [change for _, change in read_changes(store.changes)]


def told(change: Change) -> tuple[str, str, str | None, str]:
    return change.dandiset, change.version, change.old, change.new


def lose(store: Store, *, catalogue: bool = False, feed: bool = False) -> None:
    if catalogue:
        for path in (store.root / "state").glob("catalogue.sqlite*"):
            path.unlink()
    if feed:
        store.changes.unlink()


def counts(change: Change) -> dict[str, int]:
    fields = ("added", "modified", "removed", "renamed", "assets", "bytes", "bytes_changed")
    return {name: value for name in fields if (value := getattr(change, name))}


# --- what is announced ---------------------------------------------------------------------------------------------


def test_the_first_of_everything_has_nothing_before_it(mirror: Any) -> None:
    version = mirror.archive.publish(mirror.one)
    draft = mirror.draft
    mirror.sync()
    release, first, second = mirror.follow()
    assert (release.version, release.old, release.new) == (version, None, mirror.refs()["refs/heads/releases"])
    assert (first.version, first.old, first.new) == ("draft", None, draft)
    assert (second.version, second.old, second.new) == ("draft", draft, mirror.draft)
    assert counts(release) == counts(first) == {"added": 3, "assets": 3, "bytes": 15, "bytes_changed": 15}
    assert counts(second) == {"assets": 3, "bytes": 15}
    assert [release.serial, first.serial, second.serial] == [1, 2, 3]
    assert {change.annex for change in (release, first, second)} == {mirror.refs()["refs/heads/git-annex"]}
    assert announced(mirror.store) == [release, first, second]


def test_what_a_first_draft_differs_in_from_the_release_it_was_made_from_is_counted(mirror: Any) -> None:
    other = mirror.archive.create_dandiset("Another")
    mirror.archive.add_assets(other, [("x.nwb", b"x"), ("y.nwb", b"yy")])
    mirror.archive.publish(other)
    mirror.archive.remove_asset(other, "x.nwb")
    mirror.archive.add_asset(other, "z.nwb", b"zzz")
    release, draft = (change for change in mirror.sync_and_follow() if change.dandiset == other)
    assert counts(release) == {"added": 2, "assets": 2, "bytes": 3, "bytes_changed": 3}
    assert counts(draft) == {"added": 2, "assets": 2, "bytes": 5, "bytes_changed": 5}
    assert draft.old is None


def test_assets_are_counted_against_the_commit_before(mirror: Any) -> None:
    mirror.follow()
    mirror.archive.rename_asset(mirror.one, "sub-1/a.nwb", "sub-1/c.nwb")
    mirror.archive.replace_asset(mirror.one, "sub-1/b.nwb", content=b"four")
    mirror.archive.remove_asset(mirror.one, "README.md")
    mirror.archive.add_assets(mirror.one, [("sub-2/d.nwb", b"d"), ("sub-2/e.nwb", b"e")])
    (change,) = mirror.sync_and_follow()
    assert counts(change) == {
        "added": 2,
        "modified": 1,
        "removed": 1,
        "renamed": 1,
        "assets": 4,
        "bytes": 9,
        "bytes_changed": -6,
    }


def test_records_that_move_into_other_files_are_no_change(mirror: Any) -> None:
    mirror.archive.add_assets(mirror.one, [(f"sub-1/{number}.dat", b"%d" % number) for number in range(998)])
    mirror.sync_and_follow()
    mirror.archive.add_assets(mirror.one, [("sub-1/x.dat", b"x")])
    (change,) = mirror.sync_and_follow()
    assert (change.added, change.modified, change.removed, change.renamed) == (1, 0, 0, 0)


def test_publishing_changes_no_asset(mirror: Any) -> None:
    mirror.archive.publish(mirror.one)
    mirror.sync_and_follow()
    mirror.archive.clock.advance(days=1)
    mirror.archive.publish(mirror.one)
    release, draft = mirror.sync_and_follow()
    assert counts(release) == counts(draft) == {"assets": 3, "bytes": 15}


def test_each_commit_has_its_line_though_several_came_at_once(mirror: Any) -> None:
    mirror.follow()
    commits = [mirror.draft]
    for name in ("One", "Two", "Three"):
        mirror.archive.edit_dandiset(mirror.one, name=name)
        mirror.sync()
        commits.append(mirror.draft)
    changes = mirror.follow()
    assert [(change.old, change.new) for change in changes] == list(pairwise(commits))
    assert [change.serial for change in announced(mirror.store)] == [1, 2, 3, 4]


def test_addresses_that_moved_alone_are_told_of_as_such(mirror: Any) -> None:
    archive, blob = mirror.archive, mirror.archive.asset(mirror.one, "sub-1/a.nwb").blob
    archive.remove_asset(mirror.one, "sub-1/a.nwb")
    mirror.sync_and_follow()
    before = mirror.refs()
    archive.objects.delete_version(blob.key, archive.objects.latest(blob.key).version_id)
    mirror.sync(everything=True)
    (change,) = mirror.follow()
    assert change.version == "git-annex"
    assert (change.old, change.new) == (before["refs/heads/git-annex"], mirror.refs()["refs/heads/git-annex"])
    assert counts(change) == {"assets": 2, "bytes": 12}
    assert change.annex == change.new
    assert mirror.draft == before["refs/heads/draft"]
    lose(mirror.store, catalogue=True)
    assert mirror.follow() == []


def test_nothing_that_moved_is_nothing_to_tell(mirror: Any) -> None:
    mirror.follow()
    before = mirror.store.changes.read_bytes()
    assert mirror.sync_and_follow() == []
    with mirror.chronicle() as chronicle:
        assert chronicle.follow(mirror.one) == []
        assert chronicle.follow("000999") == []
    assert mirror.store.changes.read_bytes() == before


# --- history that was set back -------------------------------------------------------------------------------------


def set_back(mirror: Any) -> tuple[str, str]:
    """The draft goes back to where it was before the last change; where it was, and is."""
    mirror.follow()
    back = mirror.draft
    mirror.archive.rename_asset(mirror.one, "sub-1/a.nwb", "sub-1/c.nwb")
    mirror.archive.add_asset(mirror.one, "sub-2/d.nwb", b"d")
    mirror.sync_and_follow()
    former = mirror.draft
    mirror.store.repository(mirror.one).publish(None, {"refs/heads/draft": bytes.fromhex(back)})
    return former, back


def test_a_branch_that_was_set_back_is_told_of_once(mirror: Any) -> None:
    former, back = set_back(mirror)
    (change,) = mirror.follow()
    assert (change.version, change.old, change.new) == ("draft", former, back)
    assert counts(change) == {"removed": 1, "renamed": 1, "assets": 3, "bytes": 15, "bytes_changed": -1}
    assert mirror.follow() == []
    mirror.sync(everything=True)
    (change,) = mirror.follow()
    assert (change.version, change.old, change.new) == ("draft", back, former)


def test_so_it_is_if_what_it_was_set_back_from_is_gone(mirror: Any) -> None:
    former, back = set_back(mirror)
    path = mirror.store.repository(mirror.one).path
    run_git(path, "reflog", "expire", "--expire=now", "--all")
    run_git(path, "repack", "-adq")
    run_git(path, "prune", "--expire=now")
    with pytest.raises(MirrorError):
        run_git(path, "cat-file", "-e", former)
    (change,) = mirror.follow()
    assert (change.old, change.new) == (None, back)


# --- what was lost -------------------------------------------------------------------------------------------------


def grown(mirror: Any) -> list[Change]:
    """A feed of several lines, of two Dandisets."""
    other = mirror.archive.create_dandiset("Another")
    mirror.archive.add_asset(other, "x.nwb", b"x")
    mirror.archive.publish(other)
    mirror.sync_and_follow()
    mirror.archive.edit_dandiset(mirror.one, name="A new name")
    mirror.archive.publish(mirror.one)
    mirror.sync_and_follow()
    return announced(mirror.store)


def test_with_the_catalogue_lost_nothing_is_announced_again(mirror: Any) -> None:
    before = grown(mirror)
    lose(mirror.store, catalogue=True)
    assert mirror.follow() == []
    assert announced(mirror.store) == before
    mirror.archive.edit_dandiset(mirror.one, name="Yet another")
    (change,) = mirror.sync_and_follow()
    assert change.serial == before[-1].serial + 1


def test_with_the_catalogue_lost_what_moved_meanwhile_is_announced(mirror: Any) -> None:
    before = grown(mirror)
    lose(mirror.store, catalogue=True)
    mirror.archive.edit_dandiset(mirror.one, name="Yet another")
    (change,) = mirror.sync_and_follow()
    assert (change.new, change.serial) == (mirror.draft, before[-1].serial + 1)


def test_with_the_feed_lost_serials_go_on(mirror: Any) -> None:
    before = grown(mirror)
    lose(mirror.store, feed=True)
    assert mirror.follow() == []
    assert announced(mirror.store) == []
    mirror.archive.edit_dandiset(mirror.one, name="Yet another")
    (change,) = mirror.sync_and_follow()
    assert change.serial == before[-1].serial + 1
    assert announced(mirror.store) == [change]


def test_with_an_older_feed_put_in_its_place_serials_go_on(mirror: Any) -> None:
    before = grown(mirror)
    lines = mirror.store.changes.read_bytes().splitlines(keepends=True)
    mirror.store.changes.write_bytes(b"".join(lines[:2]))
    mirror.archive.edit_dandiset(mirror.one, name="Yet another")
    (change,) = mirror.sync_and_follow()
    assert change.serial == before[-1].serial + 1
    assert announced(mirror.store) == [*before[:2], change]


def test_with_both_lost_everything_is_announced_from_one_on(mirror: Any) -> None:
    before = grown(mirror)
    lose(mirror.store, catalogue=True, feed=True)
    assert {told(change) for change in mirror.follow()} == {told(change) for change in before}
    assert [change.serial for change in announced(mirror.store)] == [change.serial for change in before]


# --- runs that end, and runs that do not ---------------------------------------------------------------------------


def hide(mirror: Any) -> Path:
    """Take the repository away."""
    path: Path = mirror.store.repository(mirror.one).path
    path.rename(path.with_name("hidden"))
    return path


def test_after_a_run_that_came_to_its_end_no_repository_is_opened(mirror: Any) -> None:
    mirror.follow()
    hide(mirror)
    with mirror.chronicle() as chronicle:
        chronicle.begin()
        assert not chronicle.broken_off
        assert chronicle.catch_up() == []
        assert chronicle.failures == {}


def test_after_one_that_did_not_everything_is_looked_at(mirror: Any) -> None:
    mirror.follow()
    with mirror.chronicle() as chronicle:
        chronicle.begin()
    mirror.archive.edit_dandiset(mirror.one, name="A new name")
    mirror.sync()
    with mirror.chronicle() as chronicle:
        assert chronicle.broken_off
        assert [change.new for change in chronicle.catch_up()] == [mirror.draft]


def test_what_was_broken_off_is_not_done_until_somebody_caught_up(mirror: Any) -> None:
    for _ in range(2):
        with mirror.chronicle() as chronicle:
            chronicle.begin()
            chronicle.follow(mirror.one)
            chronicle.finish()
    with mirror.chronicle() as chronicle:
        assert chronicle.broken_off
        chronicle.catch_up()
        chronicle.finish()
    with mirror.chronicle() as chronicle:
        assert not chronicle.broken_off


def test_a_dandiset_that_cannot_be_read_does_not_stop_the_others(mirror: Any, caplog: pytest.LogCaptureFixture) -> None:
    other = mirror.archive.create_dandiset("Another")
    mirror.archive.add_asset(other, "x.nwb", b"x")
    mirror.sync()
    path = hide(mirror)
    with mirror.chronicle() as chronicle:
        chronicle.begin()
        assert [change.dandiset for change in chronicle.catch_up()] == [other]
        assert list(chronicle.failures) == [mirror.one]
        chronicle.finish()
    assert f"Dandiset {mirror.one} has lost its branches" in caplog.text
    with mirror.store.catalogue() as catalogue:
        assert not catalogue.is_complete
    path.with_name("hidden").rename(path)
    with mirror.chronicle() as chronicle:
        chronicle.begin()
        assert [change.dandiset for change in chronicle.catch_up()] == [mirror.one]
        assert chronicle.failures == {}
        chronicle.finish()
    with mirror.store.catalogue() as catalogue:
        assert catalogue.is_complete


def spoil_records(mirror: Any) -> None:
    """The draft gets a file of records with something else in it."""
    repository = mirror.store.repository(mirror.one)
    run_git(repository.path, "read-tree", "draft")
    blob = run_git(repository.path, "hash-object", "-w", "--stdin", stdin=b"not a record\n").decode().strip()
    run_git(repository.path, "update-index", "--add", "--cacheinfo", f"100644,{blob},.dandi/assets/x/assets.jsonl")
    tree = run_git(repository.path, "write-tree").decode().strip()
    who = ("-c", "user.name=x", "-c", "user.email=x")
    commit = run_git(repository.path, *who, "commit-tree", "-p", "draft", "-m", "x", tree).decode().strip()
    run_git(repository.path, "update-ref", "refs/heads/draft", commit)


def spoil_objects(mirror: Any) -> None:
    """Every pack is cut in half."""
    for pack in mirror.store.repository(mirror.one).path.glob("objects/pack/*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(pack.read_bytes()[: pack.stat().st_size // 2])


def lose_objects(mirror: Any) -> None:
    shutil.rmtree(mirror.store.repository(mirror.one).path / "objects")


@pytest.mark.parametrize("spoil", [spoil_records, spoil_objects, lose_objects])
def test_what_cannot_be_followed_leaves_catalogue_and_feed_as_they_were(mirror: Any, spoil: Any) -> None:
    mirror.follow()
    mirror.archive.edit_dandiset(mirror.one, name="A new name")
    mirror.sync()
    before = mirror.store.changes.read_bytes()
    spoil(mirror)
    with mirror.chronicle() as chronicle, pytest.raises(MirrorError):
        chronicle.follow(mirror.one)
    assert mirror.store.changes.read_bytes() == before
    with mirror.store.catalogue() as catalogue:
        (standing,) = catalogue.standings()
        assert standing.facts.name == "Ripples"


def test_a_release_that_does_not_say_which_is_refused(mirror: Any) -> None:
    path = mirror.store.repository(mirror.one).path
    run_git(path, "update-ref", "refs/heads/releases", mirror.draft)
    commit = run_git(
        path, "-c", "user.name=x", "-c", "user.email=x", "commit-tree", "-p", "draft", "-m", "x", "draft^{tree}"
    )
    run_git(path, "update-ref", "refs/heads/releases", commit.decode().strip())
    with mirror.chronicle() as chronicle, pytest.raises(StoreError, match="no `Version` trailer"):
        chronicle.follow(mirror.one)


# --- kills ---------------------------------------------------------------------------------------------------------

# Runs a chronicle, and dies before the line of our own code that it is told to; otherwise says how many there were.
_VICTIM = """
import os, signal, sys
from pathlib import Path
from mirror.store import announced, cache, chronicle, feed
from mirror.store.catalogue import asset_rows, cataloguing, history_lines
from mirror.store.store import Store

files = {m.__file__ for m in (announced, asset_rows, cache, cataloguing, chronicle, feed, history_lines)}
store, fatal, passed = Store.open(Path(sys.argv[1])), int(sys.argv[2]), 0

def trace(frame, event, argument):
    global passed
    if frame.f_code.co_filename not in files:
        return None
    if event == "line":
        passed += 1
        if passed == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
    return trace

with store.lock("a victim"):
    sys.settrace(trace)
    with chronicle.Chronicle(store) as running:
        running.begin()
        running.catch_up()
        running.finish()
sys.settrace(None)
print(passed)
"""


def run_victim(store: Path, fatal: int) -> int | None:
    """How many lines it ran; None if it died."""
    command = [sys.executable, "-c", _VICTIM, str(store), str(fatal)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return int(done.stdout) if done.returncode == 0 else None


def test_whatever_instant_it_is_killed_at_each_commit_is_announced_once(mirror: Any, tmp_path: Path) -> None:
    """Of two Dandisets, one of which was followed to some point before. Killed twice, at two places."""
    mirror.follow()
    with mirror.chronicle() as chronicle:
        chronicle.begin()
    other = mirror.archive.create_dandiset("Another")
    mirror.archive.add_asset(other, "x.nwb", b"x")
    mirror.archive.publish(other)
    mirror.archive.rename_asset(mirror.one, "sub-1/a.nwb", "sub-2/a.nwb")
    mirror.sync()
    mirror.archive.publish(mirror.one)
    mirror.sync()
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(mirror.store.root, undisturbed, symlinks=True)
    lines = run_victim(undisturbed, 0)
    assert lines is not None
    expected = [told(change) for change in announced(Store.open(undisturbed))]
    assert len(expected) == len(set(expected)) == 6
    places = sorted({1 + lines * number // 16 for number in range(16)})
    for place, second in zip(places, reversed(places), strict=True):
        killed = tmp_path / "killed"
        shutil.copytree(mirror.store.root, killed, symlinks=True)
        assert run_victim(killed, place) is None
        run_victim(killed, second)
        store = Store.open(killed)
        with store.lock("a test"), Chronicle(store) as chronicle:
            chronicle.catch_up()
            chronicle.finish()
        found = announced(store)
        assert sorted(map(told, found), key=str) == sorted(expected, key=str), f"killed at line {place} of {lines}"
        assert [change.serial for change in found] == [1, 2, 3, 4, 5, 6]
        with store.catalogue() as catalogue:
            assert catalogue.is_complete
            assert [standing.facts.version[:3] for standing in catalogue.standings()] == ["0.2", "dra", "0.2", "dra"]
        shutil.rmtree(killed)
