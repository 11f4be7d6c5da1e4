"""Whether the process is at it in earnest, or hangs: what the watchdog is told."""

from __future__ import annotations

PATIENCE = 1800.0
"""So long may work go on without telling anything, or using any processor time to speak of."""
TO_SPEAK_OF = 5.0
"""Seconds of processor time in that while. Answering for the figures takes less."""


class Liveness:
    """Is told of everything that shows life. Times are seconds of one clock."""

    def __init__(self, now: float) -> None:
        self._last_sign = now
        self._used_then = 0.0
        self._rests = False

    def told(self, now: float) -> None:
        """Something got on."""
        self._last_sign = now

    def used(self, now: float, processor_seconds: float) -> None:
        """How much processor time was used, since ever."""
        if abs(processor_seconds - self._used_then) >= TO_SPEAK_OF:
            self._used_then = processor_seconds
            self._last_sign = now

    def rests(self, now: float, *, resting: bool) -> None:
        """There is nothing to do, or is again."""
        self._rests = resting
        self._last_sign = now

    def is_alive(self, now: float) -> bool:
        return self._rests or now - self._last_sign < PATIENCE


class ClockWatch:
    """Notices a clock that was set back: then times that lie ahead are wrong."""

    def __init__(self, clock: float, passed: float) -> None:
        self._ahead = clock - passed

    def went_back(self, clock: float, passed: float) -> bool:
        """Whether it was, by more than half a minute; `passed` is of a clock that nobody sets."""
        before, self._ahead = self._ahead, clock - passed
        return self._ahead < before - 30
