"""How far it is, for whoever wants to know."""

from __future__ import annotations

from typing import Protocol


class Teller(Protocol):
    """Who is told."""

    def total(self, files: int, size: int) -> None:
        """So much content is to be dealt with."""

    def done(self, size: int) -> None:
        """One of them is."""

    def doing(self, what: str) -> None:
        """What is being done now."""


class _Silent:
    def total(self, files: int, size: int) -> None: ...

    def done(self, size: int) -> None: ...

    def doing(self, what: str) -> None: ...


SILENT: Teller = _Silent()
"""Nobody."""
