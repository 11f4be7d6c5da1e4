"""Syncing several Dandisets at a time, in processes.

One process that dies takes its own Dandiset's turn with it, not the others'.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection as PipeEnd
from multiprocessing.connection import wait as wait_for_handles

from mirror.config import Settings
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.turn import Outcome, failed, now, sync_one


def in_processes(settings: Settings, identifiers: Iterable[str], jobs: int, *, everything: bool) -> Iterator[Outcome]:
    """Sync these Dandisets, `jobs` at a time, in this order."""
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
    store.save_state(failed(store.state(identifier), "BrokenProcessPool", message, now()))
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
