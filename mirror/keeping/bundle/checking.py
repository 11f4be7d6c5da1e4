"""Whether a bundle is whole: every file as its checksum says, every content as its key says, every dataset as git says,
and everything that the version names either in it or told as missing. No store is needed, and little memory."""

from __future__ import annotations

import os
import re
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, NoReturn

import msgspec

from mirror.errors import MirrorError, NoRoom, UsageError
from mirror.keeping.bundle.git import unpack_git_bundle
from mirror.keeping.bundle.making import (
    ANNEX,
    FACTS,
    GIT,
    MISSING,
    SUMS,
    is_content_of,
    needs_md5,
    place_of,
)
from mirror.keeping.bundle.target import Digests, copied, read_through
from mirror.keeping.bundle.words import FORMAT, BundleFacts
from mirror.keeping.telling import SILENT, Teller
from mirror.store.room import no_room_of
from mirror.store.state import StoreFacts
from mirror.store.store import Store
from mirror.store.version_keys import commit_keys

_SUM = re.compile(r"([0-9a-f]{64})  (.+)\n?").fullmatch
_READ_HERE = frozenset({SUMS, FACTS, MISSING})
_MOST_TOLD = 1_000


@dataclass(frozen=True)
class Verified:
    """What came of it."""

    facts: BundleFacts | None
    """None: the bundle does not tell"""
    files: int
    problems: tuple[str, ...]
    """the first thousand; none: the bundle is whole"""
    further: int
    """problems besides these"""


def verify_bundle(path: Path, *, teller: Teller = SILENT) -> Verified:
    """Look at all of it. UsageError where there is nothing that could be a bundle."""
    if not path.exists():
        raise UsageError(f"there is no bundle {path}")
    if path.is_dir() and not any((path / name).exists() for name in (FACTS, SUMS)):
        raise UsageError(f"{path} is no bundle", hint=f"one is a folder with the file {FACTS} in it, or a tar file")
    with tempfile.TemporaryDirectory(prefix="dandi-mirror-") as folder, closing(_Listing(Path(folder))) as listing:
        work = _Verifying(Path(folder), listing, teller)
        try:
            for member in _members(path):
                work.read(member)
        except tarfile.TarError as error:
            raise MirrorError(f"{path} is no tar file, or is cut short: {error}") from None
        work.check()
        return Verified(work.facts, listing.count(), tuple(work.problems), work.further)


class _Member(NamedTuple):
    """A file of a bundle."""

    name: str
    open: Callable[[], IO[bytes]]
    """`OSError` where it cannot be read, or is no file but something else"""


def _members(path: Path) -> Iterator[_Member]:
    """The files of a bundle, one after the other."""
    return _in_folder(path) if path.is_dir() else _in_tar(path)


def _in_folder(path: Path) -> Iterator[_Member]:
    errors: list[OSError] = []
    for folder, folders, names in os.walk(path, onerror=errors.append):
        folders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            yield _Member(file.relative_to(path).as_posix(), partial(_opened, file))
    for error in errors:
        yield _Member(f"{os.path.relpath(error.filename, path)}/", partial(_raise, error))


def _in_tar(path: Path) -> Iterator[_Member]:
    with tarfile.open(path, "r|") as tar:
        for member in tar:
            if not member.isdir():
                yield _Member(member.name.partition("/")[2], partial(_extracted, tar, member))
            tar.members = []  # type: ignore[attr-defined]  # it would remember a million of them


def _opened(file: Path) -> IO[bytes]:
    if not file.is_file():
        raise OSError("not a file")
    return file.open("rb")


