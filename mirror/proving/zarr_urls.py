"""Addresses of a Zarr's files: one listing of the bucket tells of a thousand of them what a request each would.

The listing is held against the manifest, folder by folder. Only files that it does not show as they were recorded are
asked for one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from mirror.archive.s3 import ObjectVersion, parse_location
from mirror.dataset.zarr.files import key_of, true_name
from mirror.dataset.zarr.folders import Folder, Row, folders_of
from mirror.dataset.zarr.manifest import HeldFolder, Origin, changed_files
from mirror.errors import ArchiveError, ManifestDamaged, Refused, Unreachable
from mirror.git.objects import Oid
from mirror.git.reader import MissingObject
from mirror.proving.branch import tree_of
from mirror.proving.findings import Stop, Stopped, Teller
from mirror.proving.looking import Looked, Looker
from mirror.proving.records import ANNEX
from mirror.proving.urls import KINDS, Outages
from mirror.proving.zarr_places import ZarrPlaces, places_of
from mirror.proving.zarr_states import Bad, Counted, EarlierStates
from mirror.store.ledger import NOTHING, Amount, Found, Ledger, ZarrFile, ZarrState
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.zarr.held import HeldZarr, checksum_in, held_zarr

MOST_ASKED = 2000
"""So many files of one Zarr are asked for one by one; of what differs beyond that, nothing is known."""
_MOST_NAMED = 10_000
_NOT_ASKED = Looked(Found.NEVER, "not asked for: too many files of this Zarr differ")


@dataclass
class _Counted(Counted):
    """The files of a Zarr's state of today."""

    files: list[ZarrFile] = field(default_factory=list)
    """those that are not as recorded; the first of them"""
    asked: int = 0
    """how many were asked for one by one"""


