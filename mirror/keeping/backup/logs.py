"""What the `git-annex` branch says of a backup: `remote.log`, by which clones can enable it, and its kin. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from uuid import UUID, uuid5

FIRST_SAID = 1_577_836_800
"""2020-01-01: older than anything that a user of a clone changes in a line."""

REMOTE_LOG, UUID_LOG = b"remote.log", b"uuid.log"

KEPT_LOGS = (b".log.cnk", b".log.rmt", b".log.rmet")
"""Logs of a key without which a clone does not find it in some remotes: its chunks, and what the remote noted."""

_STAMPED = re.compile(rb"(?P<said>\S+(?: .*?)?) timestamp=(?P<seconds>[0-9]+)(?:\.[0-9]+)?s").fullmatch
_KEY_LINE = re.compile(rb"(?P<seconds>[0-9]+)(?:\.[0-9]+)?s (?P<said>.*)").fullmatch


def backup_uuid(store_id: str, name: str) -> str:
    """The annex uuid of a backup of a store: the same for all its datasets, since they share the place.

    It goes by its name: another place is to have another name.
    """
    return str(uuid5(UUID(store_id), f"backup/{name}"))


def line_of(log: bytes, uuid: str) -> bytes | None:
    """What a log of remotes says last of one, without the time."""
    held = _last(log, uuid.encode())
    return held[0] if held is not None else None


def with_line(log: bytes, line: bytes) -> bytes:
    """The log with this said of a remote, at a later time than anything else of it; as it is where it says so."""
    uuid = line.partition(b" ")[0]
    held = _last(log, uuid)
    if held is not None and held[0] == line:
        return log
    seconds = FIRST_SAID if held is None else held[1] + 1
    others = [other for other in log.splitlines() if other.partition(b" ")[0] != uuid]
    return b"".join(sorted(other + b"\n" for other in [*others, b"%b timestamp=%ds" % (line, seconds)]))


def _last(log: bytes, uuid: bytes) -> tuple[bytes, int] | None:
    found = [_STAMPED(line) for line in log.splitlines() if line.partition(b" ")[0] == uuid]
    lines = [(match["said"], int(match["seconds"])) for match in found if match is not None]
    return max(lines, key=lambda line: line[1], default=None)


def with_key_lines(log: bytes, learnt: bytes, is_ours: Callable[[bytes], bool]) -> bytes:
    """A key's log with what git-annex noted in its own of this remote, but for the time: that is no clock's.

    A line holds for the remote, with what it says of it, that its first word names; a later one replaces it.
    """
    lines = dict(_key_lines(log))
    for subject, (seconds, said) in _key_lines(learnt):
        held = lines.get(subject)
        if is_ours(subject) and (held is None or held[1] != said):
            seconds = FIRST_SAID if held is None else held[0] + 1
            lines[subject] = seconds, said
    return b"".join(b"%ds %b\n" % lines[subject] for subject in sorted(lines))


def _key_lines(log: bytes) -> Iterable[tuple[bytes, tuple[int, bytes]]]:
    for line in log.splitlines():
        match = _KEY_LINE(line)
        if match is not None:
            yield match["said"].partition(b" ")[0], (int(match["seconds"]), match["said"])
