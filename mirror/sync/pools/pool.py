"""What all places where items of work are done have in common."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Protocol

from mirror.sync.items import Item, Performed


class WorkerDied(Exception):
    """The process that did an item is gone, and the item may be the reason."""

    def __init__(self, *, certain: bool) -> None:
        super().__init__(certain)
        self.certain = certain
        """it was tried more than once: the item is the reason"""


class Told(Protocol):
    """Hears how items get on, from any thread."""

    def begun(self, item: Item) -> None: ...

    def working(self, item: Item, how_far: str) -> None: ...


class Pool(Protocol):
    """Does items. To be closed, whatever happens."""

    def room(self) -> int:
        """How many items it does at a time."""

    def submit(self, item: Item) -> Future[Any]:
        """Have an item done."""

    def result(self, future: Future[Any]) -> Performed:
        """What came of it, once that is there. `WorkerDied` says what it says, any other error ends the run."""

    def look(self) -> None:
        """Raise if nothing will come any more of what was submitted."""

    def close(self) -> None:
        """End what does the items, at once, whatever it is at: none is left worse than it was."""
