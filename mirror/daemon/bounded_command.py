"""A shell command that is somebody else's: given a time, little memory, and ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MOST_OUTPUT = 64 * 1024
"""bytes that are kept of what it says"""

_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Ended:
    """How it ended, and what it said."""

    returncode: int
    output: bytes


def run_bounded(
    command: str,
    document: bytes,
    environment: Mapping[str, str],
    *,
    seconds: float,
    given_up: Callable[[], bool] = lambda: False,
) -> Ended:
    """Run a command with `document` on its standard input; `subprocess.TimeoutExpired` when it takes too long, or is
    given up.

    Its end is that of the shell: what it leaves in the background is not waited for.
    """
    deadline = time.monotonic() + seconds

    def is_over() -> bool:
        return time.monotonic() >= deadline or given_up()

    process = subprocess.Popen(
        command,
        shell=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        process_group=0,
    )
    try:
        # It need not read what it is given.
        threading.Thread(target=_give, args=(process, document), daemon=True).start()
        output = _read(process, is_over)
        if process.poll() is None and is_over():
            raise subprocess.TimeoutExpired(command, seconds)
        return Ended(process.wait(), output)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        assert process.stdout is not None
        process.stdout.close()


def _give(process: subprocess.Popen[bytes], document: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError, ValueError):
        process.stdin.write(document)
    with contextlib.suppress(OSError, ValueError):
        process.stdin.close()


def _read(process: subprocess.Popen[bytes], is_over: Callable[[], bool]) -> bytes:
    """What it says, until it ends or its time is over."""
    assert process.stdout is not None
    kept, said = b"", process.stdout.fileno()
    open_still = True
    while not is_over():
        ended = process.poll() is not None
        if open_still and select.select([said], [], [], 0 if ended else _LOOK_SECONDS)[0]:
            some = os.read(said, MOST_OUTPUT)
            kept += some[: MOST_OUTPUT - len(kept)]
            open_still = bool(some)
        elif ended:
            break
        elif not open_still:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_SECONDS)
    return kept
