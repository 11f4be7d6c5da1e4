"""Git understands the index we write, and millions of objects fit into it."""

from __future__ import annotations

import io
import os
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.git.objects import BLOB, Oid, hash_object
from mirror.git.pack_index import PackIndex, count_of, write_index
from tests.conftest import examples

Git = Callable[..., str]
Row = tuple[Oid, int, int]

CHECKSUM = b"\7" * 20


def index_of(rows: Iterable[Row]) -> bytes:
    index = PackIndex()
    for row in rows:
        index.add(*row)
    index.sort()
    return b"".join(index.parts(CHECKSUM))


def as_git_shows(rows: Iterable[Row]) -> list[str]:
    return [f"{offset} {oid.hex()} ({crc:08x})" for oid, crc, offset in sorted(rows)]


@examples(25)
@given(
    st.lists(
        st.tuples(st.binary(min_size=20, max_size=20), st.integers(0, 2**32 - 1), st.integers(0, 2**40)),
        max_size=50,
        unique_by=lambda row: row[0],
    )
)
def test_git_shows_what_was_put_in_in_the_order_of_names(run: Git, rows: list[Row]) -> None:
    assert run("show-index", stdin=index_of(rows)).splitlines() == as_git_shows(rows)


def test_offsets_beyond_two_gigabytes_whatever_the_order_they_come_in(run: Git) -> None:
    rows = [(hash_object(BLOB, b"%d" % number), number, 12 + number * (1 << 29)) for number in range(50)]
    assert run("show-index", stdin=index_of(reversed(rows))).splitlines() == as_git_shows(rows)
    assert index_of(rows) == index_of(reversed(rows))


def test_the_length_is_the_number_of_objects() -> None:
    index = PackIndex()
    assert not index
    for number in range(700):
        index.add(hash_object(BLOB, b"%d" % number), 0, number)
    assert len(index) == 700


def test_an_object_that_is_there_twice_is_refused_by_name() -> None:
    index = PackIndex()
    oids = [hash_object(BLOB, b"%d" % number) for number in range(1000)]
    for place, oid in enumerate([*oids, oids[500]]):
        index.add(oid, place, place)
    with pytest.raises(ValueError, match=oids[500].hex()):
        index.sort()


def test_names_that_differ_in_the_last_byte_only_are_not_the_same(run: Git) -> None:
    rows = [(b"\1" * 19 + bytes([last]), 0, last) for last in (255, 0, 1)]
    assert run("show-index", stdin=index_of(rows)).splitlines() == as_git_shows(rows)


def test_an_object_takes_36_bytes_and_the_writing_of_them_all_not_half_of_that_again() -> None:
    count = 100_000
    oids = os.urandom(20 * count)
    tracemalloc.start()
    index = PackIndex()
    for number in range(count):
        index.add(oids[20 * number : 20 * number + 20], number, number)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    index.sort()
    longest = max(map(len, index.parts(CHECKSUM)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 37 * count
    assert peak < 1.5 * held
    assert longest < held / 100


# An index of what is listed somewhere


def written(rows: Iterable[Row]) -> bytes:
    out, listed = io.BytesIO(), sorted(rows)
    write_index(out, lambda: iter(listed), CHECKSUM)
    return out.getvalue()


@given(
    st.lists(
        st.tuples(st.binary(min_size=20, max_size=20), st.integers(0, 2**32 - 1), st.integers(0, 2**40)),
        max_size=50,
        unique_by=lambda row: row[0],
    )
)
def test_what_is_written_of_a_list_is_the_same_index(rows: list[Row]) -> None:
    assert written(rows) == index_of(rows)


def test_so_it_is_with_as_many_as_are_taken_in_several_turns(run: Git) -> None:
    for count in (4095, 4096, 4097, 10_000):
        rows = [(hash_object(BLOB, b"%d" % number), number, 12 + number * (1 << 20)) for number in range(count)]
        assert written(rows) == index_of(rows)
    assert run("show-index", stdin=written(rows)).splitlines() == as_git_shows(rows)


def test_writing_it_takes_the_memory_of_some_lines_whatever_their_number() -> None:
    def rows() -> Iterator[Row]:
        return ((number.to_bytes(2, "big") + b"\1" * 18, number, number) for number in range(1 << 16))

    class Nowhere:
        def write(self, data: bytes) -> None:
            assert len(data) < 100_000

    tracemalloc.start()
    write_index(Nowhere(), rows, CHECKSUM)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("count", [0, 1, 700])
def test_an_index_tells_how_many_it_lists(tmp_path: Path, count: int) -> None:
    path = tmp_path / "some.idx"
    path.write_bytes(index_of((hash_object(BLOB, b"%d" % number), 0, number) for number in range(count)))
    assert count_of(path) == count


def test_what_is_no_index_lists_nothing(tmp_path: Path) -> None:
    path, whole = tmp_path / "some.idx", index_of([(b"\1" * 20, 0, 12)])
    for data in (b"", whole[:1031], b"\0" + whole[1:], whole[:7] + b"\3" + whole[8:], b"x" * 2000):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="not an index of git's version 2, or cut short"):
            count_of(path)
