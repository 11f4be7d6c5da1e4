"""One daemon for a store, for as long as it lives. Commands typed by hand work between its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirror.errors import StoreError
from mirror.git.files import make_folders
from mirror.store.lock import exclusive
from mirror.store.owner import check_owner
from mirror.store.store import holds_anything


@contextmanager
def alone(root: Path, command: str) -> Iterator[None]:
    """Keep every other daemon away from the store at `root`, which may still have to be made."""
    state = root / "state"
    if (state / "store.json").exists():
        check_owner(root)
    if not state.is_dir() and holds_anything(root):
        raise StoreError(f"{root} is neither empty nor a store", hint="choose another folder with --store")
    make_folders(state)
    with exclusive(state / "daemon.lock", command):
        yield
