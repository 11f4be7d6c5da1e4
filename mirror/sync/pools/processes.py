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
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
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

_OURS = __name__.partition(".")[0]


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
        except WorkerDied:
            self._forget(worker)
            raise

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
            level = logging.getLogger(_OURS).getEffectiveLevel()
            self._process = context.Process(target=_serve, args=(theirs, settings, level), daemon=True)
            self._process.start()
        # A program's end waits for its processes, and these wait for the end of its pipe.
        Finalize(self, self._process.kill, exitpriority=1)

    def is_gone(self) -> bool:
        """Whether it died while it had nothing to do: then no item is the reason."""
        return not self._process.is_alive()

    def do(self, item: Item, told: Told) -> Performed:
        """Have an item done. `WorkerDied` when the process does."""
        with _death_told():
            self._pipe.send(item)
        while True:
            with _death_told():
                said = self._pipe.recv()
            if isinstance(said, Performed):
                return said
            if isinstance(said, Exception):
                raise said
            if isinstance(said, logging.LogRecord):
                _log(said)
            else:
                told.working(item, said)

    def kill(self) -> None:
        if self._process.is_alive():  # what has its number by now may be anybody
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        self._process.join()

    def hang_up(self) -> None:
        """Not while a thread listens: what it listens to could be another file by then."""
        self._pipe.close()


@contextlib.contextmanager
def _death_told() -> Iterator[None]:
    """Whatever goes wrong with the pipe does so since nobody is at its other end."""
    try:
        yield
    except (EOFError, OSError):
        raise WorkerDied(certain=False) from None


def _log(record: logging.LogRecord) -> None:
    """Log what a worker did, as if it had been said here."""
    log = logging.getLogger(record.name)
    if log.isEnabledFor(record.levelno):
        log.handle(record)


class _Line:
    """A worker's end of the pipe. What it says there may come from any of its threads."""

    def __init__(self, pipe: PipeEnd) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def say(self, said: Performed | Exception | logging.LogRecord | str) -> None:
        try:
            with self._lock:
                self._pipe.send(said)
        except OSError:
            os._exit(1)  # nobody is there any more: that is no failure of the item's


class _LogsThere(logging.Handler):
    """Has the parent log what is logged here: it knows how logs look, and where they go."""

    def __init__(self, line: _Line) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        worded = copy(record)
        worded.msg, worded.args = self.format(record), None
        # What an error holds may not fit through a pipe; its words are in the message now.
        worded.exc_info = worded.exc_text = worded.stack_info = None
        self._line.say(worded)


def _serve(pipe: PipeEnd, settings: Settings, level: int) -> None:
    """The process: do what comes through the pipe, say there how far it is and what came of it."""
    # Whoever presses Ctrl-C, or stops a service, signals every process of it; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    line = _Line(pipe)
    logging.getLogger().addHandler(_LogsThere(line))
    logging.getLogger(_OURS).setLevel(level)
    items: SimpleQueue[Item] = SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, items), name="parent-watch", daemon=True).start()
    store, connection = Store.open(settings.store), Connection.open(settings)
    while True:
        item = items.get()
        before = connection.client.http.tally()
        said: Performed | Exception
        try:
            said = perform(settings, store, connection, item, line.say)
        except MirrorError as error:
            said = error
        except Exception as error:
            logger.exception("Dandiset %s", item.identifier)
            said = MirrorError(f"unexpected {type(error).__name__}: {error}")
        else:
            said = replace(said, asked=connection.client.http.tally() - before)
        line.say(said)


def _receive(pipe: PipeEnd, items: SimpleQueue[Item]) -> None:
    """In a thread of its own, so that the end of the parent is noticed in the middle of an item."""
    try:
        while True:
            items.put(pipe.recv())
    except (EOFError, OSError):
        os._exit(1)
