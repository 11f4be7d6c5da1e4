"""What the commits and tags of a Dandiset say, and when they say it was.

Nobody's name and no clock: who writes is always the same, and the times are the archive's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mirror.dataset.assets import ZARR, Held
from mirror.errors import RecordRefused

WRITER_NAME = "dandi-mirror"
WRITER_EMAIL = "dandi-mirror@users.invalid"

_REF_COMPONENT = r"[0-9A-Za-z](?:[0-9A-Za-z_-]|\.(?!\.|/|$|lock(?:/|$)))*"
_SAFE_VERSION = re.compile(_REF_COMPONENT)
_SAFE_DOI = re.compile(rf"10\.{_REF_COMPONENT}(?:/{_REF_COMPONENT})+")


@dataclass(frozen=True)
class Changes:
    """How many assets differ between two states of a Dandiset."""

    added: int
    modified: int
    removed: int

    @property
    def any(self) -> bool:
        return bool(self.added or self.modified or self.removed)

    def __str__(self) -> str:
        parts = [f"{self.added} added", f"{self.modified} modified", f"{self.removed} removed"]
        return ", ".join(part for part in parts if not part.startswith("0 ")) or "no asset changed"


def changes_between(before: Mapping[str, Held], after: Mapping[str, Held]) -> Changes:
    """Count the assets that differ. What publishing adds to an asset's record is no change of the asset."""
    added = modified = 0
    for path, held in after.items():
        earlier = before.get(path)
        if earlier is None:
            added += 1
        elif earlier is not held and _differs(earlier, held):
            modified += 1
    return Changes(added, modified, removed=len(before) + added - len(after))


def _differs(before: Held, after: Held) -> bool:
    if before.asset_id != after.asset_id or before.kind != after.kind:
        return True
    return after.kind == ZARR and None not in (before.modified, after.modified) and before.modified != after.modified


@dataclass(frozen=True)
class CommitFacts:
    """What a commit on `releases` or `draft` tells of the version it holds."""

    identifier: str
    version: str
    changes: Changes
    assets: int
    size: int
    layout: str
    doi: str | None = None
    modified: str | None = None
    """a draft's `modified`"""

    def message(self) -> str:
        trailers = [("Dandiset", self.identifier), ("Version", self.version)]
        if self.doi:
            trailers.append(("DOI", _trailing(self.doi)))
        if self.modified:
            trailers.append(("Archive-Modified", _trailing(self.modified)))
        trailers += [("Assets", str(self.assets)), ("Bytes", str(self.size)), ("Layout", self.layout)]
        lines = "".join(f"{key}: {value}\n" for key, value in trailers)
        return f"{self.version}: {self.changes}\n\n{lines}"


def _trailing(value: str) -> str:
    """A value as it may stand in a trailer: on one line."""
    return " ".join(value.replace("\0", "").split())


def trailers(message: str) -> dict[str, str]:
    """The trailers of one of our commit messages."""
    last = message.rstrip("\n").rpartition("\n\n")[2]
    return {key: value for key, _, value in (line.partition(": ") for line in last.split("\n"))}


def version_tag(version: str) -> str:
    """The tag of a published version: its name, if git can hold it."""
    if not _SAFE_VERSION.fullmatch(version):
        raise RecordRefused(f"version {version!r} is no name for a tag")
    return version


def doi_tag(doi: str) -> str | None:
    """The second tag of a published version, under its DOI; None when git cannot hold that."""
    return f"doi/{doi}" if _SAFE_DOI.fullmatch(doi) else None


def tag_message(document: dict[str, Any]) -> str:
    """What the annotated tag of a release says: title, citation, DOI, license, release notes."""
    paragraphs = [_one_line(document.get("name")), str(document.get("citation", ""))]
    facts = []
    if doi := document.get("doi"):
        facts.append(f"DOI: https://doi.org/{doi}")
    licenses = document.get("license")
    if isinstance(licenses, list) and licenses:
        facts.append(f"License: {', '.join(map(str, licenses))}")
    paragraphs.append("\n".join(facts))
    if notes := document.get("releaseNotes"):
        paragraphs.append(str(notes).strip())
    return "\n\n".join(text for text in paragraphs if text).replace("\0", "") + "\n"


def _one_line(text: Any) -> str:
    return " ".join(str(text or "").split())
