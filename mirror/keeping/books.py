"""The books of both sides of a store: what content it holds, and that they tell the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

from mirror.keeping.pins import pins_of, put_in_place
from mirror.keeping.wishes import Zarrs, keys_of
from mirror.store import contents
from mirror.store.content_book import ContentBook, HeldContent, Holding, book_path
from mirror.store.locations import annex_uuid, present_in
from mirror.store.store import Store

_AT_ONCE = 10_000


class Books:
    """Both of them. A context manager; not for several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stack = ExitStack()
        self._books: dict[bool, ContentBook] = {}

    def __enter__(self) -> Self:
        for side in (self._store.open_side, self._store.closed_side):
            if side.exists:
                self._books[side.is_private] = self._stack.enter_context(ContentBook(book_path(side)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def of(self, dataset_id: str) -> ContentBook:
        """The book of the side that a dataset is on."""
        private = self._store.is_private(dataset_id)
        if private not in self._books:
            side = self._store.side(private=private)
            self._books[private] = self._stack.enter_context(ContentBook(book_path(side)))
        return self._books[private]

    @property
    def is_complete(self) -> bool:
        return all(book.is_complete for book in self._books.values())

    def holding(self) -> Holding:
        """What is held in sum, on both sides."""
        held = [book.holding() for book in self._books.values()]
        return Holding(
            *(sum(values) for values in zip(*((h.keys, h.bytes, h.distinct_bytes) for h in held), strict=True))
        )

    def datasets(self) -> Iterator[str]:
        """The datasets of which content is held, on both sides."""
        return (dataset_id for book in self._books.values() for dataset_id in book.datasets())

    def same_as(self, key: str, *, private: bool) -> Iterator[tuple[Path, bool]]:
        """Where the same bytes are, and whether a link to them may be made: not from one side to the other, for the
        number of links to a public file would tell of one that is not.

        What is under embargo is no source for what is not.
        """
        for side_is_private in dict.fromkeys((private, False)):
            book = self._books.get(side_is_private)
            for dataset_id, other in book.same_as(key) if book is not None else ():
                place = contents.found(self._store.dataset(dataset_id).path, other)
                if place is not None:
                    yield place, side_is_private is private

    def bring_up_to_date(self, told: Callable[[], object] = lambda: None) -> None:
        """Make a book anew that was lost; put into the right one what has changed sides since. `told` is called now
        and then; what it raises ends this."""
        if self._store.closed_side.exists:
            put_in_place(self._store)
        for private, book in list(self._books.items()):
            for dataset_id in book.datasets():
                if self._store.is_private(dataset_id) is not private:
                    self._move(book, dataset_id)
        lost = [private for private, book in self._books.items() if not book.is_complete]
        for private in lost:
            for dataset_id in self._store.side(private=private).repositories():
                self._scan(self._books[private], dataset_id, told)
        if lost:
            self._mark_pinned()
        for private in lost:
            self._books[private].completed()

    def _mark_pinned(self) -> None:
        """Say of what is held which of it was asked for by hand."""
        for pin in pins_of(self._store):
            # One that is gone has no content. Whoever cannot be read fails here: nothing of it is to be given up.
            if self._store.repository(pin.identifier).path.is_dir():
                self.set_by_hand(((one.dataset_id, one.key) for one in keys_of(self._store, pin, Zarrs())), True)

    def set_by_hand(self, keys: Iterable[tuple[str, str]], by_hand: bool) -> None:
        given = iter(keys)
        while batch := list(islice(given, _AT_ONCE)):
            for dataset_id in dict.fromkeys(one for one, _ in batch):
                self.of(dataset_id).set_by_hand((pair for pair in batch if pair[0] == dataset_id), by_hand)

    def _scan(self, book: ContentBook, dataset_id: str, told: Callable[[], object]) -> None:
        """What is in place without being noted is left out: it is looked at when somebody asks for it."""
        repository = self._store.dataset(dataset_id)
        if not (repository.path / "annex" / "objects").is_dir():
            return
        uuid, held = annex_uuid(repository), contents.held(repository.path)
        while batch := dict(islice(held, _AT_ONCE)):
            noted = present_in(repository, uuid, batch)
            book.add(HeldContent(dataset_id, key, batch[key], False) for key, is_noted in noted if is_noted)
            told()

    def _move(self, book: ContentBook, dataset_id: str) -> None:
        other = self.of(dataset_id)
        other.add(book.held(dataset_id))
        book.remove((dataset_id, one.key) for one in book.held(dataset_id))
