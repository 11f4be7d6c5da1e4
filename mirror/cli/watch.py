"""`status --watch`: a screen of its own, as high as the terminal, drawn anew every other second."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from mirror.cli.live import terminal_size
from mirror.cli.output import colours, printable
from mirror.cli.progress import cut, duration
from mirror.cli.status_text import (
    activity_lines,
    disk_line,
    job_lines,
    lag_line,
    short_failure,
    shown_time,
    totals_line,
)

if TYPE_CHECKING:
    from mirror.config import Settings
    from mirror.store.feed import Change
    from mirror.store.glance import Glance, Glances
    from mirror.store.state import DandisetState, StoreFacts

_EVERY_SECONDS = 2.0
_OPEN, _CLOSE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_LEAST_CHANGES = 4
_QUIT = b"qQ\x04"
"""Also Ctrl-D."""


def watch(glances: Glances, facts: StoreFacts, settings: Settings) -> None:
    """Until `q` or Ctrl-C."""
    with _screen() as wait:
        while True:
            columns, rows = terminal_size(sys.stdout)
            lines = screen_lines(glances.look(), facts, settings, columns, rows, datetime.now(UTC))
            _draw(lines)
            if wait(_EVERY_SECONDS):
                return


def screen_lines(
    glance: Glance, facts: StoreFacts, settings: Settings, columns: int, rows: int, now: datetime
) -> list[str]:
    """What is shown on a screen of this size: never more lines, nor wider ones."""
    top = list(_top(glance, facts, settings, columns, rows, now))
    room = max(0, rows - len(top) - 1)
    changes = _change_lines(glance.changes[:rows])
    kept = min(len(changes), _LEAST_CHANGES) + 2 if changes else 0
    failing = _failing_lines(glance.failing, settings.alarm_after, now, room - min(kept, room // 2))
    room -= len(failing)
    shown = ["", "Last changes (UTC)", *changes][:room] if changes and room > 2 else []
    body = [*top, *failing, *shown]
    body += [""] * (rows - 1 - len(body))
    return [cut_styled(line, columns) for line in [*body[: rows - 1], _foot(now)]][:rows]


def _top(
    glance: Glance, facts: StoreFacts, settings: Settings, columns: int, rows: int, now: datetime
) -> Iterator[str]:
    from mirror.store.activity import silent_seconds

    yield f"{settings.store}: mirror of {printable(facts.instance)} ({printable(facts.instance_url)})"
    yield totals_line(glance.totals, len(glance.failing))
    if glance.lag is not None:
        yield lag_line(glance.lag)
    yield disk_line(glance.disk)
    yield ""
    activity = glance.activity
    if activity is None:
        yield "nobody is at work here"
    else:
        yield from activity_lines(activity, columns, max(rows // 3, 4))
        silent = silent_seconds(activity, now)
        if activity.job is not None and silent is not None and silent > 60:
            yield f"  nothing was heard of it for {duration(silent)}"
    if glance.jobs:
        yield ""
        yield from job_lines(glance.jobs, activity)


def _failing_lines(failing: Sequence[DandisetState], alarm_after: int, now: datetime, room: int) -> list[str]:
    """As many as there is room for; those that failed most often come first."""
    if not failing or room < 3:
        return []
    fit = room - 2
    told = failing if len(failing) <= fit else failing[: fit - 1]
    lines = ["", "Failing"]
    for state in told:
        if state.failure is not None:
            told_of = short_failure(state.failure, state.identifier, alarm_after, now)
            lines.append(f"{state.identifier}  {told_of}")
    more = len(failing) - len(told)
    return [*lines, f"… and {more:,} more"] if more else lines


def _change_lines(changes: Sequence[Change]) -> list[str]:
    times = [shown_time(change.time) for change in changes]
    width = max(map(len, times), default=0)
    return [f"{time:<{width}}  {_change_line(change)}" for time, change in zip(times, changes, strict=True)]


def _change_line(change: Change) -> str:
    version = printable(change.version)
    return f"{printable(change.dandiset)}  {version:<15} {_words(change)}"


def _words(change: Change) -> str:
    moved = {"added": change.added, "modified": change.modified, "removed": change.removed, "renamed": change.renamed}
    words = ", ".join(f"{count:,} {word}" for word, count in moved.items() if count)
    return words if change.old is not None else f"the first: {words}" if words else "the first"


def _foot(now: datetime) -> str:
    return f"{now.strftime('%Y-%m-%d %H:%M:%S')} UTC    q ends"


def cut_styled(line: str, columns: int) -> str:
    """A line of at most so many columns; one that is too long loses its colours."""
    plain = click.unstyle(line)
    short = cut(plain, columns)
    if short != plain:
        return short
    return line if colours() else plain


def _draw(lines: Sequence[str]) -> None:
    # Line by line over what was there, so that nothing flickers; no newline at the end, which would scroll.
    sys.stdout.write(_HOME + "\r\n".join(f"{line}{_CLEAR_LINE}" for line in lines) + _CLEAR_BELOW)
    sys.stdout.flush()


@contextmanager
def _screen() -> Iterator[_Wait]:
    """The terminal's other screen, for as long as the context lasts; keys come one by one."""
    with _resizing() as resized, _keys(), _ending():
        sys.stdout.write(_OPEN)
        try:
            yield _Wait(resized)
        except KeyboardInterrupt:
            pass
        finally:
            sys.stdout.write(_CLOSE)
            sys.stdout.flush()


class _Wait:
    """Waits so many seconds, or until the terminal has another size; tells whether somebody wants to leave."""

    def __init__(self, resized: int) -> None:
        self._resized = resized

    def __call__(self, seconds: float) -> bool:
        stdin = sys.stdin.fileno() if sys.stdin.isatty() else None
        ready, _, _ = select.select([self._resized] + ([stdin] if stdin is not None else []), [], [], seconds)
        if self._resized in ready:
            os.read(self._resized, 4096)
        if stdin in ready and stdin is not None:
            typed = os.read(stdin, 64)
            return not typed or any(key in _QUIT for key in typed)  # nothing: the terminal is gone
        return False


@contextmanager
def _resizing() -> Iterator[int]:
    """Gives what can be read from once the terminal has another size."""
    inside, outside = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def ring(*_: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(outside, b"!")

    before = signal.signal(signal.SIGWINCH, ring)
    try:
        yield inside
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(inside)
        os.close(outside)


@contextmanager
def _keys() -> Iterator[None]:
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextmanager
def _ending() -> Iterator[None]:
    """Whoever is told to end gives the terminal back first; to be halted in the middle would not."""

    def end(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, end),
        signal.SIGTSTP: signal.signal(signal.SIGTSTP, signal.SIG_IGN),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
