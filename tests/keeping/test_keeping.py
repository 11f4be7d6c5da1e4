"""Rules: the store has what they ask for, and gives up what nobody asks for, but never the last copy."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.faults import Fault, Status
from mirror.demo.web import Answer, Request, Response
from mirror.errors import Stopped
from mirror.keeping.books import Books
from mirror.keeping.keeping import Kept, keep
from mirror.keeping.populating import Populator
from mirror.store import contents
from mirror.store.locations import annex_uuid
from mirror.store.room import Room

ALL = {"versions": "draft"}


def kept(mirror: Any, *rules: dict[str, Any], **more: Any) -> Kept:
    """What the daemon's job makes of these rules."""
    return keep(mirror.settings(content=list(rules)), **more)


class Silent(Fault):
    """No answer until it is over, at the latest after half a minute."""

    def __init__(self) -> None:
        self.asked, self.over = threading.Event(), threading.Event()

    def apply(self, request: Request, answer: Answer) -> Response:
        self.asked.set()
        if not self.over.wait(30):
            self.over.set()
        return answer(request)


def forget(mirror: Any, path: str) -> None:
    """The bucket loses what an asset is of."""
    key = mirror.archive.asset(mirror.one, path).blob.key
    mirror.archive.objects.delete_version(key, mirror.archive.objects.latest(key).version_id)


def test_a_rule_brings_content_and_nothing_twice(mirror: Any, files: dict[str, bytes]) -> None:
    done = kept(mirror, ALL)
    assert (done.populated.fetched.keys, done.failed, done.held.keys) == (4, 0, 4)
    assert set(mirror.held().values()) == {len(body) for body in files.values()}
    again = kept(mirror, ALL)
    assert (again.populated.there.keys, again.populated.brought.keys, again.dropped.dropped.keys) == (4, 0, 0)


def test_rules_have_their_own_budgets_and_share_what_both_ask_for(mirror: Any) -> None:
    other = mirror.archive.create_dandiset("Sleep")
    mirror.archive.add_assets(other, [("sub-5/x.nwb", b"of another"), ("sub-5/y.nwb", b"of another, too")])
    mirror.sync()
    done = kept(mirror, {"where": "name ~ ripples", "budget": "10B"}, {"versions": "draft", "budget": "24B"})
    # 3 + 5 of the first rule, which cost the second nothing: it has 10 and 13 besides.
    assert [taken.within.bytes for taken in done.rules] == [8, 23]
    assert sorted(mirror.held().values()) == [3, 5, 13]
    assert list(mirror.held(mirror.store.dataset_id(other)).values()) == [10]


def test_what_no_rule_asks_for_any_more_is_given_up(mirror: Any, key_of: Any) -> None:
    kept(mirror, ALL)
    done = kept(mirror, {**ALL, "budget": "4B"})
    assert done.dropped.dropped.keys == 3
    assert mirror.held() == {key_of("a.nwb", b"one"): 3}
    assert kept(mirror).dropped.dropped.keys == 1
    assert mirror.held() == {}
    assert not list((mirror.store.repository(mirror.one).path / "annex" / "objects").iterdir())


def test_what_somebody_asked_for_stays_until_somebody_gives_it_up(mirror: Any, key_of: Any) -> None:
    mirror.populate(f"{mirror.one}/sub-1")
    kept(mirror, ALL)
    kept(mirror)
    assert sorted(mirror.held().values()) == [3, 5]
    for path in (Path(mirror.folder) / "state").glob("contents.sqlite*"):
        path.unlink()
    kept(mirror)
    assert sorted(mirror.held().values()) == [3, 5]
    mirror.archive.replace_asset(mirror.one, "sub-1/a.nwb", content=b"another one")
    mirror.sync()
    kept(mirror)
    assert sorted(mirror.held().values()) == [3, 5], "what was asked for is what was there then"
    said = mirror.populate("--drop", f"{mirror.one}/draft/sub-1/b.nwb")
    assert said.code == 0
    assert said.lines[0] == "1 file, 5 B: given up"
    assert mirror.held() == {key_of("a.nwb", b"one"): 3}
    assert mirror.populate("--drop", f"{mirror.one}/draft/sub-1/a.nwb").lines[0] == "1 file, 3 B: given up"
    assert mirror.held() == {}
    assert mirror.populate("--drop", f"{mirror.one}/draft/sub-9").code == 2


