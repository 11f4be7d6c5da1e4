"""A pool of connections that can be cut off while they are in use."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from threading import Lock
from typing import Any
from weakref import WeakSet

from requests.adapters import HTTPAdapter


class Connections(HTTPAdapter):
    """As `requests` has it; and whoever waits in it for a server that is silent can be let go."""

    def __init__(self, **options: Any) -> None:
        self._made: WeakSet[Any] = WeakSet()
        self._is_cut = False
        self._lock = Lock()
        super().__init__(**options)

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """The connections to a server, or by way of a proxy: those that will be made are noted."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        if not issubclass(pool.ConnectionCls, _Noted):
            pool.ConnectionCls = type("Noted", (_Noted, pool.ConnectionCls), {"pool": self})
        return pool

    def note(self, connection: Any) -> None:
        with self._lock:
            self._made.add(connection)

    def check(self) -> None:
        """For whoever was not connected yet when all were cut off."""
        if self._is_cut:
            raise ConnectionAbortedError(errno.ECONNABORTED, "cut off")

    def cut(self) -> None:
        """End what is under way. What closing a pool would close are its idle connections only."""
        with self._lock:
            self._is_cut = True
            made = list(self._made)
        for connection in made:
            # It may come to its own end at this moment.
            with suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)


class _Noted:
    """What is added to the kinds of connections there are."""

    pool: Connections

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pool.note(self)

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.pool.check()
