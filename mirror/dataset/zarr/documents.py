"""What a Zarr's tree holds besides its files, and what its commits say."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mirror.dataset.layout import DATALAD_GITATTRIBUTES, LOG_TIMESTAMP, NUMBER, datalad_config
from mirror.dataset.zarr.checksum import Checksum

GITATTRIBUTES = b"""\
* annex.backend=MD5E
**/.git* annex.largefiles=nothing
.dandi/** annex.largefiles=nothing
"""
ZARR_FILE = b".dandi/zarr.json"

SNAPSHOT_SECONDS = LOG_TIMESTAMP
"""When every snapshot was made, by its commit: what it is must not depend on when somebody looked."""


@dataclass(frozen=True)
class ZarrFacts:
    """Which Zarr, in which state."""

    zarr_id: str
    bucket: str
    """its bucket's name"""
    prefix: str
    """what the keys of its files start with"""
    checksum: Checksum

    def own_files(self) -> dict[bytes, bytes]:
        """The files of its tree that are not the Zarr's, by path."""
        return {
            b".datalad/.gitattributes": DATALAD_GITATTRIBUTES,
            b".datalad/config": datalad_config(self.zarr_id),
            b".gitattributes": GITATTRIBUTES,
            ZARR_FILE: self._zarr_json(),
        }

    def _zarr_json(self) -> bytes:
        facts = {
            "bucket": self.bucket,
            "bytes": self.checksum.bytes,
            "checksum": str(self.checksum),
            "file_count": self.checksum.files,
            "prefix": self.prefix,
            "zarr_id": self.zarr_id,
        }
        return json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"

    def message(self) -> str:
        """What the commits of this state say, the snapshot and the draft alike."""
        checksum = self.checksum
        return (
            f"{checksum.files} files, {checksum.bytes} bytes\n\n"
            f"Zarr: {self.zarr_id}\nChecksum: {checksum}\nFiles: {checksum.files}\nBytes: {checksum.bytes}\n"
            f"Layout: {NUMBER}\n"
        )
