"""Datasets within a dataset: where they stand in its tree, and the `.gitmodules` that says which they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote_from_bytes

from mirror.dataset.names import tree_path

GITMODULES = b".gitmodules"

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_NEEDS_QUOTES = re.compile(rb'[\x00-\x20\x7f"\\#;]')
_ESCAPES = {b"\\": b"\\\\", b'"': b'\\"', b"\n": b"\\n", b"\t": b"\\t", b"\b": b"\\b"}
_ESCAPED = {escape[1:]: char for char, escape in _ESCAPES.items()}
_PLACE = re.compile(rb"^\tpath = (?P<path>.*)\n\turl = .*\n\tdatalad-id = (?P<id>[0-9a-f-]{36})$", re.MULTILINE)


def submodule_path(path: str) -> bytes:
    """The path in a tree of an asset that is a dataset. Git takes none for such that looks like an option."""
    where = tree_path(path)
    return b"%2D" + where[1:] if where.startswith(b"-") else where


def gitmodules(submodules: Mapping[bytes, str]) -> bytes:
    """`.gitmodules` of these paths and dataset ids, which are their addresses, too."""
    return b"".join([section(path, submodules[path], submodules[path]) for path in sorted(submodules)])


def section(path: bytes, address: str, dataset_id: str) -> bytes:
    """What `.gitmodules` says of one dataset: it is found, under this address, beside the one that it is in."""
    name = path
    # A name goes into a section's head, where a line break cannot be escaped; and git refuses one that has a `..` in
    # it, a backslash being a separator, too.
    if _CONTROL.search(path) or b".." in re.split(rb"[/\\]", path):
        name = quote_from_bytes(path).replace(".", "%2E").encode()
    named = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'[submodule "%b"]\n\tpath = %b\n\turl = ../%b\n\tdatalad-id = %b\n' % (
        named,
        _value(path),
        address.encode(),
        dataset_id.encode(),
    )


def dataset_ids(body: bytes) -> list[str]:
    """The ids of the datasets that a `.gitmodules` of ours names, in its order, one at two paths twice."""
    return [found["id"].decode() for found in _PLACE.finditer(body)]


def places(body: bytes) -> dict[bytes, str]:
    """The path in the tree of each, with its id."""
    return {_unquoted(found["path"]): found["id"].decode() for found in _PLACE.finditer(body)}


def _value(text: bytes) -> bytes:
    if not _NEEDS_QUOTES.search(text):
        return text
    return b'"%b"' % re.sub(rb'[\\"\n\t\x08]', lambda found: _ESCAPES[found[0]], text)


def _unquoted(value: bytes) -> bytes:
    if not value.startswith(b'"'):
        return value
    return re.sub(rb"\\(.)", lambda found: _ESCAPED.get(found[1], found[1]), value[1:-1], flags=re.DOTALL)
