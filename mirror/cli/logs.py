"""Log messages, on stderr, set up once: for a person at a terminal, for systemd's journal, or a JSON object a line."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import traceback
from typing import Any, Literal

from mirror.cli.output import printable
from mirror.cli.progress import bars_aside
from mirror.json_lines import json_line

LEVELS = ("debug", "info", "warning", "error")
USUAL_LEVEL = "warning"

Form = Literal["text", "json"]
FORMS: tuple[Form, ...] = ("text", "json")

_DEBUGGING = "%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S"

# As sd-daemon(3) has them; the journal takes them off, and keeps the time itself.
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _Plain(logging.Formatter):
    """For whoever typed a command."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return harmless(super().format(record))


class _Debugging(logging.Formatter):
    def __init__(self) -> None:
        super().__init__(_DEBUGGING)

    def format(self, record: logging.LogRecord) -> str:
        return harmless(super().format(record))


class _Service(logging.Formatter):
    """For what runs unattended: `2026-11-21T15:34:17Z warning: …`. Every line of a message has its head."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        word = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        head = f"<{_PRIORITIES.get(record.levelno, 6)}>" if self._journal else f"{_utc(record)}Z {word}"
        return "\n".join(head + line for line in harmless(super().format(record)).split("\n"))


class _Json(logging.Formatter):
    """One object a line, whatever somebody worded."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": f"{_utc(record)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= {key: value for key, value in getattr(record, "fields", {}).items() if key not in told}
        if record.exc_info and record.exc_info[0] is not None:
            told["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json_line(told)


def _utc(record: logging.LogRecord) -> str:
    return time.strftime(_TIME, time.gmtime(record.created))


class _StderrHandler(logging.Handler):
    """Writes to whatever stderr is at that moment, without tearing a progress bar apart."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            with bars_aside():
                print(text, file=sys.stderr, flush=True)
        except BrokenPipeError:
            _say_it_to_nobody()
        except Exception:
            self.handleError(record)


def _say_it_to_nobody() -> None:
    """Nobody reads any more; that is no reason to stop mirroring, nor for Python to complain of it at the end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)


_handler = _StderrHandler()


def set_level(level: str) -> None:
    """Log from `level` on what this program says.

    Of what libraries say, warnings only: at their debug level they print URLs with signatures and headers with tokens.
    """
    _set_up()
    _handler.setFormatter(_Debugging() if level == "debug" else _Plain())
    logging.getLogger("mirror").setLevel(level.upper())


def set_up_service(form: Form, verbosity: int, *, level: str | None = None) -> None:
    """Log as what runs unattended does.

    A line for each round, change and failure; from `verbosity` 1 on also for each Dandiset that was looked at, and for
    what had to be asked for again; from 2 on everything. `level`: what was asked for by `-l`, which goes first.
    """
    _set_up()
    _handler.setFormatter(_Json() if form == "json" else _Service(journal=is_journal()))
    ours, rounds = logging.getLogger("mirror"), logging.getLogger("mirror.daemon")
    rounds.setLevel(logging.NOTSET)
    if level is not None or verbosity >= 2:
        ours.setLevel(level.upper() if level is not None else logging.DEBUG)
        return
    ours.setLevel(logging.INFO if verbosity else logging.WARNING)
    rounds.setLevel(logging.DEBUG if verbosity else logging.INFO)


def is_journal() -> bool:
    """Whether systemd's journal takes what is written to stderr (systemd.exec(5) on `JOURNAL_STREAM`)."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _set_up() -> None:
    root = logging.getLogger()
    if _handler not in root.handlers:
        root.addHandler(_handler)
        root.setLevel(logging.WARNING)
        logging.captureWarnings(True)


def harmless(text: str) -> str:
    """Text of several lines, which somebody else may have worded, made harmless for a terminal."""
    return "\n".join(map(printable, text.split("\n")))


def debugging() -> bool:
    """Whether the user asked to see everything."""
    return logging.getLogger("mirror").isEnabledFor(logging.DEBUG)
