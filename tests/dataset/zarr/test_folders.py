"""The files of a Zarr, folder by folder: their order, their names, and what is refused."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.annex import keys
from mirror.archive.s3 import ObjectVersion
from mirror.dataset.zarr.files import Addresses, extension, key_of, path_in_tree, true_name
from mirror.dataset.zarr.folders import Folder, folders_of
from mirror.errors import PathRefused, RecordRefused

PREFIX = "zarr/2c57d0e2-3cf4-4be9-8c36-0dc2f1e6c5a1/"
MD5 = "0cc175b9c0f1b6a831c399e269772661"

PARTS = st.text(alphabet="ab01.-! \"'\\%+&é\U0001f9e0\uffee\n\t\x7f", min_size=1, max_size=4).filter(
    lambda part: part not in (".", "..")
)


def without_conflicts(paths: set[str]) -> list[str]:
    """In a bucket's order, without the files where others need a folder."""
    needed = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    return sorted((path for path in paths if path not in needed), key=str.encode)


PATHS = st.sets(st.lists(PARTS, min_size=1, max_size=4).map("/".join), max_size=25).map(without_conflicts)


def listed(
    path: str, etag: str = MD5, version_id: str | None = "v_1", time: str = "2026-11-20T15:34:17.000Z"
) -> ObjectVersion:
    return ObjectVersion(PREFIX + path, version_id, etag, len(path), time, True)


def folders(*paths: str) -> list[Folder]:
    return list(folders_of([[listed(path) for path in paths]], PREFIX))


@given(PATHS, st.integers(1, 7))
def test_every_file_is_in_its_folder_whatever_the_pages(paths: list[str], size: int) -> None:
    listing = [listed(path) for path in paths]
    pages = [listing[at : at + size] for at in range(0, len(listing), size)]
    found = []
    for folder in folders_of(pages, PREFIX):
        names = [true_name(row[0]) for row in folder.rows()]
        assert names == sorted(names, key=str.encode)
        above = f"{true_name(folder.path)}/" if folder.path else ""
        found += [above + name for name in names]
    assert sorted(found) == sorted(paths)


@given(PATHS)
def test_every_folder_comes_after_those_in_it_and_the_zarr_last(paths: list[str]) -> None:
    found = folders(*paths)
    assert found[-1].path == b""
    places = {folder.path: place for place, folder in enumerate(found)}
    assert len(places) == len(found)
    for path in places:
        if path:
            assert places[path] < places[path.rpartition(b"/")[0]]
    assert [folder.order for folder in found] == sorted(folder.order for folder in found)


@given(PATHS)
def test_every_folder_on_the_way_is_there_and_no_other(paths: list[str]) -> None:
    needed = {str(parent) for path in paths for parent in PurePosixPath(path).parents} | {"."}
    found = [str(PurePosixPath(unquote_to_bytes(folder.path).decode())) for folder in folders(*paths)]
    assert sorted(found) == sorted(needed)


def test_a_large_folder_is_gone_through_in_parts_and_stays_whole() -> None:
    names = [f"{number:05d}.{'x' * (number % 50)}" for number in range(12_000)]
    *_, folder = folders(*(f"0/{name}" for name in names), "1")[:-1]
    assert len(folder.lines) > 1 << 20
    assert [row[0].decode() for row in folder.rows()] == names
    assert b"\n".join(folder.each_line()) == folder.lines


def test_a_zarr_without_files_is_one_empty_folder() -> None:
    assert folders() == [Folder(b"", b"")]
    assert list(folders_of([[], []], PREFIX)) == [Folder(b"", b"")]


def test_what_is_known_of_a_file_stands_in_its_line() -> None:
    (folder,) = folders_of([[listed("a b\t+%.ç", version_id="v/1 +", time="2026-11-20T15:34:17.000Z")]], PREFIX)
    assert (
        folder.lines == b"a%%20b%%09%%2B%%25.%%C3%%A7\t%b\t8\tv%%2F1%%20%%2B\t2026-11-20T15:34:17.000Z" % MD5.encode()
    )
    (folder,) = folders_of([[listed("a", version_id=None)]], PREFIX)
    assert list(folder.rows()) == [[b"a", MD5.encode(), b"1", b"", b"2026-11-20T15:34:17.000Z"]]


