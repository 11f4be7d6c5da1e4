"""The processes that are measured: a Zarr's listing in, its repository or manifest out.

`python -m benchmarks.zarr_writing DEED …` prints what it took, as JSON. What leads up to it (making up the listing,
starting the program) is not counted, but for the memory: `listing_mib` of the peak is the listing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from zarr_checksum import compute_zarr_checksum
from zarr_checksum.generators import ZarrArchiveFile

from benchmarks.measure import cpu_so_far, own_peak_mib
from benchmarks.zarr_load import ADDRESS, PREFIX, ZARR_ID, Pages, pages
from mirror.annex.remotes import dandiapi_remote
from mirror.archive.records import Instance
from mirror.config import Archive, Settings
from mirror.dataset.assets import describe
from mirror.dataset.identity import api_remote_uuid
from mirror.dataset.layout import Layout
from mirror.dataset.zarr.checksum import Checksum, checksum_of
from mirror.dataset.zarr.folders import folders_of
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.zarr.held import held_zarr
from mirror.sync.zarr.in_manifest import ManifestTarget
from mirror.sync.zarr.in_repository import RepositoryTarget
from mirror.sync.zarr.materialize import materialize
from mirror.sync.zarr.subject import Subject
from mirror.sync.zarr.syncing import ZarrSync
from mirror.sync.zarr.target import Target

INSTANCE = Instance("DANDI", "https://dandiarchive.org", "10.48324", "https://api.dandiarchive.org/api")


class Took(msgspec.Struct):
    """What a deed took, and what came of it."""

    wall: float
    cpu: float
    """of this process and of those that it waited for"""
    listing_mib: float
    result: str
    """the commit that the Zarr's `draft` is at, or its checksum"""


def repository(root: Path, listing: Pages) -> Callable[[], str]:
    """Write the Zarr's repository, or what changed in it."""
    return lambda: _kept(_store_at(root), _subject(), "repository", listing)


def manifest(root: Path, listing: Pages) -> Callable[[], str]:
    """Keep the Zarr's manifest."""
    return lambda: _kept(_store_at(root), _subject(), "manifest", listing)


def our_checksum(_root: Path, listing: Pages) -> Callable[[], str]:
    """Add up the Zarr's checksum, and do nothing else."""

    def add_up() -> str:
        inner: dict[bytes, list[tuple[bytes, Checksum]]] = {}
        for folder in folders_of(listing, PREFIX):
            checksum = checksum_of(folder.rows(), sorted(inner.pop(folder.path, [])))
            parent, _, name = folder.path.rpartition(b"/")
            inner.setdefault(parent, []).append((name, checksum))
        return str(checksum)  # the last folder is the Zarr

    return add_up


def their_checksum(_root: Path, listing: Pages) -> Callable[[], str]:
    """The same with the `zarr-checksum` package."""

    def files() -> Iterator[ZarrArchiveFile]:
        for page in listing:
            for seen in page:
                yield ZarrArchiveFile(Path(seen.key).relative_to(PREFIX), seen.size, seen.etag)

    return lambda: str(compute_zarr_checksum(files()))


FROM_MEMORY: dict[str, Callable[[Path, Pages], Callable[[], str]]] = {
    "repository": repository,
    "manifest": manifest,
    "our-checksum": our_checksum,
    "their-checksum": their_checksum,
}


def from_memory(deed: str, root: Path, count: int, *words: str) -> Took:
    """A deed with a listing that is in memory. Words: `flat`, `changed`."""
    before = own_peak_mib()
    listing = list(pages(count, flat="flat" in words, changed="changed" in words))
    return _measured(FROM_MEMORY[deed](root, listing), own_peak_mib() - before)


def materialized(root: Path) -> Took:
    """Write the repository of a Zarr of which only the manifest was kept."""

    def write() -> str:
        done = materialize(Store.open(root), ZARR_ID)
        assert done.result == "written", done.message
        return done.commit or ""

    return _measured(write)


def over_http(root: Path, api_url: str, s3_endpoint: str, *, listed_before: bool) -> Took:
    """The one Zarr of a demo archive: a sync of it, or writing it once it is listed."""
    archive = Archive(instance="demo-dandi", api_url=api_url, s3_endpoint=s3_endpoint)
    settings = Settings(archive=archive)
    connection = Connection.open(settings)
    store = Store.open_or_create(root, connection.instance)
    subject, checksum = _the_zarr(connection)
    if not listed_before:
        zarrs = ZarrSync(settings, store, connection)
        return _measured(lambda: zarrs.sync(subject, checksum)[0].oid.hex())
    before = own_peak_mib()
    listing = list(connection.bucket.current_objects(subject.location))
    return _measured(lambda: _kept(store, subject, "repository", listing), own_peak_mib() - before)


def _the_zarr(connection: Connection) -> tuple[Subject, Checksum]:
    (asset,) = next(connection.client.full_assets("000001", "draft")).items
    entry = describe(asset, Layout(), release=False, keep=lambda _: 0)
    instance, api = connection.instance, connection.instance.api_url or connection.client.api_url
    remote = dandiapi_remote(api_remote_uuid(instance.url), urlsplit(api).netloc)
    assert entry.held.blob is not None
    assert entry.zarr_checksum is not None
    return Subject(entry.held.blob, entry.s3_url or "", api, remote), Checksum.parse(entry.zarr_checksum)


def _store_at(root: Path) -> Store:
    return Store.open_or_create(root, INSTANCE)


def _subject() -> Subject:
    api = INSTANCE.api_url or ""
    return Subject(ZARR_ID, ADDRESS, api, dandiapi_remote(api_remote_uuid(INSTANCE.url), urlsplit(api).netloc))


def _kept(store: Store, subject: Subject, hold: str, listing: Pages) -> str:
    folder = store.zarr(subject.zarr_id)
    with folder.lock():
        held = held_zarr(store, folder)
        target: Target
        if hold == "manifest":
            target = ManifestTarget(folder, subject, held)
        else:
            target = RepositoryTarget(store, folder, subject, held)
        with target:
            return target.keep(target.record(folders_of(listing, subject.location.key))).oid.hex()


def _measured(deed: Callable[[], str], listing_mib: float = 0.0) -> Took:
    wall, cpu = time.perf_counter(), cpu_so_far()
    result = deed()
    return Took(time.perf_counter() - wall, cpu_so_far() - cpu, listing_mib, result)


def main(deed: str, root: Path, *words: str) -> Took:
    if deed == "materialize":
        return materialized(root)
    if deed in FROM_MEMORY:
        return from_memory(deed, root, int(words[0]), *words[1:])
    return over_http(root, *words, listed_before=deed == "listed")


if __name__ == "__main__":
    print(msgspec.json.encode(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])).decode())
