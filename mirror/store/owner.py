"""Only a store's owner works in it: what somebody else writes, its owner could not change any more."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

from mirror.errors import StoreError


def check_owner(root: Path) -> None:
    """Raise unless the store at `root` is ours. Root is somebody else, too."""
    state = root / "state"
    owner = (state / "store.json").stat().st_uid
    if os.geteuid() == owner or (os.geteuid() == 0 and _is_seen_as(state, owner)):
        return
    raise StoreError(
        f"the store at {root} belongs to {_name_of(owner)}, not to {_name_of(os.geteuid())}",
        hint=f"type this as its owner: sudo -u {_name_of(owner)} …",
    )


def _is_seen_as(folder: Path, owner: int) -> bool:
    """Whether root's files get this owner, as they do on some network file systems."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_uid == owner


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
