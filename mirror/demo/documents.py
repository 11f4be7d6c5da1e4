"""How the archive composes the metadata documents of versions and assets. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mirror.demo.model import EMBARGOED, UNEMBARGOING, Asset, Dandiset, Document, Version

SCHEMA_VERSION = "0.7.0"
CONTEXT = f"https://raw.githubusercontent.com/dandi/schema/master/releases/{SCHEMA_VERSION}/context.json"
RRID = "RRID:ABC_123456"

_NWB = {"name": "Neurodata Without Borders (NWB)", "schemaKey": "StandardsType", "identifier": "RRID:SCR_015242"}
_BIDS = {
    "name": "Brain Imaging Data Structure (BIDS)",
    "schemaKey": "StandardsType",
    "identifier": "RRID:SCR_016124",
}
_ENCODINGS = {
    "nwb": "application/x-nwb",
    "json": "application/json",
    "md": "text/markdown",
    "tsv": "text/tab-separated-values",
    "csv": "text/csv",
    "txt": "text/plain",
    "zarr": "application/x-zarr",
}


COMPUTED = frozenset({"id", "path", "access", "digest", "contentUrl", "identifier", "contentSize"})
"""What of an asset's metadata is computed for each answer."""


@dataclass(frozen=True)
class Addresses:
    """The names and addresses that documents mention."""

    instance_name: str
    instance_url: str
    api_url: str
    bucket_url: str
    doi_prefix: str | None

    def doi(self, identifier: str, version: str) -> str | None:
        return f"{self.doi_prefix}/{self.instance_name.lower()}.{identifier}/{version}" if self.doi_prefix else None

    def landing_page(self, identifier: str, version: str) -> str:
        return f"{self.repository}/dandiset/{identifier}/{version}"

    @property
    def repository(self) -> str:
        return self.instance_url.rstrip("/")


def jsonb(value: Any) -> Any:
    """A document as it comes back from the database: keys by length, then by alphabet."""
    if isinstance(value, dict):
        return {key: jsonb(value[key]) for key in _sorted(value)}
    if isinstance(value, list):
        return [jsonb(item) for item in value]
    return value


def in_database_order(document: Document) -> Document:
    """The same with its own keys, not those further in, in the order of the database."""
    return {key: document[key] for key in _sorted(document)}


def _sorted(keys: Iterable[str]) -> list[str]:
    # Sorting is stable: twice, by what costs nothing to compare, is faster than once by both.
    return sorted(sorted(keys), key=len)


def encoding_of(path: str) -> str:
    return _ENCODINGS.get(path.rpartition(".")[2].lower(), "application/octet-stream")


def asset_defaults(path: str) -> Document:
    """What a client that knows nothing of a file says about it."""
    return {"schemaKey": "Asset", "schemaVersion": SCHEMA_VERSION, "encodingFormat": encoding_of(path)}


def asset_document(asset: Asset, dandiset: Dandiset, addresses: Addresses) -> Document:
    """An asset's metadata as answered: what is stored, and what is computed anew each time."""
    access: Document = {"schemaKey": "AccessRequirements", "status": _access_status(dandiset)}
    if not dandiset.is_open:
        access["embargoedUntil"] = dandiset.embargoed_until
    content = asset.blob or asset.zarr
    computed = {
        "id": f"dandiasset:{asset.asset_id}",
        "access": [access],
        "path": asset.path,
        "identifier": asset.asset_id,
        "contentUrl": [
            f"{addresses.api_url}/assets/{asset.asset_id}/download/",
            f"{addresses.bucket_url}/{content.key if content else ''}",
        ],
        "contentSize": asset.size,
        "digest": _digest(asset),
    }
    document = {**asset.stored, **computed}
    document.setdefault("@context", CONTEXT)
    return in_database_order(document) if asset.published else document


def _digest(asset: Asset) -> Document:
    if asset.blob is None:
        return {"dandi:dandi-zarr-checksum": asset.zarr.checksum if asset.zarr else None}
    digest = {"dandi:dandi-etag": asset.blob.etag}
    if asset.blob.hashed:
        digest["dandi:sha2-256"] = asset.blob.sha256
    return digest


def version_document(version: Version, dandiset: Dandiset, addresses: Addresses) -> Document:
    """A version's metadata document as answered."""
    identifier = f"{addresses.instance_name}:{dandiset.identifier}"
    if version.is_draft:
        manifest = f"{addresses.api_url}/dandisets/{dandiset.identifier}/versions/draft/assets/"
    else:
        manifest = f"{addresses.bucket_url}/dandisets/{dandiset.identifier}/{version.name}/assets.yaml"
    computed = {
        "id": f"{identifier}/{version.name}",
        "url": addresses.landing_page(dandiset.identifier, version.name),
        "access": version_access(dandiset),
        "version": version.name,
        "@context": CONTEXT,
        "citation": citation(version, dandiset, addresses),
        "schemaKey": "Dandiset",
        "identifier": identifier,
        "repository": addresses.repository,
        "schemaVersion": SCHEMA_VERSION,
        "assetsSummary": version.summary,
        "manifestLocation": [manifest],
    }
    # What saving a published version wrote into it stands; a draft's is computed.
    document: Document = jsonb({**version.stored, **computed} if version.is_draft else {**computed, **version.stored})
    return document


