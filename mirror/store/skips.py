"""Published versions that will never come, as whoever runs the mirror decided. One small durable file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from mirror.dataset.times import moment
from mirror.errors import RecordRefused, StoreError
from mirror.store.files import write_file

ALL_UNKNOWN = "*"
"""In place of a version: all of a Dandiset whose versions cannot be listed."""


class Skip(msgspec.Struct, frozen=True):
    """A published version that is not waited for."""

    dandiset: str
    version: str
    """`*`: all those of which nothing can be known"""
    created: str
    """when the archive made it: its place in the chain of all releases"""
    why: str
    decided: str
    """when it was decided"""


def read_skips(path: Path) -> tuple[Skip, ...]:
    try:
        skips = msgspec.json.decode(path.read_bytes(), type=tuple[Skip, ...])
        for skip in skips:
            moment(skip.created)
    except FileNotFoundError:
        return ()
    except (ValueError, RecordRefused) as error:
        raise StoreError(f"{path} cannot be read: {error}", hint="restore it from a backup, or write it anew") from None
    return skips


def write_skips(path: Path, skips: Sequence[Skip]) -> None:
    ordered = sorted(skips, key=lambda skip: (skip.dandiset, skip.version))
    write_file(path, msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")
