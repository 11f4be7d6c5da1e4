"""Our streaming checksum of a Zarr, against the package that the archive itself uses."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import md5
from pathlib import PurePosixPath
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from zarr_checksum.tree import ZarrChecksumTree

from mirror.archive.s3 import ObjectVersion
from mirror.dataset.zarr.checksum import Checksum, checksum_of
from mirror.dataset.zarr.files import true_name
from mirror.dataset.zarr.folders import folders_of
from mirror.errors import RecordRefused

PREFIX = "zarr/2c57d0e2-3cf4-4be9-8c36-0dc2f1e6c5a1/"


class File(NamedTuple):
    digest: str
    size: int


# Letters that sort on either side of `/`, that JSON or an address escapes, and one that UTF-16 would sort elsewhere.
PARTS = st.text(alphabet="ab01.-! \"'\\%+&é\U0001f9e0\uffee\n\t\x7f", min_size=1, max_size=4).filter(
    lambda part: part not in (".", "..")
)
DIGESTS = st.binary(max_size=2).map(lambda content: md5(content, usedforsecurity=False).hexdigest())


def without_conflicts(files: dict[str, File]) -> dict[str, File]:
    """Without the files where others need a folder."""
    needed = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    return {path: file for path, file in files.items() if path not in needed}


ZARRS = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=5).map("/".join),
    st.builds(File, DIGESTS, st.integers(0, 1 << 50)),
    max_size=30,
).map(without_conflicts)


def archives(files: Mapping[str, File]) -> str:
    tree = ZarrChecksumTree()
    for path, file in files.items():
        tree.add_leaf(PurePosixPath(path), file.size, file.digest)  # type: ignore[arg-type]
    return str(tree.process())


def ours(files: Mapping[str, File]) -> str:
    """What folders add up to, each taken in after those in it."""
    listing = [
        ObjectVersion(PREFIX + path, "v", files[path].digest, files[path].size, "2026-11-20T15:34:17.000Z", True)
        for path in sorted(files)
    ]
    inner: dict[bytes, list[tuple[bytes, Checksum]]] = {}
    for folder in folders_of([listing], PREFIX):
        within = sorted(inner.pop(folder.path, []), key=lambda one: true_name(one[0]).encode())
        checksum = checksum_of(folder.rows(), within)
        parent, _, name = folder.path.rpartition(b"/")
        inner.setdefault(parent, []).append((name, checksum))
    return str(checksum)


@given(ZARRS)
@example({})
@example({"a.b/c": File("0" * 32, 1), "a/c": File("1" * 32, 2), "a-/c": File("2" * 32, 3)})
def test_it_is_the_archives(files: dict[str, File]) -> None:
    assert ours(files) == archives(files)


def test_a_zarr_without_files() -> None:
    assert ours({}) == "481a2f77ab786a0f45aafd5db0971caa-0--0"


def test_a_deep_zarr() -> None:
    files = {"/".join(["0"] * depth) + "/x": File("0" * 32, depth) for depth in range(1, 120)}
    assert ours(files) == archives(files)


def test_a_folder_of_many_files() -> None:
    files = {f"0/{number}": File(f"{number:032x}", number) for number in range(20_000)}
    assert ours(files) == archives(files)


@given(st.builds(Checksum, DIGESTS, st.integers(0, 10**9), st.integers(0, 10**15)))
def test_what_is_written_can_be_read(checksum: Checksum) -> None:
    assert Checksum.parse(str(checksum)) == checksum


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", f"{'0' * 32}-1", f"{'0' * 31}-1--1", f"{'A' * 32}-1--1", f"{'0' * 32}-1--1\n"),
        *(f"{'0' * 32}-{'9' * 5000}--1", f"{'0' * 32}-1---1", f"{'0' * 32}-\u0661--1", f" {'0' * 32}-1--1"),
    ],
)
def test_what_is_no_checksum_is_refused(text: str) -> None:
    with pytest.raises(RecordRefused, match="not the checksum of a Zarr"):
        Checksum.parse(text)
