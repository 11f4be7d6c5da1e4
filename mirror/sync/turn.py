"""One Dandiset's turn: sync it, and remember how it went whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from msgspec.structs import replace

from mirror.config import Settings
from mirror.dataset.times import moment
from mirror.errors import MirrorError, NoRoom, RecordRefused
from mirror.store.room import no_room_of
from mirror.store.state import DandisetState, Failure
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.dandiset import DandisetSync, Synced
from mirror.sync.zarr.ahead import NOTHING_AHEAD, Ahead, ZarrsFirst

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
    kind: str = ""
    """of a failure: the name of its class"""
    failure: Failure | None = None
    """how often it failed by now, and since when"""
    lag: float | None = None
    """seconds from the draft's `modified` to our having it, when the draft changed; none of a first mirror"""
    assets: int = 0
    bytes: int = 0
    pending: int = 0


def sync_one(
    settings: Settings,
    store: Store,
    connection: Connection,
    identifier: str,
    *,
    everything: bool,
    seen: str = "",
    ahead: Ahead = NOTHING_AHEAD,
    tell: Callable[[str], None] | None = None,
) -> Outcome:
    """Bring one Dandiset up to date and remember how it went. Idempotent.

    `seen`: what the archive's list had of it. Raised is only what is no trouble of this Dandiset: `NoRoom`, and
    `ZarrsFirst` where `ahead` allows for that.
    """
    state = store.state(identifier)
    path = str(store.alias(identifier))
    started = now()
    was_embargoed = state.embargoed is not None
    try:
        synced = DandisetSync(settings, store, connection, identifier, everything, ahead, tell).run(state)
    except ZarrsFirst:
        raise
    except Exception as error:
        if (full := no_room_of(error)) is not None:
            raise full from error
        if isinstance(error, MirrorError):
            message = str(error)
        else:
            logger.exception("Dandiset %s", identifier)
            message = f"unexpected {type(error).__name__}: {error}"
        # As it is now: the sync may have noted something in it before it failed.
        noted = replace(store.state(identifier), seen=seen)
        return _failed_turn(store, noted, path, type(error).__name__, message, started)
    if was_embargoed:
        # It belongs into the superdatasets again.
        store.forget_published()
    checked = started if everything or state.synced is None else synced.state.checked
    wrote = synced.wrote or bool(synced.zarrs_written)
    new = replace(synced.state, synced=started, checked=checked, seen=seen)
    new = replace(new, open_since=open_since(state, new, started, wrote=wrote))
    if new.zarrs_failed:
        # All else of it was mirrored, but somebody has to hear of it, and the next sync has to try again.
        message = _of_failed_zarrs(new.zarrs_failed)
        noted = replace(new, failure=store.state(identifier).failure)
        kind = "Unreachable" if synced.zarrs_unreached else "ZarrsFailed"
        return _failed_turn(store, noted, path, kind, message, started, _warnings(synced))
    store.save_state(new)
    return Outcome(
        identifier,
        "changed" if wrote else "unchanged",
        _described(synced),
        path,
        _warnings(synced),
        lag=_lag(new) if synced.draft is not None and state.synced is not None else None,
        assets=new.holding.assets if new.holding is not None else 0,
        bytes=new.holding.bytes if new.holding is not None else 0,
        pending=new.pending,
    )


def _failed_turn(
    store: Store, noted: DandisetState, path: str, kind: str, message: str, when: str, warnings: tuple[str, ...] = ()
) -> Outcome:
    state = failed(noted, kind, message, when)
    try:
        store.save_state(state)
    except NoRoom:
        logger.warning("Dandiset %s: %s", noted.identifier, message)  # which nothing else will tell of
        raise
    return Outcome(noted.identifier, "failed", message, path, warnings, kind=kind, failure=state.failure)


def open_since(before: DandisetState, after: DandisetState, started: str, *, wrote: bool) -> str | None:
    """Since when it is left open without anything of it changing."""
    if not after.pending and not after.waiting:
        return None
    same = (before.pending, before.waiting.keys()) == (after.pending, after.waiting.keys())
    return before.open_since or started if same and not wrote else started


def _lag(state: DandisetState) -> float | None:
    """How long ago the draft was modified, by the archive's clock and ours."""
    try:
        return max(0.0, (datetime.now(UTC) - moment(state.draft_modified or "")).total_seconds())
    except RecordRefused:
        return None


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
    return replace(state, failure=Failure(kind, message, since, when, count))


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
