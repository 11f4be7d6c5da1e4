"""How an asset's path becomes a path in a git tree, and back.

Nearly every path is itself. Escaped by percent, reversibly, are `%` itself and what git, git-annex or DataLad would
take for something of their own: at the top the names of our own files, in any component what git refuses or obeys. A
name counts as such in whatever spelling some file system takes for the same: in any case, with code points that HFS+
ignores, with the trailing dots, blanks and stream names that NTFS drops, or as a short name of NTFS. That is somewhat
more than `git fsck --strict` refuses, and needs no list of its exceptions.

What no tree can hold is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from unicodedata import normalize
from urllib.parse import unquote_to_bytes

from mirror.errors import PathRefused

# What is certainly itself: of characters only those that no rule speaks of, no component that starts with a dot, and
# nothing like the name of our own file at the top.
_PLAIN = re.compile(
    r"(?!(?i:dandiset\.))[A-Za-z0-9_+=,()@ -][A-Za-z0-9_+=,()@ .-]*+(?:/[A-Za-z0-9_+=,()@ -][A-Za-z0-9_+=,()@ .-]*+)*+"
).fullmatch

_ANYWHERE = frozenset({".git", ".gitattributes", ".gitmodules"})
"""Names that git refuses (some only for symlinks) or obeys (`.gitattributes` alters files at checkout)."""

_AT_TOP = frozenset({".datalad", ".dandi", ".noannex", "dandiset.yaml"})
"""Names of our own files; and `.noannex`, which forbids git-annex to work in the repository."""

# The short names that NTFS may give to the names above, four by number, further ones with a hash in them.
_SHORT_NAME = re.compile(r"(?:git|gitmod|gitatt|g?|gi|gi7|gi7e|gi7eb|gi7eba|gi7d|gi7d2|gi7d29)~[0-9]+").fullmatch

_IGNORED_BY_HFS = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_RECORDS_FILE = re.compile(rb"assets(?:-[0-9a-f]+)?\.jsonl", re.IGNORECASE).fullmatch

_LONGEST_NAME = 255
"""bytes; what nearly every file system allows a component"""


def tree_path(path: str) -> bytes:
    """The path in a tree of the asset at `path`. PathRefused where no tree can hold it."""
    if _PLAIN(path):
        return path.encode()
    return _escaped_path(path)


def tree_name(name: str, *, at_top: bool) -> bytes:
    """One component of a path as it stands in a tree. PathRefused where no tree can hold it."""
    path = tree_path(name if at_top else f"x/{name}")
    return path if at_top else path[2:]


def asset_path(tree_path: bytes) -> str:
    """The asset's path that became this path in a tree."""
    try:
        return (unquote_to_bytes(tree_path) if b"%" in tree_path else tree_path).decode()
    except UnicodeDecodeError:
        raise PathRefused(f"not a tree path of an asset, for it is not UTF-8: {tree_path!r}") from None


def record_folder(tree_dir: bytes) -> bytes:
    """The folder below `.dandi/assets` with the records of a folder of the tree.

    It is the folder itself, but for components named like a file of records, which would be in that file's way; these
    are escaped, so `asset_path` leads back from here, too.
    """
    if b"assets" not in tree_dir.lower():
        return tree_dir
    return b"/".join(
        [b"%%%02X%b" % (name[0], name[1:]) if _RECORDS_FILE(name) else name for name in tree_dir.split(b"/")]
    )


def warnings_for(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What may trouble users of these paths somewhere, though a tree holds them: a path and the reason.

    Of folders whose names differ only so, one path in each further folder is named, not all.
    """
    spellings: dict[str, str] = {}
    folders: set[str] = {""}
    for path in paths:
        if _CONTROL(path):
            yield path, "it has control characters"
        if len(path) > _LONGEST_NAME // 4 and any(len(name) > _LONGEST_NAME for name in tree_path(path).split(b"/")):
            yield path, f"it has a name of more than {_LONGEST_NAME} bytes, which many file systems do not take"
        node = path
        while True:
            parent, _, name = node.rpartition("/")
            other = spellings.setdefault(f"{parent}/{_as_one(name)}", node)
            if other != node:
                yield path, f"{node!r} differs only in {_difference(node, other)} from {other!r}"
            if parent in folders:
                break
            folders.add(parent)
            node = parent


def _as_one(name: str) -> str:
    """What names are taken for by file systems that heed neither case nor Unicode normalisation, as those of macOS."""
    return name.casefold() if name.isascii() else normalize("NFD", normalize("NFD", name).casefold())


def _difference(one: str, other: str) -> str:
    if one.casefold() == other.casefold():
        return "case"
    unicode = "Unicode normalisation"
    return unicode if normalize("NFD", one) == normalize("NFD", other) else f"case and {unicode}"


def check_conflicts(paths: Collection[str]) -> None:
    """PathRefused, naming both, where one path needs as a folder what another has as a file."""
    files = frozenset(paths)
    folders: set[str] = {""}
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent not in folders:
            if parent in files:
                raise PathRefused(f"asset path {path!r} needs a folder where {parent!r} is a file")
            folders.add(parent)
            parent = parent.rpartition("/")[0]


def _escaped_path(path: str) -> bytes:
    names = path.split("/")
    for name in names:
        if name in ("", ".", ".."):
            raise _refused(path, _what_is_wrong_with(path, name))
    if "\0" in path:
        raise _refused(path, "it has a NUL character")
    try:
        return "/".join([_escaped(name, at_top=place == 0) for place, name in enumerate(names)]).encode()
    except UnicodeEncodeError:
        raise _refused(path, "it has a lone surrogate, so it is not Unicode text") from None


def _what_is_wrong_with(path: str, name: str) -> str:
    if name:
        return f"it has a component {name!r}"
    return "it is absolute" if path.startswith("/") else "it has an empty component"


def _refused(path: str, reason: str) -> PathRefused:
    return PathRefused(f"asset path {path!r} cannot be held by a git tree: {reason}")


def _escaped(name: str, *, at_top: bool) -> str:
    """A component with `%` escaped; one that may be taken for something else with its first letter escaped, too.

    Git takes a backslash for a separator, as Windows does, and looks at what is between them.
    """
    parts = [part.replace("%", "%25") for part in name.split("\\")]
    if not any(_is_reserved(part, at_top=at_top) for part in parts):
        return "\\".join(parts)
    if _is_reserved(parts[0], at_top=at_top):
        parts[0] = _percent(parts[0][0]) + parts[0][1:]
    return "%5C".join(parts)


def _is_reserved(name: str, *, at_top: bool) -> bool:
    seen = _IGNORED_BY_HFS.sub("", name).partition(":")[0].rstrip(" .").casefold()
    return seen in _ANYWHERE or (at_top and seen in _AT_TOP) or _SHORT_NAME(seen) is not None


def _percent(letter: str) -> str:
    return "".join([f"%{byte:02X}" for byte in letter.encode()])
