"""Items are done in this process, one after another."""

from __future__ import annotations

from concurrent.futures import Future

from mirror.config import Settings
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.items import Item, Performed, perform
from mirror.sync.pools.pool import Told


class Here:
    """A pool. What it asks of the archive goes over the run's own connection."""

    def __init__(self, settings: Settings, store: Store, connection: Connection, told: Told) -> None:
        self._settings = settings
        self._store = store
        self._connection = connection
        self._told = told

    def room(self) -> int:
        return 1

    def submit(self, item: Item) -> Future[Performed]:
        self._told.begun(item)
        future: Future[Performed] = Future()
        future.set_result(
            perform(
                self._settings, self._store, self._connection, item, lambda how_far: self._told.working(item, how_far)
            )
        )
        return future

    def result(self, future: Future[Performed]) -> Performed:
        return future.result()

    def look(self) -> None:
        pass

    def close(self) -> None:
        pass
