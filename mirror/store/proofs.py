"""What the ledgers of a store come to, for `status` and for the figures: how much can be had, and what is at risk."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from mirror.errors import StoreError
from mirror.store.content_book import ContentBook, Holding, book_path
from mirror.store.ledger import LEVELS, Complaint, Figures, Ledger, Level, VersionFigures, damage_in, ledger_path
from mirror.store.sides import Side
from mirror.store.store import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Proofs:
    """What was last seen of all content."""

    figures: Figures
    complaints: Mapping[str, int]
    """severe things that are wrong, by level"""
    oldest: Mapping[Level, int]
    """when the last whole round began of what was proved longest ago, by level; 0: something never was. Levels at
    which nothing was ever begun are left out"""


@dataclass(frozen=True)
class DandisetProofs:
    """What was last seen of one Dandiset."""

    versions: list[VersionFigures]
    complaints: list[tuple[str, Complaint]]
    """what is wrong with it and its Zarrs, each with the identifier or the Zarr's id"""
    here: Holding | None
    """the content that is held here now, its Zarrs' included; None: it is not known"""


def proofs_of(store: Store) -> Proofs | None:
    """What the ledgers come to, as far as this user may read them; None: nothing was ever proved."""
    told = dict(_from_ledgers(store, _summed_up))
    if not told:
        return None
    counts: dict[str, int] = {level: sum(one.complaints.get(level, 0) for one in told.values()) for level in LEVELS}
    return Proofs(sum((one.figures for one in told.values()), Figures()), counts, _oldest(store, told))


def _summed_up(side: Side, ledger: Ledger) -> tuple[Side, Proofs]:
    return side, Proofs(ledger.figures(), ledger.complaint_counts(), ledger.oldest_rounds(side.dandisets()))


def _oldest(store: Store, told: Mapping[Side, Proofs]) -> dict[Level, int]:
    """Of both sides: of one that has Dandisets and nothing was begun of, that never was."""
    found: dict[Level, int] = {}
    has_some = [side for side in (store.open_side, store.closed_side) if side.exists and side.dandisets()]
    for level in LEVELS:
        if begun := [one.oldest[level] for one in told.values() if level in one.oldest]:
            is_whole = all(side in told and level in told[side].oldest for side in has_some)
            found[level] = min(begun) if is_whole else 0
    return found


def proofs_of_dandiset(store: Store, identifier: str) -> DandisetProofs:
    """What was last seen of each version of a Dandiset, and what is wrong with it and its Zarrs."""
    versions: list[VersionFigures] = []
    complaints: list[tuple[str, Complaint]] = []
    datasets = {store.dataset_id(identifier)}
    for of_it, zarrs, wrong in _from_ledgers(store, lambda _, ledger: _of_dandiset(ledger, identifier)):
        versions += of_it
        datasets.update(zarrs)
        complaints += wrong
    return DandisetProofs(versions, complaints, held_now(store, datasets))


def _of_dandiset(
    ledger: Ledger, identifier: str
) -> tuple[list[VersionFigures], list[str], list[tuple[str, Complaint]]]:
    zarrs = ledger.zarrs_in(identifier)
    complaints = [one for subject in (identifier, *zarrs) for one in ledger.complaints(subject)]
    return list(ledger.versions(identifier)), zarrs, complaints


def held_now(store: Store, datasets: Iterable[str] | None = None) -> Holding | None:
    """What content the store holds, of some datasets or of all, by its books; None: these are not complete."""
    total, named = Holding(), sorted(datasets) if datasets is not None else [None]
    for side in (store.open_side, store.closed_side):
        path = book_path(side)
        if not (side.exists and path.is_file()):
            continue
        try:
            with ContentBook(path) as book:
                if not book.is_complete:
                    return None
                for one in map(book.holding, named):
                    total = Holding(
                        total.keys + one.keys, total.bytes + one.bytes, total.distinct_bytes + one.distinct_bytes
                    )
        except (StoreError, PermissionError):
            return None
    return total


def _from_ledgers(store: Store, read: Callable[[Side, Ledger], T]) -> Iterator[T]:
    """What is read from each ledger that there is. Of one that this user may not read, or that is damaged, nothing:
    proving begins another."""
    for side in (store.open_side, store.closed_side):
        path = ledger_path(side)
        try:
            if side.exists and path.is_file():
                with Ledger(path) as ledger:
                    found = read(side, ledger)
                yield found
        except (StoreError, PermissionError):
            continue
        except sqlite3.DatabaseError as error:
            if damage_in(error) is None:
                raise
