"""From the text of a query to its meaning."""

from __future__ import annotations

from typing import Any

from mirror.dataset.query.fields import FIELDS_BY_ANY_NAME, Field
from mirror.dataset.query.pointing import wrong_at
from mirror.dataset.query.terms import Comparison, Presence, Term, all_of, any_of, negated
from mirror.dataset.query.tokens import Sort, Token, tokens
from mirror.errors import QueryError
from mirror.nearest import nearest

MOST_NESTED = 50
"""so deep may parentheses and `not` be nested"""

_EXAMPLE = "species ~ 'Mus musculus'"
_KEYWORDS = ("and", "or", "not", "is")


def parse(text: str) -> Term:
    """Raises `QueryError`, which points at what cannot be understood."""
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._left = tokens(text)[::-1]
        self._depth = 0

    # Each of these takes what it is named after off the front of what is left.

    def whole(self) -> Term:
        if self._at_end():
            raise QueryError(f"the query is empty; one is, for example, {_EXAMPLE}")
        term = self._alternatives()
        if not self._at_end():
            raise self._wrong(self._next, self._why_not_the_end())
        return term

    def _alternatives(self) -> Term:
        terms = [self._conjunction()]
        while self._take_word("or"):
            terms.append(self._conjunction())
        return any_of(terms)

    def _conjunction(self) -> Term:
        terms = [self._factor()]
        while self._take_word("and"):
            terms.append(self._factor())
        return all_of(terms)

    def _factor(self) -> Term:
        token = self._next
        if not (token.is_word("not") or token.is_bracket("(")):
            return self._test()
        if self._depth == MOST_NESTED:
            raise self._wrong(token, f"nested more than {MOST_NESTED} deep")
        self._take()
        self._depth += 1
        term = negated(self._factor()) if token.is_word("not") else self._in_brackets(token)
        self._depth -= 1
        return term

    def _in_brackets(self, opening: Token) -> Term:
        term = self._alternatives()
        if self._at_end():
            raise self._wrong(opening, "this bracket is never closed")
        if not self._next.is_bracket(")"):
            raise self._wrong(self._next, self._why_not_the_end())
        self._take()
        return term

    def _test(self) -> Term:
        field = self._field()
        token = self._take()
        if token.is_word("is"):
            return Presence(field, self._presence())
        if token.sort is not Sort.OPERATOR:
            raise self._wrong(token, f"expected an operator: {_knows(field)}")
        if token.text not in field.kind.operators:
            raise self._wrong(token, _knows(field))
        return Comparison(field, token.text, self._value(field, token))

    def _field(self) -> Field:
        token = self._take()
        if token.sort is not Sort.WORD or token.is_word(*_KEYWORDS):
            raise self._wrong(token, f"expected the name of a field, as in {_EXAMPLE}")
        name = token.text.lower()
        if name not in FIELDS_BY_ANY_NAME:
            raise self._wrong(token, f"no such field; the nearest is `{nearest(name, FIELDS_BY_ANY_NAME)}`")
        return FIELDS_BY_ANY_NAME[name]

    def _presence(self) -> bool:
        token = self._take()
        if not token.is_word("present", "missing"):
            raise self._wrong(token, "expected `missing` or `present`")
        return token.is_word("present")

    def _value(self, field: Field, operator: Token) -> Any:
        token = self._take()
        if token.sort not in (Sort.WORD, Sort.QUOTED):
            raise self._wrong(token, f"expected a value after `{operator.text}`")
        if token.is_word(*_KEYWORDS):
            raise self._wrong(token, f"expected a value; if `{token.text}` is one, it goes into quotes")
        text = token.text
        if token.sort is Sort.WORD and self._next.sort is Sort.WORD and field.kind.goes_on(text, self._next.text):
            text += self._take().text
        try:
            return field.kind.read(text)
        except ValueError:
            raise self._wrong(token, f"`{field.name}` is {field.kind.name}: expected {field.kind.expected}") from None

    @property
    def _next(self) -> Token:
        return self._left[-1]

    def _at_end(self) -> bool:
        return self._next.sort is Sort.END

    def _take(self) -> Token:
        return self._left.pop() if len(self._left) > 1 else self._next  # the end stays

    def _take_word(self, word: str) -> bool:
        return self._next.is_word(word) and bool(self._take())

    def _why_not_the_end(self) -> str:
        if self._next.is_bracket(")"):
            return "this bracket was never opened"
        return "expected `and`, `or`, or the end here; a value of several words goes into quotes"

    def _wrong(self, token: Token, message: str) -> QueryError:
        return wrong_at(self._text, token.place, message)


def _knows(field: Field) -> str:
    operators = ", ".join(f"`{operator}`" for operator in (*field.kind.operators, "is missing"))
    return f"`{field.name}` is {field.kind.name}, which knows {operators} and `is present`"
