"""How far a long work has come: a bar on stderr when that is a terminal, nothing when it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tqdm import tqdm


class Progress(Protocol):
    """What a worker may tell."""

    def advance(self, amount: int = 1) -> None: ...

    def describe(self, text: str) -> None:
        """Say what is being done now."""


class _Silent:
    def advance(self, amount: int = 1) -> None:
        pass

    def describe(self, text: str) -> None:
        pass


@contextmanager
def progress(title: str, total: int | None = None, unit: str = "") -> Iterator[Progress]:
    """A bar with this title for as long as the context lasts. It leaves no trace behind."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from tqdm import tqdm  # only who sees a bar pays for it

    with tqdm(desc=title, total=total, unit=f" {unit}" if unit else "", leave=False, file=sys.stderr) as bar:
        yield _Bar(bar)


class _Bar:
    def __init__(self, bar: tqdm[Any]) -> None:
        self._bar = bar

    def advance(self, amount: int = 1) -> None:
        self._bar.update(amount)

    def describe(self, text: str) -> None:
        self._bar.set_postfix_str(text)


def bars_aside() -> AbstractContextManager[object]:
    """While this lasts, other lines may be written to the terminal: bars are wiped, then drawn again."""
    if "tqdm" not in sys.modules:
        return nullcontext()
    from tqdm import tqdm

    return tqdm.external_write_mode(file=sys.stdout)
