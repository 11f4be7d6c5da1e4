"""One Dandiset's turn: sync it, and remember how it went whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
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
    was_embargoed = state.embargoed is not None
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
    state = msgspec.structs.replace(synced.state, synced=started, checked=checked)
    if state.zarrs_failed:
        # All else of it was mirrored, but somebody has to hear of it, and the next sync has to try again.
        message = _of_failed_zarrs(state.zarrs_failed)
        earlier = store.state(identifier).failure
        store.save_state(failed(msgspec.structs.replace(state, failure=earlier), "ZarrsFailed", message, started))
        return Outcome(identifier, "failed", message, path, _warnings(synced))
    store.save_state(state)
    if was_embargoed:
        # It belongs into the superdatasets again.
        store.forget_published()
    result: Result = "changed" if synced.wrote or synced.zarrs_written else "unchanged"
    return Outcome(identifier, result, _described(synced), path, _warnings(synced))


def _of_failed_zarrs(reasons: Mapping[str, str]) -> str:
    path, reason = next(iter(reasons.items()))
    if len(reasons) == 1:
        return f"all but one Zarr was mirrored; {path}: {reason}"
    return f"all but {len(reasons)} Zarrs was mirrored; the first is {path}: {reason}"


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
    if count := len(synced.zarrs_written):
        parts.append(f"{count} Zarr{'s' if count > 1 else ''} written")
    if not parts:
        parts.append("addresses or metadata of contents" if synced.wrote else "unchanged")
    return "; ".join(parts)


def _warnings(synced: Synced) -> tuple[str, ...]:
    state = synced.state
    found = []
    if len(state.zarrs_failed) > 1:
        found += [f"{path}: {reason}" for path, reason in state.zarrs_failed.items()]
    if state.zarrs and not synced.zarrs_held:
        found.append(f"{state.zarrs} Zarr{'s' if state.zarrs > 1 else ''} left out, as zarr.hold says")
    if state.pending:
        who = "1 asset waits" if state.pending == 1 else f"{state.pending} assets wait"
        found.append(f"{who} for the archive to hash, or to take in")
    found += [f"version {version}: {reason}" for version, reason in state.waiting.items()]
    found += [f"drift: {drift}" for drift in state.drift]
    return (*found, *state.complaints, *state.warnings)


def now() -> str:
    """The time, for the marks that a sync leaves; nothing that gets hashed holds it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
