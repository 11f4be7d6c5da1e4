"""Which paths are meant by what people type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.keeping.paths import matcher

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
