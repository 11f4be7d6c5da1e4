"""The archive's checksum of a Zarr: the MD5 of a JSON list of what is in its top folder, whose folders have such a
checksum each.

Written `<md5>-<files>--<bytes>`, the counts being those of everything below.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from hashlib import md5
from itertools import islice
from typing import NamedTuple
from urllib.parse import unquote

from mirror.dataset.zarr.folders import Row
from mirror.errors import RecordRefused

_CHECKSUM = re.compile(r"([0-9a-f]{32})-([0-9]{1,18})--([0-9]{1,18})", re.ASCII).fullmatch

# As they stand between quotation marks of JSON, but for `%`, which stands for what is quoted.
_FILE = b'{"digest":"%b","name":"%b","size":%b}'
_FOLDER = b'{"digest":"%b","name":"%b","size":%d}'
_AT_ONCE = 1000


class Checksum(NamedTuple):
    """The checksum of a folder, or of a whole Zarr."""

    md5: str
    files: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.md5}-{self.files}--{self.bytes}"

    @classmethod
    def parse(cls, text: str) -> Checksum:
        """RecordRefused where it is none."""
        found = _CHECKSUM(text)
        if found is None:
            raise RecordRefused(f"{text!r} is not the checksum of a Zarr")
        return cls(found[1], int(found[2]), int(found[3]))


def checksum_of(files: Iterable[Row], folders: Sequence[tuple[bytes, Checksum]]) -> Checksum:
    """The checksum of a folder with these files and folders, both in the byte order of their true names."""
    listed = [
        _FOLDER % (str(checksum).encode(), name if b"%" not in name else _json_text(name), checksum.bytes)
        for name, checksum in folders
    ]
    digest = md5(b'{"directories":[%b],"files":[' % b",".join(listed), usedforsecurity=False)
    count, size, comma = 0, 0, b""
    rows = iter(files)
    while some := list(islice(rows, _AT_ONCE)):
        count += len(some)
        size += sum([int(row[2]) for row in some])
        pieces = [_FILE % (row[1], row[0] if b"%" not in row[0] else _json_text(row[0]), row[2]) for row in some]
        digest.update(comma + b",".join(pieces))
        comma = b","
    digest.update(b"]}")
    return Checksum(
        digest.hexdigest(),
        count + sum(checksum.files for _, checksum in folders),
        size + sum(checksum.bytes for _, checksum in folders),
    )


def _json_text(quoted: bytes) -> bytes:
    """A name as Python's `json` writes it, which is how the archive does."""
    return json.dumps(unquote(quoted.decode()))[1:-1].encode()
