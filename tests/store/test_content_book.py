"""The book of what content is held."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.annex.keys import md5e_key, sha256e_key
from mirror.store.content_book import ContentBook, HeldContent, Holding

A = sha256e_key("a.nwb", 5, "a" * 64)
A_AGAIN = sha256e_key("a.dat", 5, "a" * 64)
B = sha256e_key("b.nwb", 7, "b" * 64)
M = md5e_key("0.1", 5, "a" * 32)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[ContentBook]:
    with ContentBook(tmp_path / "contents.sqlite") as book:
        yield book


def test_it_tells_what_is_held_and_who_asked_for_it(book: ContentBook) -> None:
    book.add([HeldContent("d", A, 5, False), HeldContent("d", B, 7, True), HeldContent("e", A, 5, False)])
    assert list(book.held("d")) == [HeldContent("d", A, 5, False), HeldContent("d", B, 7, True)]
    assert book.get("e", A) == HeldContent("e", A, 5, False)
    assert book.get("e", B) is None
    assert book.datasets() == ["d", "e"]
    book.remove([("e", A)])
    assert book.datasets() == ["d"]


def test_what_was_asked_for_by_hand_stays_so_until_it_is_said_otherwise(book: ContentBook) -> None:
    book.add([HeldContent("d", A, 5, True)])
    book.add([HeldContent("d", A, 5, False)])
    assert book.get("d", A) == HeldContent("d", A, 5, True)
    book.set_by_hand([("d", A)], False)
    assert book.get("d", A) == HeldContent("d", A, 5, False)


def test_the_same_bytes_are_found_under_other_keys_and_no_others(book: ContentBook) -> None:
    book.add([HeldContent("d", A, 5, True), HeldContent("e", A_AGAIN, 5, True), HeldContent("e", M, 5, True)])
    assert sorted(book.same_as(A)) == [("d", A), ("e", A_AGAIN)]
    assert list(book.same_as(B)) == []


def test_sums_count_each_file_and_each_content(book: ContentBook) -> None:
    book.add([HeldContent("d", A, 5, True), HeldContent("e", A_AGAIN, 5, True), HeldContent("e", B, 7, True)])
    assert book.holding() == Holding(3, 17, 12)
    assert book.holding("e") == Holding(2, 12, 12)
    assert book.holding("nobody") == Holding()


def test_it_is_read_page_by_page_while_it_is_written(book: ContentBook) -> None:
    keys = [sha256e_key("x", number, f"{number:064x}") for number in range(25_000)]
    book.add(HeldContent("d", key, 1, False) for key in keys)
    seen = 0
    for one in book.held("d"):
        book.remove([("d", one.key)]) if seen % 1000 == 0 else None
        seen += 1
    assert seen == 25_000
    assert book.holding().keys == 25_000 - 25


def test_a_new_book_says_that_it_knows_nothing_yet(tmp_path: Path) -> None:
    path = tmp_path / "contents.sqlite"
    with ContentBook(path) as book:
        assert not book.is_complete
        book.completed()
    with ContentBook(path) as book:
        assert book.is_complete
    path.write_bytes(b"damaged" * 1000)
    with ContentBook(path) as book:
        assert not book.is_complete


def test_of_what_is_in_very_many_places_some_are_told(tmp_path: Path) -> None:
    with ContentBook(tmp_path / "book.sqlite") as book:
        keys = [sha256e_key(f"a.{number}", 3, "0" * 64) for number in range(1000)]
        book.add(HeldContent("d", key, 3, False) for key in keys)
        assert 1 <= len(list(book.same_as(keys[0]))) <= 100
