"""Small files and links of the store: there whole or not at all, with modes of our choosing whatever the umask."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from mirror.git.files import sync_folder

FILE_MODE = 0o644


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
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    sync_folder(path.parent)


def point(link: Path, target: str) -> None:
    """Make a symbolic link, or point an existing one elsewhere, in one step."""
    if link.is_symlink() and str(link.readlink()) == target:
        return
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_folder(link.parent)


def remove_temporaries(folder: Path, name: str) -> None:
    """Delete what the functions above leave beside the things of this name when their process dies."""
    for path in folder.glob(f".{name}.*"):
        path.unlink(missing_ok=True)
