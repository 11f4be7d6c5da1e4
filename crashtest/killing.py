"""Running a sync as a user would, in processes of its own, and killing it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from crashtest.victim import Aim

END_SECONDS = 10.0
"""How long what a killed sync started may live on."""
SYNC_SECONDS = 120.0

# Modes in the store must not depend on the umask; with this one they would be wrong if they did.
_UMASK = 0o077


@dataclass(frozen=True)
class Blow:
    """A kill from outside, so many seconds after the start."""

    seconds: float
    alone: bool = False
    """whether what the sync started lives on"""


@dataclass(frozen=True)
class Ending:
    """How a sync ended."""

    code: int
    """as `subprocess` has it: -9 when it was killed"""
    said: str
    lingered: float
    """for how many seconds something it had started lived on"""

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


def run_sync(arguments: list[str], environment: dict[str, str], log: Path, kill: Blow | Aim | None = None) -> Ending:
    """Run `dandi-mirror ARGUMENTS` to its end, or to the one that is meant for it, and wait for all it started."""
    program = ["crashtest.victim", msgspec.json.encode(kill).decode()] if isinstance(kill, Aim) else ["mirror"]
    with log.open("wb") as output:
        sync = subprocess.Popen(
            [sys.executable, "-m", *program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            umask=_UMASK,
            start_new_session=True,
        )
        try:
            code = _wait(sync, kill if isinstance(kill, Blow) else None)
            lingered = wait_for_others(sync.pid)
        except BaseException:
            os.killpg(sync.pid, signal.SIGKILL)
            sync.wait()
            raise
    return Ending(code, log.read_text(errors="replace"), lingered)


def _wait(sync: subprocess.Popen[bytes], blow: Blow | None) -> int:
    if blow is not None:
        try:
            return sync.wait(blow.seconds)
        except subprocess.TimeoutExpired:
            # Not waited for yet, so its number cannot be another's.
            if blow.alone:
                sync.kill()
            else:
                kill_all(sync.pid)
    return sync.wait(SYNC_SECONDS)


def kill_all(session: int) -> None:
    """The sync and all that it started: a git that pushes has a group of its own."""
    others = living(session)
    os.killpg(session, signal.SIGKILL)
    for pid in others:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_for_others(session: int) -> float:
    """Until nothing lives that a process had started; for how many seconds it did. `TimeoutError` when too long."""
    start = time.monotonic()
    while names := living(session):
        if time.monotonic() - start > END_SECONDS:
            for pid in names:
                os.kill(pid, signal.SIGKILL)
            raise TimeoutError(f"still at work {END_SECONDS:g} s after the sync had ended: {', '.join(names.values())}")
        time.sleep(0.005)
    return time.monotonic() - start


def living(session: int) -> dict[int, str]:
    """The processes of a session that still run, with their commands."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            name, _, rest = (folder / "stat").read_text(errors="replace").rpartition(")")
            state, _, _, its_session = rest.split()[:4]
            if int(its_session) == session and state not in "ZX":
                found[int(folder.name)] = (folder / "cmdline").read_text(errors="replace").replace("\0", " ") or name
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