def test_what_a_rule_brought_and_somebody_asks_for_stays(mirror: Any) -> None:
    kept(mirror, ALL)
    assert mirror.populate(f"{mirror.one}/sub-1").records == []
    kept(mirror)
    assert sorted(mirror.held().values()) == [3, 5]


def test_giving_up_spares_what_is_asked_for_otherwise(mirror: Any) -> None:
    version = mirror.archive.publish(mirror.one)
    mirror.sync()
    mirror.populate(mirror.one)
    mirror.populate(f"{mirror.one}/{version}/sub-1")
    said = mirror.populate("--drop", f"{mirror.one}/draft")
    assert said.lines[:2] == ["2 files, 1.3 kB: given up", "2 files, 8 B: kept, since it is asked for otherwise"]
    assert sorted(mirror.held().values()) == [3, 5]
    rule = [{"versions": "latest", "budget": "3B"}]
    said = mirror.populate("--drop", mirror.one, content=rule)
    assert list(mirror.held().values()) == [3]
    assert mirror.populate("--drop", mirror.one).code == 0
    assert mirror.held() == {}


@pytest.mark.parametrize("drop", [lambda mirror: kept(mirror), lambda mirror: mirror.populate("--drop", mirror.one)])
def test_the_last_copy_of_what_the_archive_has_lost_stays(mirror: Any, key_of: Any, drop: Any) -> None:
    kept(mirror, ALL)
    forget(mirror, "sub-1/b.nwb")
    drop(mirror)
    assert mirror.held() == {key_of("b.nwb", b"three"): 5}


def test_a_copy_stays_when_the_archive_has_only_an_older_version_of_it(mirror: Any, key_of: Any) -> None:
    kept(mirror, ALL)
    objects = mirror.archive.objects
    objects.put(mirror.archive.asset(mirror.one, "sub-1/b.nwb").blob.key, b"THREE")
    objects.delete(mirror.archive.asset(mirror.one, "sub-1/a.nwb").blob.key)
    done = kept(mirror)
    assert done.dropped.stayed.keys == 2
    assert any("may be the last copy" in problem for problem in done.dropped.problems)
    assert mirror.held() == {key_of("b.nwb", b"three"): 5, key_of("a.nwb", b"one"): 3}


