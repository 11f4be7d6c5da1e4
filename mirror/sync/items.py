"""The items that the work of a sync is made of: one Dandiset, or one Zarr.

Plain data, so that they can be done in other processes and on other machines. Each may be done twice, even at the same
time: who comes second waits for the lock of the repository, or of the Zarr, and finds it done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mirror.archive.http import Tally
from mirror.config import Settings
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.turn import Outcome, store_of_turn, sync_one
from mirror.sync.zarr.ahead import NOTHING_AHEAD, Ahead, Wanted, ZarrDone, ZarrsFirst, record_ahead


@dataclass(frozen=True)
class DandisetWork:
    """A Dandiset that is to be brought up to date."""

    identifier: str
    everything: bool = False
    seen: str = ""
    """what the archive's list had of it"""
    embargoed: bool = False
    """it is under embargo, and mirrored on the store's closed side"""
    ahead: Ahead = NOTHING_AHEAD
    """whether its Zarrs may be recorded ahead of it, and what came of those that were"""


@dataclass(frozen=True)
class ZarrWork:
    """A Zarr of a Dandiset that is to be recorded ahead of it."""

    identifier: str
    """of the Dandiset"""
    wanted: Wanted
    everything: bool = False


Item = DandisetWork | ZarrWork


@dataclass(frozen=True)
class Performed:
    """What came of an item; `asked` is what it took, where the archive was asked over a connection of its own."""

    outcome: Outcome | None = None
    """of a Dandiset; None where Zarrs come first"""
    first: tuple[Wanted, ...] = ()
    zarr: ZarrDone | None = None
    asked: Tally = field(default_factory=Tally)


def perform(
    settings: Settings, store: Store, connection: Connection, item: Item, tell: Callable[[str], None] | None
) -> Performed:
    """Do it. Whatever is wrong with the Dandiset or the Zarr is in the result; what is raised ends the whole run."""
    if isinstance(item, ZarrWork):
        store = store_of_turn(store, item.identifier, embargoed=item.wanted.subject.embargoed)
        done = record_ahead(settings, store, connection, item.wanted, everything=item.everything, tell=tell)
        return Performed(zarr=done)
    try:
        outcome = sync_one(
            settings,
            store,
            connection,
            item.identifier,
            everything=item.everything,
            seen=item.seen,
            embargoed=item.embargoed,
            ahead=item.ahead,
            tell=tell,
        )
    except ZarrsFirst as broken_off:
        return Performed(first=broken_off.zarrs)
    return Performed(outcome)
