"""Which file holds which record, and files of records themselves."""

from __future__ import annotations

import json
from hashlib import sha1

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.dataset.records import (
    by_file,
    digits_for,
    file_name,
    file_names,
    folder_of,
    joined,
    lines_by_path,
    records_path,
    split_lines,
)

paths = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


def line_of(path: str) -> bytes:
    return json.dumps({"metadata": {"name": "é\u2028\u0085"}, "path": path}, ensure_ascii=False).encode() + b"\n"


@pytest.mark.parametrize(
    ("count", "digits"), [(0, 0), (1, 0), (1000, 0), (1001, 1), (16_000, 1), (16_001, 2), (256_000, 2), (256_001, 3)]
)
def test_a_larger_folder_has_more_files(count: int, digits: int) -> None:
    assert digits_for(count) == digits


def test_the_file_of_a_record_is_told_by_the_hash_of_its_path() -> None:
    digest = sha1(b"sub-1/a.nwb").hexdigest()
    assert file_name("sub-1/a.nwb", 0) == "assets.jsonl"
    assert file_name("sub-1/a.nwb", 1) == f"assets-{digest[0]}.jsonl"
    assert file_name("sub-1/a.nwb", 2) == f"assets-{digest[:2]}.jsonl"


def test_all_names_of_a_folders_files() -> None:
    assert file_names(0) == ["assets.jsonl"]
    assert file_names(1)[:2] == ["assets-0.jsonl", "assets-1.jsonl"]
    assert len(set(file_names(1))) == 16
    assert file_names(2)[255] == "assets-ff.jsonl"


@given(paths, st.integers(0, 3))
def test_every_record_is_in_one_of_them(path: str, digits: int) -> None:
    assert file_name(path, digits) in file_names(digits)


@given(st.sets(paths), st.integers(0, 2))
def test_grouping_by_file_loses_nothing(some: set[str], digits: int) -> None:
    groups = by_file(some, digits)
    assert sorted(path for group in groups.values() for path in group) == sorted(some)
    assert all(file_name(path, digits) == name for name, group in groups.items() for path in group)


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        ("", b".dandi/assets/assets.jsonl"),
        ("sub-1", b".dandi/assets/sub-1/assets.jsonl"),
        ("sub-1/ses 2", b".dandi/assets/sub-1/ses 2/assets.jsonl"),
        # escaped like the folder in the tree
        (".git", b".dandi/assets/%2Egit/assets.jsonl"),
        (".dandi", b".dandi/assets/%2Edandi/assets.jsonl"),
        ("a/.dandi", b".dandi/assets/a/.dandi/assets.jsonl"),
        ("100%", b".dandi/assets/100%25/assets.jsonl"),
        # a folder named like a file of records is not in that file's way
        ("assets.jsonl", b".dandi/assets/%61ssets.jsonl/assets.jsonl"),
        ("a/assets-0f.jsonl", b".dandi/assets/a/%61ssets-0f.jsonl/assets.jsonl"),
        ("日本", ".dandi/assets/日本/assets.jsonl".encode()),
    ],
)
def test_where_a_folders_records_lie(folder: str, path: bytes) -> None:
    assert records_path(folder, "assets.jsonl") == path


@pytest.mark.parametrize(("path", "folder"), [("a", ""), ("a/b", "a"), ("a/b/c.nwb", "a/b")])
def test_the_folder_of_a_path(path: str, folder: str) -> None:
    assert folder_of(path) == folder


@given(st.sets(paths))
def test_a_file_of_records_is_read_back_as_it_was_written(some: set[str]) -> None:
    lines = {path: line_of(path) for path in some}
    body = joined(lines)
    assert lines_by_path(body) == lines
    assert b"".join(split_lines(body)) == body


@given(st.permutations(["b", "a", "a/b", "B", "é", "😀", "\uffff"]))
def test_records_are_sorted_by_path_whatever_the_order_they_come_in(order: list[str]) -> None:
    body = joined({path: line_of(path) for path in order})
    assert [json.loads(line)["path"] for line in body.decode().split("\n")[:-1]] == [
        *("B", "a", "a/b", "b", "é", "\uffff", "😀")
    ]
