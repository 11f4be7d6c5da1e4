"""Publishing, DOIs, embargo, and what happens to published versions afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mirror.demo import documents
from mirror.demo.clock import Clock, document_time, record_time
from mirror.demo.documents import COMPUTED, Addresses, jsonb
from mirror.demo.holdings import EMBARGO_TERM
from mirror.demo.ids import Ids
from mirror.demo.model import EMBARGOED, OPEN, UNEMBARGOING, Asset, Dandiset, Document, Version
from mirror.demo.zarrs import Zarrs
from mirror.errors import UsageError


@dataclass(frozen=True)
class _DueDoi:
    identifier: str
    version: str
    due: datetime


class Publishing(Zarrs):
    """What owners and the archive's staff do."""

    def __init__(self, addresses: Addresses, clock: Clock, ids: Ids, bucket_name: str, *, strict: bool) -> None:
        super().__init__(addresses, clock, ids, bucket_name, strict=strict)
        self.doi_delay: float | None = None
        """seconds from publication to the DOI; None for at once, as tests of other things want it"""
        self._due: list[_DueDoi] = []

    def publish(
        self,
        identifier: str,
        *,
        release_notes: str = "",
        doi: bool = True,
        version: str | None = None,
        allow_zarrs: bool = False,
    ) -> str:
        """Publish the draft; the new version's name. `doi=False`: no DOI until `mint_doi`.

        `allow_zarrs`: as an archive would that had learnt to publish Zarrs. The version shows them as they are now.
        """
        with self.lock:
            dandiset = self.dandiset(identifier)
            self._refuse_publication(dandiset, allow_zarrs=allow_zarrs)
            now = self.clock.stamp()
            name = version or _free_name(dandiset, now)
            if name in dandiset.published:
                raise UsageError(f"Dandiset {identifier} already has a version {name}")
            new = Version(name, {}, record_time(self.clock.stamp()), "", now.year, release_notes=release_notes)
            for asset in dandiset.draft.assets.values():
                if not asset.published:
                    self._publish_asset(dandiset, asset)
            new.assets = dict(dandiset.draft.assets)
            new.size = dandiset.draft.size
            new.summary = self.summary(dandiset.draft)
            new.stored = self._published_document(dandiset, new, document_time(now))
            dandiset.draft.assets_changed()
            self.save_draft(dandiset, status="Published")
            self._save(dandiset, new)
            dandiset.published[name] = new
            if doi and self.doi_delay is None:
                self.mint_doi(identifier, name)
            elif doi:
                self._due.append(_DueDoi(identifier, name, now + timedelta(seconds=self.doi_delay or 0)))
            return name

    def mint_doi(self, identifier: str, version: str) -> str | None:
        """Put the DOI into a published version that has none; None where the instance mints no DOIs."""
        with self.lock:
            dandiset, published = self.dandiset(identifier), self._published(identifier, version)
            doi = self.addresses.doi(identifier, version)
            if doi is not None:
                published.stored["doi"] = doi
                self._save(dandiset, published)
            return doi

    def mint_due_dois(self) -> None:
        """Mint what `doi_delay` put off and is due by the archive's clock. Every answer begins with this."""
        if not self._due:
            return
        with self.lock:
            now = self.clock.now()
            due = [one for one in self._due if one.due <= now]
            self._due = [one for one in self._due if one.due > now]
            for one in due:
                if one.identifier in self.dandisets and one.version in self.dandiset(one.identifier).published:
                    self.mint_doi(one.identifier, one.version)

    def resave_version(self, identifier: str, version: str, *, year: int | None = None) -> None:
        """The archive saves a published version again: it recomputes citation, url and access, and moves `modified`.

        Saved by newer software, the access names a contact point.
        """
        with self.lock:
            dandiset, published = self.dandiset(identifier), self._published(identifier, version)
            self._save(dandiset, published, year=year)
            point = {"schemaKey": "ContactPoint", "email": "nemo@example.com"}
            access = [{**one, "contactPoint": point} for one in published.stored["access"]]
            published.stored = jsonb({**published.stored, "access": access})

    def edit_version(self, identifier: str, version: str, **changes: object) -> None:
        """Change a published version's document, which should never happen and does: drift."""
        with self.lock:
            dandiset, published = self.dandiset(identifier), self._published(identifier, version)
            published.stored = jsonb({**published.stored, **changes})
            published.modified = record_time(self.clock.stamp())
            dandiset.summary_json = None

    def delete_version(self, identifier: str, version: str) -> None:
        with self.lock:
            dandiset = self.dandiset(identifier)
            gone = self._published(identifier, version)
            del dandiset.published[version]
            dandiset.summary_json = None
            for asset in gone.assets.values():
                if not any(other.assets.get(asset.path) is asset for other in self._versions(dandiset)):
                    del self.assets[asset.asset_id]

    def embargo(self, identifier: str) -> None:
        """Close a Dandiset, as the archive's staff can."""
        with self.lock:
            until = (self.clock.now() + EMBARGO_TERM).date().isoformat()
            self._set_access(self.dandiset(identifier), EMBARGOED, until)

    def unembargo(self, identifier: str, *, finish: bool = True) -> None:
        """Open a Dandiset; no asset's `modified` moves. `finish=False` leaves it in the middle of opening."""
        with self.lock:
            dandiset = self.dandiset(identifier)
            if finish:
                self._set_access(dandiset, OPEN, self.clock.now().date().isoformat())
            else:
                self._set_access(dandiset, UNEMBARGOING, dandiset.embargoed_until)

    def _refuse_publication(self, dandiset: Dandiset, *, allow_zarrs: bool) -> None:
        if self.strict and not dandiset.is_open:
            raise UsageError("Operation only allowed on OPEN dandisets")
        if not allow_zarrs and any(asset.zarr for asset in dandiset.draft.assets.values()):
            raise UsageError("Cannot publish dandisets which contain zarrs")
        if not self.strict:
            return
        if dandiset.draft.status == "Published":
            raise UsageError("There have been no changes to the draft version since the last publish.")
        if dandiset.draft.status != "Valid" or not dandiset.draft.assets:
            raise UsageError("Dandiset metadata or asset metadata is not valid")

    def _publish_asset(self, dandiset: Dandiset, asset: Asset) -> None:
        """From now on it is stored who published the asset when.

        The archive stores its whole document, but computes most of that anew for each answer all the same: of hundreds
        of thousands of assets this keeps only the rest.
        """
        when = document_time(self.clock.stamp())
        whole = documents.asset_document(asset, dandiset, self.addresses)
        own = {key: value for key, value in whole.items() if key not in COMPUTED}
        asset.stored = jsonb({**own, "publishedBy": self._activity(when), "datePublished": when})
        asset.published = True
        if asset.zarr:
            # What was published stays as it was, though the Zarr's files may change.
            asset.zarr = replace(asset.zarr)
        asset.modified = record_time(self.clock.stamp())
        asset.forget_json()

    def _published_document(self, dandiset: Dandiset, version: Version, when: str) -> Document:
        stored = {
            **dandiset.draft.stored,
            "assetsSummary": version.summary,
            "publishedBy": self._activity(when),
            "datePublished": when,
        }
        if version.release_notes:
            stored["releaseNotes"] = version.release_notes
        document: Document = jsonb(stored)
        return document

    def _save(self, dandiset: Dandiset, version: Version, *, year: int | None = None) -> None:
        when = self.clock.stamp()
        version.modified = record_time(when)
        version.saved_year = year or when.year
        version.stored = jsonb({**version.stored, **documents.frozen_fields(version, dandiset, self.addresses)})
        dandiset.summary_json = None

    def _set_access(self, dandiset: Dandiset, status: str, until: str | None) -> None:
        dandiset.embargo_status, dandiset.embargoed_until = status, until
        # A blob that an open Dandiset holds too stays readable.
        readable = {asset.blob for asset in self.assets.values() if self.dandisets[asset.dandiset].is_open}
        for version in self._versions(dandiset):
            for asset in version.assets.values():
                asset.forget_json()
                if asset.blob:
                    self.objects.set_private(asset.blob.key, asset.blob not in readable)
        self._guard_zarrs(dandiset)
        self.save_draft(dandiset)

    def _published(self, identifier: str, version: str) -> Version:
        found = self.version(identifier, version)
        if found.is_draft:
            raise UsageError("this can be done to published versions only")
        return found

    def _activity(self, when: str) -> Document:
        return documents.publish_activity(self.ids.urn(), self.ids.urn(), when, self.addresses.instance_name)


def _free_name(dandiset: Dandiset, now: datetime) -> str:
    """`0.YYMMDD.HHMM`; a second publication within the minute takes the next minute, as the real archive does."""
    while (name := f"0.{now:%y%m%d.%H%M}") in dandiset.published:
        now += timedelta(minutes=1)
    return name
