"""The thread that beats once a second, whatever the main thread does: the watchdog, figures, the clock."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mirror.daemon.liveness import ClockWatch, Liveness
from mirror.daemon.notify import Notifier
from mirror.daemon.processes import seconds_used_by_descendants

logger = logging.getLogger(__name__)

_BEAT = 1.0
_LOOK = 60.0
"""So often the scheduler looks at the clock, which may have been set, or gone on while the machine slept."""


@dataclass(frozen=True)
class Beats:
    """What is done with each beat. All of it is called from the pulse's thread."""

    tick: Callable[[], None]
    """about once a second"""
    look: Callable[[], None]
    """once a minute"""
    clock_went_back: Callable[[], None]


class Pulse:
    """A context manager."""

    def __init__(self, notifier: Notifier, liveness: Liveness, beats: Beats) -> None:
        self._notifier = notifier
        self._liveness = liveness
        self._beats = beats
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        watchdog = self._notifier.watchdog_seconds
        watch = ClockWatch(time.time(), time.monotonic())
        looked = petted = 0.0
        while not self._ended.wait(min(_BEAT, watchdog / 4) if watchdog else _BEAT):
            now = time.monotonic()
            self._beats.tick()
            if watch.went_back(time.time(), now):
                logger.warning("the clock was set back; the times of all jobs are reckoned anew")
                self._beats.clock_went_back()
            if now - looked >= _LOOK:
                looked = now
                self._beats.look()
                self._liveness.used(now, _seconds_used())
            if watchdog and now - petted >= watchdog / 4 and self._liveness.is_alive(now):
                petted = now
                self._notifier.alive()


def _seconds_used() -> float:
    """The processor time of this process and all that descend from it, but for the thread that asks."""
    ours = os.times()
    spent = ours.user + ours.system + ours.children_user + ours.children_system
    return spent + seconds_used_by_descendants(os.getpid()) - time.thread_time()