def _extracted(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    reader = tar.extractfile(member) if member.isreg() else None
    if reader is None:
        raise OSError("not a file")
    return reader


def _raise(error: OSError) -> NoReturn:
    raise error


class _Listing:
    """What was found, and what is told as missing, in a temporary file."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "listing.sqlite", isolation_level=None)
        self._db.executescript(
            """
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000; BEGIN;
            CREATE TABLE files (name TEXT PRIMARY KEY, sha256 TEXT, listed INTEGER DEFAULT 0) WITHOUT ROWID;
            CREATE TABLE missing (what TEXT PRIMARY KEY) WITHOUT ROWID;
            """
        )

    def close(self) -> None:
        self._db.close()

    def add(self, name: str, sha256: str | None) -> None:
        """None: it cannot be read."""
        self._db.execute("INSERT OR REPLACE INTO files (name, sha256) VALUES (?, ?)", (name, sha256))

    def has(self, name: str) -> bool:
        return self._db.execute("SELECT 1 FROM files WHERE name = ?", (name,)).fetchone() is not None

    def listed(self, name: str) -> tuple[str | None] | None:
        """A file that the checksums name: its own checksum; None where there is no such file."""
        found: tuple[str | None] | None
        found = self._db.execute("SELECT sha256 FROM files WHERE name = ?", (name,)).fetchone()
        self._db.execute("UPDATE files SET listed = 1 WHERE name = ?", (name,))
        return found

    def unlisted(self) -> Iterator[str]:
        rows = self._db.cursor().execute("SELECT name FROM files WHERE NOT listed AND name <> ? ORDER BY name", (SUMS,))
        return (name for (name,) in rows)

    def datasets(self) -> list[str]:
        rows = self._db.execute("SELECT name FROM files WHERE name GLOB ? ORDER BY name", (f"{GIT}/*",))
        return [name.removeprefix(f"{GIT}/") for (name,) in rows]

    def count(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM files").fetchone()[0]
        return count

    def say_missing(self, what: str) -> None:
        self._db.execute("INSERT OR IGNORE INTO missing VALUES (?)", (what,))

    def is_missing(self, what: str) -> bool:
        return self._db.execute("SELECT 1 FROM missing WHERE what = ?", (what,)).fetchone() is not None


class _Verifying:
    def __init__(self, folder: Path, listing: _Listing, teller: Teller) -> None:
        self._folder = folder
        self._listing = listing
        self._teller = teller
        self.facts: BundleFacts | None = None
        self.problems: list[str] = []
        self.further = 0

    def _complain(self, problem: str) -> None:
        if len(self.problems) < _MOST_TOLD:
            self.problems.append(problem)
        else:
            self.further += 1

    # --- what is read once ---

    def read(self, member: _Member) -> None:
        """One file of the bundle."""
        self._teller.doing(member.name)
        try:
            with member.open() as file:
                digests = self._digests(member.name, file)
        except OSError as error:
            if no_room_of(error) is not None:
                raise
            self._complain(f"{member.name} cannot be read: {error.strerror or error}")
            self._listing.add(member.name, None)
            return
        self._listing.add(member.name, digests.sha256)
        self._teller.done(digests.size)

    def _digests(self, name: str, file: IO[bytes]) -> Digests:
        if name in _READ_HERE or name.startswith(f"{GIT}/"):
            return self._keep(name, file)
        if name.startswith(f"{ANNEX}/"):
            return self._content(name, file)
        return read_through(file)

    def _keep(self, name: str, file: IO[bytes]) -> Digests:
        place = self._folder / name
        if place.resolve().parent not in (self._folder.resolve(), (self._folder / GIT).resolve()):
            raise MirrorError(f"no bundle has such a file: {name!r}")
        place.parent.mkdir(exist_ok=True)
        with place.open("wb") as out:
            return copied(file, out)

    def _content(self, name: str, file: IO[bytes]) -> Digests:
        key = name.rpartition("/")[2]
        try:
            md5, place = needs_md5(key), place_of(key)
        except ValueError:
            self._complain(f"{name}: its name is no key")
            return read_through(file)
        digests = read_through(file, md5=md5)
        if place != name:
            self._complain(f"{name}: git-annex would not look for it there")
        if not is_content_of(key, digests):
            self._complain(f"{name}: not the content that its name says")
        return digests

    # --- what is compared then ---

    def check(self) -> None:
        self._check_sums()
        self._read_facts()
        self._read_missing()
        if self.facts is not None:
            self._check_named(self.facts)

    def _check_sums(self) -> None:
        file = self._folder / SUMS
        if not file.is_file():
            self._complain(f"{SUMS} is missing")
            return
        with file.open(errors="replace") as lines:
            for line in lines:
                found = _SUM(line)
                if found is None:
                    self._complain(f"{SUMS}: not a checksum: {line[:100]!r}")
                elif (known := self._listing.listed(found[2])) is None:
                    self._complain(f"{found[2]} is missing")
                elif known[0] not in (found[1], None):  # None was told
                    self._complain(f"{found[2]}: not as its checksum says")
        for name in self._listing.unlisted():
            self._complain(f"{name} is not in {SUMS}")

    def _read_facts(self) -> None:
        try:
            self.facts = msgspec.json.decode((self._folder / FACTS).read_bytes(), type=BundleFacts)
        except (OSError, msgspec.DecodeError) as error:
            self._complain(f"{FACTS} cannot be read: {getattr(error, 'strerror', None) or error}")
            return
        if self.facts.format != FORMAT:
            self._complain(f"{FACTS}: format {self.facts.format} is not known here: a newer dandi-mirror may know it")
            self.facts = None

    def _read_missing(self) -> None:
        file = self._folder / MISSING
        if not file.is_file():
            return
        with file.open("rb") as lines:
            for line in lines:
                try:
                    told = msgspec.json.decode(line, type=_Missing)
                except msgspec.DecodeError:
                    self._complain(f"{MISSING}: not a record: {line[:100]!r}")
                else:
                    self._listing.say_missing(told.zarr or told.key or "")

    def _check_named(self, facts: BundleFacts) -> None:
        """What the version names, by the datasets in the bundle, unpacked into a store of their own."""
        store = Store(self._folder / "store", StoreFacts("", facts.instance, facts.instance_url))
        unpacked = [name for name in self._listing.datasets() if self._unpack(store, facts, name)]
        if facts.identifier not in unpacked:
            self._complain(f"the Dandiset itself, {GIT}/{facts.identifier}, is not to be had")
            return
        try:
            self._check_commit(store, facts)
        except (MirrorError, ValueError) as error:  # what it says of itself may be anything
            self._complain(f"{GIT}/{facts.identifier}: {error}")

    def _unpack(self, store: Store, facts: BundleFacts, name: str) -> bool:
        self._teller.doing(f"the history of {name}")
        dataset_id = store.dataset_id(name) if name == facts.identifier else name
        try:
            unpack_git_bundle(self._folder / GIT / name, store.dataset(dataset_id).path)
        except NoRoom:
            raise
        except (MirrorError, OSError) as error:  # a ref may have a name that is too long for a file
            self._complain(f"{GIT}/{name}: {error}")
            return False
        return True

    def _check_commit(self, store: Store, facts: BundleFacts) -> None:
        commit = bytes.fromhex(facts.commit)
        self._teller.doing("what the version names")
        for path, key, _, _ in commit_keys(store, facts.identifier, commit, passed=self._passed):
            if not self._listing.has(place_of(key)) and not self._listing.is_missing(key):
                self._complain(f"{path}: its content is neither here nor told as missing ({key})")

    def _passed(self, path: str, zarr_id: str) -> None:
        if not self._listing.is_missing(zarr_id):
            self._complain(f"{path}: the Zarr is neither here nor told as missing ({zarr_id})")


class _Missing(msgspec.Struct, frozen=True):
    """A line of `missing.jsonl`."""

    key: str | None
    zarr: str | None
