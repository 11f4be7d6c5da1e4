"""Which Dandisets fail, by their marks: also those that failed before this process was started."""

from __future__ import annotations

from mirror.config import Settings
from mirror.errors import MirrorError
from mirror.store.store import Store


def failing(settings: Settings) -> set[str]:
    """Those that failed when they were last tried; none where the marks cannot be read."""
    try:
        return {state.identifier for state in Store.open(settings.store).states() if state.failure is not None}
    except (MirrorError, OSError):
        return set()


def is_well(settings: Settings, identifier: str) -> bool:
    """Whether the marks of this one say so."""
    try:
        return Store.open(settings.store).state(identifier).failure is None
    except (MirrorError, OSError):
        return False
