"""The feed on disk: whole lines only, for everybody to read, whatever happens to who writes it."""

from __future__ import annotations

import json
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.store.feed import Change, Feed, read_changes


def change(serial: int, version: str = "draft") -> Change:
    return Change(
        serial=serial,
        time="2026-11-20T15:34:17+00:00",
        dandiset="000003",
        version=version,
        old=None if serial == 1 else f"{serial - 1:040x}",
        new=f"{serial:040x}",
        added=1,
        modified=0,
        removed=0,
        renamed=2,
        assets=serial,
        bytes=1000 * serial,
        bytes_changed=-5,
        annex="a" * 40,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "changes.jsonl"


def changes(path: Path) -> list[Change]:
    return [found for _, found in read_changes(path)]


def serials(path: Path) -> list[int]:
    return [found.serial for found in changes(path)]


def filled(path: Path, count: int = 3) -> bytes:
    with Feed(path) as feed:
        feed.append(change(serial) for serial in range(1, count + 1))
    return path.read_bytes()


def test_a_line_is_canonical_json(path: Path) -> None:
    with Feed(path) as feed:
        feed.append([change(1)])
    line = path.read_text()
    fields = json.loads(line)
    assert line == json.dumps(fields, sort_keys=True, separators=(",", ":")) + "\n"
    assert fields == {
        "serial": 1,
        "time": "2026-11-20T15:34:17+00:00",
        "dandiset": "000003",
        "version": "draft",
        "old": None,
        "new": "0" * 39 + "1",
        "added": 1,
        "modified": 0,
        "removed": 0,
        "renamed": 2,
        "assets": 1,
        "bytes": 1000,
        "bytes_changed": -5,
        "annex": "a" * 40,
    }


def test_lines_are_added_and_come_back_as_they_were(path: Path) -> None:
    with Feed(path) as feed:
        feed.append([change(1), change(2)])
    first = path.read_bytes()
    with Feed(path) as feed:
        feed.append([])
        feed.append([change(3, "0.230629.1955")])
    assert path.read_bytes().startswith(first)
    assert changes(path) == [change(1), change(2), change(3, "0.230629.1955")]


def test_one_may_go_on_reading_from_behind_a_line(path: Path) -> None:
    filled(path)
    ends = [end for end, _ in read_changes(path)]
    assert [found.serial for _, found in read_changes(path, ends[0])] == [2, 3]
    assert list(read_changes(path, ends[-1])) == []


def test_where_there_is_no_feed_nothing_is_read(path: Path) -> None:
    assert changes(path) == []
    assert not path.exists()


@pytest.mark.parametrize("umask", [0o077, 0o000], ids=oct)
def test_everybody_may_read_it_whatever_the_umask(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        filled(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@given(kept=st.floats(0, 1))
def test_a_torn_line_is_passed_over_and_then_cut_off(tmp_path_factory: pytest.TempPathFactory, kept: float) -> None:
    path = tmp_path_factory.mktemp("feed") / "changes.jsonl"
    body = filled(path)
    torn = body[: round(len(body) * kept)]
    path.write_bytes(torn)
    whole = torn[: torn.rfind(b"\n") + 1]
    assert serials(path) == list(range(1, 1 + whole.count(b"\n")))
    with Feed(path) as feed:
        assert path.read_bytes() == whole
        feed.append([change(4)])
    assert path.read_bytes() == whole + msgspec.json.encode(change(4), order="sorted") + b"\n"


@pytest.mark.parametrize("tail", [b"\0" * 700, b"\0" * 300 + b"\n", b'{"serial":4}\n', b"[]\n\n"])
def test_what_is_no_line_at_the_end_is_cut_off(path: Path, tail: bytes) -> None:
    body = filled(path)
    path.write_bytes(body + tail)
    assert serials(path) == [1, 2, 3]
    with Feed(path):
        assert path.read_bytes() == body


def test_what_is_no_line_in_between_is_passed_over_and_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    body = filled(path)
    first, second, third = body.splitlines(keepends=True)
    path.write_bytes(first + b"what is this?\n" + third)
    assert serials(path) == [1, 3]
    assert "what is this?" in caplog.text
    with Feed(path) as feed:
        feed.append([change(4)])
    assert serials(path) == [1, 3, 4]
    assert second not in path.read_bytes()


def test_what_is_known_to_be_whole_is_not_read_again(path: Path) -> None:
    body = filled(path)
    with Feed(path, start=len(body) - 1) as feed:
        assert feed.end == len(body) - 1
    path.write_bytes(body)
    with Feed(path, start=len(body)) as feed:
        assert feed.end == len(body)


def test_a_feed_shorter_than_it_was_is_read_from_its_beginning(path: Path) -> None:
    body = filled(path)
    path.write_bytes(body[:-1])
    with Feed(path, start=len(body)) as feed:
        assert feed.end == body[:-1].rfind(b"\n") + 1
    assert serials(path) == [1, 2]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that is full, as far as this process is concerned."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_lines_for_which_there_is_no_room_leave_nothing_behind(path: Path) -> None:
    body = filled(path)
    with Feed(path) as feed:
        with files_of_at_most(len(body) + 400), pytest.raises(OSError, match="File too large"):
            feed.append([change(4), change(5)])
        assert path.read_bytes() == body
        feed.append([change(4)])
    assert serials(path) == [1, 2, 3, 4]
