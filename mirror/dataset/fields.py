"""The fields of an asset's metadata worth asking for, as git-annex metadata.

With them `git annex find --metadata species=…` and `git annex view` work in any clone. Schemas of seven years are
about, so what does not look as expected is passed over.
"""

from __future__ import annotations

from typing import Any

FIELD_NAMES = ("approach", "format", "session", "sex", "species", "subject", "technique")

Fields = tuple[tuple[str, tuple[str, ...]], ...]
"""Field names with their values, both sorted."""


def annex_fields(metadata: dict[str, Any]) -> Fields:
    """The fields of one asset; those without a value are left out."""
    get = metadata.get
    subjects = _objects(get("wasAttributedTo"))
    sessions = [
        activity.get("identifier") or activity.get("name")
        for activity in _objects(get("wasGeneratedBy"))
        if activity.get("schemaKey") == "Session"
    ]
    found = (
        _names(get("approach")),
        [get("encodingFormat")],
        sessions,
        _names([subject.get("sex") for subject in subjects]),
        _names([subject.get("species") for subject in subjects]),
        [subject.get("identifier") for subject in subjects],
        _names(get("measurementTechnique")),
    )
    return tuple([(field, values) for field, raw in zip(FIELD_NAMES, found, strict=True) if (values := _texts(raw))])


def merged(one: Fields, other: Fields) -> Fields:
    """The fields of a key that two assets share: all values that either has."""
    if one == other:
        return one
    values: dict[str, set[str]] = {}
    for name, found in (*one, *other):
        values.setdefault(name, set()).update(found)
    return tuple((name, tuple(sorted(values[name]))) for name in sorted(values))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _names(values: Any) -> list[Any]:
    return [value.get("name") for value in _objects(values)]


def _texts(values: list[Any]) -> tuple[str, ...]:
    """The texts among these, without the white space around them, each once, sorted."""
    if len(values) == 1:
        text = values[0].strip() if isinstance(values[0], str) else ""
        return (text,) if text else ()
    return tuple(sorted({text for value in values if isinstance(value, str) and (text := value.strip())}))