@pytest.mark.parametrize(
    "paths",
    [
        ("a", "a/b"),
        ("a", "a.b", "a/b"),  # not next to each other in the bucket's order
        ("x/a", "x/a.b/c", "x/a/b/c"),
        ("é", "é/b"),
        ("%", "%/b"),
    ],
)
def test_a_file_where_another_needs_a_folder_is_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(PathRefused, match="is a file where other files need a folder") as caught:
        folders(*paths)
    shared = paths[0]
    assert str(caught.value).startswith(shared)


@pytest.mark.parametrize(
    "path", ["", "..", "../a", "a/../b", "a/..", ".", "./a", "a//b", "/a", "a/", "a\0b", "\0/a", "x/a/.", "a/./b"]
)
def test_a_path_that_no_tree_can_hold_is_refused(path: str) -> None:
    with pytest.raises(PathRefused, match="no tree can hold the path"):
        folders("a!", path) if path > "a!" else folders(path, "~")


@pytest.mark.parametrize("etag", [f"{MD5}-2", "", MD5.upper(), MD5 + "\n", MD5[:-1], f"{MD5}\t"])
def test_an_etag_that_is_no_md5_is_refused_and_the_file_named(etag: str) -> None:
    """That of an upload in parts is none: what it holds cannot be checked."""
    with pytest.raises(RecordRefused, match=r"/0/1\.5' has no MD5"):
        list(folders_of([[listed("0/1.5", etag=etag)]], PREFIX))


@pytest.mark.parametrize("time", ["", "now", "2026\t11", "2026\n11"])
def test_a_time_that_is_none_is_refused(time: str) -> None:
    with pytest.raises(RecordRefused, match="which is no time"):
        list(folders_of([[listed("0", time=time)]], PREFIX))


@given(PATHS.filter(bool))
def test_names_with_what_git_reserves_are_escaped_and_others_are_themselves(paths: list[str]) -> None:
    for path in [*paths, ".git/config", "0/.GIT/x", ".gitattributes", "0/.gitattributes", ".datalad/config"]:
        where = path_in_tree(quote(path).encode())
        assert unquote_to_bytes(where).decode() == path
        assert not {b".git", b".gitattributes"} & {name.lower() for name in where.split(b"/")}
    assert path_in_tree(b".zgroup") == b".zgroup"
    assert path_in_tree(b".dandi/zarr.json") == b"%2Edandi/zarr.json"
    assert path_in_tree(b"0/.dandi/zarr.json") == b"0/.dandi/zarr.json"


def test_the_addresses_of_a_file_are_those_at_the_api_and_in_the_bucket() -> None:
    zarr_id = PREFIX[5:-1]
    addresses = Addresses(
        f"https://dandiarchive.s3.amazonaws.com/{PREFIX}", "https://api.dandiarchive.org/api", zarr_id
    )
    assert addresses.of(b"0/a%20%2B", b"v.1") == (
        f"https://api.dandiarchive.org/api/zarr/{zarr_id}/files/?prefix=0/a%20%2B&download=true".encode(),
        f"https://dandiarchive.s3.amazonaws.com/{PREFIX}0/a%20%2B?versionId=v.1".encode(),
    )
    assert addresses.of(b"0", b"")[1].endswith(b"/0")  # a bucket that keeps no versions


@given(st.text(alphabet="ab01.-~% é", min_size=1, max_size=14).filter(lambda name: name not in (".", "..")))
@example("a.1.2.3")
@example(".1.2")
@example("a..1")
@example("a.12345.1")
def test_the_short_way_to_an_extension_leads_to_the_same(name: str) -> None:
    assert extension(quote(name, safe="").encode()).decode() == keys.extension(name)


def test_a_key_has_the_extension_of_the_name_not_of_its_folder() -> None:
    assert key_of([b"a.ome.zarr/0/1.5", MD5.encode(), b"7", b"", b""]) == f"MD5E-s7--{MD5}.5".encode()
    assert key_of([b"a.zarr/0", MD5.encode(), b"0", b"", b""]) == f"MD5E-s0--{MD5}".encode()
    assert key_of([b"x.%C3%A9", MD5.encode(), b"0", b"", b""]) == f"MD5E-s0--{MD5}.é".encode()
