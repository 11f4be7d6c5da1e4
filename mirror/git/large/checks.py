"""Whether an object is one that git would make, and what it names: by the rules of `git fsck --strict`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from operator import lt
from typing import Final

from mirror.git.large.unpacking import Packed
from mirror.git.objects import (
    BLOB,
    COMMIT,
    MODE_EXEC,
    MODE_FILE,
    MODE_GITLINK,
    MODE_LINK,
    MODE_TREE,
    OID_SIZE,
    TREE,
    Oid,
    tree_lines,
)

Named = tuple[Oid, bytes | None]
"""An object that is named somewhere, and of what kind it is to be; None: of any."""

_KINDS: Final = {MODE_FILE: BLOB, MODE_EXEC: BLOB, MODE_LINK: BLOB, MODE_TREE: TREE, MODE_GITLINK: None}
_OF_OLD = re.compile(rb"100[0-7]{3}").fullmatch
"""Modes of files that git once wrote, and still takes."""

_NOTHING: Final = bytes(OID_SIZE)
_NO_FILES: Final = {b".gitmodules": {MODE_LINK, MODE_TREE}, b".gitattributes": {MODE_TREE}}
_DOTS: Final = frozenset((b".", b".."))
_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]").sub
"""What file systems of a Mac do not see in a name."""

_WHO: Final = rb"[^<>\n\0]* <[^<>\n\0]*> (?:0|[1-9][0-9]{0,17}) [+-][0-9]{4}\n"
_OID: Final = rb"[0-9a-fA-F]{40}"
_COMMIT = re.compile(rb"tree (%b)\n((?:parent %b\n)*)author %bcommitter %b" % (_OID, _OID, _WHO, _WHO)).match
_TAG = re.compile(
    rb"object (%b)\ntype (commit|tree|blob|tag)\ntag [^\n\0]+\n(?:tagger %b)?(?:\n|\Z)" % (_OID, _WHO)
).match


def named_by(kind: bytes, body: bytes) -> Sequence[Named]:
    """The objects of the same repository that this one names. `ValueError` when it is none that git would make."""
    match kind:
        case b"tree":
            return _named_by_tree(body)
        case b"commit":
            return _named_by_commit(body)
        case b"tag":
            return _named_by_tag(body)
        case b"blob":
            return ()
    raise ValueError("there is no such kind of object")


def _named_by_commit(body: bytes) -> list[Named]:
    found = _COMMIT(body)
    if found is None or b"\0" in body:
        raise ValueError("its head is not one that git would write")
    parents = found[2].split()[1::2]
    return [(_oid(found[1]), TREE), *((_oid(parent), COMMIT) for parent in parents)]


def _named_by_tag(body: bytes) -> list[Named]:
    found = _TAG(body)
    if found is None:
        raise ValueError("its head is not one that git would write")
    return [(_oid(found[1]), found[2])]


def _oid(text: bytes) -> Oid:
    return bytes.fromhex(text.decode())


def new_names(found: Packed) -> Iterable[Named]:
    """What an object of a pack names, but for what the one that it is made out of names as well.

    `ValueError` with its name when it is none that git would make.
    """
    try:
        named = set(named_by(found.kind, found.body))
    except ValueError as error:
        raise ValueError(f"{found.kind.decode()} {found.oid.hex()}: {error}") from None
    with suppress(ValueError):  # of the base, which was told of when its turn came
        return named.difference(named_by(found.kind, found.base)) if found.base is not None else named
    return named


def _named_by_tree(body: bytes) -> list[Named]:
    lines = tree_lines(body)
    kinds = {mode: _kind_of(mode) for mode in {mode for mode, _, _ in lines}}
    names = {name for _, name, _ in lines}
    for name in filter(_may_be_refused, names):
        _check_name(name)
    # A directory stands as if its name ended in a slash.
    ordered = [name + b"/" if mode == MODE_TREE else name for mode, name, _ in lines]
    if len(names) != len(lines) or not all(map(lt, ordered, ordered[1:])):
        raise ValueError("it is not in git's order, or names something twice")
    if not names.isdisjoint(_NO_FILES) and any(mode in _NO_FILES.get(name, ()) for mode, name, _ in lines):
        raise ValueError("its .gitmodules or .gitattributes is no file")
    if any(oid == _NOTHING for _, _, oid in lines):
        raise ValueError("it has an entry without an object")
    return [(oid, kind) for mode, _, oid in lines if (kind := kinds[mode]) is not None]


def _kind_of(mode: bytes) -> bytes | None:
    """None: it is in another repository."""
    if mode not in _KINDS and not _OF_OLD(mode):
        raise ValueError(f"it has an entry of the mode {mode.decode()}")
    return _KINDS.get(mode, BLOB)


# Nothing else can be taken for `.git`, `.` or `..`, on any file system: few names are looked at more closely.
_may_be_refused = re.compile(rb"[.\xe2\xef]|(?i:git~)|.*[/\\]", re.DOTALL).match


def _check_name(name: bytes) -> None:
    seen = _IGNORED("", name.decode(errors="replace")).lower()
    parts = re.split(r"[/\\]", seen.partition(":")[0])
    if name in _DOTS or b"/" in name or not {part.rstrip(" .") for part in parts}.isdisjoint((".git", "git~1")):
        raise ValueError(f"it has an entry with a name that git refuses: {name!r}")
