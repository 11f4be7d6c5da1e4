"""Metadata logs: fields and values that git-annex keeps with a key, for `find --metadata` and `view`.

A line is `<timestamp>s field +value -value field2 +value`: from then on the field has a value (`+`) or has it no more
(`-`). Of what is said of a field's value the latest holds, of what is said equally late the last. A value with white
space in it, or starting with `!`, is written as base64 after a `!`.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from binascii import b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_FLOOR, Decimal

from mirror.errors import RecordRefused

_FIELD = re.compile(r"[a-z0-9][a-z0-9_.-]*").fullmatch
# git-annex itself writes white space other than blanks and line ends as it is, but not every version of it reads that
# as part of the value; base64 every version reads.
_NEEDS_BASE64 = re.compile(r"\A!|\s").search
_TIMESTAMP = re.compile(rb"([+-]?[0-9]+(?:\.[0-9]+)?)s?").fullmatch


def encode(fields: Mapping[str, Sequence[str]], timestamp: int) -> bytes:
    """A new metadata log: a line with these fields, in a fixed order; nothing when no field has a value.

    Empty values are left out: git-annex would keep them, but they say nothing.
    """
    words: list[bytes] = []
    for field in sorted(fields):
        if values := _words(fields[field]):
            words.append(_field(field))
            words += [b"+" + word for _, word in sorted(values.items())]
    return _line(timestamp, words)


def decode(body: bytes) -> dict[str, list[str]]:
    """The values that each field (by its name in lower case) has now.

    Of what is not UTF-8 the bytes come as surrogates.
    """
    said, _ = _read(body)
    return {
        field: [value.decode(errors="surrogateescape") for value in sorted(values)]
        for field in sorted(said)
        if (values := _held(said[field]))
    }


def change(body: bytes, fields: Mapping[str, Sequence[str]], timestamp: int) -> bytes:
    """The log with one more line, which gives these fields exactly these values; the log as it is where they have them.

    The line holds only what differs, said later than anything in the log. Fields that are not named keep what they
    have; a field named without values loses all of them.
    """
    said, latest = _read(body)
    words: list[bytes] = []
    for field in sorted(fields):
        wanted = _words(fields[field])
        held = _held(said.get(field, {}))
        lost = [b"-" + _word(value.decode(errors="surrogateescape"), value) for value in sorted(held - wanted.keys())]
        gained = [b"+" + wanted[value] for value in sorted(wanted.keys() - held)]
        if lost or gained:
            words += [_field(field), *lost, *gained]
    if not words:
        return body
    if latest is not None and latest >= timestamp:
        timestamp = int(latest.to_integral_value(ROUND_FLOOR)) + 1
    ended = body if not body or body.endswith(b"\n") else body + b"\n"
    return ended + _line(timestamp, words)


def _line(timestamp: int, words: list[bytes]) -> bytes:
    return b"%ds %b\n" % (timestamp, b" ".join(words)) if words else b""


def _field(field: str) -> bytes:
    """A field's name as it may stand in a line. git-annex tells names apart without regard to case."""
    if not _FIELD(field):
        raise ValueError(f"not the name of a git-annex metadata field: {field!r}")
    return field.encode()


def _words(values: Iterable[str]) -> dict[bytes, bytes]:
    """Values as bytes, each with the word that stands for it in a line. Empty ones are left out."""
    words: dict[bytes, bytes] = {}
    for value in values:
        if value:
            try:
                raw = value.encode()
            except UnicodeEncodeError:
                raise RecordRefused(f"not a text that git-annex metadata can hold: {value!r}") from None
            words[raw] = _word(value, raw)
    return words


def _word(value: str, raw: bytes) -> bytes:
    return b"!" + b2a_base64(raw, newline=False) if _NEEDS_BASE64(value) else raw


def _held(statements: Mapping[bytes, tuple[Decimal, bool]]) -> set[bytes]:
    return {value for value, (_, has) in statements.items() if has}


def _read(body: bytes) -> tuple[dict[str, dict[bytes, tuple[Decimal, bool]]], Decimal | None]:
    """What was said last of each value of each field, and when the log was last written to."""
    said: dict[str, dict[bytes, tuple[Decimal, bool]]] = {}
    latest: Decimal | None = None
    for line in body.split(b"\n"):
        stamp, *words = line.removesuffix(b"\r").split(b" ")
        match = _TIMESTAMP(stamp)
        if match is None:
            continue
        timestamp = Decimal(match[1].decode())
        latest = timestamp if latest is None else max(latest, timestamp)
        values: dict[bytes, tuple[Decimal, bool]] = {}
        for word in words:
            value = _value(word)
            if value is None:
                values = said.setdefault(word.decode(errors="surrogateescape").lower(), {})
            elif value not in values or values[value][0] <= timestamp:
                values[value] = timestamp, word.startswith(b"+")
    return said, latest


def _value(word: bytes) -> bytes | None:
    """The value that a word sets or unsets; None where the word is the name of a field."""
    if not word.startswith((b"+", b"-")):
        return None
    if not word.startswith(b"!", 1):
        return word[1:]
    try:
        return b64decode(word[2:], validate=True)
    except NotBase64:
        return None  # git-annex takes such a word for a field
