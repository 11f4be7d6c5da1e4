"""The load: a large Dandiset as the archive would answer, in files, so that reading it costs what answers cost.

Two published versions and a draft. The second version replaces one asset in a hundred, the draft ten more.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from time import thread_time
from typing import TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from mirror.archive.client import Answer, Page
from mirror.archive.records import Asset, SlimAsset, VersionInfo

T = TypeVar("T")
PAGE = 1000
DANDISET = "000001"
VERSIONS = ("0.240101.0000", "0.240201.0000", "draft")
LATER = "later"
"""the draft again, when some more assets have been replaced"""
_START = datetime(2024, 1, 1, tzinfo=UTC)
_API = "https://api.dandiarchive.org/api"
_S3 = "https://dandiarchive.s3.amazonaws.com"


def _uuid(*parts: object) -> str:
    return str(uuid5(NAMESPACE_URL, "/".join(map(str, parts))))


def path_of(number: int) -> str:
    """Forty files a session, some of them text."""
    subject, session = number // 400, number // 40 % 10
    stem = f"sub-{subject:05d}/ses-{session:02d}/sub-{subject:05d}_ses-{session:02d}_run-{number:06d}"
    return stem + ("_events.tsv" if number % 100 == 99 else "_behavior+ecephys.nwb")


def text_of(number: int, edition: int, dandiset: str = DANDISET) -> bytes:
    return f"onset\tduration\n{number}\t{edition}\t{dandiset}\n".encode()


def edition_in(number: int, version: int, changed_in_draft: int) -> int:
    """How often an asset was replaced by then."""
    if version == 3 and number % 1000 == 8 and number // 1000 < changed_in_draft:
        return 3
    if version >= 2 and number % 1000 == 7 and number // 1000 < changed_in_draft:
        return 2
    return 1 if version >= 1 and number % 100 == 50 else 0


def slim_asset(number: int, edition: int, dandiset: str = DANDISET) -> dict[str, object]:
    """An asset's record without its metadata."""
    path, when = path_of(number), _start_plus(number)
    is_text = path.endswith(".tsv")
    return {
        "asset_id": _uuid("asset", dandiset, number, edition),
        "blob": _uuid("blob", dandiset, number, edition),
        "zarr": None,
        "path": path,
        "size": len(text_of(number, edition, dandiset)) if is_text else 1_000_000 + number,
        "created": when,
        "modified": when,
    }


