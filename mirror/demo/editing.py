"""Making and changing Dandisets and their drafts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from mirror.demo import documents
from mirror.demo.clock import document_time, record_time
from mirror.demo.documents import COMPUTED, jsonb
from mirror.demo.holdings import EMBARGO_TERM, Holdings
from mirror.demo.model import EMBARGOED, OPEN, Asset, Blob, Dandiset, Document, Version, Zarr, dandi_etag
from mirror.errors import UsageError

_PUBLICATION = frozenset({"publishedBy", "datePublished"})


class Editing(Holdings):
    """What contributors do to an archive, and what it does on its own between publications."""

    def create_dandiset(
        self,
        name: str = "A Dandiset",
        *,
        identifier: str | None = None,
        metadata: Document | None = None,
        contributors: Sequence[str] = ("Doe, Jane",),
        description: str | None = None,
        license: str = "spdx:CC-BY-4.0",
        embargoed: bool = False,
    ) -> str:
        """A new Dandiset with an empty draft. The first of the contributors is its contact person."""
        with self.lock:
            number = 1 + max((int(taken) for taken in self.dandisets), default=0)
            identifier = identifier or f"{number:06d}"
            if identifier in self.dandisets:
                raise UsageError(f"the demo archive already has a Dandiset {identifier}")
            people = [
                documents.contributor(person, email="nemo@example.com" if first else None, contact=first)
                for first, person in zip([True] + [False] * len(contributors), contributors, strict=False)
            ]
            born = self.clock.stamp()
            stored: Document = {
                "name": name,
                "license": [license],
                "contributor": people,
                "description": description or f"{name}, made for the demo archive",
                "dateCreated": document_time(born),
                **(metadata or {}),
            }
            saved = self.clock.stamp()
            draft = Version("draft", jsonb(stored), record_time(saved), record_time(saved), saved.year)
            dandiset = Dandiset(identifier, record_time(born), record_time(born), draft, owners=(self.owner.username,))
            if embargoed:
                dandiset.embargo_status = EMBARGOED
                dandiset.embargoed_until = (born + EMBARGO_TERM).date().isoformat()
            in_order = identifier > max(self.dandisets, default="")
            self.dandisets[identifier] = dandiset
            if not in_order:
                self.dandisets = dict(sorted(self.dandisets.items()))
            return identifier

    def edit_dandiset(self, identifier: str, **changes: object) -> None:
        """Change fields of the draft's metadata document; None takes a field out."""
        with self.lock:
            dandiset = self.dandiset(identifier)
            stored = {**dandiset.draft.stored, **changes}
            dandiset.draft.stored = jsonb({key: value for key, value in stored.items() if value is not None})
            self.save_draft(dandiset)

    def delete_dandiset(self, identifier: str) -> None:
        with self.lock:
            dandiset = self.dandiset(identifier)
            gone = {asset.asset_id for version in self._versions(dandiset) for asset in version.assets.values()}
            for asset_id in gone:
                del self.assets[asset_id]
            del self.dandisets[identifier]
            self._hand_over_zarrs(identifier)

    def touch_draft(self, identifier: str, *, status: str | None = None) -> None:
        """Only `modified` and `status` move, as they do in the seconds after a change."""
        with self.lock:
            self.save_draft(self.dandiset(identifier), status=status)

    def add_asset(
        self, identifier: str, path: str, content: bytes, metadata: Document | None = None, *, hashed: bool = True
    ) -> str:
        """A new asset in the draft. `hashed=False` keeps its sha256 back until `hash_now`."""
        return self.add_assets(identifier, [(path, content, metadata)], hashed=hashed)[0]

    def add_assets(
        self,
        identifier: str,
        files: Iterable[tuple[str, bytes] | tuple[str, bytes, Document | None]],
        *,
        hashed: bool = True,
    ) -> list[str]:
        """Many new assets at once, saving the draft only once."""
        with self.lock:
            dandiset = self.dandiset(identifier)
            added = [
                self._add(dandiset, path, self._blob(dandiset, content, hashed), None, rest[0] if rest else None)
                for path, content, *rest in files
            ]
            dandiset.draft.assets_changed()
            self.save_draft(dandiset)
            return added

    def replace_asset(
        self,
        identifier: str,
        path: str,
        *,
        content: bytes | None = None,
        metadata: Document | None = None,
        hashed: bool = True,
    ) -> str:
        """New content, new metadata, or both: a new asset at the same path."""
        with self.lock:
            dandiset, old = self.dandiset(identifier), self.asset(identifier, path)
            blob = old.blob if content is None else self._blob(dandiset, content, hashed)
            stored = own_metadata(old) if metadata is None else metadata
            self._take_out(dandiset, old)
            asset_id = self._add(dandiset, path, blob, old.zarr if content is None else None, stored)
            dandiset.draft.assets_changed()
            self.save_draft(dandiset)
            return asset_id

    def rename_asset(self, identifier: str, path: str, new_path: str) -> str:
        """The same blob under another path: a new asset."""
        with self.lock:
            dandiset, old = self.dandiset(identifier), self.asset(identifier, path)
            if new_path in dandiset.draft.assets:
                raise UsageError(f"Dandiset {identifier} already has an asset {new_path!r}")
            self.refuse_path(new_path)
            self._take_out(dandiset, old)
            asset_id = self._add(dandiset, new_path, old.blob, old.zarr, own_metadata(old))
            dandiset.draft.assets_changed()
            self.save_draft(dandiset)
            return asset_id

    def remove_asset(self, identifier: str, path: str) -> None:
        with self.lock:
            dandiset = self.dandiset(identifier)
            self._take_out(dandiset, self.asset(identifier, path))
            dandiset.draft.assets_changed()
            self.save_draft(dandiset)

    def hash_now(self) -> None:
        """The archive gets round to hashing what it holds. No `modified` moves, and no status."""
        with self.lock:
            for asset in self.assets.values() if self._unhashed else ():
                if asset.blob in self._unhashed:
                    asset.forget_json()
            for blob in self._unhashed:
                blob.hashed = True
            self._unhashed.clear()

    def _add(
        self, dandiset: Dandiset, path: str, blob: Blob | None, zarr: Zarr | None, metadata: Document | None
    ) -> str:
        self.refuse_path(path)
        draft = dandiset.draft
        if path in draft.assets:
            raise UsageError(f"Dandiset {dandiset.identifier} already has an asset {path!r}")
        stored = documents.asset_defaults(path)
        if metadata:
            stored = jsonb({**stored, **metadata})
        if zarr is not None:
            # What was published holds the Zarr as it was then; a new asset shows it as it is now.
            zarr = self.zarrs.get(zarr.zarr_id, zarr)
        created, modified = record_time(self.clock.stamp()), record_time(self.clock.stamp())
        asset = Asset(self.ids.uuid(), dandiset.identifier, path, blob, zarr, stored, created, modified)
        self.assets[asset.asset_id] = draft.assets[path] = asset
        draft.size += asset.size
        return asset.asset_id

    def _take_out(self, dandiset: Dandiset, asset: Asset) -> None:
        """Remove from the draft. An asset that no published version holds is gone for good."""
        dandiset.draft.size -= asset.size
        del dandiset.draft.assets[asset.path]
        if not any(version.assets.get(asset.path) is asset for version in dandiset.published.values()):
            del self.assets[asset.asset_id]

    def _blob(self, dandiset: Dandiset, content: bytes, hashed: bool) -> Blob:
        """The blob of this content: the one there is, or a new one in the bucket."""
        sha256 = hashlib.sha256(content).hexdigest()
        blob = self._blobs.get(sha256)
        if blob is None:
            blob = Blob(self.ids.uuid(), len(content), dandi_etag(content), sha256, hashed)
            self._blobs[sha256] = blob
            self.objects.put(blob.key, content, etag=blob.etag)
            self.objects.set_private(blob.key, not dandiset.is_open)
            if not hashed:
                self._unhashed.add(blob)
        elif dandiset.embargo_status == OPEN:
            self.objects.set_private(blob.key, False)
        return blob

    def _hand_over_zarrs(self, identifier: str) -> None:
        """The Zarrs of a Dandiset that is gone now belong to one that holds them, too, or are gone as well."""
        heirs = {asset.zarr.zarr_id: asset.dandiset for asset in self.assets.values() if asset.zarr}
        for zarr in [zarr for zarr in self.zarrs.values() if zarr.dandiset == identifier]:
            if zarr.zarr_id in heirs:
                zarr.dandiset = heirs[zarr.zarr_id]
            else:
                del self.zarrs[zarr.zarr_id]

    @staticmethod
    def _versions(dandiset: Dandiset) -> list[Version]:
        return [dandiset.draft, *dandiset.published.values()]


def own_metadata(asset: Asset) -> Document:
    """An asset's metadata without what belongs to its id and its publication."""
    return {key: value for key, value in asset.stored.items() if key not in COMPUTED | _PUBLICATION}
