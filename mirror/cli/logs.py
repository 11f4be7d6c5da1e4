"""Log messages, on stderr, set up once."""

from __future__ import annotations

import logging
import sys

from mirror.cli.output import printable
from mirror.cli.progress import bars_aside

LEVELS = ("debug", "info", "warning", "error")
USUAL_LEVEL = "warning"

_PLAIN = logging.Formatter("%(levelname)s: %(message)s")
_DEBUGGING = logging.Formatter("%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s")


class _StderrHandler(logging.Handler):
    """Writes to whatever stderr is at that moment, without tearing a progress bar apart."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = harmless(self.format(record))
            with bars_aside():
                print(text, file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


_handler = _StderrHandler()


def set_level(level: str) -> None:
    """Log from `level` on what this program says.

    Of what libraries say, warnings only: at their debug level they print URLs with signatures and headers with tokens.
    """
    root = logging.getLogger()
    if _handler not in root.handlers:
        root.addHandler(_handler)
        root.setLevel(logging.WARNING)
        logging.captureWarnings(True)
    _handler.setFormatter(_DEBUGGING if level == "debug" else _PLAIN)
    logging.getLogger("mirror").setLevel(level.upper())


def harmless(text: str) -> str:
    """Text of several lines, which somebody else may have worded, made harmless for a terminal."""
    return "\n".join(map(printable, text.split("\n")))


def debugging() -> bool:
    """Whether the user asked to see everything."""
    return logging.getLogger("mirror").isEnabledFor(logging.DEBUG)
