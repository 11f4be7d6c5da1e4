"""Errors that point at a place in a query."""

from __future__ import annotations

from mirror.columns import columns
from mirror.errors import QueryError

_BEFORE = 50
_AFTER = 25
"""so many columns are shown before and after the place, of a query that is longer"""


def wrong_at(text: str, place: int, message: str) -> QueryError:
    """The error for what is wrong at `place` of the query `text`: the message, the query, and a caret below it."""
    before = [_shown(character) for character in text[:place]]
    after = [_shown(character) for character in text[place:]]
    left = _fitting(before[::-1], _BEFORE)[::-1]
    right = _fitting(after, _AFTER)
    start = "".join(left) if len(left) == len(before) else "…" + "".join(left)
    end = "".join(right) if len(right) == len(after) else "".join(right) + "…"
    return QueryError(f"{message}\n  {start}{end}\n  {' ' * columns(start)}^")


def _fitting(characters: list[str], width: int) -> list[str]:
    """As many of the first characters as fit."""
    room = width
    for number, character in enumerate(characters):
        room -= columns(character)
        if room < 0:
            return characters[:number]
    return characters


def _shown(character: str) -> str:
    """On one line, and harmless for a terminal."""
    if character.isspace():
        return " "
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
