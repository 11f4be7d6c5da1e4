"""The words and signs that a query is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from mirror.dataset.query.pointing import wrong_at


class Sort(Enum):
    BRACKET = auto()
    OPERATOR = auto()
    QUOTED = auto()
    WORD = auto()
    END = auto()


@dataclass(frozen=True)
class Token:
    sort: Sort
    text: str
    """of what was quoted, what stands in the quotes"""
    place: int

    def is_word(self, *words: str) -> bool:
        return self.sort is Sort.WORD and self.text.lower() in words

    def is_bracket(self, bracket: str) -> bool:
        return self.sort is Sort.BRACKET and self.text == bracket


_TOKEN = re.compile(
    r"(?P<SPACE>\s+)"
    r"|(?P<BRACKET>[()])"
    r"|(?P<OPERATOR>[!<>]=|!~|[~=<>])"
    r"""|(?P<QUOTED>'[^']*(?:''[^']*)*'|"[^"]*(?:""[^"]*)*")"""
    r"""|(?P<WORD>[^\s()'"~=<>!‘’“”„«»][^\s()'"~=<>!]*)"""
)


def tokens(text: str) -> list[Token]:
    """Those of `text`, and one for its end."""
    found: list[Token] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise wrong_at(text, place, _no_token(text[place]))
        if match.lastgroup != "SPACE":
            found.append(_token(match))
        place = match.end()
    return [*found, Token(Sort.END, "", len(text.rstrip()))]


def _token(match: re.Match[str]) -> Token:
    sort, text = Sort[match.lastgroup or ""], match[0]
    if sort is Sort.QUOTED:
        text = text[1:-1].replace(text[0] * 2, text[0])
    return Token(sort, text, match.start())


def _no_token(character: str) -> str:
    match character:
        case "'" | '"':
            return "this quote is never closed; a text with one in it goes into quotes of the other kind"
        case "!":
            return "`!` stands before `~` or `=`; a text with one in it goes into quotes"
        case _:
            return "texts go into straight quotes, ' or \""
