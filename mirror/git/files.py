"""Small files that are there whole or not at all, also after a power failure."""

from __future__ import annotations

import os
from pathlib import Path

PUBLIC_FILE = 0o644
PUBLIC_FOLDER = 0o755


def write_durably(path: Path, data: bytes) -> None:
    """Replace `path` by a file with this content, readable by all whatever the umask."""
    scratch = path.with_name(path.name + ".new")
    try:
        with scratch.open("wb") as file:
            os.fchmod(file.fileno(), PUBLIC_FILE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_if_changed(path: Path, data: bytes) -> bool:
    """Write durably unless that is the content already; whether it was not."""
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        make_folders(path.parent)
    write_durably(path, data)
    return True


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, open to all whatever the umask."""
    if not folder.is_dir():
        make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(PUBLIC_FOLDER)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, not only what the files hold."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
