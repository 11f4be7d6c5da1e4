"""A whole repository, looked through without git: what `git fsck --strict` finds in objects, in memory that does not
grow with their number.

Git keeps some hundred bytes of each object that it looks at, and a Zarr has millions. Here they are listed in files,
which takes longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha1
from pathlib import Path
from typing import Final

from mirror.errors import GitError, StoreError
from mirror.git.large.checks import new_names
from mirror.git.large.lists import list_file
from mirror.git.large.object_list import ObjectList
from mirror.git.large.unpacking import Packed, PackFile, unpack_loose
from mirror.git.objects import COMMIT, Oid, hash_object
from mirror.git.pack_index import count_of, write_index
from mirror.git.packs import all_packs, loose_objects, pack_folder
from mirror.git.reader import ObjectReader
from mirror.git.repository import Repository

_TELL_EVERY: Final = 1_000
_AT_ONCE: Final = 1 << 20


def count_packed(repository: Path) -> int:
    """How many objects the packs have, those in several of them counted for each."""
    return sum(_count(pack_folder(repository) / f"{name}.idx") for name in all_packs(repository))


def _count(index: Path) -> int:
    try:
        return count_of(index)
    except (ValueError, FileNotFoundError):
        return 0


def look_through(repository: Repository, scratch: Path, tick: Callable[[], None]) -> Iterator[str]:
    """What is wrong, a line each. In `scratch` there is room for a list; `tick` is called now and then, and may raise.

    Somebody may work in it meanwhile: refs are read first, and what they need is there by then.
    """
    try:
        refs = repository.refs()
    except StoreError as error:
        refs = {}
        yield str(error)
    with (
        list_file(scratch) as file,
        ObjectList(file) as objects,
        ObjectReader(repository.path) as reader,
    ):
        look = _Look(repository.path, objects, reader, tick)
        for name in sorted(all_packs(repository.path)):
            yield from look.pack(name)
        yield from look.loose()
        objects.want((oid, COMMIT if name.startswith("refs/heads/") else None) for name, oid in refs.items())
        objects.sort()
        for oid, kind in objects.missing():
            if not look.has(oid, kind):
                yield f"missing {(kind or b'object').decode()} {oid.hex()}"


class _Look:
    def __init__(self, repository: Path, objects: ObjectList, reader: ObjectReader, tick: Callable[[], None]) -> None:
        self._repository = repository
        self._objects = objects
        self._reader = reader
        self._tick = tick

    def pack(self, name: str) -> Iterator[str]:
        """What is wrong with a pack or its index."""
        path = pack_folder(self._repository) / f"{name}.pack"
        try:
            with PackFile(path, self._reader.read) as pack:
                yield from self._read(name, pack)
                if not self._is_index(path.with_suffix(".idx"), pack.checksum()):
                    yield f"{name}.idx: not the index of its pack"
        except FileNotFoundError:
            return  # replaced by another one, and gone meanwhile
        except (ValueError, StoreError, GitError) as error:  # git is asked for what deltas name
            yield f"{name}.pack: {error}"

    def _read(self, name: str, pack: PackFile) -> Iterator[str]:
        """What is wrong with its objects; after damage, what stands behind it is not read."""
        try:
            for number, found in enumerate(pack):
                if number % _TELL_EVERY == 0:
                    self._tick()
                yield from self._add(found)
        except ValueError as error:
            yield f"{name}.pack: {error}; what stands behind that was not read"
        self._objects.sort()

    def _add(self, found: Packed) -> Iterator[str]:
        try:
            named = new_names(found)
        except ValueError as error:
            named = ()
            yield str(error)
        self._objects.add(found, named)

    def _is_index(self, index: Path, checksum: bytes) -> bool:
        wanted, there = _Digest(), _Digest()
        write_index(wanted, self._objects.rows, checksum)
        with index.open("rb") as file:
            while data := file.read(_AT_ONCE):
                there.write(data)
        return wanted.digest() == there.digest()

    def loose(self) -> Iterator[str]:
        """What is wrong with the objects that are files of their own."""
        for path in loose_objects(self._repository):
            self._tick()
            name = path.parent.name + path.name
            try:
                oid, kind, body = unpack_loose(path.read_bytes())
                if oid.hex() != name:
                    raise ValueError("not the object that its name says")
            except FileNotFoundError:
                continue  # packed meanwhile
            except ValueError as error:
                yield f"loose object {name}: {error}"
            else:
                yield from self._add(Packed(oid, kind, body, None, 0, 0))

    def has(self, oid: Oid, kind: bytes | None) -> bool:
        """Whether an object that was not met is there all the same: it came while others were looked at, or stands
        behind damage."""
        try:
            found, body = self._reader.read(oid)
        except (StoreError, GitError):
            return False
        return found == (kind or found) and hash_object(found, body) == oid


class _Digest:
    """Something to write to, of which the digest alone is kept."""

    def __init__(self) -> None:
        self._digest = sha1(usedforsecurity=False)

    def write(self, data: bytes) -> None:
        self._digest.update(data)

    def digest(self) -> bytes:
        return self._digest.digest()
