"""One sync of a store: poll, bring each Dandiset that moved up to date, remember how it went.

One Dandiset's trouble never stops another: whatever happens to it becomes part of its state, and of the report.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from mirror.config import Settings
from mirror.errors import SomeFailed
from mirror.store.state import DandisetState
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.dandiset import layout_of
from mirror.sync.poll import Poll, poll
from mirror.sync.turn import Outcome, Result, now, sync_one
from mirror.sync.workers import in_processes


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
        if failed := self.count("failed"):
            rest = len(self.outcomes) + self.still - failed
            raise SomeFailed(
                f"{failed} Dandiset{'s' if failed > 1 else ''} failed, {rest} did not",
                hint="`dandi-mirror status` shows why; the next sync tries again",
            )


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
) -> Report:
    """Bring the store up to what the archive says now."""
    started = time.monotonic()
    report = Report()
    with closing(Connection.open(settings)) as connection:
        store = Store.open_or_create(settings.store, connection.instance)
        with store.lock(command):
            store.clear_away()
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
        outcome = _missing(store, identifier)
        if identifier in named or (state := states.get(identifier)) is None or state.vanished is None:
            yield outcome
    for identifier in found.embargoed:
        yield Outcome(identifier, "embargoed", "embargoed: not mirrored yet")
    jobs = min(settings.jobs, len(found.moved))
    if jobs > 1:
        yield from in_processes(settings, found.moved, jobs, everything=everything)
    else:
        for identifier in found.moved:
            tell = watcher.working if watcher is not None else None
            yield sync_one(settings, store, connection, identifier, everything=everything, tell=tell)


def _missing(store: Store, identifier: str) -> Outcome:
    """A Dandiset that the archive does not have: what is mirrored of it is kept, and marked."""
    state = store.state(identifier)
    if state.synced is None:
        return Outcome(identifier, "failed", f"the archive has no Dandiset {identifier}")
    if state.vanished is None:
        state = msgspec.structs.replace(state, vanished=now())
        store.save_state(state)
    message = f"is not in the archive any more since {state.vanished}; what was mirrored is kept"
    return Outcome(identifier, "vanished", message, path=str(store.alias(identifier)))
