"""What came of a simulation."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from simulation.comparing import Compared
from simulation.following import Following
from simulation.memory import Trend
from simulation.plan import Event
from simulation.scale import Scale


@dataclass
class Outcome:
    """Figures, and everything that should not be."""

    scale: Scale
    seed: int
    seconds: dict[str, float] = field(default_factory=dict)
    """how long each part took"""
    changes: int = 0
    publications: int = 0
    struck: dict[str, int] = field(default_factory=dict)
    """how often the archive's servers failed, by the kind of it"""
    requests: int = 0
    events: list[Event] = field(default_factory=list)
    """what was planned and did happen"""
    disk: str = ""
    """why no disk was full; empty when one was"""
    followings: list[Following] = field(default_factory=list)
    memory: Trend | None = None
    """of the daemon itself, in its longest life"""
    memory_peak: float = 0.0
    """of the daemon and its workers, in MiB"""
    archive_memory: float = 0.0
    compared: Compared | None = None
    wrong: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = time.monotonic() - began
