"""The kinds of values that fields have: how they are read, written and compared."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Generic, TypeVar
from unicodedata import normalize

from mirror.dataset.times import moment
from mirror.errors import RecordRefused

T = TypeVar("T")


class Kind(ABC, Generic[T]):
    """One kind of values."""

    name: ClassVar[str]
    """with its article"""
    operators: ClassVar[tuple[str, ...]]
    expected: ClassVar[str]
    """how a value is written, for messages"""

    @abstractmethod
    def read(self, text: str) -> T:
        """The value that `text` stands for. ValueError if it stands for none."""

    @abstractmethod
    def write(self, value: T) -> str:
        """The one text for it, which can be read again."""

    @abstractmethod
    def holds(self, found: tuple[Any, ...], operator: str, value: T) -> bool:
        """Whether the values `found` in a version pass."""

    def goes_on(self, text: str, word: str) -> bool:  # noqa: ARG002 - of most kinds, never
        """Whether a word after the value `text` still belongs to it."""
        return False


# --- text --------------------------------------------------------------------------------------------------------

_SPACES = re.compile(r"\s+")


def folded(text: str) -> str:
    """Text as it is compared: case, and how white space and accents are written, do not count."""
    spaced = _SPACES.sub(" ", text)
    if spaced.isascii():
        return spaced.lower()
    return normalize("NFC", normalize("NFD", spaced).casefold())


class Text(Kind[str]):
    name = "a text"
    operators = ("~", "!~", "=", "!=")
    expected = "a text that is not empty (`is missing` asks for what is not there)"

    def read(self, text: str) -> str:
        value = folded(text)
        if not value.strip():
            raise ValueError
        return value

    def write(self, value: str) -> str:
        doubled = value.replace("'", "''")
        return f"'{doubled}'"

    def holds(self, found: tuple[str, ...], operator: str, value: str) -> bool:
        if operator in ("~", "!~"):
            any_fits = any(value in folded(one) for one in found)
        else:
            any_fits = any(value == folded(one) for one in found)
        return any_fits is not operator.startswith("!")


class Embargo(Kind[str]):
    name = "an embargo status"
    operators = ("=", "!=")
    expected = "`open` or `embargoed`"

    def read(self, text: str) -> str:
        if (value := text.lower()) not in ("open", "embargoed"):
            raise ValueError
        return value

    def write(self, value: str) -> str:
        return value

    def holds(self, found: tuple[str, ...], operator: str, value: str) -> bool:
        return (value in found) is (operator == "=")


# --- numbers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """What a value covers: `start`, and everything up to `end`, but not `end` itself."""

    text: str
    start: Any
    end: Any


class _Ordered(Kind[Span]):
    """What has more and less."""

    operators = ("=", "!=", "<", "<=", ">", ">=")

    def write(self, value: Span) -> str:
        return value.text

    def holds(self, found: tuple[Any, ...], operator: str, value: Span) -> bool:
        return any(_compare(one, operator, value) for one in found)


def _compare(one: Any, operator: str, value: Span) -> bool:
    match operator:
        case "<":
            return bool(one < value.start)
        case "<=":
            return bool(one < value.end)
        case ">":
            return bool(one >= value.end)
        case ">=":
            return bool(one >= value.start)
        case _:
            return (value.start <= one < value.end) is (operator == "=")


class Number(_Ordered):
    name = "a number"
    expected = "a whole number"

    def read(self, text: str) -> Span:
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise ValueError
        number = int(text)
        return Span(str(number), number, number + 1)


_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "pb": 10**15}
_WRITTEN_UNITS = (("PB", 10**15), ("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("B", 1))
_SIZE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18}))? ?([A-Za-z]*)")


class Size(_Ordered):
    name = "a size"
    expected = "a whole number of bytes, or a number of kB, MB, GB, TB or PB, such as 1.5TB"

    def read(self, text: str) -> Span:
        found = _SIZE.fullmatch(text)
        unit = _UNITS.get(found[3].lower()) if found else None
        if found is None or unit is None:
            raise ValueError
        fraction = found[2] or ""
        size, rest = divmod(int(found[1] + fraction) * unit, 10 ** len(fraction))
        if rest:
            raise ValueError
        return Span(_size_text(size), size, size + 1)

    def goes_on(self, text: str, word: str) -> bool:
        return text[-1:].isdigit() and word[-1] in "bB"


def _size_text(size: int) -> str:
    """In the largest unit in which it has three decimals at most."""
    unit, factor = next(
        (unit, factor)
        for unit, factor in _WRITTEN_UNITS
        if factor == 1 or (size >= factor and size * 1000 % factor == 0)
    )
    whole, thousandths = divmod(size * 1000 // factor, 1000)
    return f"{whole}.{thousandths:03d}".rstrip("0").rstrip(".") + unit


# --- dates -------------------------------------------------------------------------------------------------------

_DATE = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})(?:[T ](?P<minute>[0-9]{2}:[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?)?(?P<zone>Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?"
)
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
_SHOWN = {"year": 4, "month": 7, "day": 10, "minute": 16, "second": 19}
"""how much of an ISO time tells it, by the last part that was given"""


class Date(_Ordered):
    name = "a date"
    expected = "a date such as 2024, 2024-05, 2024-05-01 or 2024-05-01T12:30Z"

    def read(self, text: str) -> Span:
        found = _DATE.fullmatch(text.upper())
        if found is None:
            raise ValueError
        try:
            start = moment(
                f"{found['year']}-{found['month'] or '01'}-{found['day'] or '01'}T{found['minute'] or '00:00'}"
                f":{found['second'] or '00'}.{found['fraction'] or '0'}{found['zone'] or 'Z'}"
            )
        except RecordRefused:
            raise ValueError from None
        return _span(start, found)


def _span(start: datetime, found: re.Match[str]) -> Span:
    last = next(part for part in ("fraction", "second", "minute", "day", "month", "year") if found[part])
    digits = min(len(found["fraction"] or ""), 6)
    text = start.isoformat(timespec="microseconds")[: _SHOWN.get(last, 20 + digits)]
    zone = "Z" if found["minute"] else ""
    try:
        end = _end(start, last, digits)
    except (OverflowError, ValueError):  # after the year 9999
        end = _END_OF_TIME
    return Span(text + zone, start, end)


def _end(start: datetime, last: str, digits: int) -> datetime:
    match last:
        case "year":
            return start.replace(year=start.year + 1)
        case "month":
            return (start + timedelta(days=31)).replace(day=1)
        case "day":
            return start + timedelta(days=1)
        case "minute":
            return start + timedelta(minutes=1)
        case "second":
            return start + timedelta(seconds=1)
        case _:
            return start + timedelta(microseconds=10 ** (6 - digits))
