"""Asset records on their way from the listing to the tree: on disk, so that memory does not grow with a Dandiset."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from mirror.store.room import check_room

_BUFFER = 1 << 20
_ASK_EVERY = 8 << 20


class Spool:
    """An append-only file without a name: gone when closed, or when the process dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._end = self._flushed = 0
        self._ask_for_room()
        self._file = tempfile.TemporaryFile(dir=folder, buffering=_BUFFER)  # noqa: SIM115

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
        if self._end > self._room_up_to:
            self._ask_for_room()
        return start

    def _ask_for_room(self) -> None:
        """How long a listing is shows when it has been read: the reserve is not for it."""
        check_room(self._folder, 0, "what the archive lists")
        self._room_up_to = self._end + _ASK_EVERY

    def read(self, line: tuple[int, int]) -> bytes:
        """What was kept at an offset, with that length."""
        start, length = line
        if start + length > self._flushed:
            self._file.flush()
            self._flushed = self._end
        return os.pread(self._file.fileno(), length, start)
