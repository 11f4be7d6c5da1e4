"""git-annex does not outlive a backup that was killed, or not for longer than until the next one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.errors import Locked, MirrorError
from mirror.keeping.backup import conversation
from mirror.keeping.backup.conversation import Conversation, end_what_runs

TALK_AND_DIE = """
import os, signal, sys
from pathlib import Path
from mirror.keeping.backup.conversation import Conversation
talk = Conversation(sys.argv[2:], Path("/"), dict(os.environ), Path(sys.argv[1]))
talk.line()
os.kill(os.getpid(), signal.SIGKILL)
"""


def left_by_a_dead_one(running: Path, script: str) -> int:
    """A process that goes on though whoever started it was killed: its id."""
    cmd = [sys.executable, "-c", TALK_AND_DIE, str(running), "sh", "-c", script]
    assert subprocess.run(cmd, check=False).returncode == -signal.SIGKILL
    return int(running.read_text())


def lives(pid: int) -> bool:
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()[:1] not in ("", "Z")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    file = tmp_path / "running"
    yield file
    if file.exists() and lives(int(file.read_text())):
        subprocess.run(["kill", "-KILL", file.read_text()], check=True)


def test_what_a_dead_one_left_at_work_is_ended(running: Path) -> None:
    pid = left_by_a_dead_one(running, "echo ready; exec sleep 60")
    assert lives(pid)
    end_what_runs(running)
    assert not lives(pid)


def test_what_does_not_end_is_in_the_way(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "_PATIENCE", 0.2)
    pid = left_by_a_dead_one(running, "trap '' TERM; echo ready; exec sleep 60")
    with pytest.raises(Locked, match="does not end") as refused:
        end_what_runs(running)
    assert f"process {pid}" in (refused.value.hint or "")
    assert lives(pid)


def test_what_has_much_to_say_to_nobody_ends_all_the_same(running: Path) -> None:
    pid = left_by_a_dead_one(running, "echo ready; read key; head -c 100000 /dev/zero; echo")
    until = time.monotonic() + 10
    while lives(pid):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_where_nothing_was_left_or_all_has_ended_nothing_is_done(running: Path, tmp_path: Path) -> None:
    end_what_runs(running)
    with Conversation(["cat"], tmp_path, {}, running) as talk:
        talk.say("a")
        assert talk.line() == b"a"
    end_what_runs(running)
    # Another process has the number now.
    running.write_text(str(subprocess.Popen(["sleep", "1"]).pid))
    end_what_runs(running)
    assert lives(int(running.read_text()))


def test_words_that_are_no_answer_are_an_error_that_has_them(running: Path, tmp_path: Path) -> None:
    with Conversation(["cat"], tmp_path, {}, running) as talk:
        talk.say("nonsense")
        with pytest.raises(MirrorError, match="said what is not understood here: nonsense"):
            talk.hear()
