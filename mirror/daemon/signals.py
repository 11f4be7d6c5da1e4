"""What we do when we are told to stop, or to read the settings again.

Told to stop, we finish what is in hand, for as long as `stop_seconds` allow; then it is dropped, by an exception that
reaches the main thread wherever it is; and should even that come to nothing, the process is ended.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType, TracebackType
from typing import Self

from mirror.daemon.processes import kill_descendants

logger = logging.getLogger(__name__)

TIDYING_SECONDS = 5.0
"""At most so much of the time there is, and no more than a fifth of it, is kept for leaving things in order."""
HARD_END_AFTER = 10.0
"""So long after the time is up, the process is ended whatever it does."""


_RAISED_AGAIN_AFTER = 1.0


class Dropped(KeyboardInterrupt):
    """What is in hand is dropped. As Ctrl-C is, it is no Exception: nobody takes it for the trouble of a Dandiset."""


def hold_reload() -> None:
    """Have a SIGHUP wait until there is somebody to take it. To be called when the settings are read the first time."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


class Signals:
    """A context manager for the main thread, to be entered before others are started.

    `woken` is called from handlers: it must not take a lock.
    """

    def __init__(
        self,
        stop_seconds: Callable[[], float],
        woken: Callable[[], None] = lambda: None,
        end_hard: Callable[[float], None] | None = None,
    ) -> None:
        self._stop_seconds = stop_seconds
        self._woken = woken
        self._end_hard = end_hard if end_hard is not None else _end_hard
        self._earlier: dict[int, object] = {}
        self.stopping: signal.Signals | None = None
        """what told us to stop, if anything did"""
        self._ends_at = float("inf")
        self._interrupted = False
        self._reload = False
        self._may_drop = False
        self._over = False
        self._mask: set[int] = set()
        self._main = threading.get_ident()
        self._interrupts = threading.Thread(target=self._take_interrupts, name="interrupts", daemon=True)

    def __enter__(self) -> Self:
        handlers = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._hup,
            signal.SIGALRM: self._alarm,
        }
        self._earlier = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # it may have come before, see `hold_reload`
        # At a terminal, Ctrl-C goes to our children as well: git would die in the midst of what we want to finish.
        # Whoever we start after this, thread or process, does not hear it; only this one thread does. Python's tracker
        # of shared things comes first, as its start would have whoever starts it hear it again.
        resource_tracker.ensure_running()
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self._interrupts.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._may_drop = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._over = True
        if (thread := self._interrupts.ident) is not None:
            signal.pthread_kill(thread, signal.SIGINT)
        self._interrupts.join()
        for number, handler in self._earlier.items():
            # Whoever was told to stop is on the way out, and not to be killed there by being told again.
            signal.signal(number, signal.SIG_IGN if self.stopping else handler)  # type: ignore[arg-type]
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _take_interrupts(self) -> None:
        """Hand Ctrl-C on to the main thread, as the signal to stop that it is."""
        while signal.sigwait({signal.SIGINT}) and not self._over:
            self._interrupted = True
            signal.pthread_kill(self._main, signal.SIGTERM)

    @property
    def seconds_left(self) -> float | None:
        """How much is left of the time to stop in; None: nobody told us to."""
        return self._ends_at - time.monotonic() if self.stopping is not None else None

    @property
    def reload_waits(self) -> bool:
        """Whether the settings are to be read again, and that has not been seen to yet."""
        return self._reload

    def take_reload(self) -> bool:
        """Whether the settings are to be read again; asked once for each time."""
        asked, self._reload = self._reload, False
        return asked

    @contextmanager
    def may_drop(self) -> Iterator[None]:
        """A block that `Dropped` may end."""
        self._may_drop = True
        try:
            yield
        finally:
            self._may_drop = False

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's signature
        again = self.stopping is not None
        self.stopping = signal.SIGINT if self._interrupted else signal.Signals(number)
        self._woken()
        if again:
            self._ends_at = min(self._ends_at, time.monotonic())
            self._drop()
            return
        allowed = self._stop_seconds()
        self._ends_at = time.monotonic() + allowed
        threading.Thread(target=self._end_hard, args=(allowed + HARD_END_AFTER,), name="hard-end", daemon=True).start()
        # An alarm in no time would be none.
        signal.setitimer(signal.ITIMER_REAL, max(0.001, allowed - min(TIDYING_SECONDS, allowed / 5)))

    def _hup(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._reload = True
        self._woken()

    def _alarm(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.stopping is not None:
            self._drop()

    def _drop(self) -> None:
        if not self._may_drop or _is_tidying():
            return
        # It may be lost: Python calls finalizers in the midst of anything, and drops what they raise.
        signal.setitimer(signal.ITIMER_REAL, _RAISED_AGAIN_AFTER)
        raise Dropped


def _is_tidying() -> bool:
    """Whether the main thread is in a `finally` that `Dropped` has brought it to: that is not to be interrupted."""
    error = sys.exception()
    while error is not None and not isinstance(error, Dropped):
        error = error.__context__
    return error is not None


def _end_hard(seconds: float) -> None:
    """The last resort: in so many seconds the process is still there, although it was told to stop.

    Whatever it was writing is crash-proof. Nobody calls this off: the interpreter, too, may wait for what hangs.
    """
    time.sleep(seconds)
    # In a thread of its own, as it may be the log that hangs.
    told = "what was in hand could not be dropped; the process is ended as it is"
    telling = threading.Thread(target=logger.error, args=(told,), daemon=True)
    telling.start()
    telling.join(timeout=1)
    kill_descendants(os.getpid())
    os._exit(0)
