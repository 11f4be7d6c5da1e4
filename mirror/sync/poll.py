"""Which Dandisets moved: from one listing of them all, and the marks of the last sync."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from mirror.archive.client import ArchiveClient
from mirror.archive.records import DandisetSummary
from mirror.config import Settings
from mirror.errors import NotAllowed, NotFound
from mirror.store.state import DandisetState

NAMED_SINGLY = 3
"""Up to so many Dandisets named on the command line are asked for one by one, more by the list of them all."""

OPEN = "OPEN"


@dataclass
class Poll:
    """What a poll found."""

    moved: list[str] = field(default_factory=list)
    """to be synced, the largest first"""
    still: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """not in the archive, or not any more"""
    embargoed: list[str] = field(default_factory=list)


def poll(
    client: ArchiveClient,
    settings: Settings,
    named: Collection[str],
    states: Mapping[str, DandisetState],
    layout: str,
    *,
    everything: bool,
) -> Poll:
    """Tell what moved among the selected Dandisets, or those `named`."""
    selected = set(named) or (None if settings.select.dandisets == "all" else set(settings.select.dandisets))
    found = _listed(client, selected)
    excluded = set() if named else set(settings.select.exclude)
    result = Poll()
    sizes: dict[str, int] = {}
    for identifier, summary in found.items():
        if identifier in excluded or (selected is not None and identifier not in selected):
            continue
        state = states.get(identifier, DandisetState(identifier=identifier))
        if summary.embargo_status != OPEN:
            result.embargoed.append(identifier)
        elif everything or moved(summary, state, layout):
            result.moved.append(identifier)
            sizes[identifier] = summary.draft_version.asset_count if summary.draft_version else 0
        else:
            result.still.append(identifier)
    expected: Iterable[str] = states if selected is None else selected
    result.missing = sorted(
        identifier for identifier in expected if identifier not in found and identifier not in excluded
    )
    result.moved.sort(key=lambda identifier: (-sizes[identifier], identifier))
    return result


def moved(summary: DandisetSummary, state: DandisetState, layout: str) -> bool:
    """Whether a Dandiset is to be looked at: because something is new, or because something was left open."""
    draft, latest = summary.draft_version, summary.most_recent_published_version
    if state.synced is None or state.failure is not None or state.vanished is not None or state.layout != layout:
        return True
    if state.pending or state.waiting:
        # Hashes appear, and versions settle, without any time moving.
        return True
    if draft is None or draft.modified != state.draft_modified:
        return True
    if latest is None:
        return bool(state.versions)
    return state.versions.get(latest.version) != latest.modified


def _listed(client: ArchiveClient, selected: set[str] | None) -> dict[str, DandisetSummary]:
    if selected is None or len(selected) > NAMED_SINGLY:
        return {summary.identifier: summary for summary in client.dandisets()}
    found = {}
    for identifier in sorted(selected):
        try:
            found[identifier] = client.dandiset(identifier)
        except NotFound:
            continue
        except NotAllowed:
            found[identifier] = DandisetSummary(identifier, "", "", "EMBARGOED")
    return found