def frozen_fields(version: Version, dandiset: Dandiset, addresses: Addresses) -> Document:
    """What saving a published version writes into it, to stay until it is saved again."""
    return {
        "url": addresses.landing_page(dandiset.identifier, version.name),
        "access": version_access(dandiset),
        "citation": citation(version, dandiset, addresses),
        "repository": addresses.repository,
    }


def version_access(dandiset: Dandiset) -> list[Document]:
    access: Document = {"status": _access_status(dandiset), "schemaKey": "AccessRequirements"}
    if dandiset.embargoed_until:
        access["embargoedUntil"] = dandiset.embargoed_until
    return [access]


def _access_status(dandiset: Dandiset) -> str:
    closed = dandiset.embargo_status in (EMBARGOED, UNEMBARGOING)
    return "dandi:EmbargoedAccess" if closed else "dandi:OpenAccess"


def citation(version: Version, dandiset: Dandiset, addresses: Addresses) -> str:
    """`Doe, Jane; Roe, Richard (2026) Title (Version 0.261120.1534) [Data set]. DANDI Archive. https://doi.org/…`"""
    authors = "; ".join(
        contributor["name"]
        for contributor in version.stored.get("contributor", [])
        if contributor.get("includeInCitation")
    )
    title = str(version.stored.get("name", "")).removesuffix(".")
    doi = version.stored.get("doi")
    address = f"https://doi.org/{doi}" if doi else addresses.landing_page(dandiset.identifier, version.name)
    return f"{authors} ({version.saved_year}) {title} (Version {version.name}) [Data set]. DANDI Archive. {address}"


def contact_person(version: Version) -> str | None:
    for contributor in version.stored.get("contributor", []):
        if "dcite:ContactPerson" in contributor.get("roleName", []):
            return str(contributor["name"])
    return None


def contributor(name: str, *, email: str | None = None, contact: bool = False) -> Document:
    """An author; `contact` makes her the contact person too."""
    roles = ["dcite:Author", "dcite:ContactPerson"] if contact else ["dcite:Author"]
    person: Document = {"name": name, "roleName": roles, "schemaKey": "Person", "includeInCitation": True}
    return {**person, "email": email} if email else person


def publish_activity(urn: str, software_urn: str, when: str, instance_name: str) -> Document:
    return {
        "id": urn,
        "name": "DANDI publish",
        "endDate": when,
        "schemaKey": "PublishActivity",
        "startDate": when,
        "wasAssociatedWith": [
            {
                "id": software_urn,
                "name": f"{instance_name} API",
                "version": "0.1.0",
                "schemaKey": "Software",
                "identifier": RRID,
            }
        ],
    }


def assets_summary(assets: Iterable[Asset]) -> Document:
    """What the archive sums up over a version's assets."""
    found: dict[str, dict[str, Any]] = {
        field: {} for field in ("species", "approach", "measurementTechnique", "variableMeasured", "dataStandard")
    }
    subjects: set[str] = set()
    files = size = 0
    for asset in assets:
        files += 1
        size += asset.size
        subjects |= _subjects(asset)
        _gather(asset, found)
    summary: Document = {field: list(values.values()) for field, values in found.items()}
    summary |= {"schemaKey": "AssetsSummary", "numberOfBytes": size, "numberOfFiles": files}
    if subjects:
        summary["numberOfSubjects"] = len(subjects)
    ordered: Document = jsonb(summary)
    return ordered


def _gather(asset: Asset, found: dict[str, dict[str, Any]]) -> None:
    stored = asset.stored
    for participant in stored.get("wasAttributedTo", ()):
        if species := participant.get("species"):
            found["species"].setdefault(species["identifier"], species)
    for field in ("approach", "measurementTechnique"):
        for item in stored.get(field, ()):
            found[field].setdefault(item["name"], item)
    for item in stored.get("variableMeasured", ()):
        found["variableMeasured"].setdefault(item["value"], item["value"])
    if stored.get("encodingFormat") == "application/x-nwb":
        found["dataStandard"]["NWB"] = _NWB
    if asset.path.endswith("dataset_description.json"):
        found["dataStandard"]["BIDS"] = _BIDS


def _subjects(asset: Asset) -> set[str]:
    """The subjects an asset names; if none, the one in its path."""
    named = {str(one["identifier"]) for one in asset.stored.get("wasAttributedTo", ()) if one.get("identifier")}
    if named:
        return named
    top, slash, _ = asset.path.partition("/")
    return {top.removeprefix("sub-")} if slash and top.startswith("sub-") else set()
