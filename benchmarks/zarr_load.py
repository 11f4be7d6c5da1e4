"""The load: a large Zarr as its bucket lists it, page by page, in the order of the keys.

A picture in five resolutions, its chunks by level, channel, z, y and x; a few thousand of them are all background, so
that they share their bytes. Made up from numbers, so that each run has the very same.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import md5, sha256
from itertools import islice

from mirror.archive.s3 import ObjectVersion

ZARR_ID = "2c57d0e2-3cf4-4be9-8c36-0dc2f1e6c5a1"
ADDRESS = f"https://dandiarchive.s3.amazonaws.com/zarr/{ZARR_ID}/"
PREFIX = f"zarr/{ZARR_ID}/"

Pages = Iterable[list[ObjectVersion]]

_PAGE = 1000
_SIDE = 64
"""so many chunks wide and high is the finest level"""
_COARSER = 4
"""so many levels more, each half as wide, high and deep"""
_START = datetime(2024, 3, 1, tzinfo=UTC)
_A_DAY = 86_400


def pages(count: int, *, flat: bool = False, changed: bool = False) -> Iterator[list[ObjectVersion]]:
    """The listing of a Zarr of `count` files. `flat`: all chunks in one folder; `changed`: one of them is another."""
    paths = islice(_flat_paths(count) if flat else _nested_paths(count), count)
    files = (_file(path, number, changed=changed and number == count // 2) for number, path in enumerate(paths))
    while page := list(islice(files, _PAGE)):
        yield page


def _nested_paths(count: int) -> Iterator[str]:
    """OME-Zarr, as version 2 of the format has it: `0/0/<z>/<y>/<x>`."""
    slices = max(1, count // (_SIDE * _SIDE))
    coarser = [(max(1, slices >> level), _SIDE >> level) for level in range(1, _COARSER + 1)]
    finest = count - 3 - len(coarser) - sum(depth * side * side for depth, side in coarser)
    yield from (".zattrs", ".zgroup")
    yield "0/.zarray"
    yield from (f"0/0/{z}/{y}/{x}" for z, y, x in _indices(finest, _SIDE))
    for level, (depth, side) in enumerate(coarser, start=1):
        yield f"{level}/.zarray"
        yield from (f"{level}/0/{z}/{y}/{x}" for z, y, x in _indices(depth * side * side, side))


def _flat_paths(count: int) -> Iterator[str]:
    """What the format has by default: `0/<z>.<y>.<x>`."""
    yield from (".zattrs", ".zgroup", "0/.zarray")
    yield from (f"0/{z}.{y}.{x}" for z, y, x in _indices(count - 3, _SIDE))


def _indices(count: int, side: int) -> Iterator[tuple[str, str, str]]:
    """Of so many chunks, in the byte order of their paths; those missing at the end of the last slice are empty."""
    across = sorted(map(str, range(side)))
    for z in sorted(map(str, range(-(-count // (side * side))))):
        for y in across:
            for x in across:
                if (int(z) * side + int(y)) * side + int(x) < count:
                    yield z, y, x


def _file(path: str, number: int, *, changed: bool) -> ObjectVersion:
    # One chunk in 250 is one of seven kinds of background.
    content = f"background {number // 250 % 7}" if number % 250 == 249 else f"chunk {number}"
    if changed:
        content = f"chunk {number} changed"
    digest = md5(content.encode(), usedforsecurity=False).hexdigest()
    version = b64encode(sha256(f"{content} at {number}".encode()).digest()[:24], b"._").decode()
    size = 50_000 + int(digest[:5], 16)
    # A text of its own for each, as in a listing that was read: otherwise it would take less memory than that.
    modified = f"{_written(number // 100 + (_A_DAY if changed else 0))}.000Z"
    return ObjectVersion(PREFIX + path, version, digest, size, modified, True)


@lru_cache(maxsize=4)
def _written(seconds: int) -> str:
    return (_START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
