"""`/zarr/` and `/zarr/{zarr_id}/files/`: filters and pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlencode

from mirror.demo import records
from mirror.demo.bucket import Listed
from mirror.demo.model import Dandiset, Zarr
from mirror.demo.paging import page_of
from mirror.demo.problems import Problem
from mirror.demo.publishing import Publishing
from mirror.demo.records import to_json

_LARGEST_LIMIT = 1000
_NO_IDENTIFIER = "A valid Dandiset identifier is required."


def zarrs_page(
    archive: Publishing, may_read: Callable[[Dandiset], bool], parameters: dict[str, str], address: str
) -> bytes:
    """The Zarrs of the Dandisets that the client may read, or of one of them, in the order of their making."""
    zarrs = [zarr for zarr in archive.zarrs.values() if may_read(archive.dandisets[zarr.dandiset])]
    if (identifier := parameters.get("dandiset")) is not None:
        if not re.fullmatch(r"\d{6}", identifier):
            raise Problem(400, {"dandiset": [_NO_IDENTIFIER]})
        zarrs = [zarr for zarr in zarrs if zarr.dandiset == identifier]
    if name := parameters.get("name"):
        zarrs = [zarr for zarr in zarrs if zarr.name == name]
    return page_of(zarrs, lambda zarr: to_json(records.zarr_record(zarr)), parameters, address)


def zarr_files_page(archive: Publishing, zarr: Zarr, parameters: dict[str, str], address: str) -> bytes:
    """The files in the bucket now, ingested or not, in key order from the one that follows `after`."""
    after = parameters.get("after", "")
    page = archive.objects.list_objects(
        prefix=zarr.key + parameters.get("prefix", ""),
        after=zarr.key + after if after else "",
        limit=_limit(parameters.get("limit", str(_LARGEST_LIMIT))),
    )
    results = [_file_record(zarr, entry) for entry in page.entries]
    following = {**parameters, "after": results[-1]["Key"]} if page.truncated else None
    link = f"{address}?{urlencode(sorted(following.items()))}" if following else None
    return to_json({"next": link, "results": results})


def _limit(text: str) -> int:
    if not re.fullmatch(r"-?\d+", text):
        raise Problem(400, {"limit": ["A valid integer is required."]})
    if (limit := int(text)) < 0:
        raise Problem(400, {"limit": ["Ensure this value is greater than or equal to 0."]})
    if limit > _LARGEST_LIMIT:
        raise Problem(400, {"limit": [f"Ensure this value is less than or equal to {_LARGEST_LIMIT}."]})
    return limit


def _file_record(zarr: Zarr, entry: Listed) -> dict[str, str | int]:
    assert entry.version is not None  # only a listing with a delimiter has common prefixes
    return {
        "Key": entry.key.removeprefix(zarr.key),
        "LastModified": str(entry.version.modified.replace(microsecond=0)),
        "ETag": entry.version.etag,
        "Size": entry.version.size,
    }
