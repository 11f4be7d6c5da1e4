"""Runs as the command makes them: a sync, and the superdatasets after it. What fails waits, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from mirror.demo import DemoArchive
from mirror.demo.faults import Before, Status
from mirror.errors import SomeFailed
from mirror.publish.publishing import Publisher
from mirror.store.skips import Skip

from .conftest import ALWAYS, RELEASES, Mirror, chain, git, release, released


def test_a_sync_writes_the_superdataset_of_all_dandisets(mirror: Mirror, dandisets: Sequence[str]) -> None:
    _, published = mirror.run()
    assert [written.name for written in published.superdatasets] == ["dandisets"]
    assert chain(mirror) == [dandisets[0], dandisets[2]]
    for identifier in dandisets:
        entry = git(mirror, "ls-tree", "draft", identifier).split()
        assert entry[:3] == ["160000", "commit", mirror.refs(identifier)["refs/heads/draft"]]
    tag = git(mirror, "ls-tree", "releases", dandisets[0]).split()[2]
    assert tag == mirror.refs(dandisets[0])[RELEASES]


@pytest.mark.usefixtures("dandisets")
def test_a_second_sync_finds_nothing_to_do(mirror: Mirror) -> None:
    mirror.run()
    before = mirror.refs("dandisets")
    _, published = mirror.run()
    assert (published.changes, published.superdatasets) == ([], [])
    assert mirror.refs("dandisets") == before


def test_a_mirror_that_followed_and_one_made_late_have_equal_releases(
    archive: DemoArchive, mirror: Mirror, fresh: Mirror, dandisets: list[str]
) -> None:
    mirror.run()
    for identifier in (dandisets[1], dandisets[0], dandisets[2]):
        release(archive, identifier)
        mirror.run()
    fresh.run()
    assert released(mirror) == released(fresh)
    assert chain(mirror) == [dandisets[0], dandisets[2], dandisets[1], dandisets[0], dandisets[2]]


def test_a_version_published_while_a_sync_runs_waits_for_the_next_poll(
    archive: DemoArchive, mirror: Mirror, fresh: Mirror, dandisets: list[str]
) -> None:
    def publish_two(_: object = None) -> None:
        # The first Dandiset had its turn before; its new version stands before that of the third.
        release(archive, dandisets[0])
        release(archive, dandisets[2])

    mirror.run()
    archive.add_asset(dandisets[2], "notes.md", b"new")
    archive.api_faults.add(Before(publish_two), path=f"/dandisets/{dandisets[2]}/versions/", times=1)
    mirror.run()
    assert chain(mirror) == [dandisets[0], dandisets[2]]
    mirror.run()
    fresh.run()
    assert len(chain(mirror)) == 4
    assert released(mirror) == released(fresh)


def test_the_chain_waits_for_a_dandiset_that_fails_and_goes_on_when_it_is_there(
    archive: DemoArchive, mirror: Mirror, fresh: Mirror, dandisets: list[str]
) -> None:
    archive.api_faults.add(Status(404), path=f"/dandisets/{dandisets[0]}/versions/0.*/assets/", times=ALWAYS)
    report, published = mirror.run()
    assert report.count("failed") == 1
    assert chain(mirror) == []
    assert published.held_back == 1
    assert str(published.waits_for).startswith(f"{dandisets[0]} 0.")
    assert git(mirror, "ls-tree", "--name-only", "draft", dandisets[2]) == dandisets[2]
    archive.api_faults.clear()
    mirror.run()
    fresh.run()
    assert released(mirror) == released(fresh)


def test_it_waits_as_well_where_not_even_the_versions_can_be_listed(
    archive: DemoArchive, mirror: Mirror, fresh: Mirror, dandisets: list[str]
) -> None:
    mirror.run()
    archive.api_faults.add(Status(404), path=f"/dandisets/{dandisets[1]}/versions/", times=ALWAYS)
    release(archive, dandisets[1])
    release(archive, dandisets[0])
    _, published = mirror.run()
    assert chain(mirror) == [dandisets[0], dandisets[2]]
    assert published.waits_for == f"the versions of Dandiset {dandisets[1]}"
    archive.api_faults.clear()
    mirror.run()
    fresh.run()
    assert released(mirror) == released(fresh)


def test_a_sync_of_one_dandiset_adds_its_draft_and_leaves_the_chain(
    archive: DemoArchive, mirror: Mirror, dandisets: list[str]
) -> None:
    mirror.run(dandisets[2])
    assert chain(mirror) == []
    assert git(mirror, "ls-tree", "--name-only", "draft", dandisets[2]) == dandisets[2]
    mirror.run()
    release(archive, dandisets[2])
    mirror.run(dandisets[2])
    assert chain(mirror) == [dandisets[0], dandisets[2]]
    mirror.run()
    assert chain(mirror) == [dandisets[0], dandisets[2], dandisets[2]]


def test_a_selection_of_one_has_its_chain(mirror: Mirror, dandisets: list[str]) -> None:
    mirror.run(select={"dandisets": [dandisets[2]]})
    assert chain(mirror) == [dandisets[2]]


@pytest.mark.parametrize("where", ["moved", "end"])
def test_a_run_that_dies_on_its_way_is_made_up_for_by_the_next(
    mirror: Mirror, dandisets: list[str], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    mirror.run()
    mirror.archive.add_asset(dandisets[1], "notes.md", b"new")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, where, die)
        with pytest.raises(KeyboardInterrupt):
            mirror.run()
    mirror.run()
    feed = [json.loads(line) for line in mirror.store.changes.read_bytes().splitlines()]
    assert [change["dandiset"] for change in feed[-2:]] == [dandisets[2], dandisets[1]]
    assert git(mirror, "ls-tree", "draft", dandisets[1]).split()[2] == mirror.refs(dandisets[1])["refs/heads/draft"]


def test_a_run_that_dies_between_announcing_and_anything_else_is_made_up_for(
    mirror: Mirror, dandisets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.run()
    mirror.archive.add_asset(dandisets[1], "notes.md", b"new")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Publisher, "_note", die)
        with pytest.raises(KeyboardInterrupt):
            mirror.run()
    _, published = mirror.run()
    assert published.changes == []
    assert [written.name for written in published.superdatasets] == ["dandisets"]
    assert git(mirror, "ls-tree", "draft", dandisets[1]).split()[2] == mirror.refs(dandisets[1])["refs/heads/draft"]


def test_a_superdataset_that_cannot_be_written_fails_nothing_else(mirror: Mirror, dandisets: list[str]) -> None:
    mirror.run()
    folder = mirror.store.alias("dandisets").resolve()
    (folder / "packed-refs").write_bytes(b"this is not a list of refs\n")
    mirror.archive.add_asset(dandisets[1], "notes.md", b"new")
    report, published = mirror.run(superdatasets=[{"name": "firsts", "where": "name ~ 'dandiset 1'"}])
    assert report.count("changed") == 1
    assert [written.name for written in published.superdatasets] == ["firsts"]
    assert "superdataset dandisets" in published.problems[0]
    with pytest.raises(SomeFailed, match="superdataset dandisets"):
        published.check()


# --- skipped versions ---------------------------------------------------------------------------------------------


def test_a_skipped_version_holds_up_nothing_and_is_named_in_what_comes_after(
    archive: DemoArchive, mirror: Mirror, fresh: Mirror, dandisets: list[str]
) -> None:
    first, _, third = dandisets
    archive.clock.advance(3600)
    bad = archive.publish(first)
    release(archive, third)
    release(archive, first)
    archive.api_faults.add(Status(404), path=f"/dandisets/{first}/versions/{bad}/", times=ALWAYS)
    mirror.run()
    assert chain(mirror) == [first, third] or chain(mirror) == []
    fresh.run()
    for one in (mirror, fresh):
        one.store.save_skips([Skip(first, bad, one.store.state(first).awaited[bad], "gone", "2026-11-21")])
        one.run()
    assert released(mirror) == released(fresh)
    assert chain(mirror) == [first, third, third, first]
    key = "--format=%(trailers:key=Layout,valueonly,separator=)"
    assert git(mirror, "log", "-1", key, "releases").rstrip() == f"1/2 skip={first}@{bad}"
    assert git(mirror, "log", "-1", key, "releases", name=first).rstrip() == f"2 skip={bad}"
    assert bad not in git(mirror, "tag", name=first).split()
    report, _ = mirror.run()
    assert report.outcomes == []
