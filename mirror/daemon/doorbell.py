"""What the main thread waits at when there is nothing to do. Signals and other threads ring."""

from __future__ import annotations

import contextlib
import os
import select
from types import TracebackType
from typing import Self


class Doorbell:
    """A context manager. `ring` may be called from a signal's handler: it takes no lock, as an Event's `set` does."""

    def __enter__(self) -> Self:
        self._inside, self._outside = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        inside, outside, self._inside, self._outside = self._inside, self._outside, -1, -1
        os.close(inside)
        os.close(outside)

    def ring(self) -> None:
        # A pipe that is full has rung often enough; one that is closed has nobody behind it any more.
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._outside, b"!")

    def wait(self, seconds: float | None) -> None:
        """Until somebody rings, or has rung since the last time; or for so long."""
        poll = select.poll()
        poll.register(self._inside, select.POLLIN)
        if poll.poll(None if seconds is None else min(seconds, 86_400.0) * 1000):
            with contextlib.suppress(BlockingIOError):
                while os.read(self._inside, 4096):
                    pass
