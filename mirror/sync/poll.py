"""Which Dandisets moved: from one listing of them all, and the marks of the last sync."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import islice

from mirror.archive.client import OPEN, ArchiveClient
from mirror.archive.records import DandisetSummary, Unreadable
from mirror.config import Settings
from mirror.dataset.times import moment
from mirror.errors import ArchiveError, BadAnswer, NotAllowed, NotFound, RecordRefused, TokenRefused, Unreachable
from mirror.store.state import DandisetState
from mirror.sync.patience import rests, seen_of

logger = logging.getLogger(__name__)

NAMED_SINGLY = 3
"""Up to so many Dandisets named on the command line are asked for one by one, more by the list of them all."""

BELIEVED_LACKING = 3
"""More Dandisets than this missing from the list although they are there, or may be: something is wrong with the
archive. Likewise of those that were open, and refused from now on."""


@dataclass
class Poll:
    """What a poll found."""

    moved: list[str] = field(default_factory=list)
    """to be synced, the largest first"""
    still: list[str] = field(default_factory=list)
    resting: list[str] = field(default_factory=list)
    """failed, or left open, and not due yet to be tried again"""
    missing: list[str] = field(default_factory=list)
    """not in the archive, or not any more"""
    lacking: list[str] = field(default_factory=list)
    """there, although the list does not have them"""
    embargoed: list[str] = field(default_factory=list)
    """those that are not to be mirrored as long as they are"""
    closed: set[str] = field(default_factory=set)
    """those of the moved, still and resting ones that are under embargo, and mirrored on the store's closed side"""
    unreadable: list[Unreadable] = field(default_factory=list)
    """entries of the list that make no sense, and Dandisets of which nothing can be heard"""
    listed: dict[str, DandisetSummary] = field(default_factory=dict)
    """what the list says of each that is mirrored, or to be"""
    after: datetime | None = None
    """the latest time that the first answer mentions: it was given no earlier"""


def poll(
    client: ArchiveClient,
    settings: Settings,
    named: Collection[str],
    states: Mapping[str, DandisetState],
    layout: str,
    *,
    everything: bool,
    resting_at: datetime | None = None,
) -> Poll:
    """Tell what moved among the selected Dandisets, or those `named`.

    `resting_at`: what failed, or was left open, may rest, by the marks, at this time.
    """
    selected = set(named) or (None if settings.select.dandisets == "all" else set(settings.select.dandisets))
    result = Poll()
    mirrors_embargoed = _mirrors_embargoed(client, settings)
    found = _listed(client, selected, result.unreadable, embargoed=mirrors_embargoed)
    in_first = max(0, client.page_size - len(result.unreadable)) if _by_list(selected) else 1
    result.after = max(_times(islice(found.values(), in_first)), default=None)
    excluded = set() if named else set(settings.select.exclude)
    sizes: dict[str, int] = {}
    for identifier, summary in found.items():
        if identifier in excluded or (selected is not None and identifier not in selected):
            continue
        result.listed[identifier] = summary
        state = states.get(identifier, DandisetState(identifier=identifier))
        if summary.embargo_status != OPEN:
            if not mirrors_embargoed:
                result.embargoed.append(identifier)
                continue
            result.closed.add(identifier)
        if not everything and resting_at is not None and _rests(summary, state, layout, resting_at):
            result.resting.append(identifier)
        elif everything or moved(summary, state, layout):
            result.moved.append(identifier)
            sizes[identifier] = summary.draft_version.asset_count if summary.draft_version else 0
        else:
            result.still.append(identifier)
    result.unreadable = [
        bad
        for bad in result.unreadable
        if bad.identifier not in excluded and (selected is None or bad.identifier in selected)
    ]
    expected: Iterable[str] = states if selected is None else selected
    listed = {*found, *(bad.identifier for bad in result.unreadable)}
    unlisted = sorted(set(expected) - listed - excluded)
    _look_for(client, unlisted, states, result, mirrors_embargoed=mirrors_embargoed)
    result.moved.sort(key=lambda identifier: (-sizes[identifier], identifier))
    return result


def _mirrors_embargoed(client: ArchiveClient, settings: Settings) -> bool:
    """Whether those under embargo are asked for, too."""
    if settings.select.embargoed and not client.http.has_token:
        _tell_of_missing_token(client.token_variable)
    return settings.select.embargoed and client.http.has_token


@cache
def _tell_of_missing_token(variable: str | None) -> None:
    """Once in the life of a process: a daemon polls every few minutes."""
    how = f"set {variable}, or give it" if variable else "give it"
    logger.warning(
        "select.embargoed is on, but there is no token: embargoed Dandisets are not mirrored; %s to `git credential`",
        how,
    )


