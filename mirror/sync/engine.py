"""One sync of a store: poll, bring each Dandiset that moved up to date, remember how it went.

One Dandiset's trouble never stops another: whatever happens to it becomes part of its state, and of the report.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import msgspec

from mirror.archive.http import Tally
from mirror.archive.records import Unreadable
from mirror.config import Settings
from mirror.errors import ArchiveDown, MirrorError, NoRoom, NotFound, Stopped
from mirror.store.room import no_room_of
from mirror.store.state import DandisetState
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.dandiset import layout_of
from mirror.sync.embargo import admit, begin_opening, is_exposed, open_up, withdraw
from mirror.sync.frontier import note_frontier
from mirror.sync.outage import Judge, judge_of
from mirror.sync.patience import rests, seen_of
from mirror.sync.poll import Poll, poll
from mirror.sync.report import Follower, Report, Watcher
from mirror.sync.repositories import repair
from mirror.sync.turn import Outcome, failed, is_to_be_opened, now
from mirror.sync.work import DandisetWork, work_through

__all__ = ["Follower", "Report", "Watcher", "sync"]

logger = logging.getLogger(__name__)

_TROUBLE = (MirrorError, OSError, sqlite3.Error)
"""What may go wrong with one Dandiset that changes sides, and stops no other."""


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
    report: Report | None = None,
) -> Report:
    """Bring the store up to what the archive says now.

    `patient`: what failed, or waits for the archive, rests for growing pauses. `stop` is asked between Dandisets.
    `report` is filled as it goes, for who wants it even if this raises.
    """
    report = report if report is not None else Report()
    started = time.monotonic()
    with closing(Connection.open(settings)) as connection:
        asked = _Asked(connection, report, watcher)
        try:
            resting_at = datetime.now(UTC) if patient else None
            run = _Sync(settings, connection, named, everything, resting_at, watcher, follower, stop, report, asked)
            run.run(command)
        finally:
            asked.own()
            report.seconds = time.monotonic() - started
    return report


@dataclass
class _Asked:
    """Counts what is asked of the archive, as the sync goes."""

    connection: Connection
    report: Report
    watcher: Watcher | None
    counted: Tally = field(default_factory=Tally)
    """what was asked over our own connection, as far as it is in the report"""

    def own(self) -> None:
        """Take in what was asked over it since."""
        now = self.connection.client.http.tally()
        self.elsewhere(now - self.counted)
        self.counted = now

    def elsewhere(self, tally: Tally) -> None:
        """Take in what was asked over other connections."""
        self.report.asked += tally
        if self.watcher is not None and (tally.answers or tally.bytes):
            self.watcher.asked(tally)


@dataclass(frozen=True)
class _Sync:
    """One sync."""

    settings: Settings
    connection: Connection
    named: Collection[str]
    everything: bool
    resting_at: datetime | None
    watcher: Watcher | None
    follower: Follower | None
    stop: Callable[[], bool]
    report: Report
    asked: _Asked

    def run(self, command: str) -> None:
        store = Store.open_or_create(self.settings.store, self.connection.instance)
        with store.lock(command):
            store.clear_away()
            if self.follower is not None:
                self.follower.begin(store)
            states = {state.identifier: state for state in store.states()}
            found = self._poll(states)
            turns = _Turns(self, store, found, states)
            with closing(turns.outcomes()) as outcomes:
                _follow(outcomes, self.report, self.watcher, self.follower)
            self._conclude(store, found, states, turns.acquitted)

    def _poll(self, states: Mapping[str, DandisetState]) -> Poll:
        found = poll(
            self.connection.client,
            self.settings,
            self.named,
            states,
            layout_of(self.settings).trailer,
            everything=self.everything,
            resting_at=self.resting_at,
        )
        self.report.still, self.report.resting = len(found.still), len(found.resting)
        self.asked.own()
        if self.watcher is not None:
            self.watcher.polled(found)
        return found

    def _conclude(
        self, store: Store, found: Poll, states: Mapping[str, DandisetState], acquitted: Collection[str]
    ) -> None:
        cut_short = self.report.cut_short
        if self.follower is not None:
            # All but their Zarrs may have been mirrored of those, too.
            for identifier in acquitted:
                self.follower.moved(identifier)
        had = (*(one.identifier for one in self.report.outcomes), *acquitted)
        now_marked = {**states, **{identifier: store.state(identifier) for identifier in had}}
        if not self.named and cut_short is None:
            note_frontier(self.settings, store, now_marked, self.connection.opened, found)
        if self.follower is not None and (cut_short is None or isinstance(cut_short, ArchiveDown)):
            self.follower.end(now_marked)


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
class _Turns:
    """The turns of one sync."""

    sync: _Sync
    store: Store
    found: Poll
    states: Mapping[str, DandisetState]
    acquitted: list[str] = field(default_factory=list)
    """Dandisets that failed and are not in the report, since they were not to blame"""

    def outcomes(self) -> Generator[Outcome, None, None]:
        """How it went with each Dandiset that is to be looked at. Ends in an error when the run is cut short."""
        yield from self._withdrawn()
        yield from self._without_a_turn()
        self.sync.report.left = len(self.found.moved)
        judge = judge_of(self.sync.connection, self.sync.settings.archive.s3_endpoint)
        with closing(self._turns(judge)) as turns:
            for outcome in turns:
                if judge.acquits(outcome):
                    self._acquit(outcome.identifier)
                else:
                    self.sync.report.left -= 1
                    yield self._opened(outcome)
        if judge.down is not None:
            raise ArchiveDown(judge.down, hint="what is left is tried again by the next sync")
        if self.sync.report.left:
            count = self.sync.report.left
            raise Stopped(f"stopped: {count} Dandiset{'s' if count > 1 else ''} had no turn yet")

    def _withdrawn(self) -> Iterator[Outcome]:
        """Take from what is public whatever came under embargo, before anything else is done. What cannot be has no
        turn, and is told of."""
        for identifier in sorted({*self.found.closed, *self.found.embargoed}):
            try:
                if is_exposed(self.store, identifier):
                    withdraw(self.store, identifier, now())
                    self._follow(identifier)
                elif identifier in self.found.closed:
                    admit(self.store, identifier, now())
            except _TROUBLE as error:
                if (full := no_room_of(error)) is not None:
                    raise full from error
                for turns in (self.found.moved, self.found.embargoed):
                    if identifier in turns:
                        turns.remove(identifier)
                message = f"came under embargo, and cannot be withdrawn from what is public: {error}"
                yield Outcome(identifier, "failed", message, kind=type(error).__name__)

    def _follow(self, identifier: str) -> None:
        if self.sync.follower is not None:
            self.sync.follower.moved(identifier)

    def _is_opening(self, identifier: str) -> bool:
        """Whether it is under embargo no more, but still on the store's closed side."""
        return identifier not in self.found.closed and self.store.is_embargoed(identifier)

    def _begin_opening(self, identifier: str) -> None:
        try:
            begin_opening(self.store, identifier)
        except _TROUBLE as error:
            if (full := no_room_of(error)) is not None:
                raise full from error
            logger.warning("Dandiset %s cannot be opened: %s", identifier, error)  # and its turn fails

    def _opened(self, outcome: Outcome) -> Outcome:
        """What was read in full after its embargo ended is made public."""
        if not outcome.may_be_opened:
            return outcome
        was_closed = self.store.is_embargoed(outcome.identifier)
        try:
            open_up(self.store, outcome.identifier)
        except _TROUBLE as error:
            if (full := no_room_of(error)) is not None:
                raise full from error
            message = f"is under embargo no more, and cannot be made public: {error}"
            state = failed(self.store.state(outcome.identifier), type(error).__name__, message, now())
            self.store.save_state(state)
            return Outcome(outcome.identifier, "failed", message, outcome.path, kind=type(error).__name__)
        if not was_closed:
            return outcome
        result = "changed" if outcome.result == "unchanged" else outcome.result
        message = f"under embargo no more; {outcome.message}"
        path = str(self.store.alias(outcome.identifier))
        return replace(outcome, result=result, message=message, path=path)

    def _without_a_turn(self) -> Iterator[Outcome]:
        for identifier in self.found.missing:
            if self._is_news(identifier, "vanished"):
                yield _missing(self.store, identifier, named=identifier in self.sync.named)
        for bad in self.found.unreadable:
            if self._rests(bad.identifier):
                self.sync.report.resting += 1
            else:
                yield _unreadable(self.store, bad)
        _finish_still(self.store, self.found.still)
        for identifier in self.found.embargoed:
            if self._is_news(identifier, "embargoed"):
                yield _embargoed(self.store, identifier)

    def _rests(self, identifier: str | None) -> bool:
        state = self.states.get(identifier or "")
        return self.sync.resting_at is not None and state is not None and rests(state, state.seen, self.sync.resting_at)

    def _is_news(self, identifier: str, mark: str) -> bool:
        state = self.states.get(identifier)
        return identifier in self.sync.named or state is None or getattr(state, mark) is None

    def _turns(self, judge: Judge) -> Generator[Outcome, None, None]:
        layout = layout_of(self.sync.settings).trailer
        for one in self.found.moved:
            if one not in self.found.closed and is_to_be_opened(self.store, one):
                self._begin_opening(one)
        work = [
            DandisetWork(
                one,
                # No asset's `modified` tells of the end of an embargo.
                everything=self.sync.everything or self._is_opening(one),
                seen=seen_of(self.found.listed[one], layout),
                embargoed=one in self.found.closed,
            )
            for one in self.found.moved
        ]
        return work_through(
            self.sync.settings,
            self.store,
            self.sync.connection,
            work,
            watcher=self.sync.watcher,
            # What is under way when the archive goes down is finished, too: it might be written already.
            stop=lambda: judge.down is not None or self.sync.stop(),
            asked=self._asked,
        )

    def _acquit(self, identifier: str) -> None:
        """It failed, and was not to blame: its marks are as before."""
        self.acquitted.append(identifier)
        earlier, noted = self.states.get(identifier), self.store.state(identifier)
        if earlier is None and noted.synced is None:
            self.store.forget_state(identifier)
            return
        if earlier is None:
            earlier = DandisetState(identifier=identifier)
        self.store.save_state(msgspec.structs.replace(noted, failure=earlier.failure, seen=earlier.seen))

    def _asked(self, tally: Tally) -> None:
        self.sync.asked.elsewhere(tally)
        self.sync.asked.own()


