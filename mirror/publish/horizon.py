"""How far the chain of all releases may go: up to the first version that is missing. A pure function of the marks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from mirror.dataset.superdataset import Key
from mirror.dataset.times import moment
from mirror.store.frontier import Frontier
from mirror.store.skips import Skip
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


def horizon_of(
    frontier: Frontier | None, selection: str, states: Iterable[DandisetState], skips: Iterable[Skip]
) -> Horizon:
    """How far the chain may go, and why no further."""
    if frontier is None or frontier.selection != selection:
        return Horizon((_NEVER, "", ""), "a sync of all that is selected")
    skipped = {(skip.dandiset, skip.version) for skip in skips}
    end = Horizon((moment(frontier.asked), "", ""))
    for identifier, until in frontier.unknown.items():
        key = (moment(until), "", "")
        if key < end.end:
            end = Horizon(key, f"the versions of Dandiset {identifier}")
    for state in states:
        if state.vanished is not None:
            continue
        for version, created in state.awaited.items():
            key = (moment(created), state.identifier, version)
            if key < end.end and (state.identifier, version) not in skipped:
                end = Horizon(key, _missing(state, version))
    return end


def _missing(state: DandisetState, version: str) -> str:
    why = state.waiting.get(version) or (state.failure.message if state.failure is not None else "not mirrored yet")
    return f"{state.identifier} {version}: {why}"
