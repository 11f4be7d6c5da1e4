"""How much room there has to be for what was read of a Dandiset: a little more than it will take.

Measured with 20,000 assets: a record of 2,000 bytes takes 650 in its tree, its key 700 with the pack's index, and the
asset 210 in the index of the store and 260 in the catalogue, both once more in SQLite's log while it is written.
"""

from __future__ import annotations

from collections.abc import Iterable

from mirror.dataset.assets import ANNEXED, TEXT
from mirror.dataset.records import folder_of
from mirror.sync.observe import Observation

FILES = 32
"""A new repository has about twenty, and a pack two."""

_OF_A_RECORD = 0.4
"""of its bytes"""
_OF_A_KEY = 800
_IN_SQLITE = 1_000
_OF_A_FOLDER = 100_000
"""of records and trees, which are written again when one asset in it changes"""
_OF_A_DOCUMENT = 100_000


def size_of(versions: Iterable[Observation]) -> int:
    """The bytes that these versions will take, each with what differs from the one before it."""
    return sum(map(_size_of_one, versions))


def _size_of_one(seen: Observation) -> int:
    texts = {entry.sha256: entry.size for entry in seen.entries if entry.held.kind == TEXT}
    records = sum(entry.line_length for entry in seen.entries)
    keys = sum(entry.held.kind == ANNEXED for entry in seen.entries)
    return (
        _OF_A_DOCUMENT
        + int(records * _OF_A_RECORD)
        + keys * _OF_A_KEY
        + len(seen.entries) * _IN_SQLITE
        + sum(texts.values())
        + _size_of_neighbours(seen)
    )


def _size_of_neighbours(seen: Observation) -> int:
    """What is as it was, and written again for what stands beside it."""
    if not seen.before:
        return 0
    folders = {folder_of(path) for path in (*(entry.path for entry in seen.entries), *seen.removed)}
    return min(len(folders) * _OF_A_FOLDER, len(seen.assets) * _IN_SQLITE)
