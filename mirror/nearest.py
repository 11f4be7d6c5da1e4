"""Which of the known words somebody meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

_LONGEST = 100
"""So much of a word is compared: what takes long to compare is like nothing that is known."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of `known` that looks most like `word`, either as a whole or by the part after its last dot."""
    word = word[-_LONGEST:]

    def likeness(candidate: str) -> float:
        whole = SequenceMatcher(None, word, candidate).ratio()
        last = SequenceMatcher(None, word.rpartition(".")[2], candidate.rpartition(".")[2]).ratio()
        return max(whole, last - 0.01)  # among equals, the one in the same group

    return max(known, key=likeness)
