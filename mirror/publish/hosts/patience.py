"""How long we wait for a host: a little at each stumble, a minute in all for its rate limits, then not in this run.

Whoever comes again every few minutes, unasked, leaves a host that failed alone for longer and longer.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mirror.errors import HostError
from mirror.publish.hosts.failures import HostUnavailable
from mirror.store.resting import is_resting
from mirror.store.state import Failure

_LONGEST_PAUSE = 30.0
_LONGEST_LIMIT = 86_400.0
"""Whatever a host says: after a day it is asked again."""
_IN_A_ROW = 3


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Patience:
    tries: int = 4
    """at a request or a push that the host, or the way to it, fails"""
    limit_seconds: float = 60.0
    """the most time a host's rate limits are waited for in one run"""
    push_seconds: float = 6 * 3600.0
    """for one push; then it hangs"""
    command_seconds: float = 600.0
    """for anything else that is run"""
    lock_minutes: int = 10
    """git holds no lock file for longer: an older one in another store was left by a git that was killed"""
    lets_rest: bool = False
    """hosts and repositories that failed are left alone for a while: for runs that nobody typed"""
    sleep: Callable[[float], object] = time.sleep
    now: Callable[[], datetime] = _now


class Waiting:
    """The waiting for one host in one run."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.push_seconds = patience.push_seconds
        self.command_seconds = patience.command_seconds
        self.lock_minutes = patience.lock_minutes
        self._left = patience.limit_seconds
        self._not_before: datetime | None = None
        self._given_up = 0

    def now(self) -> datetime:
        return self._patience.now()

    def pause(self, seconds: float) -> None:
        self._patience.sleep(seconds)

    def rests(self, failure: Failure | None) -> bool:
        """Whether what failed so is left alone in this run."""
        if failure is None or not self._patience.lets_rest:
            return False
        return is_resting(failure.since, failure.last, self.now())

    def again(self, attempt: int) -> bool:
        """After a failed try, the first being 1: pause and try again, unless it has been tried enough."""
        if attempt >= self._patience.tries:
            return False
        # Shortened at random by up to half, so that many mirrors do not come back at once.
        self.pause(min(_LONGEST_PAUSE, 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0))
        return True

    def give_up(self, message: str) -> HostError:
        """What to raise when a request was tried enough. Several repositories in a row: the host is out of order."""
        self._given_up += 1
        if self._given_up >= _IN_A_ROW:
            return HostUnavailable(f"{message}; {_IN_A_ROW} repositories in a row")
        return HostError(message)

    def brought(self) -> None:
        """A repository's turn went well: the host is in order."""
        self._given_up = 0

    def limited(self, seconds: float) -> None:
        """The host wants no more requests for so long: wait, if that is not too long; otherwise `HostUnavailable`."""
        seconds = min(max(1.0, seconds), _LONGEST_LIMIT)
        if seconds > self._left:
            until = self.now() + timedelta(seconds=seconds)
            raise HostUnavailable(f"rate limited until {until.isoformat(timespec='seconds')}", until=until)
        self._left -= seconds
        self.pause(seconds)

    def exhausted(self, seconds: float) -> None:
        """That was the last request the host allows for so long."""
        self._not_before = self.now() + timedelta(seconds=min(seconds, _LONGEST_LIMIT))

    def holds(self, until: datetime) -> bool:
        """Whether a limit that was remembered still holds. One further off than any can be is none: clocks were set."""
        return self.now() < until <= self.now() + timedelta(seconds=_LONGEST_LIMIT)

    def before_asking(self) -> None:
        """Wait for the end of what `exhausted` told."""
        if self._not_before is not None:
            seconds = (self._not_before - self.now()).total_seconds()
            self._not_before = None
            if seconds > 0:
                self.limited(seconds)
