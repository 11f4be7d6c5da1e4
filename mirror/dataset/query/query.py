"""A query: its text, and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirror.dataset.query.parser import parse
from mirror.dataset.query.terms import Term

if TYPE_CHECKING:
    from mirror.dataset.facts import Facts


@dataclass(frozen=True)
class Query:
    """Equal to another one that means the same word for word, however it is written."""

    text: str = field(compare=False)
    """as somebody wrote it"""
    term: Term

    @classmethod
    def parse(cls, text: str) -> Query:
        """Raises `QueryError`, which points at what cannot be understood."""
        return cls(text, parse(text))

    def matches(self, facts: Facts) -> bool:
        return self.term.matches(facts)

    def __str__(self) -> str:
        """The canonical text."""
        return str(self.term)
