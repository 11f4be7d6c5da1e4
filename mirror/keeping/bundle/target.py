"""Where a bundle is written to: a folder, or one tar file. Both appear under their name only when they are whole.

Neither needs more of the disk it is for than FAT can do: no links, no colons, no names that differ in case only.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, NamedTuple

from mirror.errors import Locked, MirrorError, NoRoom, UsageError
from mirror.git.files import sync_folder
from mirror.store.contents import settle
from mirror.store.room import check_room, telling_of_room

FILE_MODE, FOLDER_MODE = 0o644, 0o755

_UNFINISHED = "unfinished"
_CHUNK = 1 << 20
_BLOCK = 512


class Digests(NamedTuple):
    """What was read of a file."""

    size: int
    sha256: str
    md5: str | None = None
    """only where it was asked for"""


class Target(ABC):
    """A bundle in the making."""

    @abstractmethod
    def put(self, name: str, source: IO[bytes], *, md5: bool = False) -> Digests:
        """Take over a file."""

    @abstractmethod
    def take_back(self) -> None:
        """Leave out the file that was put last."""

    @abstractmethod
    def known(self, name: str, *, md5: bool = False) -> Digests | None:
        """What is there already of a file, from a bundle that was broken off."""

    @abstractmethod
    def discard(self, name: str) -> None:
        """Have no such file, even if a bundle that was broken off had it."""


class _Folder(Target):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = folder

    def put(self, name: str, source: IO[bytes], *, md5: bool = False) -> Digests:
        self._last = place = self._folder / name
        _make_folders(self._folder, place.parent)
        unfinished = self._folder / _UNFINISHED
        with unfinished.open("wb") as writer:
            digests = copied(source, writer, md5=md5)
        with suppress(PermissionError):  # FAT knows of no modes
            unfinished.chmod(FILE_MODE)
        unfinished.replace(place)
        return digests

    def take_back(self) -> None:
        self._last.unlink()

    def known(self, name: str, *, md5: bool = False) -> Digests | None:
        try:
            with (self._folder / name).open("rb") as reader:
                return copied(reader, None, md5=md5)
        except FileNotFoundError:
            return None

    def discard(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)


class _Tar(Target):
    """Written by hand: what was put last can be taken back, and nothing is remembered of a million members."""

    def __init__(self, file: IO[bytes], mtime: int, top: str) -> None:
        self._file = file
        self._mtime = mtime
        self._top = top
        self._last = 0

    def put(self, name: str, source: IO[bytes], *, md5: bool = False) -> Digests:
        self._last = self._file.tell()
        info = tarfile.TarInfo(f"{self._top}/{name}")
        info.mode, info.mtime = FILE_MODE, self._mtime
        info.size = os.fstat(source.fileno()).st_size
        self._file.write(info.tobuf(tarfile.PAX_FORMAT))
        digests = copied(source, self._file, md5=md5)
        if digests.size != info.size:
            raise MirrorError(f"{name} changed while it was read")
        self._file.write(bytes(-digests.size % _BLOCK))
        return digests

    def take_back(self) -> None:
        self._file.seek(self._last)
        self._file.truncate()

    def known(self, name: str, *, md5: bool = False) -> Digests | None:  # noqa: ARG002 - it is begun anew
        return None

    def discard(self, name: str) -> None:
        """It was begun anew."""


def partial_of(path: Path) -> Path:
    """What a bundle is called while it is being made."""
    return path.with_name(f".{path.name}.partial")


def is_tar(path: Path) -> bool:
    return path.suffix == ".tar"


def check_free(path: Path) -> None:
    """UsageError where something has the name already."""
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} is there already", hint="give another name, or take it away first")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}")


@contextmanager
def opened(path: Path, mtime: int, plan: str, size: int, *, private: bool = False) -> Iterator[Target]:
    """A bundle at `path`, which is there when the block ends well. `plan` tells what it is to hold, `size` how much.

    A folder that was broken off is gone on with when its plan was the same; a tar file is begun anew. `private`: no
    other user may look into it, where the disk knows of users.
    """
    check_free(path)
    making = _in_tar(path, mtime, size, private) if is_tar(path) else _in_folder(path, plan, size, private)
    with _telling_of_the_disk(path), making as target:
        yield target


@contextmanager
def _in_folder(path: Path, plan: str, size: int, private: bool) -> Iterator[Target]:
    partial = partial_of(path)
    mark = partial / "plan"
    partial.mkdir(exist_ok=True)
    with _opened_folder(partial) as descriptor, _locked(partial, descriptor):
        if private:
            _close_to_others(partial)
        if not mark.is_file() or mark.read_text() != plan:
            _empty(partial)
            check_room(partial, size, f"the bundle {path}")
            mark.write_text(plan)
        target = _Folder(partial)
        yield target
        target.discard(_UNFINISHED)  # of one that was killed
        settle(partial)
        mark.unlink()
        check_free(path)
        partial.rename(path)
    sync_folder(path.parent)


@contextmanager
def _in_tar(path: Path, mtime: int, size: int, private: bool) -> Iterator[Target]:
    partial = partial_of(path)
    with partial.open("ab") as file, _locked(partial, file.fileno()):
        try:
            file.seek(0)
            file.truncate()  # what a dead one left
            if private:
                _close_to_others(partial)
            check_room(partial, size, f"the bundle {path}")
            yield _Tar(file, mtime, path.stem)
            file.write(bytes(2 * _BLOCK))
            file.flush()
            os.fsync(file.fileno())
            check_free(path)
            partial.rename(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


@contextmanager
def _locked(path: Path, descriptor: int) -> Iterator[None]:
    """Nobody else makes this bundle meanwhile, or has made it between our opening what it is made in and now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor))
    except BlockingIOError:
        mine = False
    if not mine:
        raise Locked(f"somebody else is making the bundle {path}", hint="wait for it to end")
    yield


@contextmanager
def _opened_folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _telling_of_the_disk(path: Path) -> Iterator[None]:
    """Say what can be done when it is the disk that the bundle goes to which is too small, or too simple."""
    try:
        with telling_of_room():
            yield
    except NoRoom as error:
        raise NoRoom(error.message, hint="make room there, or choose less content with --path") from error
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise MirrorError(
            f"the disk that {path} is on takes no file this large",
            hint="FAT32 ends at 4 GiB: format the disk as exFAT or ext4, or choose less content with --path",
        ) from error


def _close_to_others(path: Path) -> None:
    with suppress(PermissionError):  # FAT knows of no users
        path.chmod(path.stat().st_mode & 0o700)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _make_folders(top: Path, folder: Path) -> None:
    if folder != top and not folder.is_dir():
        _make_folders(top, folder.parent)
        folder.mkdir(exist_ok=True)
        with suppress(PermissionError):
            folder.chmod(FOLDER_MODE)


def read_through(reader: IO[bytes], *, md5: bool = False) -> Digests:
    """What a file holds, by its size and digests."""
    return copied(reader, None, md5=md5)


def copied(reader: IO[bytes], writer: IO[bytes] | None, *, md5: bool = False) -> Digests:
    """Copy to the end; what went through. Without a writer it is only read."""
    first, second = sha256(), hashlib.md5(usedforsecurity=False) if md5 else None
    size = 0
    while chunk := reader.read(_CHUNK):
        size += len(chunk)
        first.update(chunk)
        if second is not None:
            second.update(chunk)
        if writer is not None:
            writer.write(chunk)
    return Digests(size, first.hexdigest(), second.hexdigest() if second is not None else None)
