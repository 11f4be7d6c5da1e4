"""What a poll of everything that is selected tells of published versions: up to when they are all known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from mirror.archive.records import DandisetSummary
from mirror.config import Settings
from mirror.dataset.times import moment
from mirror.errors import RecordRefused
from mirror.store.frontier import Frontier
from mirror.store.state import DandisetState
from mirror.store.store import Store
from mirror.sync.poll import Poll

ABSENCE_PATIENCE = timedelta(days=7)
"""A Dandiset that the archive does not show any more is waited for as long as this: it may be an error of a moment."""

_SECOND, _TICK = timedelta(seconds=1), timedelta(microseconds=1)
_UNNAMED = "(one that the archive's list does not name)"


def note_frontier(
    settings: Settings, store: Store, states: Mapping[str, DandisetState], opened: datetime, found: Poll
) -> None:
    """Remember it. Every Dandiset had its turn; those whose versions could not be listed are as unknown as before.

    `opened`: when the archive was first asked anything, by its own clock.
    """
    earlier = store.frontier()
    if earlier is not None and earlier.selection != settings.select.which:
        earlier = None
    states = {identifier: state for identifier, state in states.items() if settings.select.includes(identifier)}
    absent = _absent(settings, opened, found, states, earlier)
    # Of those under embargo nothing but that they do not show is anybody's business.
    states = {identifier: state for identifier, state in states.items() if state.embargoed is None}
    waited_for = {one for one, since in absent.items() if opened - moment(since) < ABSENCE_PATIENCE}
    unknown = {*_unlisted(store, found, states), *waited_for}
    frontier = Frontier(
        _asked(settings, opened, found).isoformat(),
        settings.select.which,
        {identifier: _known_until(identifier, earlier, found.listed) for identifier in sorted(unknown)},
        absent,
        {identifier: state.awaited for identifier, state in states.items() if state.awaited},
    )
    store.save_frontier(frontier)


def _asked(settings: Settings, opened: datetime, found: Poll) -> datetime:
    """Up to when every version was listed."""
    asked = opened
    if found.after is not None:
        # Headers tell the time in whole seconds; a version that is listed tells what part of that second had passed.
        asked = max(asked, min(found.after + _TICK, asked + _SECOND))
    # A version is there a moment after the time that it bears.
    return asked - timedelta(seconds=settings.archive.settle_seconds)


def _unlisted(store: Store, found: Poll, states: Mapping[str, DandisetState]) -> list[str]:
    """Dandisets that have published versions of which nothing is known."""
    skips = {(skip.dandiset, skip.version) for skip in store.skips()}
    unlisted = []
    for identifier in (*found.moved, *found.resting):
        if identifier in found.closed:
            continue
        latest = found.listed[identifier].most_recent_published_version
        state = states.get(identifier)
        known = {*state.versions, *state.awaited} if state is not None else set()
        if latest is not None and (identifier, latest.version) not in skips and latest.version not in known:
            unlisted.append(identifier)
    return unlisted


def _absent(
    settings: Settings,
    now: datetime,
    found: Poll,
    states: Mapping[str, DandisetState],
    earlier: Frontier | None,
) -> dict[str, str]:
    """Dandisets that the archive did not show, or not so that one could read it, and since when."""
    since = {} if earlier is None else earlier.absent
    named = () if settings.select.dandisets == "all" else settings.select.dandisets
    gone = {identifier for identifier in found.missing if identifier in named}
    gone |= {one for one in (*found.missing, *found.embargoed) if _had_versions(states.get(one)) or one in since}
    gone |= {*found.lacking, *(bad.identifier or _UNNAMED for bad in found.unreadable)}
    return {identifier: since.get(identifier, now.isoformat()) for identifier in sorted(gone)}


def _had_versions(state: DandisetState | None) -> bool:
    return state is not None and bool(state.versions or state.awaited)


def _known_until(identifier: str, earlier: Frontier | None, listed: Mapping[str, DandisetSummary]) -> str:
    """Up to when a Dandiset's versions are known: the last poll at which they were, or from its beginning."""
    if earlier is not None:
        return earlier.unknown.get(identifier, earlier.asked)
    try:
        return moment(listed[identifier].created).isoformat()
    except (KeyError, RecordRefused):
        return datetime.min.isoformat()
