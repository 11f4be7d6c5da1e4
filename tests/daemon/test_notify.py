"""What systemd is told, as sd_notify(3) has it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.daemon.notify import Notifier


@pytest.fixture(params=["a path", "an abstract name"])
def channel(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket that systemd listens at."""
    name = str(tmp_path / "notify") if request.param == "a path" else f"@dandi-mirror-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(name.replace("@", "\0"))
        channel.settimeout(5)
        yield channel


def test_each_thing_is_told_in_one_datagram(channel: socket.socket) -> None:
    notifier = Notifier()
    notifier.ready("waiting;\nfor a poll")
    notifier.status("poll")
    notifier.alive()
    notifier.stopping()
    told = [channel.recv(1000).decode() for _ in range(4)]
    assert told == ["READY=1\nSTATUS=waiting; for a poll", "STATUS=poll", "WATCHDOG=1", "STOPPING=1"]


def test_reloading_comes_with_the_time(channel: socket.socket) -> None:
    Notifier().reloading()
    word, stamp = channel.recv(1000).decode().split("\n")
    assert word == "RELOADING=1"
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert now - 5_000_000 < int(stamp.removeprefix("MONOTONIC_USEC=")) <= now


@pytest.mark.usefixtures("channel")
def test_children_do_not_see_the_socket() -> None:
    Notifier()
    assert "NOTIFY_SOCKET" not in os.environ


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready()


def test_a_systemd_that_does_not_listen_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    Notifier().ready()


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [("30000000", "", 30.0), ("30000000", "own", 30.0), ("30000000", "1", None), ("0", "", None), ("x", "", None)],
)
def test_the_watchdog_is_fed_by_whom_it_is_meant_for(
    monkeypatch: pytest.MonkeyPatch, microseconds: str, pid: str, seconds: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert Notifier().watchdog_seconds == seconds
    assert "WATCHDOG_USEC" not in os.environ
