"""How far a long work has come: a bar and what is being done, on stderr when that is a terminal, nothing otherwise."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from mirror.cli.live import bars_aside, live

if TYPE_CHECKING:
    from mirror.store.activity import Standing

__all__ = ["Progress", "bars_aside", "cut", "duration", "fitted", "progress", "standing_lines"]

_WIDEST_BAR, _NARROWEST_BAR = 30, 8
_MOST_TURNS = 12


class Progress(Protocol):
    """What a worker may tell."""

    def advance(self, amount: int = 1) -> None: ...

    def describe(self, text: str) -> None:
        """Say what is being done now."""


@contextmanager
def progress(title: str, total: int | None = None, unit: str = "") -> Iterator[Progress]:
    """A bar with this title for as long as the context lasts. It leaves no trace behind."""
    bar = _Bar(title, total, unit)
    with live(bar.lines) as bar.changed:
        yield bar


class _Bar:
    """A count of one kind of thing."""

    def __init__(self, title: str, total: int | None, unit: str) -> None:
        self._title = title
        self._total = total
        self._unit = unit
        self._done = 0
        self._text = ""
        self._began = time.monotonic()
        self.changed: Callable[[], None] = lambda: None

    def advance(self, amount: int = 1) -> None:
        self._done += amount
        self.changed()

    def describe(self, text: str) -> None:
        self._text = text
        self.changed()

    def lines(self, columns: int, _rows: int) -> list[str]:
        if self._total is None:
            counted = f" {self._done:,}{f' {self._unit}' if self._unit else ''}" if self._done else ""
            return [cut(f"{self._title}:{counted}{f' {self._text}' if self._text else ''}", columns)]
        passed = time.monotonic() - self._began
        to_go = passed * (self._total - self._done) / self._done if self._done else None
        after = [f"{duration(to_go)} to go"] if to_go else []
        head = _overall(self._title, self._done, self._total, after, columns)
        return [head, cut(f"  {self._text}", columns)] if self._text else [head]


def standing_lines(standing: Standing, columns: int, rows: int, *, title: str = "Dandisets") -> list[str]:
    """How far a sync is, on a terminal of this size: all of it first, then the Dandisets of this moment."""
    lines = []
    if standing.total:
        after = [f"{duration(standing.seconds_to_go)} to go"] if standing.seconds_to_go is not None else []
        after += [f"{_rate(standing.per_minute)} a minute"] if standing.per_minute is not None else []
        failed = [click.style(f"{standing.failed:,} failed", fg="red")] if standing.failed else []
        resting = [f"{standing.resting:,} resting"] if standing.resting else []
        lines.append(
            _overall(title, standing.done, standing.total, [*after[:1], *failed, *resting, *after[1:]], columns)
        )
    if standing.doing:
        lines.append(cut(f"  {standing.doing}" if lines else f"{title}: {standing.doing}", columns))
    room = max(min(rows - 2 - len(lines), _MOST_TURNS), 1)
    turns = standing.current
    # The last line tells of the rest, where there is one.
    shown = turns if len(turns) <= room else turns[: room - 1]
    lines += [cut(f"  {turn.dandiset}  {turn.how_far}".rstrip(), columns) for turn in shown]
    if more := len(turns) - len(shown):
        lines.append(cut(f"  … and {more:,} more", columns))
    return [fitted(line) for line in lines]


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _overall(title: str, done: int, total: int, after: list[str], columns: int) -> str:
    """A line with a bar. What there is no room for is left out: the bar is narrower first, then goes the last told."""
    share = min(done / total, 1.0) if total else 1.0
    told = [f"{done:,} of {total:,}", *after]
    while True:
        text = ", ".join(told)
        room = columns - len(f"{title}: 100%  {click.unstyle(text)}") - 1
        if room >= _NARROWEST_BAR or len(told) == 1:
            break
        told.pop()
    # Never more than done: 1,999 of 2,000 is 99 %.
    head = f"{title}: {int(share * 100):>3}% "
    if room < _NARROWEST_BAR:
        return cut(f"{head}{text}", columns)
    return fitted(f"{head}{_bar(share, min(room, _WIDEST_BAR))} {text}")


def _bar(share: float, width: int) -> str:
    full, empty = ("█", "░") if "utf" in (getattr(sys.stderr, "encoding", None) or "").lower() else ("#", "-")
    whole = int(share * width)
    return full * whole + empty * (width - whole)


def cut(text: str, columns: int) -> str:
    """Text of at most so many columns. What others worded is made harmless."""
    from mirror.cli.output import printable

    text = printable(text)
    width = 0
    for place, character in enumerate(text):
        width += _columns(character)
        if width > columns:
            return text[: _fitting(text, place, columns - 1)] + "…"
    return text


def _fitting(text: str, end: int, columns: int) -> int:
    while end and sum(map(_columns, text[:end])) > columns:
        end -= 1
    return end


def _columns(character: str) -> int:
    """How many columns a character takes on a terminal."""
    if character.isascii():
        return 1
    from unicodedata import combining, east_asian_width

    return 0 if combining(character) else 2 if east_asian_width(character) in "WF" else 1


def fitted(text: str) -> str:
    """Text as it may be shown on stderr: without colours where nobody wants any."""
    return click.unstyle(text) if os.environ.get("NO_COLOR") else text


def duration(seconds: float) -> str:
    """A time for people, in its two largest units."""
    whole = max(round(seconds), 0)
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for place, (unit, length) in enumerate(units):
        if whole >= length or unit == "s":
            count, rest = divmod(whole, length)
            if place + 1 == len(units) or count >= 10 or not (smaller := rest // units[place + 1][1]):
                return f"{count:,} {unit}"
            return f"{count:,} {unit} {smaller} {units[place + 1][0]}"
    raise AssertionError("seconds are the last unit")
