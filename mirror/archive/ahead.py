"""Many things asked for at a time, their answers taken in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def mapped(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[tuple[T, R]]:
    """`work` on each item, in order, at most `ahead` of them at once under way or waiting to be taken."""
    todo = iter(items)
    running: deque[tuple[T, Future[R]]] = deque((item, pool.submit(work, item)) for item in islice(todo, ahead))
    while running:
        item, future = running.popleft()
        result = future.result()
        running.extend((item, pool.submit(work, item)) for item in islice(todo, 1))
        yield item, result
