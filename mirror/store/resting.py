"""How long something that failed is left alone by whoever tries again and again: half the time that the trouble lasts
already, up to a quarter of a day. So the pauses grow, whatever the time between two tries.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

LONGEST_PAUSE = timedelta(hours=6)


def is_resting(since: str, last: str, now: datetime) -> bool:
    """Whether what fails since then, and was tried last then, is to be left alone for now.

    What was tried in the future is not waited for: clocks were set.
    """
    return _moment(last) <= now < end_of_rest(since, last)


def end_of_rest(since: str, last: str) -> datetime:
    """When it is tried again."""
    return _moment(last) + pause_after(_moment(last) - _moment(since))


def pause_after(lasting: timedelta) -> timedelta:
    """How long to rest when something lasts for so long already."""
    return min(max(lasting / 2, timedelta(0)), LONGEST_PAUSE)


def _moment(text: str) -> datetime:
    """A time that a mark has; one that cannot be read was long ago."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
