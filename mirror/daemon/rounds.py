"""The jobs of an unattended mirror, each of them once. Whatever happens is in the report; only `Locked` is raised."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mirror.config import Settings
from mirror.daemon.listening import JobReport, Listener
from mirror.daemon.recheck import due_for_recheck
from mirror.errors import Locked, MirrorError, NoStore, Stopped, StoreError
from mirror.publish.publishing import Published, Publisher
from mirror.store.job_marks import JobName
from mirror.store.maintenance import Maintained, maintain
from mirror.store.room import no_room_of
from mirror.store.store import Store
from mirror.sync.dandiset import layout_of
from mirror.sync.engine import Report, sync

if TYPE_CHECKING:
    from mirror.keeping.keeping import Kept
    from mirror.proving.verify import Proved


@dataclass
class Job:
    """One job, with what it needs. `stop` is asked between two Dandisets, or two repositories."""

    settings: Settings
    listener: Listener = field(default_factory=Listener)
    stop: Callable[[], bool] = lambda: False
    command: str = "dandi-mirror run"
    """what others are told who find the store taken"""

    def poll(self) -> JobReport:
        """Mirror what is new, and publish it."""
        return self._told("poll", lambda outcome: self._sync(outcome, (), everything=False))

    def recheck(self, next_in_seconds: float) -> JobReport:
        """Re-read in full those Dandisets whose turn it is. `next_in_seconds`: until this is done again."""

        def work(outcome: _Outcome) -> None:
            days = self.settings.schedule.recheck_days
            includes = self.settings.select.includes
            states = [state for state in Store.open(self.settings.store).states() if includes(state.identifier)]
            due = due_for_recheck(states, datetime.now(UTC), days, next_in_seconds)
            if due:
                self._sync(outcome, due, everything=True)

        return self._told("recheck", work)

    def maintain(self) -> JobReport:
        """Repack what needs it, prune, check index and catalogue."""

        def work(outcome: _Outcome) -> None:
            store = Store.open(self.settings.store)
            with store.lock(self.command):
                store.clear_away()
                outcome.maintained = maintain(store, stop=self.stop, tell=self.listener.maintaining)

        return self._told("maintain", work)

    def content(self) -> JobReport:
        """Have the content here that the rules ask for."""

        def work(outcome: _Outcome) -> None:
            if not self.settings.content:
                return
            from mirror.keeping.keeping import Kept, keep  # most mirrors have no rules

            Store.open(self.settings.store)  # where there is none, nothing is fetched
            outcome.kept = Kept()
            keep(self.settings, stop=self.stop, tell=self.listener.maintaining, command=self.command, kept=outcome.kept)

        return self._told("content", work)

    def verify(self, next_in_seconds: float) -> JobReport:
        """Prove what is longest ago. `next_in_seconds`: until this is done again."""

        def work(outcome: _Outcome) -> None:
            if self.settings.schedule.verify is None:
                return
            from mirror.proving.rolling import prove_share

            outcome.proved = prove_share(
                self.settings,
                seconds=next_in_seconds,
                stop=self.stop,
                tell=self.listener.maintaining,
                command=self.command,
            )
            if outcome.proved.stopped:
                raise Stopped(f"stopped; {outcome.proved.dandisets:,} Dandisets had their turn")

        return self._told("verify", work)

    def _sync(self, outcome: _Outcome, named: Sequence[str], *, everything: bool) -> None:
        with Publisher(self.settings, layout_of(self.settings), self.listener, patient=True) as publisher:
            outcome.published = publisher.published
            outcome.sync = Report()
            sync(
                self.settings,
                named,
                everything=everything,
                patient=True,
                command=self.command,
                watcher=self.listener,
                follower=publisher,
                stop=self.stop,
                report=outcome.sync,
            )

    def _told(self, job: JobName, work: Callable[[_Outcome], None]) -> JobReport:
        """Do it, and tell of it."""
        started, clock = datetime.now(UTC), time.monotonic()
        self.listener.job_began(job, self.settings)
        outcome = _Outcome()
        try:
            work(outcome)
            error = outcome.sync.cut_short if outcome.sync is not None else None
        except NoStore:
            error = None  # nothing was mirrored yet: there is nothing to be done
        except Locked as locked:
            self.listener.job_put_off(job, locked.message)
            raise
        except Exception as raised:
            error = _foreseen(raised)
        report = JobReport(
            job,
            started.isoformat(timespec="seconds"),
            time.monotonic() - clock,
            outcome.sync,
            outcome.published,
            outcome.maintained,
            outcome.kept,
            outcome.proved,
            kind=type(error).__name__ if error is not None else "",
            trouble=str(error) if error is not None else "",
            code=error.exit_code if error is not None else 0,
            raised=error.__cause__ if error is not None and type(error) is MirrorError else None,
        )
        self.listener.job_ended(report)
        return report


@dataclass
class _Outcome:
    """What of it is there, should it break off."""

    sync: Report | None = None
    published: Published | None = None
    maintained: Maintained | None = None
    kept: Kept | None = None
    proved: Proved | None = None


def _foreseen(error: Exception) -> MirrorError:
    """Nothing ends a daemon but who started it."""
    if (full := no_room_of(error)) is not None:
        return full
    if isinstance(error, MirrorError):
        return error
    if isinstance(error, PermissionError):
        return StoreError(f"{error.strerror}: {error.filename}")
    unforeseen = MirrorError(f"unexpected {type(error).__name__}: {error}")
    unforeseen.__cause__ = error
    return unforeseen
