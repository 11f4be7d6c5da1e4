"""The index: quick to ask, and no loss when lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.dataset.assets import ANNEXED, PENDING, TEXT, ZARR, Held
from mirror.store.cache import IN_MEMORY
from mirror.store.index import Index

helds = st.builds(
    Held,
    st.sampled_from(["one", "two"]),
    st.none() | st.sampled_from(["", "2026-11-20T15:34:17Z"]),
    st.sampled_from([ANNEXED, TEXT, PENDING, ZARR]),
    st.none() | st.just("blob"),
)
drafts = st.dictionaries(st.sampled_from(["a", "b/c", "é 😀", "'; DROP TABLE asset", "%"]), helds)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


@given(st.lists(drafts, min_size=1, max_size=4))
@settings(max_examples=40)
def test_a_draft_comes_back_as_it_was_put_in(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[str, Held]]
) -> None:
    with Index(tmp_path_factory.mktemp("index") / "index.sqlite") as index:
        before: tuple[str, dict[str, Held]] | None = None
        for number, assets in enumerate(steps):
            index.remember_draft("000003", f"commit {number}", assets, before)
            before = f"commit {number}", assets
            assert index.draft("000003", f"commit {number}") == assets
            assert index.draft("000003", f"commit {number - 1}") is None
            assert index.draft("000004", f"commit {number}") is None


def test_a_change_on_top_of_what_the_index_does_not_hold_is_written_whole(path: Path) -> None:
    old, new = {"a": Held("1", None, ANNEXED, "x")}, {"a": Held("1", None, ANNEXED, "x"), "b": Held("2", "", TEXT, "y")}
    with Index(path) as index:
        # read back from a repository, for this index was lost
        index.remember_draft("000003", "second", new, ("first", old))
        assert index.draft("000003", "second") == new


def test_dandisets_do_not_get_in_each_others_way(path: Path) -> None:
    one, other = {"a": Held("1", None, ANNEXED, "x")}, {"a": Held("2", "", TEXT, "y")}
    with Index(path) as index:
        index.remember_draft("000003", "c", one, None)
        index.remember_draft("000004", "c", other, None)
        index.remember_draft("000003", "d", {}, ("c", one))
        assert index.draft("000003", "d") == {}
        assert index.draft("000004", "c") == other


def test_version_ids_are_kept_and_found_however_many(path: Path) -> None:
    ids = {f"bucket/blobs/{number}": f"v{number}" for number in range(1200)}
    with Index(path) as index:
        index.remember_version_ids(ids.items())
        index.remember_version_ids([("bucket/blobs/7", "newer")])
    with Index(path) as index:
        assert index.version_ids([*ids, "bucket/unknown"]) == ids | {"bucket/blobs/7": "newer"}
        assert index.version_ids([]) == {}


@pytest.mark.parametrize("body", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000, b"x"])
def test_a_damaged_index_is_thrown_away(path: Path, body: bytes) -> None:
    path.write_bytes(body)
    with Index(path) as index:
        index.remember_version_ids([("a", "1")])
        assert index.version_ids(["a"]) == {"a": "1"}


def test_so_is_one_of_another_format(path: Path) -> None:
    with Index(path) as index:
        index.remember_version_ids([("a", "1")])
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with Index(path) as index:
        assert index.version_ids(["a"]) == {}


def test_two_may_write_at_a_time(path: Path) -> None:
    with Index(path) as one, Index(path) as other:
        one.remember_version_ids([("a", "1")])
        other.remember_version_ids([("b", "2")])
        assert one.version_ids(["a", "b"]) == other.version_ids(["a", "b"]) == {"a": "1", "b": "2"}


def test_a_write_that_fails_leaves_nothing_behind(path: Path) -> None:
    def ids() -> Iterator[tuple[str, str]]:
        yield "a", "1"
        raise RuntimeError("the bucket went away")

    with Index(path) as index:
        with pytest.raises(RuntimeError):
            index.remember_version_ids(ids())
        assert index.version_ids(["a"]) == {}
        index.remember_version_ids([("b", "2")])
        assert index.version_ids(["b"]) == {"b": "2"}


def test_an_index_in_memory_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Index(IN_MEMORY) as index:
        index.remember_version_ids([("a", "1")])
        assert index.version_ids(["a"]) == {"a": "1"}
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_damaged_further_inside_is_made_anew_when_that_comes_out(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    many = {f"sub-{number}.nwb": Held(f"id-{number}", "2024", "annexed", "blob", False) for number in range(2_000)}
    with Index(path) as index:
        index.remember_draft("000001", "a", many, None)
        index.remember_version_ids([("bucket/key", "v1")])
    with path.open("r+b") as file:
        for page in range(4, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    with Index(path) as index:
        assert index.draft("000001", "a") is None
        index.remember_draft("000001", "a", many, None)
    with Index(path) as index:
        assert index.draft("000001", "a") == many
