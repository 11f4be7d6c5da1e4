"""What befalls the archive and its mirrors in the course of the week, as the plan has it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from simulation.disk import SmallDisk
from simulation.following import Following, Trouble
from simulation.plan import Event
from simulation.weather import Weather

_HUNG = 130
"""For so many seconds a client waits for a server that says nothing, and then asks again."""


class Troubles:
    """Lets what is due happen, and notes for each mirror when it cannot be expected to follow."""

    def __init__(
        self,
        events: Sequence[Event],
        weather: Weather,
        disk: SmallDisk | None,
        followings: Sequence[Following],
        say: Callable[[str], None],
    ) -> None:
        self.happened: list[Event] = []
        self._waiting = list(events)
        self._weather = weather
        self._disk = disk
        self._full_until = 0.0
        """0 while there is room"""
        self._followings = followings
        self._say = say

    def at(self, seconds: float) -> None:
        """So many seconds into the week."""
        self._weather.at(seconds)
        if seconds >= self._full_until:
            self._free_disk()
        due = [event for event in self._waiting if event.at <= seconds]
        for event in due:
            if self._happens(event):
                self._waiting.remove(event)
                self.happened.append(event)
                self._say(_described(event))

    def end(self) -> None:
        """No more of it."""
        self._weather.clear()
        self._free_disk()

    def _free_disk(self) -> None:
        if self._disk is not None and self._full_until:
            self._disk.free()
            self._full_until = 0.0

    def _happens(self, event: Event) -> bool:
        """Whether it could; if not, it is tried again."""
        if event.kind == "kill":
            return self._kill(event)
        if event.kind == "full":
            return self._fill(event)
        if event.kind != "storm":
            # It need not be the mirror that a hang strikes; whom it does not strike loses nothing.
            self._note(self._followings, _HUNG if event.kind == "hang" else event.seconds)
        return True

    def _kill(self, event: Event) -> bool:
        """Not while nobody is at work: as soon as somebody is."""
        (struck,) = self._struck_by(event)
        began = time.time()
        if not struck.mirror.kill(alone=event.alone):
            return False
        struck.troubles.append(Trouble(began, time.time()))
        return True

    def _fill(self, event: Event) -> bool:
        if self._disk is None:
            return False
        self._disk.fill()
        self._full_until = event.until
        self._note(self._struck_by(event), event.seconds)
        return True

    def _struck_by(self, event: Event) -> list[Following]:
        return [one for one in self._followings if one.mirror.name == event.what]

    @staticmethod
    def _note(followings: Sequence[Following], seconds: float) -> None:
        now = time.time()
        for following in followings:
            following.troubles.append(Trouble(now, now + seconds))


def _described(event: Event) -> str:
    match event.kind:
        case "kill":
            return f"{event.what}: killed{', alone' if event.alone else ''}"
        case "hang":
            return "the next request is not answered at all"
        case "full":
            return f"{event.what}: its disk is full, for {event.seconds:.0f} s"
    return f"{event.kind} of {event.what}, for {event.seconds:.0f} s"
