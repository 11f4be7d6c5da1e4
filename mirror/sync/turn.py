"""One Dandiset's turn: sync it, and remember how it went whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import replace as replace_outcome
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
    is_mirrored: bool = False
    """all of it was, but for Zarrs that failed"""
    may_be_opened: bool = False
    """it was under embargo, and is mirrored now as everybody may see it, but still on the store's closed side"""


def is_to_be_opened(store: Store, identifier: str) -> bool:
    """Whether a Dandiset that is under no embargo, or a Zarr of it, is still on the store's closed side."""
    return store.is_embargoed(identifier) or bool(store.state(identifier).zarrs_closed)


def store_of_turn(store: Store, identifier: str, *, embargoed: bool) -> Store:
    """The store as it is to be worked in: of what is to be opened, all is made anew."""
    return store.opening() if not embargoed and is_to_be_opened(store, identifier) else store


def sync_one(
    settings: Settings,
    store: Store,
    connection: Connection,
    identifier: str,
    *,
    everything: bool,
    seen: str = "",
    embargoed: bool = False,
    ahead: Ahead = NOTHING_AHEAD,
    tell: Callable[[str], None] | None = None,
) -> Outcome:
    """Bring one Dandiset up to date and remember how it went. Idempotent.

    `seen`: what the archive's list had of it. Raised is only what is no trouble of this Dandiset: `NoRoom`, and
    `ZarrsFirst` where `ahead` allows for that.
    """
    closed = store.is_embargoed(identifier)
    worked_in = store_of_turn(store, identifier, embargoed=embargoed)
    prepared = worked_in.is_embargoed(identifier) or store.open_side.holds(store.dataset_id(identifier))
    if (embargoed and not closed) or (worked_in is not store and not prepared):
        # It was put there before its turn: on another machine that may show late. No mark is to be left elsewhere.
        message = "its place on the store's closed side does not show here; the next sync tries again"
        return Outcome(identifier, "failed", message, kind="StoreError")
    path = str(store.side(private=closed).alias(identifier))
    # How far it is tells what is in it.
    turn = DandisetSync(
        settings, worked_in, connection, identifier, everything, embargoed, ahead, tell=None if embargoed else tell
    )
    outcome = _had(turn, path, seen)
    if embargoed:
        return _discreet(outcome)
    if closed and outcome.failure is not None:
        # What is closed stays as it is, and is what everybody looks at.
        store.save_state(replace(store.state(identifier), failure=outcome.failure, seen=seen))
    return replace_outcome(outcome, may_be_opened=worked_in is not store and outcome.is_mirrored)


def _had(turn: DandisetSync, path: str, seen: str) -> Outcome:
    """The turn, and what is remembered of it."""
    store, identifier, everything = turn.store, turn.identifier, turn.everything
    state = store.state(identifier)
    started = now()
    try:
        synced = turn.run(state)
    except ZarrsFirst:
        raise
    except Exception as error:
        if (full := no_room_of(error)) is not None:
            raise full from error
        if isinstance(error, MirrorError):
            message = str(error)
        else:
            # What an error says may be what nobody else is to know.
            logger.error("Dandiset %s: unexpected %s", identifier, type(error).__name__, exc_info=not turn.embargoed)
            message = f"unexpected {type(error).__name__}: {error}"
        # As it is now: the sync may have noted something in it before it failed.
        noted = replace(store.state(identifier), seen=seen)
        return _failed_turn(store, noted, path, type(error).__name__, message, started)
    checked = started if everything or state.synced is None else synced.state.checked
    wrote = synced.wrote or bool(synced.zarrs_written)
    new = replace(
        synced.state,
        synced=started,
        checked=checked,
        seen=seen,
        embargoed=state.embargoed,
        returned=state.returned,
        zarrs_closed=state.zarrs_closed,
    )
    new = replace(new, open_since=open_since(state, new, started, wrote=wrote))
    if new.zarrs_failed:
        # All else of it was mirrored, but somebody has to hear of it, and the next sync has to try again.
        message = _of_failed_zarrs(new.zarrs_failed)
        noted = replace(new, failure=store.state(identifier).failure)
        kind = "Unreachable" if synced.zarrs_unreached else "ZarrsFailed"
        outcome = _failed_turn(store, noted, path, kind, message, started, _warnings(synced))
        return replace_outcome(outcome, is_mirrored=True)
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
        is_mirrored=True,
    )


def _discreet(outcome: Outcome) -> Outcome:
    """As much of a turn as others may read: in logs, in what is told of a run. The marks have the rest."""
    message = "under embargo: `dandi-mirror status` tells the store's owner more"
    failure = replace(outcome.failure, message=message) if outcome.failure is not None else None
    return Outcome(outcome.identifier, outcome.result, message, outcome.path, kind=outcome.kind, failure=failure)


def _failed_turn(
    store: Store, noted: DandisetState, path: str, kind: str, message: str, when: str, warnings: tuple[str, ...] = ()
) -> Outcome:
    state = failed(noted, kind, message, when)
    try:
        store.save_state(state)
    except NoRoom:
        if noted.embargoed is None:
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
