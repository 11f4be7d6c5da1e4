"""How much of each version can be had, and from where, by what the ledger last saw.

Reckoned from the records of a version, file by file of these: what several versions share is reckoned once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from mirror.dataset.submodules import submodule_path
from mirror.errors import MirrorError
from mirror.git.objects import COMMIT, MODE_GITLINK, Commit, Oid, hash_object
from mirror.git.reader import Objects
from mirror.proving.records import Record, Version, record_files, records_in, versions_of
from mirror.store.ledger import Amount, Figures, Found, KeyRow, Ledger
from mirror.store.store import Store
from mirror.sync.zarr.held import checksum_in


def note_figures(store: Store, identifier: str, ledger: Ledger, at: int) -> Mapping[str, Figures]:
    """Reckon the figures of every version of a Dandiset anew, and remember them."""
    repository = store.repository(identifier)
    refs = repository.peeled_refs()
    with repository.objects() as objects:
        reckoner = _Reckoner(store, ledger, objects)
        found = {version.name: reckoner.of(version) for version in versions_of(refs, objects)}
    ledger.note_versions(identifier, at, found)
    return found


_figures = msgspec.msgpack.Decoder(Figures).decode
_packed = msgspec.msgpack.Encoder().encode


@dataclass
class _Reckoner:
    store: Store
    ledger: Ledger
    objects: Objects
    known: dict[tuple[Oid, int], tuple[bytes, tuple[tuple[str, str, int], ...]]] = field(default_factory=dict)
    """of files of records: the figures of what is in them, packed (these may be 100,000); the Zarrs: path, id, size"""

    def of(self, version: Version) -> Figures:
        total, limit = Figures(), version.text_limit
        for oid in record_files(self.objects, version.commit.tree):
            if (oid, limit) not in self.known:
                self.known[oid, limit] = self._of_records(list(records_in(self.objects.blob(oid))), limit)
            packed, zarrs = self.known[oid, limit]
            total += _figures(packed)
            for path, zarr_id, size in zarrs:
                total += self._of_zarr(version, path, zarr_id, size)
        return total

    def _of_records(self, records: list[Record], limit: int) -> tuple[bytes, tuple[tuple[str, str, int], ...]]:
        texts = [record.size for record in records if record.is_text(limit)]
        text = Amount(len(texts), sum(texts))
        annexed = [record for record in records if record.zarr is None and not record.is_text(limit)]
        found = Figures(all=text, in_git=text, had=text)
        rows = self.ledger.rows([record.key for record in annexed])
        for figures in _summed(figures_of(record.size, rows.get(record.key)) for record in annexed):
            found += figures
        return _packed(found), tuple((one.path, one.zarr, one.size) for one in records if one.zarr is not None)

    def _of_zarr(self, version: Version, path: str, zarr_id: str, size: int) -> Figures:
        unknown = Amount(1, size)
        entry = self.objects.lookup(version.commit.tree, submodule_path(path))
        if entry is None or entry.mode != MODE_GITLINK:
            return Figures(all=unknown, unknown=unknown)
        commit = self._zarr_commit(zarr_id, entry.oid)
        if commit is None:
            return Figures(all=unknown, unknown=unknown)
        checksum = checksum_in(commit)
        state = self.ledger.zarr(zarr_id, str(checksum))
        files = Amount(checksum.files, checksum.bytes)
        return state.figures if state is not None else Figures(all=files, unknown=files)

    def _zarr_commit(self, zarr_id: str, oid: Oid) -> Commit | None:
        try:
            repository = self.store.dataset(zarr_id)
            if repository.path.is_dir():
                with repository.objects() as objects:
                    return objects.commit(oid)
            for text in self.store.zarr(zarr_id).commits():
                if hash_object(COMMIT, text.encode()) == oid:
                    return Commit.decode(text.encode())
        except (MirrorError, ValueError):
            return None  # the names tell of it
        return None


def figures_of(size: int, row: KeyRow | None) -> Figures:
    """The figures of one file."""
    one, nothing = Amount(1, size), Amount()
    if row is None:
        return Figures(all=one, unknown=one)
    store, backup = row.store is Found.OK, row.backup is Found.OK
    kept, archive = store or backup, row.archive
    seen = [
        at
        for found, at in ((archive, row.archive_at), (row.store, row.store_at), (row.backup, row.backup_at))
        if found is Found.OK
    ]
    return Figures(
        all=one,
        archive=one if archive is Found.OK else nothing,
        store=one if store else nothing,
        backup=one if backup else nothing,
        had=one if kept or archive is Found.OK else nothing,
        non_current=one if archive is Found.NON_CURRENT and not kept else nothing,
        changed=one if archive is Found.CHANGED and not kept else nothing,
        lost=one if archive is Found.GONE and not kept else nothing,
        unknown=one if archive is Found.NEVER and not kept else nothing,
        since=min(seen, default=None),
    )


_AT_ONCE = 1000


def _summed(figures: Iterable[Figures]) -> Iterator[Figures]:
    """Some sums of them: adding to a large total each time would take longer."""
    given = iter(figures)
    while batch := list(islice(given, _AT_ONCE)):
        yield sum(batch, Figures())
