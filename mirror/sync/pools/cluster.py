"""Items are done by the workers of a Dask scheduler, on whatever machines these are. Extra: `dandi-mirror[dask]`.

The workers have the store at the same path, on a file system that they share with this machine and whose locks hold
between machines (NFS 4 does; mount it with `lookupcache=positive`, or a repository made there shows here only after a
minute). They run the same version of dandi-mirror. Tokens are not sent: workers take them from their own environment,
or from git's credential helpers there. One that has none fails embargoed Dandisets, each with a word on what it lacks.

What is kept in SQLite, the index and the catalogue, is this process's alone, as SQLite over NFS is not to be trusted.
A worker is sent what the index has of the draft of its Dandiset, and sends back what it would have put there; above
`MOST_ASSETS` neither. Where that is lost, nothing else is: the draft is read from the repository next time, and its
published assets are asked for again, with all their metadata and S3 version ids. What is written is the same.

Dask does an item again whose worker died. Only one that a number of workers did not survive is given up.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from importlib import import_module
from typing import Any

from mirror import __version__
from mirror.config import Settings
from mirror.config_publish import Publish
from mirror.errors import ConfigError, ExecutorDown
from mirror.store.store import Store
from mirror.sync.dandiset import layout_of
from mirror.sync.items import DandisetWork, Item, Performed
from mirror.sync.mirrored import DRAFT, index_key
from mirror.sync.pools.pool import Told, WorkerDied
from mirror.sync.pools.there import MOST_ASSETS, IndexedDraft, Parcel, Return, perform_there, unfit

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 10
_SHOWS_WITHIN = 120.0
"""Seconds that a file system may take to show here what was written elsewhere; NFS takes up to a minute."""


class Cluster:
    """A pool."""

    def __init__(self, settings: Settings, store: Store, told: Told) -> None:
        self._store = store
        self._told = told
        self._jobs = settings.jobs
        self._layout = layout_of(settings)
        # Neither hosts nor commands are a worker's business.
        self._settings = settings.model_copy(update={"publish": Publish(), "on_failure": None})
        self._address = settings.executor.removeprefix("dask://")
        self._client = _client(self._address)
        self._executor = self._client.get_executor(pure=False)
        self._waits = False
        """whether it was said that there are no workers"""
        self._sent: dict[Future[Return], tuple[Item, IndexedDraft | None]] = {}

    def room(self) -> int:
        """As many as there are workers for. A cluster that grows on demand is to see some demand."""
        with self._loss_told():
            workers: int = sum(self._client.nthreads().values())
        return max(self._jobs, workers)

    def submit(self, item: Item) -> Future[Return]:
        draft = self._indexed(item) if isinstance(item, DandisetWork) else None
        parcel = Parcel(self._settings, item, draft).packed()
        with self._loss_told():
            future: Future[Return] = self._executor.submit(
                perform_there, __version__, str(self._store.root), self._store.facts.id, parcel
            )
        self._sent[future] = item, draft
        self._told.begun(item)
        return future

    def result(self, future: Future[Return]) -> Performed:
        item, draft = self._sent.pop(future)
        try:
            came = future.result()
        except CancelledError:
            raise self._loss() from None
        except ImportError as error:
            raise unfit(f"a Dask worker lacks what it needs: {error}") from None
        except Exception as error:
            # By its name: where it is defined is not said to stay.
            if type(error).__name__ == "KilledWorker":
                raise WorkerDied(certain=True) from None
            raise
        if isinstance(item, DandisetWork):
            self._take_home(item, came, draft)
        return came.performed

    def look(self) -> None:
        if self._client.status != "running":
            raise self._loss()
        with self._loss_told():
            if not self._client.nthreads() and not self._waits:
                logger.warning("the Dask scheduler at %s has no workers at present; waiting for some", self._address)
                self._waits = True

    def close(self) -> None:
        # What is under way there cannot be ended from here: it comes to its end, and nobody hears of it.
        with contextlib.suppress(Exception):
            self._executor.shutdown(wait=False)
        with contextlib.suppress(Exception):
            self._client.close(timeout=_CONNECT_SECONDS)

    def _loss(self) -> ExecutorDown:
        return ExecutorDown(
            f"the Dask scheduler at {self._address} is gone", hint="start it again; the next sync goes on from here"
        )

    @contextlib.contextmanager
    def _loss_told(self) -> Iterator[None]:
        """Whatever the client raises in the block is for want of a scheduler."""
        try:
            yield
        except Exception as error:
            raise self._loss() from error

    def _indexed(self, item: DandisetWork) -> IndexedDraft | None:
        """What the index has of the draft that is mirrored. Should it be another by now, the worker will see that."""
        repository = self._store.repository(item.identifier)
        tip = repository.refs().get(DRAFT) if repository.path.is_dir() else None
        if tip is None:
            return None
        key = index_key(tip, self._layout)
        with self._store.index(private=item.embargoed) as index:
            assets = index.draft(item.identifier, key)
        return IndexedDraft(key, assets) if assets is not None and len(assets) <= MOST_ASSETS else None

    def _take_home(self, item: DandisetWork, came: Return, before: IndexedDraft | None) -> None:
        """Put what a worker found out into what is this process's alone, and see that the rest shows here."""
        identifier = item.identifier
        with self._store.index(private=item.embargoed) as index:
            index.remember_version_ids(came.version_ids)
            if came.draft is not None:
                known = (before.key, before.assets) if before is not None else None
                index.remember_draft(identifier, came.draft.key, came.draft.assets, known)
        if came.state is not None and self._store.state(identifier) != came.state:
            # Written there already; this makes sure that it is read here.
            self._store.save_state(came.state)
        self._wait_for(identifier, came.refs or {})

    def _wait_for(self, identifier: str, refs: dict[str, str]) -> None:
        """What follows reads the repository: it is to show here as the worker left it."""
        repository = self._store.repository(identifier)
        deadline = time.monotonic() + _SHOWS_WITHIN
        while refs and {name: oid.hex() for name, oid in repository.refs().items()} != refs:
            if time.monotonic() > deadline:
                logger.warning("Dandiset %s: its repository does not show here as a worker left it", identifier)
                return
            time.sleep(0.5)


def _client(address: str) -> Any:
    try:
        distributed: Any = import_module("distributed")
    except ImportError:
        raise ConfigError(
            f"executor: dask://{address} needs Dask, which is not installed",
            hint="`pip install '.[dask]'` where it was installed from",
        ) from None
    try:
        return distributed.Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ExecutorDown(
            f"no Dask scheduler answers at {address}: {error}",
            hint="start one with `dask scheduler`, and workers with `dask worker`; or set executor to local",
        ) from None
