"""The git trees of a Zarr's folders, one by one, each after those in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence

from mirror.annex import hashdirs
from mirror.dataset.zarr.documents import ZarrFacts
from mirror.dataset.zarr.files import md5e_key, name_in_tree
from mirror.dataset.zarr.folders import Folder
from mirror.git.objects import BLOB, MODE_FILE, MODE_LINK, MODE_TREE, TREE, Entry, Oid, encode_tree, hash_object

Add = Callable[[bytes, bytes], Oid]
"""takes an object's kind and content, gives its name"""

TakeKey = Callable[[bytes, bytes, bytes, bytes], None]
"""is told of a file: the folder of its key on the git-annex branch, the key, its quoted path, its version id"""

_LINK_LINE = MODE_LINK + b" %b\0%b"
_TREE_LINE = MODE_TREE + b" %b\0%b"

_PLAIN = re.compile(rb"[A-Za-z0-9_-][A-Za-z0-9_.-]*").fullmatch


class FolderTrees:
    """Makes trees. What is new goes to `add`; what is known to be there already is only named.

    `add` itself may only name, too: so one knows the hash of a repository that is not written.
    """

    def __init__(self, add: Add, take_key: TakeKey | None = None) -> None:
        self._add = add
        self._take_key = take_key

    def tree(
        self,
        folder: Folder,
        subtrees: Sequence[tuple[bytes, Oid]],
        *,
        fresh: Container[bytes] | None = None,
        own: Mapping[bytes, Entry] | None = None,
    ) -> Oid:
        """The tree of a folder, with these folders in it by their quoted names.

        `fresh` are the files that the repository may not have yet; None: all. `own` goes into the tree besides.
        """
        at_top = not folder.path
        lines = self._links(folder, fresh)
        for quoted, oid in subtrees:
            name = quoted if _PLAIN(quoted) and not at_top else name_in_tree(quoted, at_top=at_top)
            lines.append(_TREE_LINE % (name, oid))
        lines += [b"%b %b\0%b" % (mode, name, oid) for name, (mode, oid) in (own or {}).items()]
        if subtrees or own:
            lines.sort(key=_tree_order)
        else:
            lines.sort()  # links alone are in order as they are, unless a name is escaped
        return self._add(TREE, b"".join(lines))

    def _links(self, folder: Folder, fresh: Container[bytes] | None) -> list[bytes]:
        path, add, take_key, places = folder.path, self._add, self._take_key, hashdirs.places
        at_top = not path
        prefix = path + b"/" if path else b""
        start = b"../" * prefix.count(b"/") + b".git/annex/objects/"
        lines: list[bytes] = []
        for quoted, digest, size, version, _ in folder.rows():
            name = quoted if _PLAIN(quoted) and not at_top else name_in_tree(quoted, at_top=at_top)
            key = md5e_key(quoted, digest, size)
            lower, mixed = places(key)
            target = b"%b%b/%b/%b" % (start, mixed, key, key)
            if fresh is None or quoted in fresh:
                oid = add(BLOB, target)
                if take_key is not None:
                    take_key(lower, key, prefix + quoted, version)
            else:
                oid = hash_object(BLOB, target)
            lines.append(_LINK_LINE % (name, oid))
        return lines


def _tree_order(line: bytes) -> bytes:
    """What git sorts a tree by: names, those of trees as if they ended in a slash."""
    mode, _, rest = line.partition(b" ")
    name = rest[: rest.index(b"\0")]
    return name + b"/" if mode == MODE_TREE else name


def own_entries(facts: ZarrFacts, add: Add) -> dict[bytes, Entry]:
    """What stands at the top of a Zarr's tree besides the Zarr."""
    top: dict[bytes, Entry] = {}
    folders: dict[bytes, dict[bytes, Entry]] = {}
    for path, body in facts.own_files().items():
        folder, _, name = path.rpartition(b"/")
        (folders.setdefault(folder, {}) if folder else top)[name] = Entry(MODE_FILE, add(BLOB, body))
    return top | {name: Entry(MODE_TREE, add(TREE, encode_tree(entries))) for name, entries in folders.items()}
