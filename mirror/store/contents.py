"""Content in the bare repositories: `annex/objects/f7/9p/KEY/KEY`, where every clone of the store looks for it.

Content is there whole or not at all. What was put in place is durable once `settle` returned; until then nobody is to
be told of it. A key is meant as it stands in names of files, on the git-annex branch as in links.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from mirror.annex import hashdirs
from mirror.errors import StoreError
from mirror.git.files import PUBLIC_FOLDER, sync_folder
from mirror.store.room import telling_of_room

CONTENT_MODE = 0o444

_OBJECTS = "annex/objects"
_FICLONE = 0x40049409
_TEMPORARY = ".new."
_TRIES = 5
_NO_LINK = {errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EACCES}
_NO_CLONE = {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.EBADF}

Shared = Literal["linked", "cloned", "copied"]


def place_of(repository: Path, key: str) -> Path:
    """Where this store puts a key's content. Its parent is the key's own folder."""
    return Path(_place(repository, hashdirs.mixed(_checked(key)), key))


def found(repository: Path, key: str) -> Path | None:
    """Where a key's content is, if it is there: in our place, or in git-annex's own for a bare repository."""
    for folder in (hashdirs.mixed, hashdirs.lower):
        place = _place(repository, folder(_checked(key)), key)
        if _is_file(place):
            return Path(place)
    return None


def has(repository: Path, key: str) -> bool:
    return found(repository, key) is not None


@telling_of_room()
def adopt(repository: Path, key: str, file: Path, *, settled: bool = True) -> None:
    """Move a checked file into place. Without `settled` it is durable only after `settle`, which is one for many."""
    os.chmod(file, CONTENT_MODE)  # noqa: PTH101 - a million of them
    if settled:
        _sync_file(file)
    place = place_of(repository, key)
    for attempt in range(_TRIES):
        _make_folder(repository, place.parent)
        try:
            file.replace(place)
            break
        except FileNotFoundError:
            if attempt + 1 == _TRIES or not file.exists():
                raise  # otherwise somebody took the empty folder away
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(file, place)
            file.unlink()
            break
    if settled:
        _settle_names(repository, place)


@telling_of_room()
def share(repository: Path, key: str, other: Path, *, link: bool = True, settled: bool = True) -> Shared:
    """Put content that lies elsewhere in the store into place here, too, taking no room where the disk can do that.

    Without `link` there are two files all the same, which know nothing of each other.
    """
    place = place_of(repository, key)
    _make_folder(repository, place.parent)
    how = (_linked(other, place) if link else None) or _cloned_or_copied(other, place)
    if settled:
        _settle_names(repository, place)
    return how


def drop(repository: Path, key: str) -> None:
    """Delete content; nothing where there is none. First the location log says so, then this is done."""
    while (place := found(repository, key)) is not None:
        folder = place.parent
        if not os.access(folder, os.W_OK):
            folder.chmod(PUBLIC_FOLDER)  # git-annex locks the folders that it makes itself
        shutil.rmtree(folder)
        with suppress(OSError):  # others are in there
            folder.parent.rmdir()
            folder.parent.parent.rmdir()


def held(repository: Path) -> Iterator[tuple[str, int]]:
    """The keys whose content is there, each with the size it has on disk."""
    for first in _folders(repository / _OBJECTS):
        for second in _folders(first):
            for folder in _folders(second):
                with suppress(FileNotFoundError):
                    yield folder.name, (folder / folder.name).stat().st_size


def clear_away(repository: Path, key: str) -> None:
    """Delete what a dead process left half-copied of a key."""
    for left in place_of(repository, key).parent.glob(f"{_TEMPORARY}*"):
        left.unlink(missing_ok=True)


def settle(folder: Path) -> None:
    """All that was written so far to the file system that this folder is on survives a power cut from here on."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            failed = ctypes.CDLL(None, use_errno=True).syncfs(descriptor)
        except AttributeError:
            os.sync()
            return
        if failed:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(descriptor)


def _place(repository: Path, folder: bytes, key: str) -> str:
    return f"{repository}/{_OBJECTS}/{folder.decode()}/{key}/{key}"


def _is_file(place: str) -> bool:
    """Whether a file is there. What a disk or a lack of rights keeps from being seen is not taken to be gone."""
    try:
        return stat.S_ISREG(os.stat(place).st_mode)  # noqa: PTH116 - of a million, paths take longer than the disk
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreError(f"{place} cannot be looked at: {error.strerror}") from None


def _checked(key: str) -> str:
    if "/" in key or key in ("", ".", ".."):
        raise StoreError(f"not a key as it stands in names of files: {key!r}")
    return key


def _folders(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for name in sorted(names):
        yield folder / name


def _make_folder(repository: Path, folder: Path) -> None:
    """A folder within the repository, which must be there: that of a Dandiset that moved away is not to come back."""
    if folder.is_dir():
        return
    if folder == repository:
        raise FileNotFoundError(errno.ENOENT, "the repository is not here any more", str(repository))
    _make_folder(repository, folder.parent)
    try:
        folder.mkdir()
        folder.chmod(PUBLIC_FOLDER)  # readable whatever the umask: what is embargoed is behind a folder that is not
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_folder(repository, folder)  # somebody took the empty folder above away


def _linked(other: Path, place: Path) -> Shared | None:
    try:
        os.link(other, place)
    except FileExistsError:
        return "linked"
    except OSError as error:
        if error.errno in _NO_LINK:
            return None
        raise
    return "linked"


def _cloned_or_copied(other: Path, place: Path) -> Shared:
    handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=place.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as target, other.open("rb") as source:
            how = _cloned(source.fileno(), target.fileno())
            if how == "copied":
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
            os.fchmod(target.fileno(), CONTENT_MODE)
            os.fsync(target.fileno())
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
    return how


def _cloned(source: int, target: int) -> Shared:
    """Whether the file system lets both files have the same blocks until one of them is changed."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _NO_CLONE:
            return "copied"
        raise
    return "cloned"


def _copy(file: Path, place: Path) -> None:
    """To another file system."""
    _cloned_or_copied(file, place)


def _sync_file(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _settle_names(repository: Path, place: Path) -> None:
    """Make the folders on the way durable. Which of them are new is not known, and matters little for a large file."""
    folder = place.parent
    while folder != repository:
        sync_folder(folder)
        folder = folder.parent
    sync_folder(repository)
