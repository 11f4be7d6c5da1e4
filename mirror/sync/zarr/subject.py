"""Which Zarr is being worked on, and where it is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from mirror.archive.http import shown
from mirror.archive.s3 import S3Location, content_url_allowed, parse_location
from mirror.dataset.zarr.checksum import Checksum
from mirror.dataset.zarr.documents import ZarrFacts
from mirror.dataset.zarr.files import Addresses
from mirror.errors import ContentRefused


@dataclass(frozen=True)
class Subject:
    """A Zarr."""

    zarr_id: str
    address: str
    """in its bucket, as the archive gives it: with a slash at its end"""
    api: str
    """of the archive, as it spells it"""
    remote: bytes
    """the line that tells git-annex of downloads from there"""
    embargoed: bool = False
    """only those with a token may see it, and only at the API"""

    def check(self, hosts: Collection[str]) -> None:
        """ContentRefused unless the address is one of this Zarr, at one of these hosts."""
        if not content_url_allowed(self.address, hosts):
            raise ContentRefused(f"Zarr {self.zarr_id}: its address is not the archive's, {shown(self.address)}")
        if "?" in self.address or "#" in self.address or not self.location.key.endswith(f"{self.zarr_id}/"):
            raise ContentRefused(f"Zarr {self.zarr_id}: its address is that of something else, {shown(self.address)}")

    @cached_property
    def location(self) -> S3Location:
        return parse_location(self.address)

    @property
    def addresses(self) -> Addresses:
        return Addresses(None if self.embargoed else self.address, self.api, self.zarr_id)

    def facts(self, checksum: Checksum) -> ZarrFacts:
        return ZarrFacts(self.zarr_id, self.location.bucket, self.location.key, checksum)
