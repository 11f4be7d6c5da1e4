"""Who knows nothing of a mirror but its feed and git has what the mirror has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from mirror.store.chronicle import Chronicle
from mirror.store.store import Store

Run = Callable[..., str]
OTHERS = ("000002", "000003")


class Follower:
    """Remembers one number from one visit to the next: the last serial that it knows."""

    def __init__(self, url: str, folder: Path, run: Run) -> None:
        self._url = url
        self._folder = folder
        self._run = run
        self._serial = 0

    def visit(self) -> set[str]:
        """Fetch what moved since the last visit, and nothing else; the Dandisets that did."""
        with urlopen(f"{self._url}/changes.jsonl") as answer:
            *lines, _unfinished = answer.read().split(b"\n")
        new = [line for line in map(json.loads, lines) if line["serial"] > self._serial]
        for dandiset in {line["dandiset"] for line in new}:
            self._fetch(dandiset)
        # Only now: had a fetch failed, the next visit would try it again.
        self._serial = max([self._serial, *(line["serial"] for line in new)])
        return {line["dandiset"] for line in new}

    def _fetch(self, dandiset: str) -> None:
        clone = self._folder / dandiset
        if clone.is_dir():
            self._run("git", "fetch", "--quiet", "--prune", "origin", "+refs/*:refs/*", cwd=clone)
        else:
            self._run("git", "clone", "--quiet", "--mirror", f"{self._url}/alias/{dandiset}", clone)

    def refs(self) -> dict[str, str]:
        return {clone.name: refs_in(clone, self._run) for clone in self._folder.iterdir()}


def refs_in(repository: Path, run: Run) -> str:
    return run("git", f"--git-dir={repository}", "for-each-ref", "--format=%(refname) %(objectname)")


class Followed:
    """A mirror of three Dandisets, and one who follows it."""

    def __init__(self, mirror: Any, url: str, folder: Path, run: Run) -> None:
        self.mirror = mirror
        self.archive = mirror.archive
        self._run = run
        self._follower = Follower(url, folder, run)
        for identifier in OTHERS:
            self.archive.create_dandiset(f"Dandiset {identifier}", identifier=identifier)
            self.archive.add_asset(identifier, "sub-1/a.nwb", identifier.encode())

    def sync(self, *, everything: bool = False) -> None:
        self.mirror.sync(*OTHERS, everything=everything)
        self.tell()

    def tell(self) -> None:
        store = Store.open(self.mirror.store)
        with store.lock("a test"), Chronicle(store) as chronicle:
            chronicle.begin()
            for identifier in store.dandisets():
                chronicle.follow(identifier)
            chronicle.catch_up()
            chronicle.finish()

    def visit(self) -> set[str]:
        """What the follower fetched; it then has what the mirror has."""
        fetched = self._follower.visit()
        here = {
            name: refs_in(self.mirror.alias_of(name), self._run) for name in Store.open(self.mirror.store).dandisets()
        }
        assert self._follower.refs() == here
        return fetched


@pytest.fixture
def followed(mirror: Any, served: Callable[..., Any], tmp_path: Path, run: Run) -> Iterator[Followed]:
    folder = tmp_path / "followers"
    folder.mkdir()
    mirror.add("README.md", b"# Ripples\n")
    mirror.sync()
    with served(mirror.public) as url:
        yield Followed(mirror, url, folder, run)


def test_one_who_follows_the_feed_has_all_refs_and_fetches_only_what_moved(followed: Followed) -> None:
    archive = followed.archive
    followed.sync()
    assert followed.visit() == {"000001", *OTHERS}
    assert followed.visit() == set()

    archive.publish("000002")
    followed.sync()
    assert followed.visit() == {"000002"}

    # Several runs between two visits: an edit, a rename, two publications of one Dandiset.
    archive.edit_dandiset("000001", name="Ripples and waves")
    followed.sync()
    archive.rename_asset("000003", "sub-1/a.nwb", "sub-2/a.nwb")
    archive.publish("000003")
    followed.sync()
    archive.add_asset("000003", "sub-3/b.nwb", b"b")
    archive.publish("000003")
    followed.sync()
    assert followed.visit() == {"000001", "000003"}

    followed.sync()
    assert followed.visit() == set()


def test_addresses_that_are_withdrawn_reach_one_who_follows(followed: Followed) -> None:
    archive = followed.archive
    followed.sync()
    blob = archive.asset("000002", "sub-1/a.nwb").blob
    archive.remove_asset("000002", "sub-1/a.nwb")
    followed.sync()
    followed.visit()
    archive.objects.delete_version(blob.key, archive.objects.latest(blob.key).version_id)
    followed.sync(everything=True)
    assert followed.visit() == {"000002"}


def test_a_line_being_written_is_left_for_the_next_visit(followed: Followed) -> None:
    followed.sync()
    followed.visit()
    feed = followed.mirror.public / "changes.jsonl"
    archive = followed.archive
    archive.publish("000003")
    followed.mirror.sync(*OTHERS)
    whole = feed.read_bytes()
    followed.tell()
    written = feed.read_bytes()
    feed.write_bytes(written[: len(whole) + 20])
    assert followed._follower.visit() == set()
    feed.write_bytes(written)
    assert followed.visit() == {"000003"}


def test_a_draft_that_was_set_back_is_set_back_there_too(followed: Followed, run: Run) -> None:
    followed.sync()
    followed.archive.add_asset("000002", "sub-2/b.nwb", b"b")
    followed.sync()
    followed.visit()
    repository = followed.mirror.alias_of("000002").resolve()
    run("git", f"--git-dir={repository}", "update-ref", "refs/heads/draft", "draft~1")
    run("git", f"--git-dir={repository}", "update-server-info")
    followed.tell()
    assert followed.visit() == {"000002"}
