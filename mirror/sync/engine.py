"""One sync of a store: poll, bring each Dandiset that moved up to date, remember how it went.

One Dandiset's trouble never stops another: whatever happens to it becomes part of its state, and of the report.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from mirror.archive.http import Tally
from mirror.archive.records import Unreadable
from mirror.config import Settings
from mirror.errors import ArchiveDown, MirrorError, NoRoom, SomeFailed, Stopped
from mirror.store.state import DandisetState
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.dandiset import layout_of
from mirror.sync.frontier import note_frontier
from mirror.sync.outage import answered, judged
from mirror.sync.patience import seen_of
from mirror.sync.poll import Poll, poll
from mirror.sync.repositories import repair
from mirror.sync.turn import Outcome, Result, failed, now
from mirror.sync.work import DandisetWork, work_through

logger = logging.getLogger(__name__)


@dataclass
class Report:
    """How a sync went."""

    outcomes: list[Outcome] = field(default_factory=list)
    still: int = 0
    """Dandisets of which the poll told that nothing moved"""
    resting: int = 0
    """those that failed, or were left open, and are not due yet to be tried again"""
    left: int = 0
    """those that had no turn, since the run was cut short"""
    cut_short: MirrorError | None = None
    """why it was: the archive is down, the disk is full, or somebody asked for it"""
    asked: Tally = field(default_factory=Tally)
    seconds: float = 0.0

    def count(self, *results: Result) -> int:
        return sum(outcome.result in results for outcome in self.outcomes)

    def check(self) -> None:
        """Raise if it was cut short for a reason, or if a Dandiset failed."""
        if self.cut_short is not None and not isinstance(self.cut_short, Stopped):
            raise self.cut_short
        if number := self.count("failed"):
            rest = len(self.outcomes) + self.still - number
            raise SomeFailed(
                f"{number} Dandiset{'s' if number > 1 else ''} failed, {rest} did not",
                hint="`dandi-mirror status` shows why; the next sync tries again",
            )


class Follower(Protocol):
    """Goes on with what a sync wrote, under the same lock."""

    def begin(self, store: Store) -> None: ...

    def moved(self, identifier: str) -> None:
        """A Dandiset's repository may have changed."""

    def end(self, states: Mapping[str, DandisetState]) -> None:
        """Every Dandiset had its turn; `states` are the marks of all of them."""


class Watcher(Protocol):
    """Is told how a sync gets on."""

    def polled(self, found: Poll) -> None: ...

    def begun(self, identifier: str) -> None:
        """Its turn begins. This and the next may come from another thread."""

    def working(self, identifier: str, how_far: str) -> None:
        """Something to show while a Dandiset is being worked on."""

    def done(self, outcome: Outcome) -> None: ...


