"""What stands before an object in a pack is read as it was written, and as git's documentation of packs has it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.git.objects import BLOB, COMMIT, TAG, TREE
from mirror.git.pack_format import (
    LONGEST_HEADER,
    OFS_DELTA,
    PACK_HEADER_SIZE,
    REF_DELTA,
    decode_distance,
    decode_entry_header,
    decode_pack_header,
    encode_distance,
    entry_header,
    pack_header,
)

kinds = st.sampled_from([COMMIT, TREE, BLOB, TAG, OFS_DELTA, REF_DELTA])
# As many short numbers as long ones, and those where a further byte begins.
numbers = st.one_of(st.integers(0, 300), st.integers(0, 2**17), st.integers(0, 2**40))


@given(kind=kinds, size=numbers, more=st.binary(max_size=30))
@example(kind=COMMIT, size=2**40, more=b"")
def test_kind_and_size_come_back_whatever_follows(kind: bytes, size: int, more: bytes) -> None:
    header = entry_header(kind, size)
    assert decode_entry_header(header + more) == (kind, size, len(header))


@given(distance=numbers, more=st.binary(max_size=30))
@example(distance=2**40, more=b"")
def test_a_distance_comes_back_whatever_follows(distance: int, more: bytes) -> None:
    encoded = encode_distance(distance)
    assert decode_distance(encoded + more) == (distance, len(encoded))


@given(st.integers(0, 2**32 - 1))
def test_the_number_of_objects_comes_back(count: int) -> None:
    header = pack_header(count)
    assert len(header) == PACK_HEADER_SIZE
    assert decode_pack_header(header) == count


@pytest.mark.parametrize(
    ("kind", "size", "header"),
    [
        (COMMIT, 0, b"\x10"),
        (TREE, 15, b"\x2f"),
        (BLOB, 16, b"\xb0\x01"),
        (TAG, 2047, b"\xcf\x7f"),
        (OFS_DELTA, 2048, b"\xe0\x80\x01"),
        (REF_DELTA, 2**18, b"\xf0\x80\x80\x01"),
    ],
)
def test_kinds_and_sizes_as_git_writes_them(kind: bytes, size: int, header: bytes) -> None:
    assert entry_header(kind, size) == header


@pytest.mark.parametrize(
    ("distance", "encoded"),
    [
        (1, b"\x01"),
        (127, b"\x7f"),
        (128, b"\x80\x00"),
        (255, b"\x80\x7f"),
        (256, b"\x81\x00"),
        (16511, b"\xff\x7f"),
        (16512, b"\x80\x80\x00"),
    ],
)
def test_distances_as_git_writes_them(distance: int, encoded: bytes) -> None:
    assert encode_distance(distance) == encoded


@given(st.lists(numbers, min_size=2, max_size=2, unique=True).map(sorted))
def test_a_longer_distance_is_not_written_shorter(distances: list[int]) -> None:
    near, far = map(encode_distance, distances)
    assert (len(near), near) < (len(far), far)


@given(kind=kinds, size=numbers, data=st.data())
def test_what_is_cut_short_in_front_of_an_object_is_told_from_what_is_wrong(
    kind: bytes, size: int, data: st.DataObject
) -> None:
    header, distance = entry_header(kind, size), encode_distance(size)
    with pytest.raises(IndexError):
        decode_entry_header(header[: data.draw(st.integers(0, len(header) - 1))])
    with pytest.raises(IndexError):
        decode_distance(distance[: data.draw(st.integers(0, len(distance) - 1))])


@pytest.mark.parametrize("number", [0, 5])
@pytest.mark.parametrize("more", [b"", b"\x01"])
def test_there_is_no_kind_0_and_no_kind_5(number: int, more: bytes) -> None:
    first = number << 4 | 15 | (0x80 if more else 0)
    with pytest.raises(ValueError, match=f"no kind of object with the number {number}$"):
        decode_entry_header(bytes([first]) + more)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"PACK\0\0\0\2\0\0\0",
        b"PACK\0\0\0\2\0\0\0\1\0",
        b"PACK\0\0\0\3\0\0\0\1",
        b"pack\0\0\0\2\0\0\0\1",
        b"\377tOc\0\0\0\2\0\0\0\1",
    ],
)
def test_what_is_no_pack_is_refused(header: bytes) -> None:
    with pytest.raises(ValueError, match="not a pack"):
        decode_pack_header(header)


def test_nothing_before_an_object_is_longer_than_readers_reckon_with() -> None:
    huge = 2**63 - 1
    assert len(entry_header(REF_DELTA, huge) + bytes(20)) <= LONGEST_HEADER
    assert len(entry_header(OFS_DELTA, huge) + encode_distance(huge)) <= LONGEST_HEADER
