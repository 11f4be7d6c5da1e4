"""Lists in pages, the way the archive's framework makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from mirror.demo.problems import Problem
from mirror.demo.records import to_json

T = TypeVar("T")

DEFAULT_SIZE, LARGEST_SIZE = 100, 1000
_TRUE = frozenset({"true", "t", "1", "yes", "y", "on"})
_FALSE = frozenset({"false", "f", "0", "no", "n", "off"})


def page_of(
    items: Sequence[T], render: Callable[[T], bytes], parameters: dict[str, str], address: str, *, lenient: bool = False
) -> bytes:
    """One page as JSON.

    Lenient lists (those of assets) count only on the first page and answer an empty page past the end; others say
    that there is no such page.
    """
    size = _page_size(parameters.get("page_size"))
    number = _page_number(parameters.get("page", "1"))
    start = (number - 1) * size
    if number > 1 and start >= len(items) and not lenient:
        raise Problem(404, {"detail": "Invalid page."})
    count = None if lenient and number > 1 else len(items)
    following = _link(address, parameters, number + 1) if start + size < len(items) else None
    previous = _link(address, parameters, number - 1) if number > 1 else None
    head = to_json({"count": count, "next": following, "previous": previous})
    results = b",".join(render(item) for item in items[start : start + size])
    return b'%s,"results":[%s]}' % (head[:-1], results)


def boolean(parameters: dict[str, str], name: str, default: bool) -> bool:
    """A parameter that is true or false, spelled in one of many ways."""
    value = parameters.get(name, "").lower()
    if value in _TRUE | _FALSE:
        return value in _TRUE
    if value:
        raise Problem(400, {name: ["Must be a valid boolean."]})
    return default


def _page_number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise Problem(404, {"detail": "Invalid page."})
    return int(text)


def _page_size(text: str | None) -> int:
    """What is asked for, silently capped; what makes no sense is the default."""
    size = int(text) if text and text.isdecimal() else 0
    return min(size, LARGEST_SIZE) or DEFAULT_SIZE


def _link(address: str, parameters: dict[str, str], number: int) -> str:
    others = {key: value for key, value in parameters.items() if key != "page"}
    if number > 1:
        others["page"] = str(number)
    return f"{address}?{urlencode(sorted(others.items()))}" if others else address
