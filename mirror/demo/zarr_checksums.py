"""The checksum that the archive gives a Zarr: `<md5>-<files>--<bytes>`, over the names, sizes and MD5s of its files.

A directory's digest is the MD5 of a listing of what is directly in it, in which a directory within appears with its
own digest; the Zarr's is that of its top. Plain rather than fast: a mirror's own way to compute it has this to agree
with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class ZarrFile(NamedTuple):
    """A file of a Zarr, as the bucket lists it."""

    name: str
    md5: str
    size: int


@dataclass(slots=True)
class _Directory:
    files: list[ZarrFile] = field(default_factory=list)
    directories: dict[str, _Directory] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Digest:
    md5: str
    files: int
    size: int

    def __str__(self) -> str:
        return f"{self.md5}-{self.files}--{self.size}"


def zarr_checksum(files: Iterable[ZarrFile]) -> str:
    """The checksum of a Zarr of these files."""
    top = _Directory()
    for name, md5, size in files:
        # Empty parts and dots do not count, as in a path of a file system.
        *folders, last = [part for part in name.split("/") if part not in ("", ".")] or [""]
        place = top
        for folder in folders:
            place = place.directories.setdefault(folder, _Directory())
        place.files.append(ZarrFile(last, md5, size))
    return str(_digest(top))


def size_in(checksum: str) -> int:
    """How many bytes a checksum says there are."""
    return int(checksum.rpartition("--")[2])


def files_in(checksum: str) -> int:
    """How many files a checksum says there are."""
    return int(checksum.rpartition("--")[0].rpartition("-")[2])


def _digest(directory: _Directory) -> _Digest:
    within = {name: _digest(directory.directories[name]) for name in sorted(directory.directories)}
    listing = {
        "directories": [{"digest": str(one), "name": name, "size": one.size} for name, one in within.items()],
        "files": [{"digest": md5, "name": name, "size": size} for name, md5, size in sorted(directory.files)],
    }
    text = json.dumps(listing, separators=(",", ":"))
    return _Digest(
        md5=hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(),
        files=len(directory.files) + sum(one.files for one in within.values()),
        size=sum(file.size for file in directory.files) + sum(one.size for one in within.values()),
    )
