"""Telling systemd how we are: the datagrams of sd_notify(3). Without systemd, nothing happens."""

from __future__ import annotations

import contextlib
import os
import socket
import time


class Notifier:
    """Speaks to the socket that `NOTIFY_SOCKET` names, and takes that from what our children see."""

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = _watchdog_seconds()
        """how long systemd waits for a sign of life before it starts us anew; None: it does not"""

    def ready(self, status: str = "") -> None:
        self._tell("READY=1", *_status(status))

    def reloading(self) -> None:
        """The settings are read again; `ready` comes next."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str = "") -> None:
        self._tell("STOPPING=1", *_status(status))

    def status(self, text: str) -> None:
        self._tell(*_status(text))

    def alive(self) -> None:
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        # What systemd does not hear, it does not hear; that is no reason to stop.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(1.0)
            channel.sendto("\n".join(lines).encode(), self._address)


def _status(text: str) -> list[str]:
    return ["STATUS=" + " ".join(text.split())] if text else []


def _watchdog_seconds() -> float | None:
    microseconds, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 1e6
