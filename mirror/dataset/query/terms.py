"""What a query means: a tree of tests.

`all_of`, `any_of` and `negated` build it, so that what means the same word for word is the same tree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from mirror.dataset.query.fields import Field

if TYPE_CHECKING:
    from mirror.dataset.facts import Facts


@dataclass(frozen=True)
class Comparison:
    """`size < 10GB`"""

    field: Field
    operator: str
    value: Any
    """as the field's kind reads it"""

    def matches(self, facts: Facts) -> bool:
        return self.field.kind.holds(self.field.values(facts), self.operator, self.value)

    def __str__(self) -> str:
        return f"{self.field.name} {self.operator} {self.field.kind.write(self.value)}"


@dataclass(frozen=True)
class Presence:
    """`doi is missing`"""

    field: Field
    present: bool

    def matches(self, facts: Facts) -> bool:
        return bool(self.field.values(facts)) is self.present

    def __str__(self) -> str:
        return f"{self.field.name} is {'present' if self.present else 'missing'}"


@dataclass(frozen=True)
class Not:
    term: Term

    def matches(self, facts: Facts) -> bool:
        return not self.term.matches(facts)

    def __str__(self) -> str:
        return f"not ({self.term})" if isinstance(self.term, AllOf | AnyOf) else f"not {self.term}"


@dataclass(frozen=True)
class AllOf:
    terms: tuple[Term, ...]

    def matches(self, facts: Facts) -> bool:
        return all(term.matches(facts) for term in self.terms)

    def __str__(self) -> str:
        return " and ".join(f"({term})" if isinstance(term, AnyOf) else str(term) for term in self.terms)


@dataclass(frozen=True)
class AnyOf:
    terms: tuple[Term, ...]

    def matches(self, facts: Facts) -> bool:
        return any(term.matches(facts) for term in self.terms)

    def __str__(self) -> str:
        return " or ".join(map(str, self.terms))


Term: TypeAlias = Comparison | Presence | Not | AllOf | AnyOf

_Joined = TypeVar("_Joined", AllOf, AnyOf)


def all_of(terms: Iterable[Term]) -> Term:
    return _joined(AllOf, terms)


def any_of(terms: Iterable[Term]) -> Term:
    return _joined(AnyOf, terms)


def negated(term: Term) -> Term:
    return term.term if isinstance(term, Not) else Not(term)


def _joined(kind: type[_Joined], terms: Iterable[Term]) -> Term:
    """`a and (b and c)` is `a and b and c`."""
    flat = tuple(inner for term in terms for inner in (term.terms if isinstance(term, kind) else (term,)))
    return flat[0] if len(flat) == 1 else kind(flat)
