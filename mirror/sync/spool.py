"""Asset records on their way from the listing to the tree: on disk, so that memory does not grow with a Dandiset."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

_BUFFER = 1 << 20


class Spool:
    """An append-only file without a name: gone when closed, or when the process dies."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=_BUFFER)  # noqa: SIM115
        self._end = 0
        self._flushed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def keep(self, line: bytes) -> int:
        """Append; return where."""
        start = self._end
        self._file.write(line)
        self._end = start + len(line)
        return start

    def read(self, line: tuple[int, int]) -> bytes:
        """What was kept at an offset, with that length."""
        start, length = line
        if start + length > self._flushed:
            self._file.flush()
            self._flushed = self._end
        return os.pread(self._file.fileno(), length, start)
