"""Lists that are too long for memory: a temporary file of SQLite's. What it sorts goes through the system's own
temporary folder."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirror.git.pack import TEMPORARY_PREFIX


@contextmanager
def list_file(folder: Path) -> Iterator[Path]:
    """A file for a list that is gone when the block ends; one that a dead process left is known by its name."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=TEMPORARY_PREFIX)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def open_list(file: Path, tables: str) -> sqlite3.Connection:
    """Make these tables in a file that nobody needs after a crash."""
    db = sqlite3.connect(file, isolation_level=None)
    db.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8000; {tables}")
    return db
