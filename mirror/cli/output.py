"""What commands print on stdout: records, as text for people or, with `--json`, one object a line for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.live import bars_aside
from mirror.json_lines import json_line

if TYPE_CHECKING:
    from mirror.store.catalogue import Catalogue


class Status(StrEnum):
    """How an action on one thing ended, in DataLad's words."""

    OK = "ok"
    NOTNEEDED = "notneeded"
    IMPOSSIBLE = "impossible"
    ERROR = "error"


_COLOURS = {Status.OK: "green", Status.NOTNEEDED: "green", Status.IMPOSSIBLE: "yellow", Status.ERROR: "red"}


@dataclass(frozen=True)
class Record:
    """One thing that was done, or could not be, or was found."""

    action: str
    path: str
    """the thing itself: an identifier, a file, the name of a setting"""
    status: Status = Status.OK
    type: str = "dataset"
    message: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    """further keys of the JSON object; the five above cannot be among them"""

    def __post_init__(self) -> None:
        if taken := self.more.keys() & {"action", "path", "status", "type", "message"}:
            raise ValueError(f"keys of every record, not further ones: {', '.join(sorted(taken))}")

    def as_json(self) -> str:
        """One line."""
        first = {"action": self.action, "path": self.path, "status": self.status, "type": self.type}
        return json_line({**first, "message": self.message, **self.more})

    def as_text(self) -> str:
        """The same for people, as `datalad` words it."""
        message = f" [{printable(self.message)}]" if self.message else ""
        status = click.style(self.status, fg=_COLOURS[self.status])
        return f"{self.action}({status}): {printable(self.path)} ({self.type}){message}"


class Output:
    """Stdout, in one of its two forms. Every line is written out at once: somebody may be following."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def record(self, record: Record, text: str | None = None) -> None:
        """Print a record; as text in the words of `text`, if given."""
        if self.as_json:
            self._line(record.as_json())
        else:
            self._line(record.as_text() if text is None else text)

    def text(self, line: str = "") -> None:
        """Print a line that only people need."""
        if not self.as_json:
            self._line(line)

    def _line(self, line: str) -> None:
        with bars_aside():
            click.echo(line if colours() else click.unstyle(line))
            sys.stdout.flush()


def warn_if_incomplete(catalogue: Catalogue) -> None:
    """Say on stderr that not all that is mirrored can be found yet."""
    if not catalogue.is_complete:
        told = "The catalogue does not tell of all that is mirrored; the next `dandi-mirror sync` completes it."
        click.echo(told, err=True)


def colours() -> bool:
    """Whether stdout may be coloured: a terminal, and nobody asked for none (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def printable(text: str) -> str:
    """Text from the archive, made harmless for a terminal: what does not print is shown as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
