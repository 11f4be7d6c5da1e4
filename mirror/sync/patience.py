"""How long a Dandiset rests that failed, or in which something is left open: half the time that this lasts already, up
to a quarter of a day. So the pauses grow, whatever the time between two polls.

What is remembered of it are its marks: a restart changes nothing. Should the archive list something else of it than
when it was last tried, it does not rest at all.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mirror.archive.records import DandisetSummary
from mirror.store.state import DandisetState, Failure

LONGEST_PAUSE = timedelta(hours=6)


def pause_after(lasting: timedelta) -> timedelta:
    """How long to rest when something lasts for so long already."""
    return min(max(lasting / 2, timedelta(0)), LONGEST_PAUSE)


def next_try(failure: Failure) -> datetime:
    """When a Dandiset that failed is tried again, should the archive list nothing new of it before."""
    return _end_of_rest(failure.since, failure.last)


def seen_of(summary: DandisetSummary, layout: str) -> str:
    """What the archive lists of a Dandiset, and how it would be written, in short."""
    draft, latest = summary.draft_version, summary.most_recent_published_version
    parts = [draft.modified if draft is not None else "-"]
    parts += [latest.version, latest.modified] if latest is not None else []
    return " ".join([*parts, layout])


def rests(state: DandisetState, seen: str, now: datetime) -> bool:
    """Whether a Dandiset that failed, or in which nothing but what was left open is to be looked at, is to be left
    alone for now."""
    if state.seen != seen:
        return False
    if (failure := state.failure) is not None:
        return _moment(failure.last) <= now < next_try(failure)
    if state.open_since is not None and state.synced is not None:
        return _moment(state.synced) <= now < _end_of_rest(state.open_since, state.synced)
    return False


def _end_of_rest(since: str, last: str) -> datetime:
    return _moment(last) + pause_after(_moment(last) - _moment(since))


def _moment(text: str) -> datetime:
    """A time that a mark has; one that cannot be read was long ago."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
