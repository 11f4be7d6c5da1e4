"""git-annex as a process that is given a key a line and answers by lines; and that does not outlive a backup for long.

A backup may be killed while its git-annex is at work. That then finds that no more keys come, finishes those that it
was given, and ends. The next backup does not wait for it, but ends it: two that copy the same content at once could
leave half of it under its name.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

import msgspec

from mirror.errors import Locked, MirrorError

_LONGEST_TOLD = 300
_PIPE_BYTES = 1 << 20
"""where the system can: room for all that is said to nobody once we are dead"""
_PATIENCE, _POLL = 10.0, 0.02


class Said(msgspec.Struct, frozen=True, rename={"errors": "error-messages"}):
    """A line of what git-annex prints of one key."""

    key: str | None = None
    success: bool | None = None
    note: str = ""
    errors: tuple[str, ...] = ()


class Conversation:
    """The process. A context manager; leaving it ends the process.

    `running` is a file that the process holds locked as long as it lives; it tells its id.
    """

    def __init__(self, cmd: list[str], cwd: Path, environment: Mapping[str, str], running: Path) -> None:
        # A file, not a pipe: nobody reads it meanwhile, and a full pipe would stop it.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        # It has the reading end, too: git-annex does not end, but hangs, once there is nobody who could read.
        reading, writing = os.pipe()
        _widen(writing)
        lock = os.open(running, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._out = os.fdopen(reading, "rb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._process = subprocess.Popen(
                cmd,
                cwd=cwd,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=writing,
                stderr=self._stderr,
                pass_fds=(reading, lock),
            )
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(self._process.pid).encode(), 0)
        except BaseException:
            self._out.close()
            self._stderr.close()
            raise
        finally:
            os.close(writing)
            os.close(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.end()
        if kind is not None:
            self._process.terminate()
        self._process.wait()
        self._out.close()
        self._stderr.close()

    @property
    def _in(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def say(self, line: str) -> None:
        with suppress(BrokenPipeError):  # that it ended is heard next
            self._in.write(f"{line}\n".encode())
            self._in.flush()

    def line(self) -> bytes:
        return self._out.readline().strip()

    def hear(self) -> Said | None:
        """What it says next; None when it has ended."""
        while line := self._out.readline():
            if line.strip():
                return _understood(line)
        return None

    def end(self) -> None:
        """Nothing more will be asked."""
        with suppress(BrokenPipeError):
            self._in.close()

    def complaint(self) -> str:
        self._process.wait()
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace")
        return told([said]) or f"git-annex ended with {self._process.returncode} and said nothing"


def end_what_runs(running: Path) -> None:
    """End the process that holds this file locked, if one does: its backup was killed. `Locked` if it does not end."""
    try:
        lock = os.open(running, os.O_RDWR)  # over NFS, only who may write may lock
    except FileNotFoundError:
        return
    try:
        if _is_free(lock):
            return
        pid = int(os.pread(lock, 32, 0) or 0)
        with suppress(ProcessLookupError):
            if pid:
                os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + _PATIENCE
        while not _is_free(lock):
            if time.monotonic() > until:
                raise Locked(
                    "the git-annex of a backup that was killed is still at work, and does not end",
                    hint=f"wait for process {pid} to end, or kill it" if pid else "wait for it to end",
                )
            time.sleep(_POLL)
    finally:
        os.close(lock)


def told(said: Iterable[str]) -> str:
    """What git-annex said, as one line that is not too long."""
    text = " ".join(" ".join(said).split())
    return text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}…"


def _understood(line: bytes) -> Said:
    try:
        return msgspec.json.decode(line, type=Said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = told([line.decode(errors="replace")])
        raise MirrorError(f"git-annex said what is not understood here: {said}") from None


def _widen(pipe: int) -> None:
    with suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(lock, fcntl.LOCK_UN)
    return True
