"""`dandi-mirror changes` as a user or a script sees it: in a process of its own, of a store that is followed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.archive.records import Instance
from mirror.store.feed import Change, Feed
from mirror.store.store import Store

from ..warm import warm_program

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def change(serial: int, **given: object) -> Change:
    fields: dict[str, object] = {
        "time": f"2026-11-{serial:02}T15:34:17+00:00",
        "dandiset": "000003",
        "version": "draft",
        "old": f"{serial - 1:040x}",
        "new": f"{serial:040x}",
        **dict.fromkeys(("added", "modified", "removed", "renamed", "bytes_changed"), 0),
        "assets": 14,
        "bytes": 1_200_000,
        "annex": "a" * 40,
    }
    return Change(serial=serial, **{**fields, **given})  # type: ignore[arg-type]


CHANGES = [
    change(1, old=None, added=14),
    change(2, version="0.230629.1955", old=None, added=14, dandiset="000027"),
    change(3),
    change(4, added=1200, modified=1, removed=2, renamed=3),
    change(5, version="git-annex", assets=1, bytes=3),
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.open_or_create(tmp_path / "store", Instance("DANDI", "https://dandiarchive.org"))
    with Feed(store.changes) as feed:
        feed.append(CHANGES)
    return store


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "mirror", "changes", "--store", "store", *args]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return warm_program().run("changes", "--store", "store", *args, cwd=tmp_path)

    return run


def shown(done: subprocess.CompletedProcess[str]) -> list[int]:
    """The serials of the lines."""
    assert (done.returncode, done.stderr) == (0, "")
    return [int(line.split()[0]) for line in done.stdout.splitlines()]


def test_without_a_store_it_is_10(run: Run) -> None:
    done = run()
    assert (done.returncode, done.stdout) == (10, "")
    assert "there is no store at" in done.stderr


@pytest.mark.usefixtures("store")
def test_each_change_is_a_line_in_plain_words(run: Run) -> None:
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "     1  2026-11-01 15:34:17  000003  draft           the first: 14 added (14 assets, 1.2 MB)",
        "     2  2026-11-02 15:34:17  000027  0.230629.1955   the first: 14 added (14 assets, 1.2 MB)",
        "     3  2026-11-03 15:34:17  000003  draft           no asset changed (14 assets, 1.2 MB)",
        "     4  2026-11-04 15:34:17  000003  draft           "
        "1,200 added, 1 modified, 2 removed, 3 renamed (14 assets, 1.2 MB)",
        "     5  2026-11-05 15:34:17  000003  git-annex       addresses or metadata of contents (1 asset, 3 B)",
    ]


def test_json_is_the_feed_with_datalads_keys(run: Run, store: Store) -> None:
    done = run("--json")
    assert (done.returncode, done.stderr) == (0, "")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    lines = [json.loads(line) for line in store.changes.read_text().splitlines()]
    for record, line in zip(records, lines, strict=True):
        assert record.pop("message")
        own = {key: record.pop(key) for key in ("action", "path", "status", "type")}
        assert own == {
            "action": "changes",
            "path": str(store.alias(line["dandiset"])),
            "status": "ok",
            "type": "dataset",
        }
        assert record == line


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("since", "serials"),
    [
        ("0", [1, 2, 3, 4, 5]),
        ("3", [4, 5]),
        ("5", []),
        ("2026-11-04", [4, 5]),
        ("2026-11-04T15:34:17Z", [4, 5]),
        ("2026-11-04 15:34:17.5", [5]),
        ("2026-11-04T15:35", [5]),
        ("2026-11-04T10:35-05:00", [5]),
        ("2027-01-01", []),
        ("2026-11", [1, 2, 3, 4, 5]),
        ("2026-12", []),
    ],
)
def test_since_is_a_serial_or_a_time(run: Run, since: str, serials: list[int]) -> None:
    assert shown(run("--since", since)) == serials


@pytest.mark.usefixtures("store")
def test_a_serial_that_is_not_yet_is_told(run: Run) -> None:
    """Who meant a year is told how to give one."""
    said = run("--since", "2026")
    assert (said.returncode, said.stdout) == (0, "")
    assert said.stderr == "there is no serial 2026 yet, the last is 5; a year is given as 2026-01\n"


@pytest.mark.parametrize("since", ["yesterday", "-1", "17b", ""])
@pytest.mark.usefixtures("store")
def test_anything_else_is_a_usage_error_that_says_what_is_expected(run: Run, since: str) -> None:
    done = run("--since", since)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{since!r} is neither a serial, such as 17, nor a time, such as 2026-11, 2026-11-20" in done.stderr


@pytest.mark.parametrize(
    "since", ["2026-13", "2026-13-01", "2026-11-04T", "2026-11T10:35", "2026-11-04T10:35 noon", "２０２６-11-04"]
)
@pytest.mark.usefixtures("store")
def test_so_is_what_only_looks_like_a_time(run: Run, since: str) -> None:
    done = run("--since", since)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is neither a serial" in done.stderr


@pytest.mark.usefixtures("store")
def test_a_serial_of_thousands_of_digits_is_a_usage_error_that_shows_its_beginning(run: Run) -> None:
    done = run("--since", "9" * 5000)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"'{'9' * 40}…' is neither a serial" in done.stderr
    assert len(done.stderr) < 500


def test_a_change_whose_time_is_none_is_left_out_with_a_warning_when_times_are_asked(run: Run, store: Store) -> None:
    with Feed(store.changes) as feed:
        feed.append([change(6, time="yesterday"), change(7)])
    done = run("--since", "2026-11-05")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["5", "7"]
    assert "change 6 is left out" in done.stderr
    assert "'yesterday' is not a time" in done.stderr
    assert shown(run("--since", "5")) == [6, 7]


def test_a_store_that_nobody_followed_yet_has_no_changes(run: Run, store: Store) -> None:
    store.changes.unlink()
    assert shown(run()) == []
    assert not store.changes.exists()


def test_a_line_still_being_written_is_no_line_yet(run: Run, store: Store) -> None:
    with store.changes.open("ab") as feed:
        feed.write(b'{"serial":6,"time":"2026')
    assert shown(run()) == [1, 2, 3, 4, 5]


def test_what_comes_is_followed_until_ctrl_c_which_is_nothing_to_complain_of(store: Store, tmp_path: Path) -> None:
    with subprocess.Popen(
        command("--follow", "--since", "4"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as following:
        assert following.stdout is not None
        assert following.stdout.readline().startswith("     5  ")
        with Feed(store.changes) as feed:
            feed.append([change(6)])
        assert following.stdout.readline().startswith("     6  ")
        # The file is begun anew, and serials go on.
        store.changes.unlink()
        with Feed(store.changes) as feed:
            feed.append([change(7)])
        assert following.stdout.readline().startswith("     7  ")
        following.send_signal(signal.SIGINT)
        more, complaint = following.communicate(timeout=30)
    assert (following.returncode, more, complaint) == (130, "", "")
