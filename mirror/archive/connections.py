"""A pool of connections that can be cut off while they are in use."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any
from weakref import WeakSet

from requests.adapters import HTTPAdapter


class Connections(HTTPAdapter):
    """As `requests` has it; and whoever waits in it for a server that is silent can be let go."""

    def __init__(self, **options: Any) -> None:
        self._made: WeakSet[Any] = WeakSet()
        self._lock = Lock()
        super().__init__(**options)

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """The connections to a server, or by way of a proxy: those that will be made are noted."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        if not isinstance(pool.ConnectionCls, partial):
            pool.ConnectionCls = partial(self._noted, pool.ConnectionCls)
        return pool

    def _noted(self, make: Any, *args: Any, **options: Any) -> Any:
        connection = make(*args, **options)
        with self._lock:
            self._made.add(connection)
        return connection

    def cut(self) -> None:
        """End what is under way. What closing a pool would close are its idle connections only."""
        with self._lock:
            made = list(self._made)
        for connection in made:
            # It may come to its own end at this moment.
            with suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)
