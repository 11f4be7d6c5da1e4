"""A manifest: what is written can be read, however it is cut, and what is damaged is told."""

from __future__ import annotations

from hashlib import md5, sha1
from itertools import pairwise
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.dataset.zarr.checksum import Checksum
from mirror.dataset.zarr.folders import Folder
from mirror.dataset.zarr.manifest import (
    Change,
    HeldFolder,
    Origin,
    block,
    changed_files,
    read_manifest,
    read_undo,
    undo_lines,
)
from mirror.errors import StoreError

ORIGIN = Origin(2, "https://bucket.example.org/zarr/1/", "https://api.example.org/api")
HEAD = ORIGIN.head()

NAMES = st.text(alphabet="ab01.-~ %é", min_size=1, max_size=4).map(lambda name: quote(name, safe="").encode())
LINES = st.builds(
    lambda content, version, second: (
        b"%b\t%d\t%b\t2026-11-20T15:34:%02d.000Z"
        % (md5(content, usedforsecurity=False).hexdigest().encode(), len(content), version, second)
    ),
    st.binary(max_size=2),
    st.sampled_from([b"", b"v.1", b"v_2"]),
    st.integers(0, 59),
)
FILES = st.dictionaries(NAMES, LINES, max_size=6)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)


def in_order(files: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """By the true names."""
    return sorted(files.items(), key=lambda item: unquote_to_bytes(item[0]))


def folder_of(path: bytes, files: dict[bytes, bytes]) -> Folder:
    return Folder(path, b"\n".join(b"%b\t%b" % item for item in in_order(files)))


FOLDERS = st.dictionaries(PATHS, FILES, max_size=6).flatmap(
    lambda found: FILES.map(
        lambda top: [*(folder_of(path, found[path]) for path in sorted(found)), folder_of(b"", top)]
    )
)


def written(folders: list[Folder]) -> tuple[bytes, list[HeldFolder]]:
    """A manifest's text, and what has to be read from it."""
    text, expected = HEAD, list[HeldFolder]()
    for number, folder in enumerate(folders):
        tree = sha1(b"%d" % number, usedforsecurity=False).digest()
        checksum = Checksum(md5(tree, usedforsecurity=False).hexdigest(), number, number)
        latest = b"2026-11-20T15:34:%02d.000Z" % number if folder.lines else b""
        text += b"".join(block(folder, checksum, tree, latest))
        expected.append(HeldFolder(folder, str(checksum).encode(), tree.hex().encode(), latest))
    return text, expected


@given(FOLDERS, st.lists(st.integers(0, 5000), max_size=12))
def test_what_is_written_can_be_read_however_it_is_cut(folders: list[Folder], cuts: list[int]) -> None:
    text, expected = written(folders)
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    chunks = [text[start:end] for start, end in pairwise(edges)]
    assert list(read_manifest(chunks)) == expected


@given(FOLDERS)
def test_what_is_written_can_be_read_byte_by_byte(folders: list[Folder]) -> None:
    text, expected = written(folders)
    assert list(read_manifest(text[at : at + 1] for at in range(len(text)))) == expected


def test_it_is_text_that_people_can_read() -> None:
    folder = folder_of(b"0/0", {b"1.5": b"0cc175b9c0f1b6a831c399e269772661\t1\tv.1\t2026-11-20T15:34:17.000Z"})
    text, _ = written([folder, Folder(b"0", b""), Folder(b"", b"")])
    assert text.decode().splitlines() == [
        "#dandi-mirror zarr manifest 1\t2\thttps://bucket.example.org/zarr/1/\thttps://api.example.org/api",
        "/0/0\tf7fa0ccf5f82b982ebd05815cf6447ec-0--0\tb6589fc6ab0dc82cf12099d1c2d40ab994e8410c\t2026-11-20T15:34:00.000Z",
        "1.5\t0cc175b9c0f1b6a831c399e269772661\t1\tv.1\t2026-11-20T15:34:17.000Z",
        "/0\tb6c73a4f6795fac073bd5f0ee5c7a6f8-1--1\t356a192b7913b04c54574d18c28d46e6395428ab\t",
        "/\te3760f97d8552a0a0ce13371986c54c6-2--2\tda4b9237bacccdf19c0760cab7aec4a8359010b0\t",
    ]


DAMAGED = {
    "nothing": b"",
    "something else": b"#!/bin/sh\n/\ta\tb",
    "a later form of it": HEAD.replace(b"manifest 1", b"manifest 2") + b"\n/\tc\tt\tl",
    "without what it was made with": b"#dandi-mirror zarr manifest 1\n/\tc\tt",
    "made in no layout": HEAD.replace(b"\t2\t", b"\ttwo\t") + b"\n/\tc\tt\tl",
    "no folder": HEAD,
    "a folder without its tree": HEAD + b"\n/\tc",
    "a folder with too much": HEAD + b"\n/\tc\tt\tl\tu",
    "without the Zarr itself": HEAD + b"\n/0\tc\tt\tl\nx\ty",
}


@pytest.mark.parametrize("what", DAMAGED)
def test_what_is_no_manifest_is_told(what: str) -> None:
    with pytest.raises(StoreError, match="manifest of a Zarr"):
        list(read_manifest([DAMAGED[what]]))


@given(FOLDERS.filter(lambda folders: len(folders) > 1), st.data())
def test_one_cut_short_before_the_zarr_itself_is_told(folders: list[Folder], data: st.DataObject) -> None:
    text, _ = written(folders)
    last = text.rindex(b"\n/\t")
    end = data.draw(st.integers(0, last))
    with pytest.raises(StoreError, match="manifest of a Zarr"):
        list(read_manifest([text[:end]]))


@given(FILES, FILES)
def test_the_files_that_differ_are_those_that_are_told(before: dict[bytes, bytes], after: dict[bytes, bytes]) -> None:
    changes = list(changed_files(folder_of(b"0", before), folder_of(b"0", after)))
    assert [change.path for change in changes] == [
        b"0/" + name for name, _ in in_order(before | after) if before.get(name) != after.get(name)
    ]
    for change in changes:
        name = change.path[2:]
        for row, files in ((change.before, before), (change.after, after)):
            assert (b"\t".join(row[1:]) if row else None) == files.get(name)
        assert change.same_bytes == (
            name in before and name in after and before[name].split(b"\t")[:2] == after[name].split(b"\t")[:2]
        )


@given(FILES)
def test_a_folder_that_came_or_went_differs_in_every_file(files: dict[bytes, bytes]) -> None:
    folder = folder_of(b"", files)
    came, went = list(changed_files(None, folder)), list(changed_files(folder, None))
    assert [change.path for change in came] == [change.path for change in went] == [name for name, _ in in_order(files)]
    assert all(change.before is None and change.after is not None for change in came)
    assert all(change.before is not None and change.after is None for change in went)


@given(FILES, FILES)
def test_what_leads_back_leads_back(before: dict[bytes, bytes], after: dict[bytes, bytes]) -> None:
    changes = list(changed_files(folder_of(b"a%20b", before), folder_of(b"a%20b", after)))
    files = {b"a%20b/" + name: line for name, line in after.items()}
    for path, row in read_undo(undo_lines(changes)):
        if row is None:
            del files[path]
        else:
            assert row[0] == path
            files[path] = b"\t".join(row[1:])
    assert files == {b"a%20b/" + name: line for name, line in before.items()}


def test_what_it_was_made_with_stands_in_its_first_line() -> None:
    assert Origin.parse(HEAD) == ORIGIN


def test_nothing_leads_back_by_nothing() -> None:
    assert undo_lines([]) == b""
    assert read_undo(b"") == []
    assert read_undo(undo_lines([Change(b"0", None, [b"0", b"d", b"1", b"", b"t"])])) == [(b"0", None)]
