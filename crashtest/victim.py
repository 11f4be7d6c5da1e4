"""A real sync that kills itself at a chosen step: `python -m crashtest.victim AIM sync …`.

The processes it works in are victims too: Python runs this module in each, with the same arguments.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec

from crashtest.steps import watch


class Aim(msgspec.Struct, frozen=True):
    """When a sync dies, and who dies with it."""

    folder: str
    kind: str
    number: int
    """which of the steps of this kind in that folder, the first being 1"""
    delay: float = 0.0
    """seconds after that step begins"""
    alone: bool = False
    """whether what it started lives on"""


class _Fate:
    """Counts the steps, and kills."""

    def __init__(self, aim: Aim) -> None:
        self._aim = aim
        self._left = aim.number

    def step(self, kind: str) -> None:
        if kind != self._aim.kind:
            return
        self._left -= 1
        if self._left:
            return
        if self._aim.delay:
            threading.Thread(target=self._strike, daemon=True).start()
        else:
            self._strike()

    def _strike(self) -> None:
        time.sleep(self._aim.delay)
        if self._aim.alone:
            os.kill(os.getpid(), signal.SIGKILL)
        os.killpg(0, signal.SIGKILL)


if __name__ in ("__main__", "__mp_main__"):
    if os.getpgrp() != os.getsid(0):
        sys.exit("a victim must lead a session of its own: it kills its whole group")
    _aim = msgspec.json.decode(sys.argv[1], type=Aim)
    watch(Path(_aim.folder), _Fate(_aim).step)

if __name__ == "__main__":
    from mirror.cli.main import run

    sys.exit(run(sys.argv[2:]))
