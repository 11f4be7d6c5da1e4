"""A git bundle: refs, and a pack of all that they reach, in one file. Made and looked through without git.

Git keeps some hundred bytes in memory of each object that it packs, unpacks or checks, and a Zarr has millions. Here
they are listed in files. What comes out depends on the objects alone: not on how they happen to be packed, nor on the
version of git (but on that of zlib).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from mirror.errors import StoreError
from mirror.git.large.closure import Closure
from mirror.git.large.copying import adopt_pack, new_pack
from mirror.git.large.history_pack import write_pack
from mirror.git.large.lists import list_file
from mirror.git.objects import Oid
from mirror.git.packs import announce
from mirror.git.reader import MissingObject, Objects
from mirror.git.repository import Repository

_MAGIC: Final = b"# v2 git bundle\n"
_AT_ONCE: Final = 1 << 20
_LONGEST_LINE: Final = 1 << 12


def write_bundle(out: IO[bytes], objects: Objects, head: str, refs: Mapping[str, Oid], scratch: Path) -> None:
    """A bundle of these refs; `head` is the one that a clone is on. In `scratch` there is room for lists."""
    if head not in refs:
        raise StoreError(f"{objects.place} has no {head}")
    named = {"HEAD": refs[head]} | dict(sorted(refs.items()))
    lines = [b"%b %b\n" % (oid.hex().encode(), name.encode()) for name, oid in named.items()]
    out.write(b"".join((_MAGIC, *lines, b"\n")))
    with list_file(scratch) as file, Closure(file) as closure:
        closure.fill(objects, dict.fromkeys(named.values()))
        write_pack(out, objects, closure)


def unpack_bundle(source: IO[bytes], repository: Repository, scratch: Path) -> None:
    """Put everything that is in a bundle into an empty repository, after a look at every object of it.

    `StoreError` where the bundle is not whole, or git would not have made it so.
    """
    try:
        refs = _read_refs(source)
        pack = new_pack(repository.path)
        with pack.open("wb") as out:
            shutil.copyfileobj(source, out, _AT_ONCE)
        adopt_pack(pack, scratch)
        announce(repository.path)
        repository.publish(None, refs)
    except MissingObject as error:
        raise StoreError(f"not a whole git bundle: {error.oid.hex()} is missing") from None
    except ValueError as error:
        raise StoreError(f"not a whole git bundle: {error}") from None


def _read_refs(source: IO[bytes]) -> dict[str, Oid]:
    """Without `HEAD`, which is one of the others."""
    if source.readline(_LONGEST_LINE) != _MAGIC:
        raise ValueError("it does not begin as one of git's version 2")
    refs = {}
    while (line := source.readline(_LONGEST_LINE)) != b"\n":
        oid, _, name = line.decode().rstrip("\n").partition(" ")
        if oid.startswith("-"):
            raise ValueError(f"it needs {oid[1:]}, which is not in it")
        refs[name] = bytes.fromhex(oid)
        if not name or len(refs[name]) != 20:
            raise ValueError(f"not a ref: {line[:100]!r}")
    if (head := refs.pop("HEAD", None)) is not None and head not in refs.values():
        raise ValueError("its HEAD is none of its refs")
    return refs
