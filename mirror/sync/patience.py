"""How long a Dandiset rests that failed, or in which something is left open: as `mirror.store.resting` says.

What is remembered of it are its marks: a restart changes nothing. Should the archive list something else of it than
when it was last tried, it does not rest at all.
"""

from __future__ import annotations

from datetime import datetime

from mirror.archive.client import OPEN
from mirror.archive.records import DandisetSummary
from mirror.store.resting import end_of_rest, is_resting
from mirror.store.state import DandisetState, Failure


def next_try(failure: Failure) -> datetime:
    """When a Dandiset that failed is tried again, should the archive list nothing new of it before."""
    return end_of_rest(failure.since, failure.last)


def seen_of(summary: DandisetSummary, layout: str) -> str:
    """What the archive lists of a Dandiset, and how it would be written, in short."""
    draft, latest = summary.draft_version, summary.most_recent_published_version
    parts = [draft.modified if draft is not None else "-"]
    parts += [summary.embargo_status] if summary.embargo_status != OPEN else []
    parts += [latest.version, latest.modified] if latest is not None else []
    return " ".join([*parts, layout])


def rests(state: DandisetState, seen: str, now: datetime) -> bool:
    """Whether a Dandiset that failed, or in which nothing but what was left open is to be looked at, is to be left
    alone for now."""
    if state.seen != seen:
        return False
    if (failure := state.failure) is not None:
        return is_resting(failure.since, failure.last, now)
    if state.open_since is not None and state.synced is not None:
        return is_resting(state.open_since, state.synced, now)
    return False
