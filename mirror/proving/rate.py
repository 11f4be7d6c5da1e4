"""Asking no faster than was agreed, from any number of threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Rate:
    """So many requests a second, evenly."""

    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._pause = 1.0 / per_second if per_second > 0 else 0.0
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = 0.0
        self.asked = 0

    def wait(self) -> None:
        """Wait for one's turn."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._pause
            self.asked += 1
        if turn > now:
            self._sleep(turn - now)
