"""Zarrs: their files in the bucket, and when the archive takes notice of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from mirror.demo.clock import record_time
from mirror.demo.editing import Editing, own_metadata
from mirror.demo.model import Asset, Dandiset, Document, Zarr
from mirror.demo.zarr_checksums import ZarrFile, size_in, zarr_checksum
from mirror.errors import NotFound, UsageError

_ZARR_METADATA: Document = {"encodingFormat": "application/x-zarr"}


class Zarrs(Editing):
    """What contributors do to Zarrs.

    The files of a Zarr are objects under `zarr/<zarr_id>/`. They can change in place, and the Zarr and its assets
    keep their ids. From a change until the archive has ingested it, the Zarr has no checksum and no size.
    """

    def add_zarr(
        self,
        identifier: str,
        path: str,
        files: Mapping[str, bytes],
        metadata: Document | None = None,
        *,
        ingested: bool = True,
    ) -> str:
        """A new Zarr of these files, as an asset of the draft; its Zarr id.

        `ingested=False`: it is still being uploaded, until `ingest_zarr`.
        """
        with self.lock:
            zarr = self._new(identifier, path, metadata)
            self._write(zarr, files)
            if ingested:
                self._ingest(zarr)
            return zarr.zarr_id

    def add_zarr_asset(self, identifier: str, path: str, *, checksum: str | None = None, size: int = 0) -> str:
        """The asset of a Zarr without files, with a checksum it claims or, without, not ingested; the asset's id."""
        with self.lock:
            self._new(identifier, path, None, checksum, size)
            return self.asset(identifier, path).asset_id

    def link_zarr(self, identifier: str, path: str, zarr_id: str, metadata: Document | None = None) -> str:
        """A Zarr that there is already under one more path, of the same Dandiset or of another; the asset's id."""
        with self.lock:
            zarr = self.zarr(zarr_id)
            asset_id = self._put_into_draft(self.dandiset(identifier), path, zarr, metadata)
            self._guard(zarr)
            return asset_id

    def change_zarr(
        self,
        identifier: str,
        path: str,
        put: Mapping[str, bytes] | None = None,
        remove: Iterable[str] = (),
        *,
        ingested: bool = True,
    ) -> None:
        """Write and delete files of a Zarr. `ingested=False`: the upload goes on, until `ingest_zarr`."""
        with self.lock:
            zarr = self._zarr_at(identifier, path)
            gone = list(remove)
            present = {file.name for file in self.zarr_files(zarr.zarr_id)}
            if unknown := sorted(set(gone) - present):
                raise UsageError(f"the Zarr {path!r} has no file {unknown[0]!r}")
            self._settle(zarr, None, 0)
            self._write(zarr, put or {})
            for name in gone:
                self.objects.delete(zarr.key + name)
            if ingested:
                self._ingest(zarr)

    def ingest_zarr(self, identifier: str, path: str, *, checksum: str | None = None, size: int | None = None) -> None:
        """The archive takes in what the bucket has of a Zarr now, or claims the checksum and the size given here."""
        with self.lock:
            self._ingest(self._zarr_at(identifier, path), checksum, size)

    def zarr(self, zarr_id: str) -> Zarr:
        try:
            return self.zarrs[zarr_id]
        except KeyError:
            raise NotFound(f"the demo archive has no Zarr {zarr_id}") from None

    def zarr_files(self, zarr_id: str) -> list[ZarrFile]:
        """What the bucket has of a Zarr now, whatever the archive says of it."""
        key = self.zarr(zarr_id).key
        entries = self.objects.list_objects(prefix=key, limit=sys.maxsize).entries
        return [
            ZarrFile(entry.key.removeprefix(key), entry.version.etag, entry.version.size)
            for entry in entries
            if entry.version
        ]

    def _new(
        self, identifier: str, path: str, metadata: Document | None, checksum: str | None = None, size: int = 0
    ) -> Zarr:
        zarr = Zarr(self.ids.uuid(), path, identifier, checksum, size)
        self._put_into_draft(self.dandiset(identifier), path, zarr, metadata)
        self.zarrs[zarr.zarr_id] = zarr
        return zarr

    def _put_into_draft(self, dandiset: Dandiset, path: str, zarr: Zarr, metadata: Document | None) -> str:
        asset_id = self._add(dandiset, path, None, zarr, {**_ZARR_METADATA, **(metadata or {})})
        dandiset.draft.assets_changed()
        self.save_draft(dandiset)
        return asset_id

    def _zarr_at(self, identifier: str, path: str) -> Zarr:
        asset = self.asset(identifier, path)
        if asset.zarr is None:
            raise UsageError(f"the asset {path!r} is no Zarr")
        return self.zarr(asset.zarr.zarr_id)

    def _write(self, zarr: Zarr, files: Mapping[str, bytes]) -> None:
        private = self._is_closed(zarr)
        for name, content in files.items():
            self.objects.put(zarr.key + name, content)
            self.objects.set_private(zarr.key + name, private)

    def _ingest(self, zarr: Zarr, checksum: str | None = None, size: int | None = None) -> None:
        claimed = checksum or zarr_checksum(self.zarr_files(zarr.zarr_id))
        self._settle(zarr, claimed, size_in(claimed) if size is None else size)
        for dandiset, asset in self._holders(zarr):
            asset.modified = record_time(self.clock.stamp())
            self.save_draft(dandiset)

    def _settle(self, zarr: Zarr, checksum: str | None, size: int) -> None:
        """The Zarr says so from now on, and so do the drafts' assets that hold it. This alone moves no `modified`."""
        self._renew_published(zarr)
        for dandiset, asset in self._holders(zarr):
            dandiset.draft.size += size - zarr.size
            dandiset.draft.assets_changed()
            dandiset.summary_json = None
            asset.forget_json()
        zarr.checksum, zarr.size = checksum, size

    def _holders(self, zarr: Zarr) -> list[tuple[Dandiset, Asset]]:
        """The assets that show this Zarr as it is now, all of them in drafts."""
        everywhere = [(one, asset) for one in self.dandisets.values() for asset in one.draft.assets.values()]
        return [(dandiset, asset) for dandiset, asset in everywhere if asset.zarr is zarr]

    def _renew_published(self, zarr: Zarr) -> None:
        """Give each draft that shares its asset of this Zarr with a version an asset of its own."""
        for dandiset in self.dandisets.values():
            assets = dandiset.draft.assets.values()
            for asset in [one for one in assets if one.published and one.zarr and one.zarr.zarr_id == zarr.zarr_id]:
                self._take_out(dandiset, asset)
                self._add(dandiset, asset.path, None, zarr, own_metadata(asset))
                self.save_draft(dandiset)

    def _guard_zarrs(self, dandiset: Dandiset) -> None:
        """A Dandiset was closed or opened: so are the files of the Zarrs in it, unless another keeps them open."""
        within = [asset for version in self._versions(dandiset) for asset in version.assets.values()]
        for zarr_id in dict.fromkeys(asset.zarr.zarr_id for asset in within if asset.zarr):
            self._guard(self.zarr(zarr_id))

    def _guard(self, zarr: Zarr) -> None:
        private = self._is_closed(zarr)
        for key in self.objects.keys(zarr.key):
            self.objects.set_private(key, private)

    def _is_closed(self, zarr: Zarr) -> bool:
        """Whether no open Dandiset has this Zarr."""
        holding = (asset for asset in self.assets.values() if asset.zarr and asset.zarr.zarr_id == zarr.zarr_id)
        return not any(self.dandisets[asset.dandiset].is_open for asset in holding)