def test_nothing_is_given_up_while_the_archive_does_not_answer(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.archive.http.FIRST_WAIT", 0.0)
    kept(mirror, ALL)
    mirror.archive.s3_faults.add(Status(503), path="/blobs/", times=None)
    done = kept(mirror)
    assert (done.dropped.dropped.keys, done.dropped.stayed.keys) == (0, 4)
    assert len(mirror.held()) == 4


def test_a_drop_that_was_killed_leaves_no_untrue_line(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(mirror, ALL)
    calls = 0

    def dies(repository: Path, key: str) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise KeyboardInterrupt
        real(repository, key)

    real = contents.drop
    monkeypatch.setattr(contents, "drop", dies)
    with pytest.raises(KeyboardInterrupt):
        kept(mirror)
    monkeypatch.undo()
    repository = mirror.store.repository(mirror.one)
    assert len(list(contents.held(repository.path))) == 3
    kept(mirror)
    assert mirror.held() == {}


def test_nothing_is_given_up_while_a_dandiset_cannot_be_read(mirror: Any) -> None:
    other = mirror.archive.create_dandiset("Sleep")
    mirror.archive.add_assets(other, [("sub-5/x.nwb", b"of another")])
    mirror.sync()
    kept(mirror, ALL)
    packs = mirror.store.repository(other).path / "objects" / "pack"
    packs.rename(packs.with_name("elsewhere"))
    packs.mkdir()
    mirror.archive.add_assets(mirror.one, [("sub-9/new.dat", b"new")])
    mirror.sync(mirror.one)
    done = kept(mirror, ALL)
    assert [line.partition(":")[0] for line in done.problems] == ["cannot be read"]
    assert (done.populated.fetched.keys, done.dropped.dropped.keys) == (1, 0)
    packs.rmdir()
    packs.with_name("elsewhere").rename(packs)
    assert kept(mirror, ALL).problems == []
    assert len(mirror.held()) == 5


def test_it_stops_when_told_to(mirror: Any) -> None:
    done = Kept()
    with pytest.raises(Stopped):
        kept(mirror, ALL, stop=lambda: True, kept=done)
    assert done.populated.brought.keys == 0


def test_what_is_told_names_nothing_and_tells_how_far_it_is(mirror: Any) -> None:
    told: list[str] = []
    kept(mirror, ALL, tell=told.append)
    assert told[:2] == ["what rule 1 asks for", "what is not asked for any more"]


def test_the_rules_can_be_typed_too(mirror: Any) -> None:
    rule = [{"versions": "draft", "budget": "9B"}]
    assert mirror.populate("--dry-run", content=rule).lines[0] == "2 files, 8 B: would be fetched"
    assert mirror.populate(content=rule).code == 0
    assert sorted(mirror.held().values()) == [3, 5]
    assert mirror.populate(content=[]).code == 2


def test_nothing_is_given_up_while_queries_do_not_find_all_that_is_mirrored(mirror: Any) -> None:
    rule = {"where": "name ~ ripples", "versions": "draft"}
    kept(mirror, rule)
    for path in (Path(mirror.folder) / "state").glob("catalogue.sqlite*"):
        path.unlink()
    done = kept(mirror, rule)
    assert (done.dropped.dropped.keys, len(mirror.held())) == (0, 4)
    assert done.problems == ["the catalogue does not tell of all that is mirrored"]
    mirror.sync()
    assert kept(mirror, rule).problems == []


def test_nothing_is_given_up_while_it_is_not_known_what_versions_a_dandiset_has(mirror: Any) -> None:
    kept(mirror, ALL)
    head = mirror.store.repository(mirror.one).path / "HEAD"
    head.rename(head.with_name("HEAD.elsewhere"))
    done = kept(mirror, {"versions": "latest"})
    assert [line.partition(":")[0] for line in done.problems] == ["cannot be read"]
    assert done.dropped.dropped.keys == 0
    head.with_name("HEAD.elsewhere").rename(head)
    assert len(mirror.held()) == 4


def test_where_the_disk_ends_the_rules_end_too_and_nothing_comes_and_goes_in_turns(
    mirror: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.keeping.populating._LEFT_FREE", 0)
    monkeypatch.setattr("mirror.keeping.populating.room_at", lambda _: Room(100, None))
    done = kept(mirror, ALL)
    assert (done.populated.fetched.keys, done.failed) == (3, 0)
    assert "the disk has 100 bytes left" in done.full
    assert done.problems == ["the disk has no room for all that the rules ask for"]
    asked = mirror.asked()
    again = kept(mirror, ALL)
    assert (again.populated.there.keys, again.populated.brought.keys, again.dropped.dropped.keys) == (3, 0, 0)
    assert (again.problems, mirror.asked()) == (done.problems, asked)
    said = mirror.populate(content=[ALL])
    assert said.code == 0
    assert any(line.startswith("note: the next content needs 1.3 kB") for line in said.lines)


def test_the_trouble_of_one_repository_keeps_the_others_from_nothing(mirror: Any) -> None:
    other = mirror.archive.create_dandiset("Sleep")
    mirror.archive.add_assets(other, [("sub-5/x.nwb", b"of another")])
    mirror.sync()
    kept(mirror, ALL)
    repository = mirror.store.repository(mirror.one).path
    uuid = annex_uuid(mirror.store.repository(mirror.one))
    subprocess.run(["git", "-C", repository, "config", "--unset", "annex.uuid"], check=True)
    done = kept(mirror, {**ALL, "budget": "0B"})
    assert done.dropped.dropped.keys == 1
    assert [line.partition(":")[0] for line in done.problems] == ["nothing can be given up"]
    subprocess.run(["git", "-C", repository, "config", "annex.uuid", uuid], check=True)
    assert len(mirror.held()) == 4
    assert mirror.held(mirror.store.dataset_id(other)) == {}


def test_what_a_zarr_holds_stays_while_its_files_are_not_known(mirror: Any) -> None:
    zarr_id = mirror.archive.add_zarr(mirror.one, "sub-1/image.zarr", {"0/0": b"chunk"})
    mirror.sync()
    kept(mirror, ALL)
    packs = mirror.store.dataset(zarr_id).path / "objects" / "pack"
    packs.rename(packs.with_name("elsewhere"))
    packs.mkdir()
    done = kept(mirror, ALL)
    assert done.dropped.dropped.keys == 0
    packs.rmdir()
    packs.with_name("elsewhere").rename(packs)
    assert len(mirror.held(zarr_id)) == 1


def test_it_can_be_stopped_while_it_finds_out_what_is_asked_for(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.keeping.keeping._LOOK_SECONDS", 0.0)
    done = Kept()
    with pytest.raises(Stopped, match="what rule 1 asks for"):
        kept(mirror, ALL, stop=lambda: True, kept=done)
    assert done.rules == []


def test_it_can_be_stopped_while_the_disk_is_full_and_much_is_under_way(
    mirror: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, too_large = bytes(3 << 20), bytes(4 << 20)
    mirror.archive.add_assets(mirror.one, [("sub-9/slow.dat", slow), ("sub-9/too-large.dat", too_large)])
    mirror.sync()
    silent, finish, is_full = Silent(), Populator._finish_what_is_under_way, threading.Event()

    def finished(populator: Populator) -> None:
        is_full.set()
        finish(populator)

    mirror.archive.s3_faults.add(silent, path=mirror.archive.asset(mirror.one, "sub-9/slow.dat").blob.key, times=None)
    monkeypatch.setattr("mirror.keeping.populating._LEFT_FREE", 0)
    monkeypatch.setattr("mirror.keeping.populating.room_at", lambda _: Room(5 << 20, None))
    monkeypatch.setattr(Populator, "_finish_what_is_under_way", finished)
    with pytest.raises(Stopped):
        kept(mirror, ALL, stop=lambda: is_full.is_set() and silent.asked.is_set())
    assert not silent.over.is_set()
    silent.over.set()
    assert len(slow) not in mirror.held().values()


def test_giving_up_that_was_killed_leaves_to_no_rule_what_is_asked_for_otherwise(
    mirror: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = mirror.archive.publish(mirror.one)
    mirror.sync()
    mirror.populate(mirror.one)
    mirror.populate(f"{mirror.one}/{version}/sub-1")
    real = Books.set_by_hand

    def dies(*args: Any) -> None:
        real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(Books, "set_by_hand", dies)
    assert mirror.populate("--drop", f"{mirror.one}/draft").code == 130
    monkeypatch.undo()
    kept(mirror)
    assert sorted(mirror.held().values()) == [3, 5]


def test_a_path_that_only_some_versions_have_is_given_up_of_those(mirror: Any) -> None:
    mirror.archive.publish(mirror.one)
    mirror.archive.add_assets(mirror.one, [("sub-3/e.nwb", b"later")])
    mirror.sync()
    mirror.populate(f"{mirror.one}/sub-3")
    assert mirror.populate("--drop", f"{mirror.one}/sub-3").code == 0
    assert mirror.held() == {}
    assert "sub-9" in str(mirror.populate("--drop", f"{mirror.one}/sub-9").error)


def test_a_dry_run_of_the_rules_tells_of_what_cannot_be_read(mirror: Any) -> None:
    packs = mirror.store.repository(mirror.one).path / "objects" / "pack"
    packs.rename(packs.with_name("elsewhere"))
    packs.mkdir()
    said = mirror.populate("--dry-run", content=[ALL])
    assert said.lines[0].startswith(f"note: cannot be read: {mirror.one}")


def test_zarrs_that_the_rules_pass_over_are_counted(mirror_with: Any) -> None:
    mirror = mirror_with(zarr={"hold": "manifest"})
    mirror.archive.add_zarr(mirror.one, "sub-1/image.zarr", {"0/0": b"chunk"})
    mirror.sync()
    assert any("passed over: 1" in line for line in mirror.populate("--dry-run", content=[ALL]).lines)


def test_giving_up_can_be_stopped_while_the_archive_is_silent(mirror: Any) -> None:
    kept(mirror, ALL)
    silent = Silent()
    mirror.archive.s3_faults.add(silent, path="/blobs/", times=None)
    with pytest.raises(Stopped):
        kept(mirror, {**ALL, "budget": "0B"}, stop=silent.asked.is_set)
    assert not silent.over.is_set()
    silent.over.set()
    assert len(mirror.held()) == 4
