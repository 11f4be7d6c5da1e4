"""The fields of an asset's metadata worth asking for, as git-annex metadata.

With them `git annex find --metadata species=…` and `git annex view` work in any clone. Schemas of seven years are
about, so what does not look as expected is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Fields = tuple[tuple[str, tuple[str, ...]], ...]
"""Field names with their values, both sorted."""


def annex_fields(metadata: dict[str, Any]) -> Fields:
    """The fields of one asset; those without a value are left out."""
    subjects = list(_objects(metadata.get("wasAttributedTo")))
    sessions = [
        activity for activity in _objects(metadata.get("wasGeneratedBy")) if activity.get("schemaKey") == "Session"
    ]
    values = {
        "approach": _names(metadata.get("approach")),
        "format": _texts([metadata.get("encodingFormat")]),
        "session": _texts(session.get("identifier") or session.get("name") for session in sessions),
        "sex": _names(subject.get("sex") for subject in subjects),
        "species": _names(subject.get("species") for subject in subjects),
        "subject": _texts(subject.get("identifier") for subject in subjects),
        "technique": _names(metadata.get("measurementTechnique")),
    }
    return tuple((field, tuple(sorted(found))) for field, found in values.items() if found)


def merged(one: Fields, other: Fields) -> Fields:
    """The fields of a key that two assets share: all values that either has."""
    if one == other:
        return one
    values: dict[str, set[str]] = {}
    for name, found in (*one, *other):
        values.setdefault(name, set()).update(found)
    return tuple((name, tuple(sorted(values[name]))) for name in sorted(values))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _names(values: Any) -> set[str]:
    if values is None or isinstance(values, (str, dict)):
        return set()
    return _texts(value.get("name") for value in values if isinstance(value, dict))


def _texts(values: Iterable[Any]) -> set[str]:
    return {value.strip() for value in values if isinstance(value, str) and value.strip()}
