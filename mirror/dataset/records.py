"""Which file under `.dandi/assets` holds which asset's record, and how such a file is read, changed and written.

One canonical JSON object a line, sorted by path. A folder of up to 1,000 assets has one file, `assets.jsonl`; a larger
one is spread over 16, 256 … files by the first hex digits of sha1(path), so that one changed asset rewrites little and
no file outgrows what git hosts take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha1

import msgspec

from mirror.dataset.layout import RECORDS_PER_FILE
from mirror.dataset.names import record_folder, tree_path

PENDING_FILE = b".dandi/pending.jsonl"


class _Path(msgspec.Struct):
    path: str


_path_of = msgspec.json.Decoder(_Path).decode


def folder_of(path: str) -> str:
    """The folder an asset lies in, `""` at the top."""
    return path[: path.rfind("/")] if "/" in path else ""


def digits_for(count: int) -> int:
    """How many hex digits of sha1(path) tell the files of a folder with `count` assets apart."""
    digits = 0
    while count > RECORDS_PER_FILE * 16**digits:
        digits += 1
    return digits


def file_name(path: str, digits: int) -> str:
    """The name of the file that holds the record of the asset at `path`, within its folder."""
    if digits == 0:
        return "assets.jsonl"
    return f"assets-{sha1(path.encode()).hexdigest()[:digits]}.jsonl"


def file_names(digits: int) -> list[str]:
    """All names that the files of one folder can have."""
    if digits == 0:
        return ["assets.jsonl"]
    return [f"assets-{number:0{digits}x}.jsonl" for number in range(16**digits)]


def records_path(folder: str, name: str) -> bytes:
    """Where in the tree a file of records of a folder (an asset folder's true name) lies."""
    inner = record_folder(tree_path(f"{folder}/x")[:-2]) if folder else b""
    return b".dandi/assets/" + (inner + b"/" if inner else b"") + name.encode()


def split_lines(body: bytes) -> list[bytes]:
    """The lines of a file of records, each with its newline."""
    return body.splitlines(keepends=True)


def lines_by_path(body: bytes) -> dict[str, bytes]:
    """The lines of a file of records, each with its newline, under the path of its asset."""
    return {_path_of(line).path: line for line in split_lines(body)}


def joined(lines: Mapping[str, bytes]) -> bytes:
    """A file of records from its lines (each with its newline)."""
    return b"".join([lines[path] for path in sorted(lines)])


def by_file(paths: Iterable[str], digits: int) -> dict[str, list[str]]:
    """Paths of one folder, grouped by the file that holds their records."""
    if digits == 0:
        return {"assets.jsonl": list(paths)}
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(file_name(path, digits), []).append(path)
    return groups