def _start_plus(seconds: int) -> str:
    return (_START + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def asset(number: int, edition: int, *, published: bool, dandiset: str = DANDISET) -> dict[str, object]:
    """An asset's record as the archive shows it."""
    slim = slim_asset(number, edition, dandiset)
    path, asset_id, blob, when = (str(slim[name]) for name in ("path", "asset_id", "blob", "modified"))
    content = text_of(number, edition, dandiset)
    subject = path[4:9]
    metadata: dict[str, object] = {
        "id": f"dandiasset:{asset_id}",
        "path": path,
        "access": [{"schemaKey": "AccessRequirements", "status": "dandi:OpenAccess"}],
        "digest": {"dandi:dandi-etag": f"{UUID(blob).hex}-1", "dandi:sha2-256": sha256(content).hexdigest()},
        "@context": "https://raw.githubusercontent.com/dandi/schema/master/releases/0.6.7/context.json",
        "approach": [{"name": "electrophysiological approach", "schemaKey": "ApproachType"}],
        "schemaKey": "Asset",
        "contentUrl": [f"{_API}/assets/{asset_id}/download/", f"{_S3}/blobs/{blob[:3]}/{blob[3:6]}/{blob}"],
        "identifier": asset_id,
        "contentSize": slim["size"],
        "dateModified": when,
        "schemaVersion": "0.6.7",
        "encodingFormat": "text/tab-separated-values" if path.endswith(".tsv") else "application/x-nwb",
        "wasAttributedTo": [
            {
                "age": {"value": "P12W", "unitText": "ISO-8601 duration", "schemaKey": "PropertyValue"},
                "sex": {
                    "name": "Male",
                    "schemaKey": "SexType",
                    "identifier": "http://purl.obolibrary.org/obo/PATO_0000384",
                },
                "species": {
                    "name": "Mus musculus - House mouse",
                    "schemaKey": "SpeciesType",
                    "identifier": "http://purl.obolibrary.org/obo/NCBITaxon_10090",
                },
                "schemaKey": "Participant",
                "identifier": subject,
            }
        ],
        "wasGeneratedBy": [
            {
                "name": f"{subject}-{number // 40 % 10}",
                "schemaKey": "Session",
                "identifier": f"{subject}-{number // 40}",
            },
            {
                "id": f"urn:uuid:{_uuid('activity', number)}",
                "name": "Metadata generation",
                "schemaKey": "Activity",
                "description": "Metadata generated by DANDI cli",
                "wasAssociatedWith": [
                    {
                        "url": "https://github.com/dandi/dandi-cli",
                        "name": "DANDI Command Line Interface",
                        "version": "0.61.2",
                        "schemaKey": "Software",
                        "identifier": "RRID:SCR_019009",
                    }
                ],
            },
        ],
        "blobDateModified": when,
        "variableMeasured": [{"value": "ElectricalSeries", "schemaKey": "PropertyValue"}],
        "measurementTechnique": [{"name": "spike sorting technique", "schemaKey": "MeasurementTechniqueType"}],
    }
    if published:
        metadata["datePublished"] = "2024-02-01T00:00:00+00:00"
    return {**slim, "metadata": metadata}


def write(folder: Path, count: int, *, draft_changes: int = 10) -> None:
    """Write the answers of all versions of a Dandiset of `count` assets."""
    (folder / "changed").mkdir(parents=True)
    for version, name in enumerate((*VERSIONS, LATER)):
        target = folder / name
        target.mkdir(parents=True)
        for number in range(0, count, PAGE):
            numbers = range(number, min(number + PAGE, count))
            records = []
            for one in numbers:
                edition = edition_in(one, version, draft_changes)
                records.append(asset(one, edition, published=edition < 2))
                if edition:
                    single = folder / "changed" / f"{records[-1]['asset_id']}.json"
                    single.write_bytes(json.dumps(records[-1]).encode())
            head: dict[str, object] = {"count": count if number == 0 else None, "next": None}
            page = number // PAGE + 1
            (target / f"full-{page}.json").write_bytes(json.dumps({**head, "results": records}).encode())
            slim = [{key: value for key, value in record.items() if key != "metadata"} for record in records]
            (target / f"slim-{page}.json").write_bytes(json.dumps({**head, "results": slim}).encode())
        (target / "info.json").write_text(json.dumps(_info(name, count)))


def _info(version: str, count: int) -> dict[str, object]:
    drafts = {"draft": "2024-03-01T00:00:00Z", LATER: "2024-03-02T00:00:00Z"}
    when = drafts.get(version) or f"20{version[2:4]}-{version[4:6]}-{version[6:8]}T00:00:00Z"
    published = version not in drafts
    version = version if published else "draft"
    metadata: dict[str, object] = {
        "name": "A large Dandiset",
        "identifier": "DANDI:000001",
        "version": version,
        "license": ["spdx:CC-BY-4.0"],
        "contributor": [{"name": "Doe, Jane", "includeInCitation": True}],
    }
    if published:
        metadata |= {"doi": f"10.48324/dandi.000001/{version}", "datePublished": when}
    return {
        "version": version,
        "name": "A large Dandiset",
        "asset_count": count,
        "size": count * 1_000_000,
        "status": "Valid",
        "created": when,
        "modified": when,
        "metadata": metadata,
    }


class _List(msgspec.Struct):
    count: int | None
    results: list[Asset]


class _SlimList(msgspec.Struct):
    count: int | None
    results: list[SlimAsset]


class FileClient:
    """Answers from files, decoded as the archive's answers are. `seconds` is the CPU time that this took so far."""

    def __init__(self, folder: Path, draft: str = "draft") -> None:
        self._folder = folder
        self._draft = draft
        self.seconds = 0.0
        self._full = msgspec.json.Decoder(_List).decode
        self._slim = msgspec.json.Decoder(_SlimList).decode
        self._info = msgspec.json.Decoder(VersionInfo).decode

    def version_info(self, _identifier: str, version: str) -> Answer[VersionInfo]:
        return Answer(self._read(self._of(version) / "info.json", self._info), datetime.now(UTC))

    def full_assets(self, identifier: str, version: str) -> Iterator[Page[Asset]]:
        for number in range(1, self._pages(version) + 1):
            yield self.full_page(identifier, version, number)

    def full_page(self, _identifier: str, version: str, number: int) -> Page[Asset]:
        found = self._read(self._of(version) / f"full-{number}.json", self._full)
        return Page(number, found.count, found.results, is_last=False)

    def slim_assets(self, _identifier: str, version: str) -> Iterator[Page[SlimAsset]]:
        for number in range(1, self._pages(version) + 1):
            found = self._read(self._of(version) / f"slim-{number}.json", self._slim)
            yield Page(number, found.count, found.results, is_last=False)

    def asset(self, asset_id: str) -> Asset:
        return self._read(self._folder / "changed" / f"{asset_id}.json", msgspec.json.Decoder(Asset).decode)

    def _read(self, path: Path, decode: Callable[[bytes], T]) -> T:
        started = thread_time()
        found = decode(path.read_bytes())
        self.seconds += thread_time() - started
        return found

    def _of(self, version: str) -> Path:
        return self._folder / (self._draft if version == "draft" else version)

    def _pages(self, version: str) -> int:
        return len(list(self._of(version).glob("full-*.json")))


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
