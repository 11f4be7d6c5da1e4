"""Location logs and URL logs: which remote has a key's content, and at which addresses a remote has it.

A line is `<timestamp>s <status> <value>`; a value is a remote's UUID or a URL, its status 1 while it holds and 0 once
it does not (git-annex also knows X, for content given up). Of several lines with one value that with the latest
timestamp holds, of equally late ones the first.

Clones have commits of their own on the `git-annex` branch and merge it line by line, so a line that was deleted comes
back: nothing is ever deleted here, only said anew at a later time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_FLOOR, Decimal
from typing import NamedTuple

from mirror.errors import RecordRefused

WEB_UUID = "00000000-0000-0000-0000-000000000001"
"""The remote that downloads from a key's URLs. Every repository has it."""

_LINE = re.compile(rb"([+-]?[0-9]+(?:\.[0-9]+)?)s? ([01X]) (.*)", re.DOTALL).fullmatch


class Statement(NamedTuple):
    """One line of a log."""

    timestamp: Decimal
    status: bytes
    """`1`: it holds; `0`: it does not; `X`: given up for good"""
    value: bytes
    line: bytes
    """the line as it was found, without its newline"""


def statement(line: bytes) -> Statement | None:
    """A line (without its newline) as git-annex understands it, None if it does not."""
    line = line.removesuffix(b"\r")
    match = _LINE(line)
    if match is None:
        return None
    timestamp, status, value = match.groups()
    return Statement(Decimal(timestamp.decode()), status, value, line)


def parse(body: bytes) -> dict[bytes, Statement]:
    """What holds now of each value that a log speaks of. Lines that git-annex would not understand are passed over."""
    return _read(body)[0]


def _read(body: bytes) -> tuple[dict[bytes, Statement], list[bytes]]:
    """What holds of each value, and the lines that are no statements."""
    current: dict[bytes, Statement] = {}
    foreign: list[bytes] = []
    for line in body.split(b"\n"):
        found = statement(line)
        if found is None:
            if line:
                foreign.append(line)
            continue
        known = current.get(found.value)
        if known is None or found.timestamp > known.timestamp:
            current[found.value] = found
    return current, foreign


def present(body: bytes) -> set[bytes]:
    """The remotes that have the content, or the URLs that lead to it, by what the log says last."""
    return {found.value for found in parse(body).values() if found.status == b"1"}


def with_changes(body: bytes, *, add: Iterable[bytes], withdraw: Iterable[bytes], timestamp: int) -> bytes:
    """The log with some values added and others withdrawn, each where it is not so already.

    What changes is said at `timestamp`, or at the first whole second after what the log had of that value, so that it
    holds in every clone. The log comes back as it is where nothing changes; otherwise sorted by value, with the line
    that holds of each, and with lines that are no statements at the end.
    """
    adding, withdrawing = set(add), set(withdraw)
    if both := adding & withdrawing:
        raise ValueError(f"to be added and withdrawn at once: {sorted(both)}")
    current, foreign = _read(body)
    said: dict[bytes, bytes] = {}
    for value in adding:
        known = current.get(value)
        if known is None or known.status != b"1":
            said[value] = b"%ds 1 %b" % (later(timestamp, known), _checked(value))
    for value in withdrawing:
        known = current.get(value)
        if known is not None and known.status == b"1":
            said[value] = b"%ds 0 %b" % (later(timestamp, known), value)
    if not said:
        return body
    lines = {value: found.line for value, found in current.items()} | said
    return b"".join([line + b"\n" for line in [*(lines[value] for value in sorted(lines)), *foreign]])


def later(timestamp: int, known: Statement | None) -> int:
    """The first whole second from `timestamp` on that is later than what is known."""
    if known is None or known.timestamp < timestamp:
        return timestamp
    return int(known.timestamp.to_integral_value(ROUND_FLOOR)) + 1


def _checked(value: bytes) -> bytes:
    """A value as it may stand in a line: one that breaks the line would say something else to git-annex."""
    if b"\n" in value or value.endswith(b"\r") or not value:
        raise RecordRefused(f"not a value that a git-annex log can hold: {value!r}")
    return value


def location_log(uuid: str, timestamp: int) -> bytes:
    """A new location log: this remote has the content."""
    return f"{timestamp}s 1 {uuid}\n".encode()


def url_log(urls: Iterable[str], timestamp: int) -> bytes:
    """A new URL log: these addresses lead to the content."""
    prefix = f"{timestamp}s 1 "
    lines = [prefix + url for url in sorted(set(urls))]
    body = "\n".join([*lines, ""]).encode()
    # All at once, for 100,000 keys are written at a time; which value it is, is looked for when there is one.
    if body.count(b"\n") != len(lines) or b"\r\n" in body or b" \n" in body:
        for url in urls:
            _checked(url.encode())
    return body
