"""A store at a glance: what it holds, what is done in it, what fails, what changed last.

Read from the marks alone, and of these only what is new since the last look: cheap enough for every other second.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mirror.dataset.times import moment
from mirror.errors import RecordRefused
from mirror.store.activity import Activity, read_activity
from mirror.store.disk import Disk, disk_of
from mirror.store.feed import Change, read_changes
from mirror.store.job_marks import JobMark, JobName, read_job_marks
from mirror.store.state import DandisetState, read_state
from mirror.store.store import Store

_TAIL_BYTES = 128 * 1024
_SUFFIX = ".json"


@dataclass(frozen=True)
class Totals:
    """What all of it comes to."""

    dandisets: int = 0
    versions: int = 0
    assets: int = 0
    bytes: int = 0
    pending: int = 0
    unmirrored: int = 0
    """Dandisets that were looked at, and of which nothing is mirrored yet"""


@dataclass(frozen=True)
class Lag:
    """How long after a draft was modified the last changes were here, in seconds."""

    count: int
    middle: float
    longest: float


@dataclass(frozen=True)
class Glance:
    """What one look showed."""

    totals: Totals
    activity: Activity | None
    jobs: dict[JobName, JobMark]
    failing: tuple[DandisetState, ...]
    """those that failed most often first"""
    changes: tuple[Change, ...]
    """the last first"""
    lag: Lag | None
    disk: Disk


class Glances:
    """Looks at a store again and again. `identifiers`: only at these Dandisets."""

    def __init__(self, store: Store, identifiers: Collection[str] = ()) -> None:
        self._store = store
        self._wanted = frozenset(identifiers)
        self._folder = store.open_side.state
        self._states: dict[str, tuple[tuple[int, int], DandisetState]] = {}

    def look(self) -> Glance:
        states = self._read_states()
        changes = tuple(self._last_changes())
        failing = (state for state in states if state.failure is not None)
        jobs = read_job_marks(self._folder)
        return Glance(
            _totals(states),
            read_activity(self._folder),
            jobs,
            tuple(sorted(failing, key=_failed_most)),
            changes,
            lag_of(changes, {state.identifier: state for state in states}),
            disk_of(self._store.root, jobs),
        )

    def _read_states(self) -> list[DandisetState]:
        found: dict[str, tuple[tuple[int, int], DandisetState]] = {}
        for identifier, entry in self._files():
            with contextlib.suppress(FileNotFoundError):
                stat = entry.stat()
                # Each time it is written it is another file.
                mark = stat.st_ino, stat.st_mtime_ns
                known = self._states.get(identifier)
                state = known[1] if known is not None and known[0] == mark else read_state(Path(entry), identifier)
                found[identifier] = mark, state
        self._states = found
        return [state for _, state in found.values()]

    def _files(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """The files that marks are in; none where their folder was lost, which the next sync makes anew."""
        for side in (self._store.open_side, self._store.closed_side):
            # What is under embargo, its owner alone may look at.
            with contextlib.suppress(FileNotFoundError, PermissionError), os.scandir(side.state / "dandisets") as found:
                for entry in found:
                    identifier = entry.name.removesuffix(_SUFFIX)
                    is_one = entry.name.endswith(_SUFFIX) and identifier.isdecimal()
                    if is_one and (not self._wanted or identifier in self._wanted):
                        yield identifier, entry

    def _last_changes(self) -> Iterator[Change]:
        for change in reversed(last_changes(self._store.changes)):
            if not self._wanted or change.dandiset in self._wanted:
                yield change


def last_changes(path: Path) -> Sequence[Change]:
    """The last lines of the feed, in their order."""
    try:
        size = path.stat().st_size
        start = max(0, size - _TAIL_BYTES)
        with path.open("rb") as stream:
            stream.seek(start)
            start += len(stream.readline()) if start else 0
        return [change for _, change in read_changes(path, start)]
    except FileNotFoundError:
        return []


def lag_of(changes: Collection[Change], states: dict[str, DandisetState]) -> Lag | None:
    """How far behind the archive these changes of drafts came, of those that can be told: the last of each Dandiset.

    The first of a Dandiset does not count: it may have been modified years before there was a mirror.
    """
    lags = []
    for change in changes:
        state = states.get(change.dandiset)
        holding = state.holding if state is not None else None
        if holding is not None and change.old is not None and holding.draft == change.new:
            with contextlib.suppress(RecordRefused):
                lags.append(max(0.0, (moment(change.time) - moment(holding.modified)).total_seconds()))
    return Lag(len(lags), median(lags), max(lags)) if lags else None


def _totals(states: Collection[DandisetState]) -> Totals:
    held = [state.holding for state in states if state.holding is not None]
    return Totals(
        dandisets=len(held),
        versions=sum(len(one.releases) for one in held),
        assets=sum(one.assets for one in held),
        bytes=sum(one.bytes for one in held),
        pending=sum(state.pending for state in states),
        unmirrored=sum(state.holding is None and state.embargoed is None for state in states),
    )


def _failed_most(state: DandisetState) -> tuple[int, str]:
    return -(state.failure.count if state.failure is not None else 0), state.identifier
