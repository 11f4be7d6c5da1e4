"""How far the dealing with many contents is, shown in a bar without a total of one kind: files and bytes."""

from __future__ import annotations

import time

from mirror.cli.amounts import human_size
from mirror.cli.progress import Progress

_TELL_SECONDS = 0.1


class ContentBar:
    """Is told as `mirror.keeping.telling` has it."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._files = self._size = self._done = self._bytes = 0
        self._shown = 0.0

    def total(self, files: int, size: int) -> None:
        self._files, self._size = files, size

    def done(self, size: int) -> None:
        self._done += 1
        self._bytes += size

    def doing(self, what: str) -> None:
        now = time.monotonic()
        if now - self._shown < _TELL_SECONDS:
            return
        self._shown = now
        self._bar.describe(f"{self._how_far()}  {what}" if self._done else what)

    def _how_far(self) -> str:
        if not self._files:
            return f"{self._done:,}, {human_size(self._bytes)}"
        return f"{self._done:,} of {self._files:,}, {human_size(self._bytes)} of {human_size(self._size)}"
