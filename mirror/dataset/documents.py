"""The documents in a version's tree: `dandiset.yaml` and `.dandi/version.json`.

A published version's documents hold nothing that the server rewrites when it saves the version again, or computes
anew for each answer: a mirror made years later gets the same bytes.
"""

from __future__ import annotations

import json
from typing import Any

from mirror.archive.records import VersionInfo
from mirror.dataset.canonical import yaml_document
from mirror.errors import RecordRefused

REWRITTEN = frozenset({"citation", "url", "repository", "manifestLocation", "access", "@context"})
"""What the server rewrites at every save or answer of a published version."""


def release_document(metadata: dict[str, Any], instance_url: str) -> dict[str, Any]:
    """A published version's metadata as it is mirrored: without what the server rewrites, cited by us."""
    kept = {key: value for key, value in metadata.items() if key not in REWRITTEN}
    kept["citation"] = citation(metadata, instance_url)
    return kept


def dandiset_yaml(document: dict[str, Any]) -> bytes:
    """`dandiset.yaml` of a release's document, or of a draft's metadata as answered."""
    return yaml_document(document)


def citation(metadata: dict[str, Any], instance_url: str) -> str:
    """How a published version is cited, in the archive's form, with the year it was published in."""
    contributors = metadata.get("contributor")
    names = "; ".join(
        str(person["name"])
        for person in (contributors if isinstance(contributors, list) else [])
        if isinstance(person, dict) and person.get("includeInCitation") and person.get("name")
    )
    year = _year_published(metadata)
    name = str(metadata.get("name", "")).rstrip(".")
    version = metadata.get("version")
    if doi := metadata.get("doi"):
        address = f"https://doi.org/{doi}"
    else:
        number = str(metadata.get("identifier", "")).rpartition(":")[2]
        address = f"{instance_url}/dandiset/{number}/{version}"
    who = f"{names} ({year}) {name}" if names else f"{name} ({year})."
    return f"{who} (Version {version}) [Data set]. DANDI Archive. {address}"


def _year_published(metadata: dict[str, Any]) -> str:
    published = metadata.get("datePublished")
    if not isinstance(published, str) or not published[:4].isdigit():
        raise RecordRefused(f"version {metadata.get('version')!r} does not say when it was published: {published!r}")
    return published[:4]


def version_json(
    info: VersionInfo, identifier: str, metadata: dict[str, Any], *, draft_times: tuple[str, str] | None = None
) -> bytes:
    """`.dandi/version.json`: the version's record. `draft_times` are a draft's `modified` and `status`."""
    record: dict[str, Any] = {
        "asset_count": info.asset_count,
        "created": info.created,
        "doi": metadata.get("doi"),
        "identifier": identifier,
        "size": info.size,
        "version": info.version,
    }
    if draft_times is not None:
        record["modified"], record["status"] = draft_times
    record = {key: value for key, value in record.items() if value is not None}
    return json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def without_times(version_json_body: bytes) -> dict[str, Any]:
    """A draft's `.dandi/version.json` without what flutters."""
    record = json.loads(version_json_body)
    return {key: value for key, value in record.items() if key not in ("modified", "status")}
