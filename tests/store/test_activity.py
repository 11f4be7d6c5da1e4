"""What is told of the work in hand, by whom it is believed, and when it is gone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from mirror.store import activity
from mirror.store.activity import NAME, Activity, ActivityFile, Standing, Turn, read_activity, silent_seconds
from mirror.store.store import Store


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def standing(done: int) -> Standing:
    return Standing(total=10, done=done, current=(Turn("000027", "2026-11-21T15:34:17+00:00", "3 of 5 pages"),))


def note(file: ActivityFile, done: int) -> None:
    file.note(lambda: standing(done), job="poll", job_since="2026-11-21T15:34:17+00:00")


def test_another_process_reads_what_was_noted(tmp_path: Path) -> None:
    file = ActivityFile(tmp_path, "dandi-mirror run")
    file.note(lambda: standing(4), job="poll", next_jobs={"poll": "2026-11-21T15:44:00+00:00"})
    code = f"""if True:
        from pathlib import Path
        from mirror.store.activity import read_activity
        found = read_activity(Path({str(tmp_path)!r}))
        standing = found.standing
        print(found.command, found.pid, found.job, standing.done, standing.current[0].how_far, found.next_jobs)
    """
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == (f"dandi-mirror run {os.getpid()} poll 4 3 of 5 pages {{'poll': '2026-11-21T15:44:00+00:00'}}\n")


def test_it_is_written_once_a_second_at_most(tmp_path: Path, clock: Clock) -> None:
    file, asked = ActivityFile(tmp_path, "sync", clock=clock), []

    def counted() -> Standing:
        asked.append(1)
        return standing(len(asked))

    for _ in range(50):
        file.note(counted, job="sync")
        clock.now += 0.1
    assert len(asked) == 5
    file.note(counted, job="sync", at_once=True)
    found = read_activity(tmp_path)
    assert found is not None
    assert found.standing.done == 6


def test_what_did_not_change_is_written_again_only_to_show_life(tmp_path: Path, clock: Clock) -> None:
    file = ActivityFile(tmp_path, "sync", clock=clock)
    note(file, 1)
    first = (tmp_path / NAME).stat().st_ino, (tmp_path / NAME).stat().st_mtime_ns
    clock.now += 29
    note(file, 1)
    assert ((tmp_path / NAME).stat().st_ino, (tmp_path / NAME).stat().st_mtime_ns) == first
    clock.now += 2
    note(file, 1)
    assert (tmp_path / NAME).stat().st_mtime_ns != first[1]


def test_at_the_end_it_is_gone(tmp_path: Path) -> None:
    file = ActivityFile(tmp_path, "sync")
    note(file, 1)
    file.remove()
    assert list(tmp_path.iterdir()) == []
    file.remove()  # nobody minds


def test_nothing_is_believed_of_a_process_that_is_gone(tmp_path: Path) -> None:
    code = f"""if True:
        from pathlib import Path
        from mirror.store.activity import ActivityFile, Standing
        ActivityFile(Path({str(tmp_path)!r}), "sync").note(Standing, job="sync")
    """
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / NAME).exists()
    assert read_activity(tmp_path) is None


def test_a_later_process_of_the_same_number_is_told_apart(tmp_path: Path) -> None:
    note(ActivityFile(tmp_path, "sync"), 1)
    path = tmp_path / NAME
    before = msgspec.json.decode(path.read_bytes(), type=Activity)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(before, born=before.born + "1")))
    assert read_activity(tmp_path) is None


@pytest.mark.parametrize(("minutes", "believed"), [(2, True), (20, False)])
def test_another_machine_is_believed_for_some_minutes(tmp_path: Path, minutes: int, believed: bool) -> None:
    note(ActivityFile(tmp_path, "sync"), 1)
    path = tmp_path / NAME
    before = msgspec.json.decode(path.read_bytes(), type=Activity)
    written = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    elsewhere = msgspec.structs.replace(before, host=socket.gethostname() + "-b", written=written, pid=1)
    path.write_bytes(msgspec.json.encode(elsewhere))
    assert (read_activity(tmp_path) is not None) == believed


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff\xfe"])
def test_a_file_that_nobody_can_read_tells_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert read_activity(tmp_path) is None
    ActivityFile(tmp_path, "sync").remove()
    note(ActivityFile(tmp_path, "sync"), 1)
    assert read_activity(tmp_path) is not None


def test_a_daemon_that_waits_keeps_silent_while_another_process_works(tmp_path: Path, clock: Clock) -> None:
    code = f"""if True:
        import sys
        from pathlib import Path
        from mirror.store.activity import ActivityFile, Standing
        file = ActivityFile(Path({str(tmp_path)!r}), "typed by hand")
        file.note(Standing, job="sync")
        print("noted", flush=True)
        sys.stdin.read()
        file.remove()
    """
    daemon = ActivityFile(tmp_path, "dandi-mirror run", clock=clock)
    daemon.note(Standing)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "noted\n"
        clock.now += 1
        daemon.note(Standing)
        found = read_activity(tmp_path)
        assert found is not None
        assert found.command == "typed by hand"
        daemon.remove()  # only what is ours
        assert read_activity(tmp_path) is not None
    clock.now += 1
    daemon.note(Standing)
    found = read_activity(tmp_path)
    assert found is not None
    assert found.command == "dandi-mirror run"


def test_a_daemon_that_waits_tells_so_again_once_a_command_typed_by_hand_has_ended(
    tmp_path: Path, clock: Clock
) -> None:
    """However short that was: shorter than the pause between two looks."""
    daemon = ActivityFile(tmp_path, "dandi-mirror run", clock=clock)
    daemon.note(Standing)
    (tmp_path / NAME).unlink()  # as whoever works there does in the end, having taken its place
    clock.now += 1
    daemon.note(Standing)
    found = read_activity(tmp_path)
    assert found is not None
    assert found.command == "dandi-mirror run"


def test_where_it_cannot_be_written_the_work_goes_on(tmp_path: Path) -> None:
    file = ActivityFile(tmp_path / "gone", "sync")
    note(file, 1)
    file.remove()
    assert read_activity(tmp_path / "gone") is None


def test_threads_may_share_it(tmp_path: Path) -> None:
    file = ActivityFile(tmp_path, "sync")
    threads = [
        threading.Thread(
            target=lambda number=number: [
                file.note(lambda: standing(number), job="poll", at_once=True) for _ in range(50)
            ]
        )
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read_activity(tmp_path)
    assert found is not None
    assert found.standing.done in range(4)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize(
    "damage",
    [
        {"pid": 10**18},
        {"pid": -1},
        {"pid": 0},
        {"host": "elsewhere", "written": "2026-11-21T15:34:17"},
        {"host": "elsewhere", "written": "yesterday"},
    ],
)
def test_one_that_makes_no_sense_is_believed_by_nobody(tmp_path: Path, damage: dict[str, object]) -> None:
    file = ActivityFile(tmp_path, "dandi-mirror run")
    note(file, 3)
    found = msgspec.json.decode((tmp_path / NAME).read_bytes())
    (tmp_path / NAME).write_bytes(msgspec.json.encode(found | damage))
    assert read_activity(tmp_path) is None


def test_a_process_that_proc_does_not_show_is_believed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(ActivityFile(tmp_path, "dandi-mirror run"), 3)
    monkeypatch.setattr(activity, "_born", lambda _pid: "")  # as with `hidepid`, to another user
    assert read_activity(tmp_path) is not None


@pytest.mark.parametrize("written", ["", "yesterday", "2026-11-21T15:34:17"])
def test_a_time_that_nobody_can_read_is_no_time(tmp_path: Path, written: str) -> None:
    note(ActivityFile(tmp_path, "dandi-mirror run"), 3)
    found = read_activity(tmp_path)
    assert found is not None
    assert silent_seconds(msgspec.structs.replace(found, written=written), datetime.now(UTC)) is None


def test_what_somebody_was_killed_at_writing_is_cleared_away_by_the_next(store: Store) -> None:
    """Others may be writing theirs at that moment: they go without."""
    left = store.root / "state" / f".{NAME}.12345"
    left.touch()
    with store.lock("sync"):
        store.clear_away()
    assert not left.exists()
