"""One sync of a store: poll, bring each Dandiset that moved up to date, remember how it went.

One Dandiset's trouble never stops another: whatever happens to it becomes part of its state, and of the report.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from mirror.archive.records import Unreadable
from mirror.config import Settings
from mirror.errors import SomeFailed
from mirror.store.state import DandisetState
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.dandiset import layout_of
from mirror.sync.frontier import note_frontier
from mirror.sync.poll import Poll, poll
from mirror.sync.repositories import repair
from mirror.sync.turn import Outcome, Result, failed, now, sync_one
from mirror.sync.workers import in_processes

logger = logging.getLogger(__name__)


@dataclass
class Report:
    """How a sync went."""

    outcomes: list[Outcome] = field(default_factory=list)
    still: int = 0
    """Dandisets of which the poll told that nothing moved"""
    seconds: float = 0.0

    def count(self, *results: Result) -> int:
        return sum(outcome.result in results for outcome in self.outcomes)

    def check(self) -> None:
        """Raise if a Dandiset failed."""
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

    def working(self, how_far: str) -> None:
        """Something to show while a Dandiset is being worked on; not from several processes."""

    def done(self, outcome: Outcome) -> None: ...


def sync(
    settings: Settings,
    named: Collection[str] = (),
    *,
    everything: bool = False,
    command: str = "dandi-mirror sync",
    watcher: Watcher | None = None,
    follower: Follower | None = None,
) -> Report:
    """Bring the store up to what the archive says now."""
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
            found = poll(connection.client, settings, named, states, layout, everything=everything)
            report.still = len(found.still)
            if watcher is not None:
                watcher.polled(found)
            for outcome in _outcomes(settings, store, connection, found, named, states, watcher, everything=everything):
                report.outcomes.append(outcome)
                if watcher is not None:
                    watcher.done(outcome)
                if follower is not None and outcome.result in ("changed", "unchanged", "failed"):
                    follower.moved(outcome.identifier)
            states |= {one.identifier: store.state(one.identifier) for one in report.outcomes}
            if not named:
                note_frontier(settings, store, states, connection.opened, found)
            if follower is not None:
                follower.end(states)
    report.seconds = time.monotonic() - started
    return report


def _outcomes(
    settings: Settings,
    store: Store,
    connection: Connection,
    found: Poll,
    named: Collection[str],
    states: Mapping[str, DandisetState],
    watcher: Watcher | None,
    *,
    everything: bool,
) -> Iterator[Outcome]:
    for identifier in found.missing:
        if identifier in named or (state := states.get(identifier)) is None or state.vanished is None:
            yield _missing(store, identifier, named=identifier in named)
    for bad in found.unreadable:
        yield _unreadable(store, bad)
    _finish_still(store, found.still)
    for identifier in found.embargoed:
        if identifier in named or (state := states.get(identifier)) is None or state.embargoed is None:
            yield _embargoed(store, identifier)
    jobs = min(settings.jobs, len(found.moved))
    if jobs > 1:
        yield from in_processes(settings, found.moved, jobs, everything=everything)
    else:
        for identifier in found.moved:
            tell = watcher.working if watcher is not None else None
            yield sync_one(settings, store, connection, identifier, everything=everything, tell=tell)


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
    store.save_state(failed(store.state(bad.identifier), "BadAnswer", message, now()))
    return Outcome(bad.identifier, "failed", message, path=str(store.alias(bad.identifier)))


def _finish_still(store: Store, identifiers: Iterable[str]) -> None:
    """Mend what a dead sync left of Dandisets that are not to be touched now: nobody else will for long."""
    for identifier in identifiers:
        repository = store.repository(identifier)
        if repository.path.is_dir() and repository.looks_unfinished():
            repair(repository, f"Dandiset {identifier}")
