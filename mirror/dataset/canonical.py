r"""The two forms in which documents of the archive are written: one JSON, one YAML. The same bytes in every mirror.

Canonical JSON: members sorted by the code points of their names at every level, no white space between tokens, UTF-8.
Within strings only what JSON requires is escaped: `\"` and `\\`, and the control characters below U+0020, as
`\b \f \n \r \t` where there is such a form and as `\u00xx` in lower case hex otherwise. Numbers stand exactly as the
archive wrote them (`1.0`, `1e5`, `-0`). Of members with the same name the last counts. What is no JSON text is refused:
`NaN`, lone surrogates, nesting beyond what Python's parsers follow.

YAML: PyYAML's pure Python emitter with infinite width, keys sorted, no aliases. Its C twin differs on emoji.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec
import yaml

from mirror.errors import RecordRefused

_NOTHING: frozenset[str] = frozenset()


class Number(float):
    """A number of a JSON document that remembers how it was written."""

    __slots__ = ("literal",)
    literal: str

    def __new__(cls, literal: str) -> Number:
        number = super().__new__(cls, literal)
        number.literal = literal
        return number

    def __reduce__(self) -> tuple[type[Number], tuple[str]]:
        return Number, (self.literal,)


def _as_written(value: object) -> msgspec.Raw:
    if isinstance(value, Number):
        return msgspec.Raw(value.literal.encode())
    raise TypeError(f"not a value of a JSON document: {value!r}")


_decode = msgspec.json.Decoder(float_hook=Number).decode
_encode = msgspec.json.Encoder(order="sorted", enc_hook=_as_written).encode

# msgspec reads `-0` as the integer 0. The hyphen comes first in the pattern because searching for a fixed beginning is
# ten times as fast; that it starts a number is looked at afterwards. In a string it may only look so: no harm in that.
_NEGATIVE_ZERO = re.compile(rb"-0(?<![^:,\[\s]-0)(?![.eE])").search


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object of the archive's, parsed once."""

    value: dict[str, Any]

    def canonical(self, *, drop: frozenset[str] = _NOTHING) -> bytes:
        """The document as canonical JSON, without the members of these names at its top."""
        return _canonical(self.value, drop)


def read_document(raw: bytes) -> Document:
    """Parse a JSON object; RecordRefused, saying what it is instead, where it is none."""
    value = _parse(raw)
    if not isinstance(value, dict):
        raise RecordRefused("is not a JSON object")
    return Document(value)


def canonical_json(raw: bytes, *, drop: frozenset[str] = _NOTHING) -> bytes:
    """A JSON text as canonical JSON; where it is an object, without the members of these names at its top."""
    return _canonical(_parse(raw), drop)


def _canonical(value: object, drop: frozenset[str]) -> bytes:
    if drop and isinstance(value, dict) and not drop.isdisjoint(value):
        value = {name: member for name, member in value.items() if name not in drop}
    try:
        return _encode(value)
    except RecursionError:
        raise RecordRefused("is nested too deeply") from None


def _parse(raw: bytes) -> object:
    if _NEGATIVE_ZERO(raw):
        return _parse_slowly(raw)
    try:
        return _decode(raw)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise _refusal(error) from None


def _parse_slowly(raw: bytes) -> object:
    """Parse with the standard library, which shows every literal. Some three times slower; rarely needed."""
    try:
        text = raw.decode()
        value = json.loads(text, parse_float=Number, parse_int=_integer, parse_constant=_refuse_constant)
        # The standard library lets lone surrogates pass; the rest of the program must not meet them.
        _encode(value)
    except (ValueError, RecursionError) as error:
        raise _refusal(error) from None
    return value


def _integer(literal: str) -> int | Number:
    return Number(literal) if literal == "-0" else int(literal)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _refusal(error: Exception) -> RecordRefused:
    if isinstance(error, RecursionError):
        return RecordRefused("is nested too deeply")
    return RecordRefused(f"is not JSON: {error}")


_RARE_LINE_BREAK = re.compile("[\x85\u2028\u2029]").search


class _Dumper(yaml.SafeDumper):
    """The pure Python emitter, whatever libyaml there is, writing everything out where it stands."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _represent_number(dumper: yaml.SafeDumper, number: Number) -> yaml.ScalarNode:
    return dumper.represent_float(float(number))


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    text.encode()  # PyYAML would write a lone surrogate as an escape that other parsers refuse.
    if _RARE_LINE_BREAK(text):
        # Between single quotes, where PyYAML would put these, it reads NEL as the end of a line to be folded.
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
    return dumper.represent_str(text)


_Dumper.add_representer(Number, _represent_number)
_Dumper.add_representer(str, _represent_text)


def yaml_document(document: object) -> bytes:
    """A JSON document as YAML. Floats are written by value: YAML 1.1 would take `1e5` for a string."""
    try:
        text = yaml.dump(
            document,
            Dumper=_Dumper,
            width=float("inf"),
            allow_unicode=True,
            sort_keys=True,
            default_flow_style=False,
        )
        return text.encode()
    except UnicodeEncodeError as error:
        raise RecordRefused(f"is not Unicode text: {error}") from None
    except RecursionError:
        raise RecordRefused("is nested too deeply") from None
