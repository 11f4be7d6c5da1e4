"""What is worth telling, and asking, of a version of a Dandiset: read from its documents, whatever they leave out.

The same for a draft and for a published version, and for a version just read from the archive and one read back from
its tree years later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

# The C parser, where there is one, gives the same documents in a tenth of the time. (Of the emitters that is not true.)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FUNDERS = {"dcite:Funder", "dcite:Sponsor"}
"""Both are funders to the archive, when it registers a DOI; the second is much the more frequent."""


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """A version, in a few words."""

    identifier: str
    version: str
    """its name; `draft`"""
    name: str
    created: str
    """when the archive made it, as the archive wrote it"""
    assets: int
    size: int
    """bytes of all assets together"""
    modified: str | None = None
    """of a draft: when it was last modified"""
    published: str | None = None
    """of a published version: when"""
    doi: str | None = None
    citation: str = ""
    description: str = ""
    embargoed: bool = False
    subjects: int | None = None
    license: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    contributors: tuple[str, ...] = ()
    funders: tuple[str, ...] = ()
    species: tuple[str, ...] = ()
    species_ids: tuple[str, ...] = ()
    """of the taxa that the archive gives an identifier for"""
    approaches: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    standards: tuple[str, ...] = ()
    release_notes: str = ""


def facts_of(dandiset_yaml: bytes, version_json: bytes) -> Facts:
    """The facts of a version, from the two documents in its tree."""
    document = yaml.load(dandiset_yaml, _Loader)
    return facts_in(document if isinstance(document, dict) else {}, json.loads(version_json))


def facts_in(document: Mapping[str, Any], record: Mapping[str, Any]) -> Facts:
    """The facts of a version, from its metadata document and its record (`.dandi/version.json`)."""
    summary = document.get("assetsSummary")
    summary = summary if isinstance(summary, dict) else {}
    species, subjects = _objects(summary.get("species")), summary.get("numberOfSubjects")
    contributors = _objects(document.get("contributor"))
    version = str(record["version"])
    return Facts(
        identifier=str(record["identifier"]),
        version=version,
        name=_line(document.get("name")),
        created=str(record.get("created", "")),
        assets=int(record.get("asset_count", 0)),
        size=int(record.get("size", 0)),
        modified=record.get("modified"),
        # Documents of drafts may still tell when an earlier version was published.
        published=None if version == "draft" else _text(document.get("datePublished")),
        doi=_line(record.get("doi")).replace("\0", "") or None,
        citation=_line(document.get("citation")),
        description=_text(document.get("description")) or "",
        embargoed=is_embargoed(document),
        subjects=subjects if isinstance(subjects, int) and not isinstance(subjects, bool) else None,
        license=_strings(document.get("license")),
        keywords=_strings(document.get("keywords")),
        contributors=_names(contributors),
        funders=_names([one for one in contributors if not _FUNDERS.isdisjoint(_strings(one.get("roleName")))]),
        species=_names(species),
        species_ids=_each_once([_line(one.get("identifier")) for one in species]),
        approaches=_names(_objects(summary.get("approach"))),
        techniques=_names(_objects(summary.get("measurementTechnique"))),
        standards=_names(_objects(summary.get("dataStandard"))),
        release_notes=_text(document.get("releaseNotes")) or "",
    )


def is_embargoed(document: Mapping[str, Any]) -> bool:
    """Whether a version's metadata document says that not everybody may see it."""
    return any(one.get("status") == "dandi:EmbargoedAccess" for one in _objects(document.get("access")))


def seen_with(draft: Facts, latest: Facts | None) -> Facts:
    """A draft as people ask for it: with the name, DOI and date of the latest version published from it."""
    if latest is None:
        return draft
    return msgspec.structs.replace(draft, version=latest.version, doi=latest.doi, published=latest.published)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _names(objects: list[dict[str, Any]]) -> tuple[str, ...]:
    return _each_once([_line(one.get("name")) for one in objects])


def _strings(value: Any) -> tuple[str, ...]:
    return _each_once([_line(one) for one in value]) if isinstance(value, list) else _each_once([_line(value)])


def _each_once(lines: list[str]) -> tuple[str, ...]:
    """Those that say something, in the archive's order."""
    return tuple(dict.fromkeys(filter(None, lines)))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _line(value: Any) -> str:
    """A text on one line; what is no text is passed over."""
    return " ".join(value.split()) if isinstance(value, str) else ""
