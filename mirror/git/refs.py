"""Refs as text: `packed-refs`, and the two files a plain HTTP server needs. Pure; `ref_files` does the I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mirror.errors import StoreError
from mirror.git.objects import Oid

_HEADER = "# pack-refs with:"
_ALL_TRAITS = f"{_HEADER} peeled fully-peeled sorted \n"

_BAD_IN_NAME = re.compile(r"[\000-\040\177~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|\.$|/$")


class Ref(NamedTuple):
    """What a ref points at, and, where that is an annotated tag, what the tag is of in the end."""

    oid: Oid
    peeled: Oid | None = None


class PackedRefs(NamedTuple):
    """The content of `packed-refs`."""

    refs: dict[str, Ref]
    fully_peeled: bool
    """whether a ref without `peeled` is known not to be an annotated tag"""


class RefMoved(StoreError):
    """A ref is not where the caller last saw it: somebody else moved it meanwhile."""

    def __init__(self, name: str, expected: Oid | None, found: Oid | None) -> None:
        seen, now = (oid.hex() if oid else "nothing" for oid in (expected, found))
        super().__init__(f"{name} was at {seen} and is now at {now}", hint="the next sync builds on what is there now")
        self.name = name


def check_name(name: str) -> None:
    """Raise `ValueError` unless git accepts a ref of this name."""
    if not name.startswith("refs/") or name.count("/") < 2 or _BAD_IN_NAME.search(name):
        raise ValueError(f"not a name for a ref: {name!r}")


def check_together(names: Iterable[str]) -> None:
    """Raise `ValueError` if one of these refs needs a folder where another is."""
    known = set(names)
    for name in known:
        for above in _folders(name):
            if above in known:
                raise ValueError(f"git cannot hold both {above} and {name}")


class FreeNames:
    """Which names of refs may still be given: git cannot hold one that another needs as a folder."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken: set[str] = set()
        self._folders: set[str] = set()
        for name in taken:
            self._note(name)

    def take(self, name: str) -> bool:
        """Take a name, if it is free."""
        if name in self._taken or name in self._folders or any(folder in self._taken for folder in _folders(name)):
            return False
        self._note(name)
        return True

    def _note(self, name: str) -> None:
        self._taken.add(name)
        self._folders.update(_folders(name))


def _folders(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def parse_packed_refs(data: bytes) -> PackedRefs:
    """Read `packed-refs` as any git wrote it."""
    refs: dict[str, Ref] = {}
    traits: list[str] = []
    name = ""
    for line in _text(data).splitlines():
        try:
            if line.startswith("#"):
                traits += line.removeprefix(_HEADER).split()
            elif line.startswith("^"):
                refs[name] = refs[name]._replace(peeled=parse_oid(line[1:]))
            else:
                oid, name = line.split(" ", 1)
                refs[name] = Ref(parse_oid(oid))
        except (KeyError, ValueError) as error:
            raise StoreError(f"a line of packed-refs cannot be understood: {line!r}") from error
    return PackedRefs(refs, "fully-peeled" in traits)


def render_packed_refs(refs: Mapping[str, Ref]) -> bytes:
    lines = [_ALL_TRAITS]
    for name, ref in _in_order(refs):
        lines.append(f"{ref.oid.hex()} {name}\n")
        if ref.peeled is not None:
            lines.append(f"^{ref.peeled.hex()}\n")
    return _data("".join(lines))


def render_info_refs(refs: Mapping[str, Ref]) -> bytes:
    """`info/refs`, from which a client of a plain HTTP server learns the refs."""
    lines = []
    for name, ref in _in_order(refs):
        lines.append(f"{ref.oid.hex()}\t{name}\n")
        if ref.peeled is not None:
            lines.append(f"{ref.peeled.hex()}\t{name}^{{}}\n")
    return _data("".join(lines))


def render_info_packs(packs: Iterable[str]) -> bytes:
    """`objects/info/packs`, from which a client of a plain HTTP server learns the packs."""
    return "".join([*(f"P {name}.pack\n" for name in packs), "\n"]).encode()


def parse_oid(text: str) -> Oid:
    oid = bytes.fromhex(text)
    if len(oid) != 20:
        raise ValueError(f"not the name of an object: {text!r}")
    return oid


def _in_order(refs: Mapping[str, Ref]) -> list[tuple[str, Ref]]:
    return sorted(refs.items(), key=lambda item: _data(item[0]))


# Names of refs are paths: any bytes, UTF-8 as a rule.
def _data(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
