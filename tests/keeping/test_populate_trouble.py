"""What goes wrong while content comes: nothing false is taken in, nothing is lost, and the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from mirror.annex.keys import md5e_key
from mirror.archive.content import Content
from mirror.demo.bucket import ObjectVersion
from mirror.demo.faults import Slow, Status, Truncated
from mirror.errors import Stopped
from mirror.keeping.fetching import Connections, Fetcher, Job, is_content_of
from mirror.keeping.populating import Populator
from mirror.store import contents
from mirror.store.room import Room

LARGE = bytes(range(256)) * 40_000


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gives no answer is asked again at once."""
    monkeypatch.setattr("mirror.archive.http.FIRST_WAIT", 0.0)


def scratch(mirror: Any) -> Path:
    return Path(mirror.folder) / "state" / "tmp" / "content"


def replaced(mirror: Any, path: str, body: bytes) -> ObjectVersion:
    """The bucket gives other bytes for an asset, under the version that was recorded."""
    objects = mirror.archive.objects
    key = mirror.archive.asset(mirror.one, path).blob.key
    found: ObjectVersion = objects.latest(key)
    object.__setattr__(found, "content", body)
    return found


def test_wrong_bytes_are_told_and_never_taken_in(mirror: Any, key_of: Any) -> None:
    replaced(mirror, "sub-1/b.nwb", b"thrEe")
    said = mirror.populate(mirror.one)
    assert said.code == 3
    told = said.of(f"{mirror.one}/sub-1/b.nwb")
    assert told["status"] == "error"
    assert "not what its digest says" in told["message"]
    assert key_of("b.nwb", b"three") not in mirror.held()
    assert len(mirror.held()) == 3
    assert list(scratch(mirror).iterdir()) == []


def test_a_beginning_that_was_of_something_else_is_not_gone_on_with(mirror: Any, key_of: Any) -> None:
    mirror.populate(f"{mirror.one}/sub-1")
    key = key_of("c.nwb", b"seven of them")
    (scratch(mirror) / key).write_bytes(b"SEVEN")
    assert mirror.populate(mirror.one).code == 0
    assert mirror.body(key) == b"seven of them"


def test_what_was_half_fetched_is_gone_on_with(mirror: Any, key_of: Any) -> None:
    mirror.archive.add_assets(mirror.one, [("sub-9/large.dat", LARGE)])
    mirror.sync()
    mirror.populate(f"{mirror.one}/sub-1")
    key = key_of("large.dat", LARGE)
    (scratch(mirror) / key).write_bytes(LARGE[:8_000_000])
    mirror.archive.requests.clear()
    assert mirror.populate(f"{mirror.one}/sub-9").code == 0
    assert mirror.body(key) == LARGE
    assert 1 <= mirror.asked() <= 3