def moved(summary: DandisetSummary, state: DandisetState, layout: str) -> bool:
    """Whether a Dandiset is to be looked at: because something is new, or because something was left open."""
    # Hashes appear, versions settle, and buckets answer again without any time moving.
    left_open = state.failure or state.pending or state.waiting or state.zarrs_failed
    return bool(left_open) or _is_new(summary, state, layout)


def _rests(summary: DandisetSummary, state: DandisetState, layout: str, now: datetime) -> bool:
    if state.failure is None and _is_new(summary, state, layout):
        return False
    return rests(state, seen_of(summary, layout), now)


def _is_new(summary: DandisetSummary, state: DandisetState, layout: str) -> bool:
    """Whether the archive lists something else than what was last taken."""
    draft, latest = summary.draft_version, summary.most_recent_published_version
    if state.synced is None or state.layout != layout:
        return True
    if state.vanished is not None or (state.embargoed is not None) != (summary.embargo_status != OPEN):
        return True
    if draft is None or draft.modified != state.draft_modified:
        return True
    if latest is None:
        return bool(state.versions)
    return latest.version not in state.waiting and state.versions.get(latest.version) != latest.modified


def _by_list(selected: set[str] | None) -> bool:
    """Whether the list of all is asked for, rather than each by itself."""
    return selected is None or len(selected) > NAMED_SINGLY


def _times(summaries: Iterable[DandisetSummary]) -> Iterator[datetime]:
    """When their latest versions were made."""
    for summary in summaries:
        if (latest := summary.most_recent_published_version) is not None:
            with suppress(RecordRefused):  # whoever reads that version will complain
                yield moment(latest.created)


def _look_for(
    client: ArchiveClient,
    unlisted: Iterable[str],
    states: Mapping[str, DandisetState],
    result: Poll,
    *,
    mirrors_embargoed: bool,
) -> None:
    """Find out of those that the list does not have whether they are gone, or under embargo, as each one's own address
    says.

    A list may lack what is there: a page slid, or the server is in trouble. It is believed in what it names only.
    """
    before, refused = len(result.unreadable), 0
    for identifier in unlisted:
        state = states.get(identifier)
        if state is not None and state.vanished is not None:
            result.missing.append(identifier)
        elif state is not None and state.embargoed is not None and not mirrors_embargoed:
            result.embargoed.append(identifier)
        elif _is_refused(client, identifier, result):
            refused += state is not None and state.synced is not None and state.embargoed is None
        if refused > BELIEVED_LACKING:
            raise BadAnswer(
                "the archive refuses many Dandisets that were open: none of them is taken for embargoed",
                hint="try again later; one that is can be named: `dandi-mirror sync ID`",
            )
        if len(result.lacking) + len(result.unreadable) - before > BELIEVED_LACKING:
            raise BadAnswer("the list of Dandisets lacks many that are there", hint="try again later")


def _is_refused(client: ArchiveClient, identifier: str, result: Poll) -> bool:
    """Ask for one, and put down what it is; whether a refusal is all that there was to hear."""
    try:
        summary = client.dandiset(identifier)
    except NotFound:
        result.missing.append(identifier)
    except TokenRefused:
        raise
    except NotAllowed:
        result.embargoed.append(identifier)
        return True
    except (BadAnswer, Unreachable) as error:
        _charge(client, identifier, error, result.unreadable)
    else:
        (result.lacking if summary.embargo_status == OPEN else result.embargoed).append(identifier)
    return False


def _listed(
    client: ArchiveClient, selected: set[str] | None, unreadable: list[Unreadable], *, embargoed: bool
) -> dict[str, DandisetSummary]:
    found: dict[str, DandisetSummary] = {}
    if selected is None or _by_list(selected):
        # The archive lists those under embargo together with the open ones.
        for entry in client.dandisets(embargoed=embargoed):
            if isinstance(entry, Unreadable):
                unreadable.append(entry)
            else:
                found[entry.identifier] = entry
        return found
    for identifier in sorted(selected):
        try:
            found[identifier] = client.dandiset(identifier)
        except NotFound:
            continue
        except TokenRefused:
            raise
        except NotAllowed:
            found[identifier] = DandisetSummary(identifier, "", "", "EMBARGOED")
        except (BadAnswer, Unreachable) as error:
            _charge(client, identifier, error, unreadable)
    return found


def _charge(client: ArchiveClient, identifier: str, error: ArchiveError, unreadable: list[Unreadable]) -> None:
    """One Dandiset of which the archive says nothing that helps. It is no reason to leave the others alone, unless the
    archive says nothing else either: that is raised."""
    client.instance()
    unreadable.append(Unreadable(identifier, error.message))
