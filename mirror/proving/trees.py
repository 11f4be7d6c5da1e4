"""The tree of a version of a Dandiset, held against the records in it: everything that a record speaks of is there as
the record says, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from typing import NamedTuple

from mirror.annex.hashdirs import link_target
from mirror.dataset.names import asset_path, record_folder, tree_path
from mirror.dataset.records import PENDING_FILE
from mirror.dataset.submodules import GITMODULES, submodule_path
from mirror.errors import Refused
from mirror.git.objects import BLOB, MODE_FILE, MODE_GITLINK, MODE_LINK, MODE_TREE, Entry, Oid
from mirror.git.reader import Objects
from mirror.proving.records import RECORDS, Record, Version, records_in
from mirror.store.ledger import Amount

_OWN = frozenset({b".datalad", b".dandi", b".gitattributes", b"dandiset.yaml", GITMODULES})
"""What stands at the top of a tree besides the assets."""

Tell = Callable[[str, str], object]
"""is told where something is wrong, and what"""


class Link(NamedTuple):
    """A Zarr that stands in a tree."""

    path: str
    zarr_id: str
    commit: Oid


@dataclass
class TreeCheck:
    """Checks the versions of one Dandiset, one after the other. A folder that was checked once is not again."""

    objects: Objects
    known: dict[bytes, Amount] = field(default_factory=dict)
    """how many assets are in the folders that were checked, those in their folders included"""
    links: set[tuple[str, Oid]] = field(default_factory=set)
    """the Zarrs that were seen, each with the commit that stands for it"""

    def check(self, version: Version, tell: Tell, link: Callable[[Link], object]) -> Amount:
        """How many assets the version has by its records."""
        top = version.commit.tree
        records = self.objects.lookup(top, RECORDS)
        walk = _Walk(self, version.text_limit, tell, link)
        found = walk.folder(b"", top, records.oid if records is not None else None)
        pending = self.objects.lookup(top, PENDING_FILE)
        if pending is not None:
            found += _sum(list(records_in(self.objects.blob(pending.oid))))
        return found


@dataclass
class _Walk:
    check: TreeCheck
    limit: int
    tell: Tell
    link: Callable[[Link], object]

    def folder(self, path: bytes, tree: Oid | None, records: Oid | None) -> Amount:
        """One folder of the tree (with a slash at its end, but for the top), and those in it."""
        named = sha1(
            b"%b\0%b\0%b\0%d" % (path, tree or b"", records or b"", self.limit), usedforsecurity=False
        ).digest()
        if named not in self.check.known:
            # What is wrong is told each time that a version has it.
            wrong = _Wrong(self.tell)
            found = _Walk(self.check, self.limit, wrong, self.link)._read(path, tree, records)
            if wrong.any:
                return found
            self.check.known[named] = found
        return self.check.known[named]

    def _read(self, path: bytes, tree: Oid | None, records: Oid | None) -> Amount:
        objects = self.check.objects
        entries = objects.tree(tree) if tree is not None else {}
        files = objects.tree(records) if records is not None else {}
        stray = {name for name, entry in entries.items() if entry.mode != MODE_TREE and (path or name not in _OWN)}
        total = Amount()
        for name, entry in files.items():
            if entry.mode != MODE_TREE:
                total += self._file_of_records(path, name, entries, entry.oid, stray)
        for name in sorted(stray):
            self.tell(_shown(path + name), "stands in the tree, and no record speaks of it")
        for name, subtree, subrecords in _subfolders(path, entries, files):
            total += self.folder(path + name + b"/", subtree, subrecords)
        return total

    def _file_of_records(
        self, path: bytes, name: bytes, entries: Mapping[bytes, Entry], oid: Oid, stray: set[bytes]
    ) -> Amount:
        try:
            records = list(records_in(self.check.objects.blob(oid)))
        except ValueError as error:
            self.tell(_shown(path + name), f"records that cannot be read: {error}")
            return Amount()
        to_read: list[tuple[Record, bytes, Entry]] = []
        for record in records:
            try:
                where = submodule_path(record.path) if record.zarr is not None else tree_path(record.path)
            except Refused as error:
                self.tell(record.path, error.message)
                continue
            inner = where.removeprefix(path)
            entry = entries.get(inner)
            stray.discard(inner)
            if not where.startswith(path) or b"/" in inner:
                self.tell(record.path, f"its record is among those of the folder {_shown(path)!r}")
            elif record.zarr is not None:
                self._zarr(record, entry)
            elif entry is None or entry.mode != (MODE_FILE if record.is_text(self.limit) else MODE_LINK):
                self.tell(record.path, "is not in the tree, or not as what it should be" if entry else "is not there")
            else:
                to_read.append((record, where, entry))
        self._contents(to_read)
        return _sum(records)

    def _zarr(self, record: Record, entry: Entry | None) -> None:
        # One that could not be had yet, or that the settings leave out, has its record and no place.
        if entry is None:
            return
        if entry.mode != MODE_GITLINK:
            self.tell(record.path, "is a Zarr, and something else stands in the tree")
            return
        assert record.zarr is not None
        if (record.zarr, entry.oid) not in self.check.links:
            self.check.links.add((record.zarr, entry.oid))
            self.link(Link(record.path, record.zarr, entry.oid))

    def _contents(self, to_read: list[tuple[Record, bytes, Entry]]) -> None:
        found = self.check.objects.read_many(entry.oid for _, _, entry in to_read)
        for (record, where, entry), (_, kind, body) in zip(to_read, found, strict=True):
            if kind != BLOB:
                self.tell(record.path, f"is a {kind.decode()}, not a file")
            elif entry.mode == MODE_LINK and body != link_target(where, record.key):
                self.tell(record.path, f"its link leads to {_shown(body)}, not to {record.key}")
            elif entry.mode == MODE_FILE and (len(body), sha256(body).hexdigest()) != (record.size, record.sha256):
                self.tell(record.path, "is a text, and not the one that its record tells of")


@dataclass
class _Wrong:
    """Passes on what is told, and remembers that there was something."""

    tell: Tell
    any: bool = False

    def __call__(self, where: str, what: str) -> None:
        self.any = True
        self.tell(where, what)


def _subfolders(
    path: bytes, entries: Mapping[bytes, Entry], files: Mapping[bytes, Entry]
) -> Iterator[tuple[bytes, Oid | None, Oid | None]]:
    """The folders in a folder, each with that of its records."""
    with_records = {name: entry.oid for name, entry in files.items() if entry.mode == MODE_TREE}
    for name, entry in entries.items():
        if entry.mode == MODE_TREE and (path or name not in _OWN):
            yield name, entry.oid, with_records.pop(record_folder(name), None)
    for name, oid in with_records.items():
        yield _folder_named(name, at_top=not path), None, oid


def _folder_named(name: bytes, *, at_top: bool) -> bytes:
    """The folder of the tree whose records are in a folder of this name."""
    true = asset_path(name)
    inner = tree_path(true if at_top else f"x/{true}")
    return inner if at_top else inner[2:]


def _sum(records: list[Record]) -> Amount:
    return Amount(len(records), sum(record.size for record in records))


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
