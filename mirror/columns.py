"""How much room a text takes on a terminal."""

from __future__ import annotations

from unicodedata import category, east_asian_width


def columns(text: str) -> int:
    """The columns that a printable text takes: two for a wide character, none for an accent of its own."""
    return len(text) if text.isascii() else sum(map(_width, text))


def cut(text: str, width: int) -> str:
    """The text if it is no wider than this, else as much of it as goes before an ellipsis."""
    if columns(text) <= width:
        return text
    kept, room = "", width - 1
    for character in text:
        room -= _width(character)
        if room < 0:
            break
        kept += character
    return kept.rstrip() + "…"


def filled(text: str, width: int) -> str:
    """The text with spaces after it up to this width."""
    return text + " " * (width - columns(text))


def _width(character: str) -> int:
    if category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(character) in ("W", "F") else 1
