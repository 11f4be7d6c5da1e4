"""Putting all that some refs reach into another repository, in memory that does not grow: nothing else goes along."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mirror.errors import StoreError
from mirror.git.large.checks import new_names
from mirror.git.large.closure import Closure
from mirror.git.large.history_pack import write_pack
from mirror.git.large.lists import list_file
from mirror.git.large.object_list import ObjectList
from mirror.git.large.unpacking import PackFile
from mirror.git.objects import Oid
from mirror.git.pack import PACK_MODE, TEMPORARY_PREFIX
from mirror.git.pack_index import write_index
from mirror.git.packs import pack_folder
from mirror.git.reader import Objects


def copy_reached(objects: Objects, tips: Iterable[Oid], repository: Path, scratch: Path) -> None:
    """Put into a repository, which the caller has locked, all that is reached from these commits and tags.

    In `scratch` there is room for lists. `StoreError` where what is read is damaged. To announce it, and to wait for
    the disk, is up to the caller.
    """
    pack = new_pack(repository)
    try:
        with list_file(scratch) as file, Closure(file) as closure:
            closure.fill(objects, tips)
            with pack.open("wb") as out:
                write_pack(out, objects, closure)
        adopt_pack(pack, scratch)
    except ValueError as error:
        raise StoreError(f"{repository}: what was to go into it is damaged: {error}") from None
    finally:
        pack.unlink(missing_ok=True)


def new_pack(repository: Path) -> Path:
    """Where a pack is written that will be one of the repository: nobody sees it there."""
    return pack_folder(repository) / f"{TEMPORARY_PREFIX}copied"


def adopt_pack(path: Path, scratch: Path) -> None:
    """Make a pack, which was written where `new_pack` says, one of its repository, after a look at every object of it.

    `ValueError` where it is damaged, where git would not have made an object so, or where one is missing that another
    one names: then nothing is left of it. To announce it, and to wait for the disk, is up to the caller.
    """
    index = path.with_name(f"{path.name}.idx")
    try:
        name = f"pack-{_indexed(path, index, scratch).hex()}"
        # Git opens a pack when it sees the index, so that comes last.
        for file, suffix in ((path, ".pack"), (index, ".idx")):
            file.chmod(PACK_MODE)
            file.rename(path.with_name(name + suffix))
    finally:
        for file in (path, index):
            file.unlink(missing_ok=True)


def _indexed(path: Path, index: Path, scratch: Path) -> bytes:
    """Look at all of a pack, and write its index. Its checksum."""
    with list_file(scratch) as file, ObjectList(file) as objects, PackFile(path) as pack:
        checksum = pack.checksum()
        for found in pack:
            objects.add(found, new_names(found))
        objects.sort()
        for oid, kind in objects.missing():
            raise ValueError(f"{(kind or b'object').decode()} {oid.hex()} is missing")
        with index.open("wb") as out:
            write_index(out, objects.rows, checksum)
    return checksum
