"""One Dandiset's turn: sync it, and remember how it went whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import msgspec

from mirror.config import Settings
from mirror.errors import MirrorError
from mirror.store.state import DandisetState, Failure
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.dandiset import DandisetSync, Synced

logger = logging.getLogger(__name__)

Result = Literal["changed", "unchanged", "failed", "vanished", "embargoed"]


@dataclass(frozen=True)
class Outcome:
    """How it went with one Dandiset."""

    identifier: str
    result: Result
    message: str
    path: str = ""
    warnings: tuple[str, ...] = ()
    """what a person should know although it went well"""


def sync_one(
    settings: Settings,
    store: Store,
    connection: Connection,
    identifier: str,
    *,
    everything: bool,
    tell: Callable[[str], None] | None = None,
) -> Outcome:
    """Bring one Dandiset up to date and remember how it went. Idempotent."""
    state = store.state(identifier)
    path = str(store.alias(identifier))
    started = now()
    try:
        synced = DandisetSync(settings, store, connection, identifier, everything, tell).run(state)
    except Exception as error:
        if isinstance(error, MirrorError):
            message = str(error)
        else:
            logger.exception("Dandiset %s", identifier)
            message = f"unexpected {type(error).__name__}: {error}"
        # As it is now: the sync may have noted something in it before it failed.
        store.save_state(failed(store.state(identifier), type(error).__name__, message, started))
        return Outcome(identifier, "failed", message, path=path)
    checked = started if everything else synced.state.checked
    store.save_state(msgspec.structs.replace(synced.state, synced=started, checked=checked))
    result: Result = "changed" if synced.wrote else "unchanged"
    return Outcome(identifier, result, _described(synced), path, _warnings(synced))


def failed(state: DandisetState, kind: str, message: str, when: str) -> DandisetState:
    """The marks of a Dandiset after one more failure."""
    earlier = state.failure
    since = earlier.since if earlier is not None else when
    count = earlier.count + 1 if earlier is not None else 1
    return msgspec.structs.replace(state, failure=Failure(kind, message, since, when, count))


def _described(synced: Synced) -> str:
    """What changed, in a line."""
    parts = []
    if synced.releases:
        parts.append(f"version{'s' if len(synced.releases) > 1 else ''} {', '.join(synced.releases)}")
    if synced.draft is not None:
        parts.append(f"draft: {synced.draft}")
    if not parts:
        parts.append("addresses or metadata of contents" if synced.wrote else "unchanged")
    return "; ".join(parts)


def _warnings(synced: Synced) -> tuple[str, ...]:
    state = synced.state
    found = [f"{path}: a Zarr, not mirrored yet" for path in synced.zarrs]
    if state.pending:
        found.append(f"{state.pending} assets wait for the archive to hash them")
    found += [f"version {version}: {reason}" for version, reason in state.waiting.items()]
    found += [f"drift: {drift}" for drift in state.drift]
    return (*found, *state.complaints, *state.warnings)


def now() -> str:
    """The time, for the marks that a sync leaves; nothing that gets hashed holds it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
