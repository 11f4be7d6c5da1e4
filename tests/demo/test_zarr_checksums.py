"""The demo's checksum of a Zarr, against the package that the archive itself uses."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from zarr_checksum.tree import ZarrChecksumTree

from mirror.demo.zarr_checksums import ZarrFile, files_in, size_in, zarr_checksum

PARTS = st.text(alphabet='ab0.é\U0001f9e0"\\\n', min_size=1, max_size=3).filter(lambda part: part not in (".", ".."))
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
FILES = st.lists(
    st.builds(ZarrFile, NAMES, st.text("0123456789abcdef", min_size=32, max_size=32), st.integers(0, 1 << 40)),
    unique_by=lambda file: file.name,
    max_size=20,
)


def reference(files: list[ZarrFile]) -> str:
    tree = ZarrChecksumTree()
    for name, md5, size in files:
        tree.add_leaf(Path(name), size, md5)
    return str(tree.process())


@given(FILES)
def test_it_is_the_archives(files: list[ZarrFile]) -> None:
    checksum = zarr_checksum(files)
    assert checksum == reference(files)
    assert (files_in(checksum), size_in(checksum)) == (len(files), sum(file.size for file in files))


@given(FILES, st.randoms())
def test_the_order_of_files_does_not_matter(files: list[ZarrFile], chance: object) -> None:
    shuffled = files.copy()
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert zarr_checksum(shuffled) == zarr_checksum(files)


def test_a_zarr_without_files() -> None:
    assert zarr_checksum([]) == "481a2f77ab786a0f45aafd5db0971caa-0--0"


def test_parts_that_say_nothing_do_not_count() -> None:
    md5 = "0" * 32
    assert zarr_checksum([ZarrFile("a//./b", md5, 1)]) == zarr_checksum([ZarrFile("a/b", md5, 1)])
    assert zarr_checksum([ZarrFile("", md5, 0)]) == zarr_checksum([ZarrFile("./", md5, 0)])