def sync(
    settings: Settings,
    named: Collection[str] = (),
    *,
    everything: bool = False,
    patient: bool = False,
    command: str = "dandi-mirror sync",
    watcher: Watcher | None = None,
    follower: Follower | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Report:
    """Bring the store up to what the archive says now.

    `patient`: what failed, or waits for the archive, rests for growing pauses. `stop` is asked between Dandisets.
    """
    started = time.monotonic()
    report = Report()
    with closing(Connection.open(settings)) as connection:
        store = Store.open_or_create(settings.store, connection.instance)
        with store.lock(command):
            store.clear_away()
            if follower is not None:
                follower.begin(store)
            states = {state.identifier: state for state in store.states()}
            layout = layout_of(settings).trailer
            resting_at = datetime.now(UTC) if patient else None
            found = poll(
                connection.client, settings, named, states, layout, everything=everything, resting_at=resting_at
            )
            report.still, report.resting = len(found.still), len(found.resting)
            if watcher is not None:
                watcher.polled(found)
            run = _Run(settings, store, connection, found, named, states, watcher, stop, report, everything)
            with closing(run.outcomes()) as outcomes:
                _follow(outcomes, report, watcher, follower)
            states |= {one.identifier: store.state(one.identifier) for one in report.outcomes}
            if not named and report.cut_short is None:
                note_frontier(settings, store, states, connection.opened, found)
            if follower is not None and (report.cut_short is None or isinstance(report.cut_short, ArchiveDown)):
                follower.end(states)
        report.asked += connection.client.http.tally()
    report.seconds = time.monotonic() - started
    return report


def _follow(outcomes: Iterable[Outcome], report: Report, watcher: Watcher | None, follower: Follower | None) -> None:
    """Go through them all, or until something cuts the run short."""
    try:
        for outcome in outcomes:
            report.outcomes.append(outcome)
            if watcher is not None:
                watcher.done(outcome)
            if follower is not None and outcome.result in ("changed", "unchanged", "failed"):
                follower.moved(outcome.identifier)
    except (ArchiveDown, NoRoom, Stopped) as error:
        report.cut_short = error


@dataclass
class _Run:
    """The turns of one sync."""

    settings: Settings
    store: Store
    connection: Connection
    found: Poll
    named: Collection[str]
    states: Mapping[str, DandisetState]
    watcher: Watcher | None
    stop: Callable[[], bool]
    report: Report
    everything: bool

    def outcomes(self) -> Generator[Outcome, None, None]:
        """How it went with each Dandiset that is to be looked at. Ends in an error when the run is cut short."""
        yield from self._without_a_turn()
        self.report.left = len(self.found.moved)
        with closing(self._turns()) as turns:
            for outcome in self._judged(turns):
                self.report.left -= 1
                yield outcome
        if self.report.left:
            raise Stopped(f"stopped; {self.report.left} Dandisets had no turn yet")

    def _without_a_turn(self) -> Iterator[Outcome]:
        for identifier in self.found.missing:
            if self._is_news(identifier, "vanished"):
                yield _missing(self.store, identifier, named=identifier in self.named)
        for bad in self.found.unreadable:
            yield _unreadable(self.store, bad)
        _finish_still(self.store, self.found.still)
        for identifier in self.found.embargoed:
            if self._is_news(identifier, "embargoed"):
                yield _embargoed(self.store, identifier)

    def _is_news(self, identifier: str, mark: str) -> bool:
        state = self.states.get(identifier)
        return identifier in self.named or state is None or getattr(state, mark) is None

    def _turns(self) -> Generator[Outcome, None, None]:
        layout = layout_of(self.settings).trailer
        work = [
            DandisetWork(one, everything=self.everything, seen=seen_of(self.found.listed[one], layout))
            for one in self.found.moved
        ]
        return work_through(
            self.settings,
            self.store,
            self.connection,
            work,
            watcher=self.watcher,
            stop=self.stop,
            asked=self._asked,
        )

    def _judged(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        return judged(outcomes, lambda: answered(self.connection), self._acquit)

    def _acquit(self, identifier: str) -> None:
        """It failed, and was not to blame: its marks are as before."""
        earlier = self.states.get(identifier)
        if earlier is None:
            self.store.forget_state(identifier)
            return
        noted = self.store.state(identifier)
        self.store.save_state(msgspec.structs.replace(noted, failure=earlier.failure, seen=earlier.seen))

    def _asked(self, tally: Tally) -> None:
        self.report.asked += tally


def _missing(store: Store, identifier: str, *, named: bool) -> Outcome:
    """A Dandiset that the archive does not have: what is mirrored of it is kept, and marked."""
    state = store.state(identifier)
    if state.synced is None and named:
        return Outcome(identifier, "failed", f"the archive has no Dandiset {identifier}")
    if state.synced is None:
        store.forget_state(identifier)
        return Outcome(identifier, "vanished", "is not in the archive any more; nothing of it was mirrored")
    if state.vanished is None:
        state = msgspec.structs.replace(state, vanished=now())
        store.save_state(state)
    message = f"is not in the archive any more since {state.vanished}; what was mirrored is kept"
    return Outcome(identifier, "vanished", message, path=str(store.alias(identifier)))


def _embargoed(store: Store, identifier: str) -> Outcome:
    """A Dandiset under embargo: what was mirrored of it before is kept, and marked, and goes nowhere any more."""
    state = store.state(identifier)
    if state.synced is None:
        return Outcome(identifier, "embargoed", "embargoed: not mirrored yet")
    if state.embargoed is None:
        state = msgspec.structs.replace(state, embargoed=now())
        store.save_state(state)
        store.forget_published()
    message = f"is under embargo since {state.embargoed}; what was mirrored before is kept"
    return Outcome(identifier, "embargoed", message, path=str(store.alias(identifier)))


def _unreadable(store: Store, bad: Unreadable) -> Outcome:
    """A Dandiset of which the list says nothing that makes sense."""
    message = f"the archive's list of Dandisets: {bad.reason}"
    if bad.identifier is None:
        return Outcome("(unnamed)", "failed", message)
    state = failed(store.state(bad.identifier), "BadAnswer", message, now())
    store.save_state(state)
    path = str(store.alias(bad.identifier))
    return Outcome(bad.identifier, "failed", message, path=path, kind="BadAnswer", failure=state.failure)


def _finish_still(store: Store, identifiers: Iterable[str]) -> None:
    """Mend what a dead sync left of Dandisets that are not to be touched now: nobody else will for long."""
    for identifier in identifiers:
        repository = store.repository(identifier)
        if repository.path.is_dir() and repository.looks_unfinished():
            repair(repository, f"Dandiset {identifier}")