def _missing(store: Store, identifier: str, *, named: bool) -> Outcome:
    """A Dandiset that the archive does not have: what is mirrored of it is kept, and marked."""
    state = store.state(identifier)
    if state.synced is None and named:
        return Outcome(identifier, "failed", f"the archive has no Dandiset {identifier}", kind=NotFound.__name__)
    if state.synced is None:
        store.forget_state(identifier)
        return Outcome(identifier, "vanished", "is not in the archive any more; nothing of it was mirrored")
    if state.vanished is None:
        state = msgspec.structs.replace(state, vanished=now())
        store.save_state(state)
    message = f"is not in the archive any more since {state.vanished}; what was mirrored is kept"
    return Outcome(identifier, "vanished", message, path=str(store.alias(identifier)))


def _embargoed(store: Store, identifier: str) -> Outcome:
    """A Dandiset under embargo that is not to be mirrored: what was mirrored of it before is kept, where nobody else
    sees it."""
    state = store.state(identifier)
    if state.synced is None:
        return Outcome(identifier, "embargoed", "under embargo: not mirrored, see `select.embargoed`")
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
        name = f"Dandiset {identifier}"
        try:
            if repository.path.is_dir() and repository.looks_unfinished():
                repair(repository, name)
        except (MirrorError, OSError) as error:
            if (full := no_room_of(error)) is not None:
                raise full from error
            logger.warning("%s: what was left unfinished in its repository cannot be cleared away: %s", name, error)
