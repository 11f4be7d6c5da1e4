"""Some lines at the bottom of the terminal that are redrawn in place, while others are printed above them."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO

_EVERY_SECONDS = 0.5
_LEAST_SECONDS = 0.1
_UP, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[1A", "\x1b[K", "\x1b[J"

Render = Callable[[int, int], Sequence[str]]
"""Gives the lines for a terminal of so many columns and rows; none may be wider than that."""


class Live:
    """The lines. One at a time; they are redrawn twice a second, and when something changed."""

    def __init__(self, render: Render, stream: IO[str]) -> None:
        self._render = render
        self._stream = stream
        self._lock = threading.RLock()
        self._aside = 0
        self._shown = 0
        self._due = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._redraw, name="live-lines", daemon=True)

    def start(self) -> None:
        self._draw()
        self._thread.start()

    def changed(self) -> None:
        """Something to be shown is another than before."""
        self._due.set()

    def end(self) -> None:
        """Take them away."""
        self._ended = True
        self._due.set()
        with self._lock:
            self._put(self._wiping())
            self._shown = 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        """While this lasts, other lines may be written where these were."""
        with self._lock:
            if self._aside == 0:
                self._put(self._wiping())
                self._shown = 0
            self._aside += 1
            try:
                yield
            finally:
                self._aside -= 1
                if not self._aside:
                    self._draw()

    def _redraw(self) -> None:
        pause = threading.Event()
        while not self._ended:
            self._due.wait(_EVERY_SECONDS)
            self._due.clear()
            self._draw()
            pause.wait(_LEAST_SECONDS)

    def _draw(self) -> None:
        with self._lock:
            if self._ended or self._aside:
                return
            columns, rows = terminal_size(self._stream)
            # The last column is left alone: some terminals go to the next line as soon as it is written to.
            lines = list(self._render(max(columns - 1, 1), rows))[: max(rows - 1, 1)]
            start = "\r" + _UP * max(self._shown - 1, 0)
            self._put(start + "\n".join(f"{line}{_CLEAR_LINE}" for line in lines) + _CLEAR_BELOW)
            self._shown = len(lines)

    def _wiping(self) -> str:
        return "\r" + _UP * (self._shown - 1) + _CLEAR_BELOW if self._shown else ""

    def _put(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()


_shown: Live | None = None


@contextmanager
def live(render: Render) -> Iterator[Callable[[], None]]:
    """Show what `render` gives on stderr for as long as the context lasts, if that is a terminal.

    Gives what is to be called when something changed. Nothing is left on the terminal.
    """
    global _shown
    if not can_redraw() or _shown is not None:
        yield lambda: None
        return
    _shown = Live(render, sys.stderr)
    try:
        _shown.start()
        yield _shown.changed
    finally:
        _shown.end()
        _shown = None


def bars_aside() -> AbstractContextManager[object]:
    """While this lasts, other lines may be written to the terminal: those at its bottom are wiped, then drawn again."""
    return _shown.aside() if _shown is not None else nullcontext()


def terminal_size(stream: IO[str]) -> tuple[int, int]:
    """Columns and rows of the terminal that this goes to, whatever else is one."""
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        columns = rows = 0
    # Some do not know, and say 0.
    return (columns, rows) if columns and rows else shutil.get_terminal_size()


def can_redraw() -> bool:
    """Whether stderr is a terminal on which lines can be drawn in place."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
