"""The faults of the archive's servers, as the plan has them: put up and taken away through the control."""

from __future__ import annotations

from collections.abc import Sequence

from mirror.demo import DemoProcess
from simulation.plan import DRIZZLE, MIST, STORMY, Event


class Weather:
    """Tells the archive what to do to its clients."""

    def __init__(self, archive: DemoProcess, events: Sequence[Event]) -> None:
        self._archive = archive
        self._lasting = [event for event in events if event.kind in ("storm", "outage")]
        self._hangs = [event for event in events if event.kind == "hang"]
        self._now: tuple[Event, ...] | None = None

    def before(self) -> None:
        """Before the week."""
        self._put_up([], MIST)

    def at(self, seconds: float) -> None:
        """So many seconds into the week."""
        lasting = tuple(event for event in self._lasting if event.lasts_at(seconds))
        if lasting != self._now:
            self._now = lasting
            self._put_up(lasting, DRIZZLE)
        while self._hangs and self._hangs[0].at <= seconds:
            del self._hangs[0]
            self._archive.call("add_fault", kind="hang", server="api", times=1)

    def clear(self) -> None:
        self._hangs.clear()
        self._archive.call("clear_faults")

    def struck(self) -> dict[str, int]:
        """How often each kind struck so far."""
        found: dict[str, int] = self._archive.call("count_faults")
        return found

    def _put_up(self, lasting: Sequence[Event], usual: float) -> None:
        """What strikes more often comes first: the first that strikes a request decides."""
        self._archive.call("clear_faults")
        for event in sorted(lasting, key=lambda event: -event.share):
            self._archive.call("add_fault", kind=event.what, share=event.share)
        for kind in STORMY:
            self._archive.call("add_fault", kind=kind, share=usual)
