"""What is being done in a store at this moment: told by whoever works in it, for `status`, which is another process.

One small file, replaced whole at most once a second, and taken away at the end. Nothing depends on it: it is not made
to survive a power cut, and where it cannot be written the work goes on without.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

NAME = "activity.json"
BEAT_SECONDS = 30.0
"""so often it is written anew although nothing changed: it tells other machines that there is still somebody"""

_LEAST_SECONDS = 1.0
_BELIEVED = 10 * BEAT_SECONDS
_MODE = 0o644


class Turn(msgspec.Struct, frozen=True):
    """A Dandiset that is being worked on."""

    dandiset: str
    since: str
    how_far: str = ""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How far a round is."""

    doing: str = ""
    """what is being done besides single Dandisets: the archive is asked, superdatasets are written"""
    total: int = 0
    """the Dandisets that it is about; 0: not known yet"""
    done: int = 0
    """those of them that had nothing new, or had their turn"""
    still: int = 0
    """those that had nothing new"""
    resting: int = 0
    """those that failed, and are not tried in this round"""
    changed: int = 0
    failed: int = 0
    per_minute: float | None = None
    """Dandisets that have their turn in a minute"""
    seconds_to_go: float | None = None
    current: tuple[Turn, ...] = ()


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """Who works here, and at what."""

    pid: int
    born: str
    """what tells this process from a later one of the same number; empty where the machine does not tell"""
    host: str
    command: str
    since: str
    written: str
    job: str | None = None
    """None: it waits for the time of the next"""
    job_since: str | None = None
    standing: Standing = Standing()
    next_jobs: dict[str, str] = {}
    """when each job is due"""


def read_activity(folder: Path) -> Activity | None:
    """What is being done, as a living process told last. `folder` is the one that the file is in."""
    try:
        found = msgspec.json.decode((folder / NAME).read_bytes(), type=Activity)
    except (OSError, ValueError):
        return None
    return found if _is_alive(found) else None


class ActivityFile:
    """The file, for one who writes it. Threads may share it."""

    def __init__(self, folder: Path, command: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = folder / NAME
        self._clock = clock
        self._lock = threading.Lock()
        self._written_at = -_LEAST_SECONDS
        self._told: object = None
        self._first = Activity(
            pid=os.getpid(),
            born=_born(os.getpid()),
            host=socket.gethostname(),
            command=command,
            since=_now(),
            written="",
        )

    def note(
        self,
        standing: Callable[[], Standing],
        *,
        job: str | None = None,
        job_since: str | None = None,
        next_jobs: Mapping[str, str] | None = None,
        at_once: bool = False,
    ) -> None:
        """Tell how things stand, unless that was done a moment ago. `standing` is asked only if it is."""
        with self._lock:
            passed = self._clock() - self._written_at
            if passed < _LEAST_SECONDS and not at_once:
                return
            if job is None and self.is_anothers():
                # A daemon that waits keeps silent while a command typed by hand is at work, and speaks right after.
                self._told = None
                return
            now = Standing() if job is None else standing()
            told = (now, job, job_since, dict(next_jobs or {}))
            # Whoever worked here meanwhile took the file away when done.
            if told == self._told and passed < BEAT_SECONDS and self._path.exists():
                return
            self._told, self._written_at = told, self._clock()
            self._write(
                msgspec.structs.replace(
                    self._first, written=_now(), job=job, job_since=job_since, standing=now, next_jobs=told[3]
                )
            )

    def remove(self) -> None:
        """Nothing is being done any more."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self._is_ours(msgspec.json.decode(self._path.read_bytes(), type=Activity)):
                self._path.unlink()

    def _write(self, activity: Activity) -> None:
        temporary = self._path.with_name(f".{NAME}.{activity.pid}")
        with contextlib.suppress(OSError):
            try:
                temporary.write_bytes(msgspec.json.encode(activity))
                temporary.chmod(_MODE)
                temporary.replace(self._path)
            except OSError:
                temporary.unlink(missing_ok=True)

    def is_anothers(self) -> bool:
        """Whether it tells of the work of somebody else who is alive."""
        found = read_activity(self._path.parent)
        return found is not None and found.job is not None and not self._is_ours(found)

    def _is_ours(self, activity: Activity) -> bool:
        ours = self._first
        return (activity.pid, activity.born, activity.host) == (ours.pid, ours.born, ours.host)


def silent_seconds(activity: Activity, now: datetime) -> float | None:
    """How long ago it was written; None where it gives no time that can be read."""
    try:
        return (now - datetime.fromisoformat(activity.written)).total_seconds()
    except (ValueError, TypeError):
        return None


def _is_alive(activity: Activity) -> bool:
    if activity.host != socket.gethostname():
        silent = silent_seconds(activity, datetime.now(UTC))
        return silent is not None and silent < _BELIEVED
    if activity.pid <= 0:
        return False  # to `kill`, that is whole groups
    try:
        os.kill(activity.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it is another user's
    # Where `/proc` shows everybody their own processes only, it does not tell.
    return _born(activity.pid) in (activity.born, "") or not activity.born


def _born(pid: int) -> str:
    """When a process was started, in its kernel's count: numbers of processes are given out again."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
