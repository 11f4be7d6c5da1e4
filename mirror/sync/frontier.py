"""What a poll of everything that is selected tells of published versions: up to when they are all known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from mirror.archive.records import DandisetSummary
from mirror.config import Settings
from mirror.dataset.times import moment
from mirror.errors import RecordRefused
from mirror.store.frontier import Frontier
from mirror.store.state import DandisetState
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.poll import Poll

_TICK = timedelta(microseconds=1)
_UNNAMED = "(one that the archive's list does not name)"


def note_frontier(settings: Settings, store: Store, connection: Connection, found: Poll) -> None:
    """Remember it. Every Dandiset had its turn; those whose versions could not be listed are as unknown as before."""
    earlier = store.frontier()
    if earlier is not None and earlier.selection != settings.select.which:
        earlier = None
    # Headers tell the time in whole seconds; a version that is listed tells that it was later than that version.
    asked = max(connection.opened, found.after + _TICK) if found.after is not None else connection.opened
    # A version is there a moment after the time that it bears.
    asked -= timedelta(seconds=settings.archive.settle_seconds)
    unknown = {identifier: _known_until(identifier, earlier, found.listed) for identifier in _unknown(store, found)}
    store.save_frontier(Frontier(asked.isoformat(), settings.select.which, unknown))


def _unknown(store: Store, found: Poll) -> Iterator[str]:
    """Dandisets that may have published versions of which nothing is known."""
    skips = {(skip.dandiset, skip.version) for skip in store.skips()}
    for identifier in found.moved:
        summary, state = found.listed[identifier], store.state(identifier)
        latest = summary.most_recent_published_version
        if latest is not None and (identifier, latest.version) not in skips and not _knows(state, latest.version):
            yield identifier
    for bad in found.unreadable:
        yield bad.identifier or _UNNAMED


def _knows(state: DandisetState, version: str) -> bool:
    return version in state.versions or version in state.awaited


def _known_until(identifier: str, earlier: Frontier | None, listed: Mapping[str, DandisetSummary]) -> str:
    """Up to when a Dandiset's versions are known: the last poll at which they were, or from its beginning."""
    if earlier is not None:
        return earlier.unknown.get(identifier, earlier.asked)
    try:
        return moment(listed[identifier].created).isoformat()
    except (KeyError, RecordRefused):
        return datetime.min.isoformat()