def test_what_was_half_fetched_needs_no_room_for_what_is_there(
    mirror: Any, key_of: Any, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.populate(f"{mirror.one}/sub-1")
    body = files["sub-2/d.dat"]
    (scratch(mirror) / key_of("d.dat", body)).write_bytes(body[:1000])
    monkeypatch.setattr("mirror.keeping.fetching._LARGE", 0)
    monkeypatch.setattr("mirror.keeping.populating._LEFT_FREE", 0)
    monkeypatch.setattr("mirror.keeping.populating.room_at", lambda _: Room(len(body) - 900, None))
    assert mirror.populate(mirror.one).code == 0
    assert len(mirror.held()) == 4


def test_reading_a_large_file_can_be_broken_off(mirror: Any, tmp_path: Path) -> None:
    key, folder = md5e_key("large.dat", len(LARGE), md5(LARGE).hexdigest()), mirror.store.repository(mirror.one).path
    (tmp_path / "file").write_bytes(LARGE)
    contents.adopt(folder, key, tmp_path / "file")
    fetcher = Fetcher(mirror.store, None, Connections(1), lambda _: fetcher.end())  # type: ignore[arg-type]
    with pytest.raises(Stopped):
        fetcher.get(Job("d", folder, key, len(LARGE), private=False, in_place=True))
    assert contents.has(folder, key)


def test_those_that_wait_for_the_same_bytes_do_not_wait_for_each_other(
    mirror: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.archive.add_assets(mirror.one, [(f"sub-7/same.{number}", b"the same") for number in range(100)])
    mirror.sync()
    begun = 0

    def counted(populator: Populator, job: Job, asked: Any) -> None:
        nonlocal begun
        begun += 1
        begin(populator, job, asked)

    begin = Populator._begin
    monkeypatch.setattr(Populator, "_begin", counted)
    mirror.archive.s3_faults.add(Slow(0.5), path="/blobs/")
    assert mirror.populate(f"{mirror.one}/sub-7").code == 0
    assert len(mirror.held()) == 100
    assert begun <= 2 * 100


def test_what_is_old_and_half_fetched_goes(mirror: Any) -> None:
    mirror.populate(f"{mirror.one}/sub-1")
    old, new = scratch(mirror) / "old", scratch(mirror) / "new"
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    os.utime(old, (0, 0))
    mirror.populate(f"{mirror.one}/sub-1")
    assert [path.name for path in scratch(mirror).iterdir()] == ["new"]


def test_a_bad_line_is_no_trouble(mirror: Any) -> None:
    mirror.archive.s3_faults.add(Status(503), path="/blobs/", times=2)
    mirror.archive.s3_faults.add(Truncated(), path="/blobs/", times=2)
    assert mirror.populate(mirror.one).code == 0
    assert len(mirror.held()) == 4


def test_content_in_place_that_nobody_noted_is_looked_at_first(mirror: Any, key_of: Any, tmp_path: Path) -> None:
    folder = mirror.store.repository(mirror.one).path
    right, wrong = key_of("a.nwb", b"one"), key_of("b.nwb", b"three")
    for key, body in ((right, b"one"), (wrong, b"thrEe")):
        (tmp_path / "file").write_bytes(body)
        contents.adopt(folder, key, tmp_path / "file")
    said = mirror.populate(f"{mirror.one}/sub-1")
    assert said.of(f"{mirror.one}/sub-1/a.nwb")["message"] == "found in place"
    assert said.of(f"{mirror.one}/sub-1/b.nwb")["message"] == "fetched"
    assert mirror.held() == {right: 3, wrong: 5}
    assert mirror.body(wrong) == b"three"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_at_any_instant_it_goes_on_where_it_was(mirror: Any, how: signal.Signals) -> None:
    bodies = {f"sub-8/{number}.dat": bytes([number]) * 1000 for number in range(200)}
    mirror.archive.add_assets(mirror.one, list(bodies.items()))
    mirror.sync()
    mirror.archive.s3_faults.add(Slow(0.05), path="/blobs/", times=None)
    mirror.populate(f"{mirror.one}/sub-1")
    for more in (1, 30, 60):
        before, process = mirror.asked(), mirror.populating(mirror.one)
        while mirror.asked() < before + more and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(how)
        assert process.wait() != 0, "it was under way"
        folder = mirror.store.repository(mirror.one).path
        assert all(is_content_of(key, contents.place_of(folder, key)) for key, _ in contents.held(folder))
    mirror.archive.s3_faults.clear()
    assert mirror.populate(mirror.one).code == 0
    assert len(mirror.held()) == 204
    assert list(scratch(mirror).iterdir()) == []
    subprocess.run(["git", "-C", str(folder), "fsck", "--strict"], check=True, capture_output=True)


def test_killed_in_the_middle_of_a_large_file_it_goes_on_there(
    mirror: Any, key_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.archive.add_assets(mirror.one, [("sub-9/large.dat", LARGE)])
    mirror.sync()
    key = key_of("large.dat", LARGE)
    mirror.archive.s3_faults.add(Slow(0.4), path="/blobs/", times=None)
    process, part = mirror.populating(f"{mirror.one}/sub-9"), scratch(mirror) / key
    deadline = time.monotonic() + 30
    while not (part.is_file() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    there = part.stat().st_size
    assert 0 < there < len(LARGE)
    assert part.read_bytes() == LARGE[:there]
    assert mirror.held() == {}
    mirror.archive.s3_faults.clear()
    began: list[int] = []
    fetch = Content.fetch

    def watched(content: Content, *args: Any, told: Any, **more: Any) -> None:
        fetch(content, *args, told=lambda now: (began.append(now), told(now)), **more)

    monkeypatch.setattr(Content, "fetch", watched)
    assert mirror.populate(f"{mirror.one}/sub-9").code == 0
    assert mirror.body(key) == LARGE
    assert began[0] == there, "what was there is not fetched again"


KILLED = """
import os, signal
from mirror.cli.populate import populate
from mirror.keeping import populating
from mirror.store.content_book import ContentBook
{what} = lambda *args, **more: os.kill(os.getpid(), signal.SIGKILL)
populate()
"""


@pytest.mark.parametrize("what", ["populating.Populator._note", "populating.note_locations", "ContentBook.add"])
def test_killed_between_putting_in_place_and_noting_it_looks_and_fetches_nothing_again(mirror: Any, what: str) -> None:
    assert mirror.populating(mirror.one, program=KILLED.format(what=what)).wait() == -signal.SIGKILL
    repository = mirror.store.repository(mirror.one)
    assert len(list(contents.held(repository.path))) == 4
    asked, said = mirror.asked(), mirror.populate(mirror.one)
    assert {one["message"] for one in said.records} == {"found in place"}
    assert mirror.asked() == asked
    assert len(mirror.held()) == 4


def test_an_archive_that_is_down_ends_it(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = {f"sub-8/{number}.dat": bytes([number]) * 10 for number in range(30)}
    mirror.archive.add_assets(mirror.one, list(bodies.items()))
    mirror.sync()
    settings = mirror.settings()
    mirror.archive.close()
    monkeypatch.setattr(mirror, "settings", lambda **_: settings)
    said = mirror.populate(mirror.one)
    assert said.code == 1
    assert "the archive gives no answer, 10 times in a row" in str(said.error)
    assert mirror.held() == {}
