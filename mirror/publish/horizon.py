"""How far the chain of all releases may go: up to the first version that is missing. A pure function of the marks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mirror.dataset.superdataset import Key
from mirror.dataset.times import moment
from mirror.store.frontier import Frontier
from mirror.store.skips import ALL_UNKNOWN, Skip
from mirror.store.state import DandisetState

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Horizon:
    """Every published version that stands before `end` is known, and mirrored."""

    end: Key
    waits_for: str | None = None
    """the version that is missing there, with the reason; None where it is only that the archive was not asked since"""

    def includes(self, key: Key) -> bool:
        return key < self.end


@dataclass(frozen=True)
class Marks:
    """What is known of versions that are, or may be, missing."""

    frontier: Frontier | None
    states: Mapping[str, DandisetState]
    """of the selected Dandisets"""
    skips: Iterable[Skip]
    mirrored: Collection[tuple[str, str]]
    """Dandiset and version of all that could be put into a chain"""
    unread: Mapping[str, datetime]
    """Dandisets whose repository could not be looked into, with the time up to which it could"""


def horizon_of(marks: Marks, selection: str) -> Horizon:
    """How far the chain may go, and why no further."""
    frontier = marks.frontier
    if frontier is None or frontier.selection != selection:
        return Horizon((_NEVER, "", ""), "a sync of all that is selected")
    ends = [Horizon((moment(frontier.asked), "", "")), *_unknown(marks, frontier), *_missing(marks, frontier)]
    return min(ends, key=lambda one: one.end)


def _unknown(marks: Marks, frontier: Frontier) -> Iterator[Horizon]:
    """Dandisets of which it is not known which versions there are."""
    skipped = {skip.dandiset for skip in marks.skips if skip.version == ALL_UNKNOWN}
    for identifier, until in frontier.unknown.items():
        if identifier not in skipped:
            absent = frontier.absent.get(identifier)
            since = f", which the archive does not show since {absent[:16].replace('T', ' ')}" if absent else ""
            yield Horizon((moment(until), "", ""), f"the versions of Dandiset {identifier}{since}")
    for identifier, time in marks.unread.items():
        yield Horizon((time, "", ""), f"Dandiset {identifier}, whose repository could not be catalogued")


def _missing(marks: Marks, frontier: Frontier) -> Iterator[Horizon]:
    """Versions that are known to be missing."""
    skipped = {(skip.dandiset, skip.version) for skip in marks.skips}
    for identifier, state in marks.states.items():
        if state.vanished is not None and identifier not in frontier.unknown:
            continue
        for version, created in {**frontier.awaited.get(identifier, {}), **state.awaited}.items():
            one = (identifier, version)
            if one not in marks.mirrored and one not in skipped:
                yield Horizon((moment(created), *one), _why(state, version))


def _why(state: DandisetState, version: str) -> str:
    why = state.waiting.get(version) or (state.failure.message if state.failure is not None else "not mirrored yet")
    return f"{state.identifier} {version}: {why}"
