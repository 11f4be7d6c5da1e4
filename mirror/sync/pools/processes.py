"""Items are done in other processes of this machine.

Each process has a pipe of its own, so that one that is killed, at whatever moment, takes nothing with it but its item:
no lock, and no other process. It lives as long as the other end of that pipe is open; nothing else ends it but SIGKILL.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection as PipeEnd
from multiprocessing.util import Finalize
from queue import SimpleQueue

from mirror.config import Settings
from mirror.errors import MirrorError
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.items import Item, Performed, perform
from mirror.sync.pools.pool import Told, WorkerDied

logger = logging.getLogger(__name__)


class Processes:
    """A pool of up to `jobs` processes, started as they are needed. To each a thread of this process talks."""

    def __init__(self, settings: Settings, jobs: int, told: Told) -> None:
        self._settings = settings
        self._jobs = jobs
        self._told = told
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="talks-to-worker")
        self._own = threading.local()
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._closed = False

    def room(self) -> int:
        return self._jobs

    def submit(self, item: Item) -> Future[Performed]:
        return self._threads.submit(self._do, item)

    def result(self, future: Future[Performed]) -> Performed:
        return future.result()

    def look(self) -> None:
        pass

    def close(self) -> None:
        with self._lock:
            self._closed = True
            workers = list(self._workers)
        for worker in workers:
            worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in workers:
            worker.hang_up()

    def _do(self, item: Item) -> Performed:
        worker = self._worker()
        self._told.begun(item)
        try:
            return worker.do(item, self._told)
        except (EOFError, OSError):
            self._forget(worker)
            raise WorkerDied(certain=False) from None

    def _worker(self) -> _Worker:
        """The process that this thread talks to."""
        worker: _Worker | None = getattr(self._own, "worker", None)
        if worker is not None and worker.is_gone():
            self._forget(worker)
            worker = None
        if worker is None:
            # Under the lock, for `close` to miss none: what is started after it would never be ended.
            with self._lock:
                if self._closed:
                    raise WorkerDied(certain=False)
                worker = _Worker(self._settings)
                self._workers.add(worker)
            self._own.worker = worker
        return worker

    def _forget(self, worker: _Worker) -> None:
        with self._lock:
            self._workers.discard(worker)
        self._own.worker = None
        worker.kill()
        worker.hang_up()


class _Worker:
    """A process, seen from here."""

    def __init__(self, settings: Settings) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._pipe, theirs = context.Pipe()
        with theirs:
            self._process = context.Process(target=_serve, args=(theirs, settings), daemon=True)
            self._process.start()
        # A program's end waits for its processes, and these wait for the end of its pipe.
        Finalize(self, self._process.kill, exitpriority=1)

    def is_gone(self) -> bool:
        """Whether it died while it had nothing to do: then no item is the reason."""
        return self._pipe.poll()

    def do(self, item: Item, told: Told) -> Performed:
        """Have an item done. EOFError or OSError when the process dies."""
        self._pipe.send(item)
        while True:
            said = self._pipe.recv()
            if isinstance(said, Performed):
                return said
            if isinstance(said, Exception):
                raise said
            told.working(item, said)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.join()

    def hang_up(self) -> None:
        """Not while a thread listens: what it listens to could be another file by then."""
        self._pipe.close()


def _serve(pipe: PipeEnd, settings: Settings) -> None:
    """The process: do what comes through the pipe, say there how far it is and what came of it."""
    # Whoever presses Ctrl-C, or stops a service, signals every process of it; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    items: SimpleQueue[Item] = SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, items), name="parent-watch", daemon=True).start()
    store, connection = Store.open(settings.store), Connection.open(settings)
    while True:
        item = items.get()
        before = connection.client.http.tally()
        said: Performed | Exception
        try:
            said = perform(settings, store, connection, item, pipe.send)
        except MirrorError as error:
            said = error
        except Exception as error:
            logger.exception("%s", item)
            said = MirrorError(f"unexpected {type(error).__name__}: {error}")
        else:
            said = replace(said, asked=connection.client.http.tally() - before)
        pipe.send(said)


def _receive(pipe: PipeEnd, items: SimpleQueue[Item]) -> None:
    """In a thread of its own, so that the end of the parent is noticed in the middle of an item."""
    try:
        while True:
            items.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(1)
