"""What was asked of the demo archive, so that a test can say how many requests something may take."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from mirror.demo.web import found_in_target


@dataclass(frozen=True)
class Exchange:
    """One request and the status it was answered with. A reset connection has status 0."""

    server: str
    """`api` or `s3`"""
    method: str
    path: str
    query: str
    status: int


class Traffic:
    """Every exchange so far, oldest first."""

    def __init__(self) -> None:
        self._exchanges: list[Exchange] = []
        self._lock = threading.Lock()

    def record(self, exchange: Exchange) -> None:
        with self._lock:
            self._exchanges.append(exchange)

    def clear(self) -> None:
        with self._lock:
            self._exchanges.clear()

    def count(
        self,
        *,
        server: str | None = None,
        method: str | None = None,
        path: str | None = None,
        status: int | None = None,
    ) -> int:
        """How many exchanges were of this kind. `path` is a regular expression, searched in path and query.

        Path and query are searched as they were sent and decoded.
        """
        return sum(
            (server is None or exchange.server == server)
            and (method is None or exchange.method == method)
            and (status is None or exchange.status == status)
            and (path is None or found_in_target(path, f"{exchange.path}?{exchange.query}"))
            for exchange in self
        )

    def __iter__(self) -> Iterator[Exchange]:
        with self._lock:
            return iter(self._exchanges.copy())

    def __len__(self) -> int:
        return len(self._exchanges)
