"""Which paths are meant by what people type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.keeping.paths import matcher, may_hold

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("pattern", "meant", "not_meant"),
    [
        ("sub-1", ["sub-1", "sub-1/a.nwb", "sub-1/b/c.nwb"], ["sub-10/a.nwb", "x/sub-1"]),
        ("sub-1/", ["sub-1/a.nwb"], ["sub-10"]),
        ("*.nwb", ["a.nwb"], ["sub-1/a.nwb", "a.nwb2"]),
        ("sub-*/*.nwb", ["sub-1/a.nwb"], ["sub-1/b/a.nwb"]),
        ("**.nwb", ["a.nwb", "sub-1/b/a.nwb"], ["a.dat"]),
        ("**/a.nwb", ["a.nwb", "sub-1/a.nwb", "x/y/a.nwb"], ["ba.nwb"]),
        ("sub-?", ["sub-1/x"], ["sub-10/x"]),
        ("image*.zarr", ["image1.zarr/0/0"], ["image1/0"]),
        ("a+b(c).nwb", ["a+b(c).nwb"], ["aab(c).nwb"]),
    ],
)
def test_a_pattern_means_these_paths(pattern: str, meant: list[str], not_meant: list[str]) -> None:
    is_meant = matcher([pattern])
    assert [path for path in [*meant, *not_meant] if is_meant(path)] == meant


def test_any_of_several_will_do_and_none_means_all() -> None:
    assert [path for path in ("a", "b", "c") if matcher(["a", "c"])(path)] == ["a", "c"]
    assert matcher([])("anything")


@given(PATHS)
def test_a_path_always_means_itself_whatever_is_in_its_name(path: str) -> None:
    assert matcher([path])(path)
    assert matcher([path])(f"{path}/more")


@pytest.mark.parametrize(
    ("pattern", "may", "may_not"),
    [
        ("sub-1/a.nwb", ["sub-1"], ["sub-1/a.zarr", "sub-2"]),
        ("sub-*/*.zarr/0", ["sub-1", "sub-1/a.zarr", "sub-1/a.zarr/0/1"], ["sub-1/a.zarr/1", "x"]),
        ("sub-1/**/.zattrs", ["sub-1/a.zarr", "sub-1/b/c.zarr/0"], ["sub-2/a.zarr"]),
        ("sub-1", ["sub-1/a.zarr"], ["sub-10/a.zarr"]),
    ],
)
def test_folders_that_cannot_hold_what_is_meant_are_told_apart(
    pattern: str, may: list[str], may_not: list[str]
) -> None:
    holds = may_hold([pattern])
    assert [folder for folder in [*may, *may_not] if holds(folder)] == may


PATTERNS = st.lists(st.text("ab*?", min_size=1, max_size=4), min_size=1, max_size=4).map("/".join)
SHORT = st.lists(st.text("ab*?", min_size=1, max_size=3), min_size=1, max_size=5)


@given(PATTERNS, SHORT)
def test_no_folder_above_what_is_meant_is_passed_over(pattern: str, names: list[str]) -> None:
    if matcher([pattern])("/".join(names)):
        assert all(may_hold([pattern])("/".join(names[:depth])) for depth in range(1, len(names)))
