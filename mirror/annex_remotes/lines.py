"""The pipe to git-annex: whole lines, from any thread, and nothing else than the protocol on it."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable
from typing import TextIO

LONGEST = 2000


def one_line(text: str) -> str:
    """`text` as it may stand in an answer: a line break would begin another one."""
    return " ".join(text.split())[:LONGEST]


class Lines:
    """What `annexremote` prints to. A line goes out in one piece, whichever thread it is of."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = threading.local()
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        whole, newline, rest = (getattr(self._begun, "text", "") + text).rpartition("\n")
        self._begun.text = rest
        if newline:
            data = f"{whole}\n".encode(errors="surrogateescape")
            with self._lock:
                while data:
                    data = data[os.write(self._descriptor, data) :]

    def flush(self) -> None:
        """There is nothing left to be written."""

    def when_unheard(self, end: Callable[[], object]) -> None:
        """Call this, from a thread of its own, once nobody reads any more: in the middle of a download, say, or while
        a server is silent."""

        def wait() -> None:
            poll = select.poll()
            poll.register(self._descriptor, 0)
            poll.poll()
            end()

        threading.Thread(target=wait, name="unheard", daemon=True).start()


class Debug(logging.Handler):
    """Our log, as `git annex --debug` shows it."""

    def __init__(self, output: Lines) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            self._output.write(f"DEBUG {one_line(record.getMessage())}\n")


def opened() -> tuple[TextIO, Lines]:
    """Our ends of the pipes. What anybody else prints goes to where errors go."""
    output = Lines(os.dup(1))
    os.dup2(2, 1)
    requests = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    return requests, output
