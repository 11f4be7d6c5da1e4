"""What the archive now says of a published version, held against its tag. The tag stays, whatever comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from mirror.archive.records import VersionInfo
from mirror.dataset.documents import release_document, version_json
from mirror.dataset.records import lines_by_path
from mirror.git.objects import Oid
from mirror.git.reader import Objects
from mirror.store.state import Drift
from mirror.sync.mirrored import Tip
from mirror.sync.observe import Observation

_SHOWN = 120
_ABSENT = "absent"


def drift_of(
    tip: Tip,
    seen: Observation,
    objects: Objects,
    line_of: Callable[[tuple[int, int]], bytes],
    *,
    identifier: str,
    instance_url: str,
    same_layout: bool,
) -> list[Drift]:
    """Every field in which a version, observed in full, differs from its tag.

    A tag of another layout may hold a selection of the assets: then only those are compared that both have.
    """
    version = seen.info.version
    document = release_document(seen.metadata, instance_url)
    record = json.loads(version_json(seen.info, identifier, seen.metadata))
    held_document = yaml.safe_load(_file(objects, tip.tree, b"dandiset.yaml"))
    held_record = json.loads(_file(objects, tip.tree, b".dandi/version.json"))
    found = list(_differences(version, "dandiset.yaml", held_document, document))
    found += _differences(version, "version.json", held_record, record)
    found += _asset_differences(version, tip, seen, objects, line_of, whole=same_layout)
    return found


def withdrawn(version: str) -> Drift:
    """A version with a tag that the archive does not list any more."""
    return Drift(version, "version", "published", _ABSENT)


def out_of_order(info: VersionInfo, after: str) -> Drift:
    """A version that came to light after one created later: its place in the chain is not where others have it."""
    return Drift(info.version, "created", f"after {after}", info.created, disorder=True)


def _asset_differences(
    version: str,
    tip: Tip,
    seen: Observation,
    objects: Objects,
    line_of: Callable[[tuple[int, int]], bytes],
    *,
    whole: bool,
) -> Iterator[Drift]:
    held = _all_lines(objects, tip.tree)
    now = {entry.path: entry.line for entry in seen.entries}
    for path in sorted(held.keys() | now.keys() if whole else held.keys() & now.keys()):
        if path not in now:
            yield Drift(version, path, "an asset", _ABSENT)
        elif path not in held:
            yield Drift(version, path, _ABSENT, "an asset")
        elif (line := line_of(now[path])) != held[path]:
            yield from _differences(version, path, json.loads(held[path]), json.loads(line))


def _all_lines(objects: Objects, tree: Oid) -> dict[str, bytes]:
    lines: dict[str, bytes] = {}
    records = objects.lookup(tree, b".dandi/assets")
    if records is not None:
        for _, entry in objects.list_tree(records.oid):
            lines |= lines_by_path(objects.blob(entry.oid))
    return lines


def _differences(version: str, name: str, held: Any, now: Any) -> Iterator[Drift]:
    """The leaves in which two documents differ, named by their way from the top."""
    if isinstance(held, dict) and isinstance(now, dict):
        for key in sorted(held.keys() | now.keys()):
            yield from _differences(version, f"{name}.{key}", held.get(key), now.get(key))
    elif held != now:
        yield Drift(version, name, _shown(held), _shown(now))


def _shown(value: Any) -> str:
    if value is None:
        return _ABSENT
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _file(objects: Objects, tree: Oid, path: bytes) -> bytes:
    entry = objects.lookup(tree, path)
    return objects.blob(entry.oid) if entry is not None else b"null"