@dataclass(frozen=True)
class ZarrUrlProver:
    """Proves the addresses of Zarrs."""

    store: Store
    connection: Connection
    looker: Looker
    ledger: Ledger
    outages: Outages
    now: Callable[[], float] = time.time

    def prove(self, zarr_id: str, teller: Teller, states: Iterable[Oid] = (), *, stop: Stop) -> None:
        """Prove its state of today, and other ones, given by their commits."""
        folder = self.store.zarr(zarr_id)
        held = held_zarr(self.store, folder)
        if held is None:
            return  # the names tell
        if held.origin is None:
            teller.find(
                "unknown", zarr_id, "its manifest is not there to compare with; the next `sync --full` makes it"
            )
            return
        try:
            places = places_of(self.store.dataset(zarr_id), stop)
            counted = self._compare(held, held.origin, folder.manifest(held.oid.hex()), places, teller, stop)
            earlier = list(self._earlier(held, states, counted, places, teller, stop))
        except ManifestDamaged as error:
            teller.find("unknown", zarr_id, error.message)
            return
        except (ArchiveError, Refused) as error:
            teller.find("unknown", zarr_id, f"it cannot be listed: {error}")
            self.outages.take(Looked(Found.NEVER, error.message, isinstance(error, Unreachable)))
            return
        at = int(self.now())
        figures = counted.figures(at)
        today = ZarrState(zarr_id, str(held.checksum), at, figures, figures)
        others = [
            ZarrState(zarr_id, checksum, at, whole.figures(at), own.figures(at)) for checksum, whole, own in earlier
        ]
        self.ledger.note_zarr(today, counted.files, others)

    def _earlier(
        self,
        held: HeldZarr,
        states: Iterable[Oid],
        counted: _Counted,
        places: ZarrPlaces,
        teller: Teller,
        stop: Stop,
    ) -> Iterator[tuple[str, Counted, Counted]]:
        """What can be had of other states: their checksums, all their files, and those that today's has not."""
        bad = {file.path: Bad(file.key, file.found) for file in counted.files}
        if held.form != "repository" or len(bad) != sum(counted.by_found.values(), NOTHING).files:
            return  # nothing is known of them
        repository = self.store.dataset(held.zarr_id)
        known = {str(held.checksum)}
        answers: dict[str, Looked] = {}

        def look(key: str, urls: frozenset[str]) -> Looked:
            if stop():
                raise Stopped
            if key not in answers:
                if counted.asked >= MOST_ASKED:
                    return _NOT_ASKED
                counted.asked += 1
                answers[key] = self.looker.look(key, urls)
                self.outages.take(answers[key])
            return answers[key]

        with repository.objects() as objects:
            annex = tree_of(objects, repository.peeled_refs(), ANNEX)
            for oid in sorted(set(states)):
                try:
                    commit = objects.commit(oid)
                except MissingObject:
                    continue  # the names tell
                checksum = str(checksum_in(commit))
                if checksum in known:
                    continue
                known.add(checksum)

                def tell(path: str, key: str, looked: Looked, checksum: str = checksum) -> None:
                    teller.find(KINDS[looked.found], path, looked.message, version=checksum, key=key)

                prover = EarlierStates(objects, annex, places, held.draft, counted, bad, look, tell)
                whole, own = prover.of(commit)
                teller.result.checked += own.all.files
                yield checksum, whole, own

    def _compare(
        self,
        held: HeldZarr,
        origin: Origin,
        folders: Iterator[HeldFolder],
        places: ZarrPlaces,
        teller: Teller,
        stop: Stop,
    ) -> _Counted:
        counted, location = _Counted(), parse_location(origin.address)
        pages = self._pages(held, origin, teller, stop)
        now = folders_of(pages, location.key)
        theirs = next(now, None)
        for one in folders:
            ours = one.folder
            while theirs is not None and theirs.order < ours.order:
                theirs = next(now, None)  # what came since; the next sync takes it
            match = theirs if theirs is not None and theirs.path == ours.path else None
            _count(ours, places, counted)
            teller.result.checked = counted.all.files
            prefix = ours.path + b"/" if ours.path else b""
            for change in changed_files(ours, match) if match is None or match.lines != ours.lines else ():
                if stop():
                    raise Stopped
                if change.before is None or _same(change.before, change.after):
                    continue
                looked = self._look(origin, prefix, change.before, change.after, ask=counted.asked < MOST_ASKED)
                counted.asked += 1
                self.outages.take(looked)
                if looked.found is not Found.OK:
                    _note(prefix, change.before, looked, places, counted, teller)
        return counted

    def _pages(self, held: HeldZarr, origin: Origin, teller: Teller, stop: Stop) -> Iterator[list[ObjectVersion]]:
        listed, expected, zarr_id = 0, held.checksum, held.zarr_id
        location = parse_location(origin.address)
        # What is under embargo, the API alone lists, and without versions.
        listing: Iterator[list[ObjectVersion]] = (
            self.connection.client.zarr_files(zarr_id, location.key)
            if teller.result.private
            else self.connection.bucket.current_objects(location)
        )
        for page in listing:
            if stop():
                raise Stopped
            self.looker.rate.wait()
            listed += len(page)
            teller.watcher.how_far(f"{listed:,} of {expected.files:,} files listed")
            yield page

    def _look(self, origin: Origin, prefix: bytes, ours: Row, theirs: Row | None, *, ask: bool) -> Looked:
        """What became of a file that the listing does not show as it was recorded."""
        if theirs is not None and theirs[3] == ours[3]:
            return Looked(Found.CHANGED, "something else is there")
        if not ours[3]:
            return Looked(Found.GONE, "it is not there any more")
        if not ask:
            return _NOT_ASKED
        url = f"{origin.address}{(prefix + ours[0]).decode()}?versionId={ours[3].decode()}"
        return self.looker.version(key_of(ours).decode(), url)


def _same(ours: Row, theirs: Row | None) -> bool:
    """Whether nothing but the time of writing is another; without a version id on both sides, the bytes decide."""
    return theirs is not None and ours[1:3] == theirs[1:3] and (not ours[3] or theirs[3] in (b"", ours[3]))


def _count(folder: Folder, places: ZarrPlaces, counted: _Counted) -> None:
    for row in folder.rows():
        counted.add(key_of(row).decode(), Amount(1, int(row[2])), places)


def _note(prefix: bytes, row: Row, looked: Looked, places: ZarrPlaces, counted: _Counted, teller: Teller) -> None:
    key, path = key_of(row).decode(), true_name(prefix + row[0])
    counted.take(key, looked.found, Amount(1, int(row[2])), places)
    if len(counted.files) < _MOST_NAMED:
        counted.files.append(ZarrFile(path, key, looked.found))
    teller.find(KINDS[looked.found], path, looked.message, version="draft", key=key)
