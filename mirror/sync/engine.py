"""One sync of a store: poll, bring each Dandiset that moved up to date, remember how it went.

One Dandiset's trouble never stops another: whatever happens to it becomes part of its state, and of the report.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection as PipeEnd
from multiprocessing.connection import wait as wait_for_handles
from typing import Literal, Protocol

import msgspec

from mirror.config import Settings
from mirror.errors import MirrorError, SomeFailed
from mirror.store.state import DandisetState, Failure
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.dandiset import DandisetSync, Synced, layout_of
from mirror.sync.poll import Poll, poll

logger = logging.getLogger(__name__)

Result = Literal["changed", "unchanged", "failed", "vanished", "embargoed"]


@dataclass(frozen=True)
class Outcome:
    """How it went with one Dandiset."""

    identifier: str
    result: Result
    message: str
    path: str = ""
    warnings: tuple[str, ...] = ()
    """what a person should know although it went well"""


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
            for outcome in _outcomes(settings, store, connection, found, named, states, everything=everything):
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
        yield from _in_processes(settings, found.moved, jobs, everything=everything)
    else:
        for identifier in found.moved:
            yield sync_one(settings, store, connection, identifier, everything=everything)


def _missing(store: Store, identifier: str) -> Outcome:
    """A Dandiset that the archive does not have: what is mirrored of it is kept, and marked."""
    state = store.state(identifier)
    if state.synced is None:
        return Outcome(identifier, "failed", f"the archive has no Dandiset {identifier}")
    if state.vanished is None:
        state = msgspec.structs.replace(state, vanished=_now())
        store.save_state(state)
    message = f"is not in the archive any more since {state.vanished}; what was mirrored is kept"
    return Outcome(identifier, "vanished", message, path=str(store.alias(identifier)))


def sync_one(settings: Settings, store: Store, connection: Connection, identifier: str, *, everything: bool) -> Outcome:
    """Bring one Dandiset up to date and remember how it went. Idempotent."""
    state = store.state(identifier)
    path = str(store.alias(identifier))
    now = _now()
    try:
        synced = DandisetSync(settings, store, connection, identifier, everything=everything).run(state)
    except Exception as error:
        if isinstance(error, MirrorError):
            message = str(error)
        else:
            logger.exception("Dandiset %s", identifier)
            message = f"unexpected {type(error).__name__}: {error}"
        # As it is now: the sync may have noted something in it before it failed.
        store.save_state(_failed(store.state(identifier), type(error).__name__, message, now))
        return Outcome(identifier, "failed", message, path=path)
    checked = now if everything else synced.state.checked
    store.save_state(msgspec.structs.replace(synced.state, synced=now, checked=checked))
    result: Result = "changed" if synced.wrote else "unchanged"
    return Outcome(identifier, result, _described(synced), path, _warnings(synced))


def _failed(state: DandisetState, kind: str, message: str, now: str) -> DandisetState:
    earlier = state.failure
    since = earlier.since if earlier is not None else now
    count = earlier.count + 1 if earlier is not None else 1
    return msgspec.structs.replace(state, failure=Failure(kind, message, since, now, count))


def _described(synced: Synced) -> str:
    """What changed, in a line."""
    parts = []
    if synced.releases:
        parts.append(f"version{'s' if len(synced.releases) > 1 else ''} {', '.join(synced.releases)}")
    if synced.draft is not None:
        parts.append(f"draft: {synced.draft}")
    if not parts:
        parts.append("addresses or metadata of contents" if synced.wrote else "unchanged")
    return "; ".join(parts)


def _warnings(synced: Synced) -> tuple[str, ...]:
    state = synced.state
    found = [f"{path}: a Zarr, not mirrored yet" for path in synced.zarrs]
    if state.pending:
        found.append(f"{state.pending} assets wait for the archive to hash them")
    found += [f"version {version}: {reason}" for version, reason in state.waiting.items()]
    found += [f"drift: {drift}" for drift in state.drift]
    return (*found, *state.complaints, *state.warnings)


def _in_processes(settings: Settings, identifiers: Iterable[str], jobs: int, *, everything: bool) -> Iterator[Outcome]:
    """Sync in several processes. One that dies takes its own Dandiset's turn with it, not the others'."""
    todo = deque(identifiers)
    while todo:
        stopped = yield from _in_pool(settings, todo, jobs, everything=everything)
        for identifier in stopped:
            # When one process dies, the pool stops them all. Alone, each answers for itself.
            if len(stopped) == 1 or (yield from _in_pool(settings, deque([identifier]), 1, everything=everything)):
                yield _killed(settings, identifier)


def _in_pool(
    settings: Settings, todo: deque[str], jobs: int, *, everything: bool
) -> Generator[Outcome, None, list[str]]:
    """Work on `todo` until it is done or a process dies; what was under way then is returned."""
    running: dict[Future[Outcome], str] = {}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    stopping, stop = context.Pipe(duplex=False)
    with stop, ProcessPoolExecutor(jobs, context, _start_worker, (stopping,)) as pool:
        try:
            while todo or running:
                while todo and len(running) < jobs:
                    identifier = todo.popleft()
                    running[pool.submit(_work, settings, identifier, everything)] = identifier
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                    del running[future]
        except BrokenProcessPool:
            pass
        except BaseException:
            stop.close()  # whoever interrupts does not want to wait for the end of what is under way
            raise
    return list(running.values())


def _killed(settings: Settings, identifier: str) -> Outcome:
    store = Store.open(settings.store)
    message = "the process that synced it was killed (out of memory?)"
    store.save_state(_failed(store.state(identifier), "BrokenProcessPool", message, _now()))
    return Outcome(identifier, "failed", message, path=str(store.alias(identifier)))


_connection: Connection | None = None


def _start_worker(stopping: PipeEnd) -> None:
    """A worker ends when the other end of `stopping` is closed: its parent told it to, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent decides

    def watch() -> None:
        wait_for_handles([stopping])
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _work(settings: Settings, identifier: str, everything: bool) -> Outcome:
    global _connection
    if _connection is None:
        _connection = Connection.open(settings)
    return sync_one(settings, Store.open(settings.store), _connection, identifier, everything=everything)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
