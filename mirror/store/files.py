"""Small files and links of the store: there whole or not at all, with modes of our choosing whatever the umask."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from mirror.git.files import sync_folder
from mirror.store.room import telling_of_room

FILE_MODE = 0o644

_BLOCK = 512


@telling_of_room()
def write_file(path: Path, body: bytes, mode: int = FILE_MODE) -> None:
    """Replace a file's content in one step that survives a power cut."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(body)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    sync_folder(path.parent)


def point(link: Path, target: str) -> None:
    """Make a symbolic link, or point an existing one elsewhere, in one step."""
    if link.is_symlink() and str(link.readlink()) == target:
        return
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_folder(link.parent)


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in a folder, in order; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def pairs_of_folders(root: Path) -> Iterator[tuple[str, str]]:
    """The names of the folders in the folders of `root`, in order."""
    return ((first, second) for first in folders_in(root) for second in folders_in(root / first))


def bytes_on_disk(root: Path, stop: Callable[[], bool] = lambda: False) -> int:
    """How much room a folder takes with all in it, as `du` counts. Breaks off when `stop` says so."""
    total, folders = root.stat().st_blocks * _BLOCK, [str(root)]
    while folders and not stop():
        with suppress(FileNotFoundError, PermissionError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
    return total


def remove_temporaries(folder: Path, name: str) -> int:
    """Delete what the functions above leave beside the things of this name when their process dies; how many."""
    left = list(folder.glob(f".{name}.*"))
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)
