"""What the versions of a Dandiset hold, read back from its records: streams, in memory that does not grow with them."""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from mirror.annex import hashdirs
from mirror.annex.keys import sha256e_key
from mirror.dataset.assets import SHA256
from mirror.dataset.commits import trailers
from mirror.dataset.layout import TEXT_MAX_BYTES, named_like_text, without_skips
from mirror.dataset.records import split_lines
from mirror.git.objects import Commit, Oid
from mirror.git.reader import Objects
from mirror.proving.sample import Sample
from mirror.store.room import telling_of_room

DRAFT = "refs/heads/draft"
RELEASES = "refs/heads/releases"
ANNEX = "refs/heads/git-annex"
TAGS = "refs/tags/"
RECORDS = b".dandi/assets"

_ETAG = "dandi:dandi-etag"

_TEXT_LIMIT = re.compile(r"text_in_git\.max_bytes=([0-9]+)")


class _Metadata(msgspec.Struct):
    digest: dict[str, Any] | None = None


class Record(msgspec.Struct, gc=False):
    """An asset's record, as far as it tells what stands for the asset in the tree."""

    path: str
    size: int
    metadata: _Metadata
    zarr: str | None = None

    @property
    def sha256(self) -> str:
        return str((self.metadata.digest or {}).get(SHA256))

    @property
    def etag(self) -> str:
        return str((self.metadata.digest or {}).get(_ETAG, ""))

    @property
    def key(self) -> str:
        return sha256e_key(self.path, self.size, self.sha256)

    def is_text(self, limit: int) -> bool:
        """Whether it is stored in git, texts of up to so many bytes being."""
        return self.zarr is None and self.size <= limit and named_like_text(self.path)


_record = msgspec.json.Decoder(Record).decode


def records_in(body: bytes) -> Iterator[Record]:
    """The records of one file of them."""
    return map(_record, split_lines(body))


class Version(NamedTuple):
    """A version of a Dandiset, as a ref has it."""

    name: str
    """`draft`, or that of a published version"""
    oid: Oid
    commit: Commit

    @property
    def says(self) -> Mapping[str, str]:
        """What its commit says of itself."""
        return trailers(self.commit.message)

    @property
    def text_limit(self) -> int:
        """Texts of up to so many bytes are stored in git."""
        found = _TEXT_LIMIT.search(without_skips(self.says.get("Layout", "")))
        return int(found[1]) if found else TEXT_MAX_BYTES


def versions_of(refs: Mapping[str, Oid], objects: Objects) -> list[Version]:
    """The draft and all published versions, by peeled refs; the draft first."""
    named = {name.removeprefix(TAGS): oid for name, oid in sorted(refs.items()) if name.startswith(TAGS)}
    found = {"draft": refs[DRAFT]} if DRAFT in refs else {}
    found |= {name: oid for name, oid in named.items() if "/" not in name}
    return [Version(name, oid, objects.commit(oid)) for name, oid in found.items()]


def record_files(objects: Objects, tree: Oid) -> Iterator[Oid]:
    """The files of records of a version, without that of what is pending."""
    records = objects.lookup(tree, RECORDS)
    if records is not None:
        yield from (entry.oid for _, entry in objects.list_tree(records.oid))


class Need(NamedTuple):
    """A content that some version names."""

    key: str
    size: int
    path: str
    """at which the first of these versions has it"""
    version: str
    etag: str = ""
    """by which the archive knows its bytes, where it says so"""


class Needs:
    """Contents put aside as they come, each with its folder on the git-annex branch, and given back in its order.

    They are in a file: a Dandiset may have 100,000 of them, a Zarr a million.
    """

    def __init__(self, folder: Path) -> None:
        # One file, which maintenance clears away should we be killed.
        handle, name = tempfile.mkstemp(prefix="needs-", suffix=".sqlite", dir=folder)
        os.close(handle)
        self._path = Path(name)
        self._db = sqlite3.connect(self._path, isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -4000; BEGIN;"
            "CREATE TABLE needs (place TEXT, size INTEGER, path TEXT, version TEXT, etag TEXT);"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        self._path.unlink(missing_ok=True)

    def add(self, needs: Iterable[Need]) -> None:
        rows = (
            (f"{hashdirs.lower(key).decode()}/{key}", size, _stored(path), version, etag)
            for key, size, path, version, etag in needs
        )
        with telling_of_room():
            self._db.executemany("INSERT INTO needs VALUES (?, ?, ?, ?, ?)", rows)

    def in_order(self) -> Iterator[Need]:
        """Each content once, in the order of the branch."""
        return self._selected("SELECT * FROM needs ORDER BY place, rowid")

    def sample(self, sample: Sample) -> Iterator[Need]:
        """Some of them, chosen by chance, in the same order."""
        total: int = self._db.execute("SELECT count(DISTINCT place) FROM needs").fetchone()[0]
        chosen = "SELECT place, size, path, version, etag FROM needs GROUP BY place ORDER BY random() LIMIT ?"
        return self._selected(f"SELECT * FROM ({chosen}) ORDER BY place", sample.of(total))

    def _selected(self, query: str, *values: object) -> Iterator[Need]:
        last = None
        with telling_of_room(), closing(self._db.execute(query, values)) as rows:
            for place, *rest in rows:
                if place != last:
                    last = place
                    yield Need(place[8:], *rest)


def _stored(path: str) -> str:
    """A path that any SQLite takes: one that is no Unicode text is shown with escapes."""
    return path.encode("utf-8", "backslashreplace").decode()


def needs_of(versions: Iterable[Version], objects: Objects) -> Iterator[Need]:
    """The annexed contents of these versions. What several of them have by the same file of records comes once."""
    known: set[tuple[Oid, int]] = set()
    for version in versions:
        limit = version.text_limit
        files = (oid for oid in record_files(objects, version.commit.tree) if (oid, limit) not in known)
        for oid, _, body in objects.read_many(_noted(files, known, limit)):
            del oid
            for record in records_in(body):
                if record.zarr is None and not record.is_text(limit):
                    yield Need(record.key, record.size, record.path, version.name, record.etag)


def _noted(files: Iterable[Oid], known: set[tuple[Oid, int]], limit: int) -> Iterator[Oid]:
    for oid in files:
        known.add((oid, limit))
        yield oid


def zarrs_of(versions: Iterable[Version], objects: Objects) -> Iterator[tuple[Version, Record]]:
    """The Zarrs among the assets of these versions, each time that a version has one."""
    for version in versions:
        for _, _, body in objects.read_many(record_files(objects, version.commit.tree)):
            if b'"zarr":' in body:
                yield from ((version, record) for record in records_in(body) if record.zarr is not None)
