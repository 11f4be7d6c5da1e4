"""Zarrs that are recorded ahead of their Dandiset's turn: side by side, each as an item of work of its own.

A turn that finds several Zarrs to be recorded breaks off, with nothing written, and names them: `ZarrsFirst`. Once they
are recorded it is had again, and is told what came of each. Whoever hands out turns says by an `Ahead` that this may be
done; otherwise a turn records its Zarrs itself, one after another. What is written is the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from mirror.config import Settings
from mirror.dataset.zarr.checksum import Checksum
from mirror.errors import MirrorError
from mirror.store.room import no_room_of
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.zarr.held import held_zarr, is_up_to_date
from mirror.sync.zarr.subject import Subject
from mirror.sync.zarr.syncing import ZarrPending, ZarrSync

logger = logging.getLogger(__name__)

WORTH_FILES = 2_000
"""With fewer files in all of them together, there is little to be gained by recording Zarrs side by side."""

FILES_PER_ASSET = 2
"""Nor with fewer than so many for each asset of their Dandiset, which has to be listed once more for it."""

MOST_SILENT = 3
"""So many Zarrs of a Dandiset may get no answer before no more of them are asked for: each waits minutes for one."""

_ROUNDS = 3
"""So often a Dandiset's turn may break off: its releases, and its draft, may each have Zarrs of their own."""

Key = tuple[str, str]
"""A Zarr's id, and the checksum of the state that it is to be recorded in."""


@dataclass(frozen=True)
class Wanted:
    """A Zarr that is to be recorded in a state."""

    subject: Subject
    checksum: Checksum
    published: bool = False
    """a published version names this state, which may be gone for good by now"""

    @property
    def key(self) -> Key:
        return self.subject.zarr_id, str(self.checksum)


@dataclass(frozen=True)
class ZarrDone:
    """What came of it."""

    key: Key
    published: bool = False
    """it was recorded for a published version only"""
    wrote: bool = False
    remarks: tuple[str, ...] = ()
    error: MirrorError | ZarrPending | None = None


class ZarrsFirst(Exception):
    """A turn breaks off, since these Zarrs are to be recorded first. That is no failure."""

    def __init__(self, zarrs: tuple[Wanted, ...]) -> None:
        super().__init__(zarrs)
        self.zarrs = zarrs


@dataclass(frozen=True)
class Ahead:
    """What a turn is told of Zarrs that were recorded ahead of it, and whether it may ask for more of that."""

    rounds_left: int = 0
    done: Mapping[Key, ZarrDone] = field(default_factory=dict)

    @classmethod
    def allowed(cls) -> Ahead:
        return cls(_ROUNDS)

    def after(self, done: Iterable[ZarrDone]) -> Ahead:
        """For the next turn, with what came of the Zarrs that the last one asked for."""
        return replace(self, rounds_left=self.rounds_left - 1, done={**self.done, **{one.key: one for one in done}})

    def done_for_draft(self, key: Key) -> ZarrDone | None:
        done = self.done.get(key)
        return done if done is not None and not done.published else None

    def ask(self, zarrs: Iterable[Wanted], assets: int) -> None:
        """Raise `ZarrsFirst` if there is something to be gained by it. So many assets are then listed once more."""
        wanted = {one.key: one for one in zarrs}
        files = sum(one.checksum.files for one in wanted.values())
        if self.rounds_left and len(wanted) > 1 and files >= max(WORTH_FILES, FILES_PER_ASSET * assets):
            raise ZarrsFirst(tuple(wanted.values()))


NOTHING_AHEAD = Ahead()
"""Its Zarrs are recorded in the turn itself."""


def is_held(store: Store, subject: Subject, checksum: Checksum | None) -> bool:
    """Whether a Zarr is held in this state, or, with None, in any. Looked at without its lock, for a first guess."""
    try:
        held = held_zarr(store, store.zarr(subject.zarr_id, private=subject.embargoed))
    except MirrorError:
        return False
    return held is not None and (checksum is None or is_up_to_date(held, subject, checksum))


def record_ahead(
    settings: Settings,
    store: Store,
    connection: Connection,
    wanted: Wanted,
    *,
    everything: bool,
    tell: Callable[[str], None] | None,
) -> ZarrDone:
    """Record a Zarr. Idempotent; whatever is wrong with it becomes part of the result, but for `NoRoom`."""
    zarrs = ZarrSync(settings, store, connection, everything=everything, tell=tell)
    try:
        if wanted.published:
            zarrs.snapshot(wanted.subject, wanted.checksum)
            wrote = False
        else:
            wrote = zarrs.sync(wanted.subject, wanted.checksum)[1]
    except Exception as error:
        if (full := no_room_of(error)) is not None:
            raise full from error
        return ZarrDone(wanted.key, wanted.published, error=_foreseen(wanted, error))
    return ZarrDone(wanted.key, wanted.published, wrote, tuple(zarrs.remarks))


def _foreseen(wanted: Wanted, error: Exception) -> MirrorError | ZarrPending:
    if isinstance(error, MirrorError | ZarrPending):
        return error
    unexpected, embargoed = f"unexpected {type(error).__name__}", wanted.subject.embargoed
    name = f"Zarr {wanted.subject.zarr_id}"
    # What an error says may be what nobody else is to know; the marks have it.
    logger.error("%s: %s", "a Zarr under embargo" if embargoed else name, unexpected, exc_info=not embargoed and error)
    return MirrorError(f"{name}: {unexpected}: {error}")
