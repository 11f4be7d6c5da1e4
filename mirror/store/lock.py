"""One writer at a time: whoever finds the store taken is told by whom, and since when."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from mirror.errors import Locked
from mirror.git.files import PUBLIC_FILE
from mirror.store.room import no_room_of


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock."""

    pid: int
    host: str
    command: str
    since: str


@contextmanager
def exclusive(path: Path, command: str) -> Iterator[None]:
    """Hold the lock at `path` while the block runs. The kernel lets go of it when the process dies, however it dies."""
    handle = _open(path)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(f"the store is in use by {_describe(handle)}", hint="wait for it to end, or stop it") from None
        pid = os.getpid()
        holder = Holder(pid, socket.gethostname(), command, datetime.now(UTC).isoformat(timespec="seconds"))
        os.ftruncate(handle, 0)
        _write(handle, msgspec.json.encode(holder))
        try:
            yield
        finally:
            # A process that was forked meanwhile shares the lock: it is not to let go of it, nor to keep it.
            if os.getpid() == pid:
                os.ftruncate(handle, 0)
                fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def _write(handle: int, note: bytes) -> None:
    """Note who holds the lock; on a full disk it is held without: whoever makes room there may need it."""
    try:
        os.pwrite(handle, note, 0)
    except OSError as error:
        if no_room_of(error) is None:
            raise


def _open(path: Path) -> int:
    """The file, made for everybody to read whatever the umask. One that is there keeps the mode it was given."""
    options = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        handle = os.open(path, options | os.O_EXCL, PUBLIC_FILE)
    except FileExistsError:
        return os.open(path, options, PUBLIC_FILE)
    os.fchmod(handle, PUBLIC_FILE)
    return handle


def _describe(handle: int) -> str:
    try:
        holder = msgspec.json.decode(os.pread(handle, 4096, 0), type=Holder)
    except msgspec.DecodeError:
        return "another process"
    return f"`{holder.command}`, process {holder.pid} on {holder.host}, since {holder.since}"
