"""What the ledgers of a store come to, for `status` and for the figures: how much can be had, and what is at risk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from mirror.errors import StoreError
from mirror.store.content_book import ContentBook, Holding, book_path
from mirror.store.ledger import LEVELS, Complaint, Figures, Ledger, Level, VersionFigures, ledger_path
from mirror.store.sides import Side
from mirror.store.store import Store


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
    figures, oldest = Figures(), dict[Level, int]()
    counts: dict[str, int] = dict.fromkeys(LEVELS, 0)
    found = False
    with _ledgers(store) as ledgers:
        for side, ledger in ledgers:
            found = True
            figures += ledger.figures()
            for name, count in ledger.complaint_counts().items():
                counts[name] = counts.get(name, 0) + count
            for level, began in ledger.oldest_rounds(side.dandisets()).items():
                oldest[level] = min(began, oldest.get(level, began))
    return Proofs(figures, counts, oldest) if found else None


def proofs_of_dandiset(store: Store, identifier: str) -> DandisetProofs:
    """What was last seen of each version of a Dandiset, and what is wrong with it and its Zarrs."""
    versions: list[VersionFigures] = []
    complaints: list[tuple[str, Complaint]] = []
    datasets = {store.dataset_id(identifier)}
    with _ledgers(store) as ledgers:
        for _, ledger in ledgers:
            versions += ledger.versions(identifier)
            zarrs = ledger.zarrs_in(identifier)
            datasets.update(zarrs)
            for subject in (identifier, *zarrs):
                complaints += ledger.complaints(subject)
    return DandisetProofs(versions, complaints, held_now(store, datasets))


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


@contextmanager
def _ledgers(store: Store) -> Iterator[Iterator[tuple[Side, Ledger]]]:
    """The ledgers that there are, each open while it is its turn."""

    def each() -> Iterator[tuple[Side, Ledger]]:
        for side in (store.open_side, store.closed_side):
            path = ledger_path(side)
            if side.exists and path.is_file():
                with suppress(StoreError, PermissionError), Ledger(path) as ledger:
                    yield side, ledger

    yield each()
