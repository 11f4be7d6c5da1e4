"""The git-annex branch of a Zarr: which addresses hold each key.

The same bytes at several paths are one key, and it gets the addresses of the first few of these paths. So what is said
of a key needs all its paths at once, while files come folder by folder: they are put aside as lines, in 256 parts by
the first digits of the key's folder on the branch, and each part is sorted when its turn comes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice

from mirror.annex import hashdirs, logs
from mirror.annex.remotes import remote_log
from mirror.dataset.layout import LOG_TIMESTAMP
from mirror.dataset.zarr.files import ADDRESSES_OF, Addresses, key_of
from mirror.dataset.zarr.folders import Row
from mirror.git.delta import Template
from mirror.git.objects import BLOB, MODE_FILE, MODE_TREE, TREE, Entry, Oid
from mirror.git.pack import PackWriter
from mirror.git.reader import Objects
from mirror.git.trees import Change, edit_tree
from mirror.sync.branch import BranchWriter, KeyFacts

NOW, BEFORE = b"+", b"-"
"""marks of a file that is in the Zarr, and of one that was"""

_PARTS = 256
_SAY = b"%ds 1 " % LOG_TIMESTAMP

# Stand for what differs from log to log. No quoted path or version has such characters.
_PATH, _VERSION = b"{path}", b"{version}"


class KeyLines:
    """Files put aside, each with its key: a line of folder, key, mark, path, version id."""

    def __init__(self) -> None:
        self._parts = [bytearray() for _ in range(_PARTS)]
        self._part_of = {b"%02x" % number: part for number, part in enumerate(self._parts)}

    def take(self, lower: bytes, key: bytes, path: bytes, version_id: bytes, mark: bytes = NOW) -> None:
        """A file that the Zarr has or, so marked, had; `lower` is the folder of its key."""
        self._part_of[lower[:2]] += b"%b\t%b\t%b\t%b\t%b\n" % (lower, key, mark, path, version_id)

    def take_row(self, path: bytes, row: Row, mark: bytes = NOW) -> None:
        """The same of a file by its line."""
        key = key_of(row)
        self.take(hashdirs.places(key)[0], key, path, row[3], mark)

    def by_folder(self) -> Iterator[tuple[bytes, list[list[bytes]]]]:
        """The files of each folder of the branch, in order: by key, those the Zarr has first, by path.

        Can be gone through once: a part is forgotten when its turn comes.
        """
        for part in self._parts:
            lines = bytes(part).split(b"\n")
            part.clear()
            lines.pop()
            lines.sort()
            start = 0
            while start < len(lines):
                folder = lines[start][:6]
                end = start + 1
                while end < len(lines) and lines[end][:6] == folder:
                    end += 1
                yield folder, [line.split(b"\t") for line in lines[start:end]]
                start = end


Files = list[tuple[bytes, bytes]]
"""path (quoted) and version id of some files"""


def _keys(lines: list[list[bytes]]) -> Iterator[tuple[bytes, Files, Files]]:
    """Each key of a folder, the files that have it, and those that had it."""
    for key, group in groupby(lines, key=lambda line: line[1]):
        now: Files = []
        before: Files = []
        for _, _, mark, path, version_id in group:
            (now if mark == NOW else before).append((path, version_id))
        yield key, now, before


class NewBranch:
    """Writes a git-annex branch where there is none. Nothing of it is read back, so it takes little memory."""

    def __init__(self, objects: Objects, writer: PackWriter, addresses: Addresses) -> None:
        self._objects = objects
        self._writer = writer
        self._addresses = addresses

    def write(self, lines: KeyLines, remotes: bytes) -> Oid:
        """The branch's tree."""
        tree = edit_tree(self._objects, self._writer, None, self._changes(lines, remotes))
        assert tree is not None, "the branch always holds remote.log"
        return tree

    def _changes(self, lines: KeyLines, remotes: bytes) -> Iterator[Change]:
        add, add_new = self._writer.add, self._writer.add_new
        here = b".log\0" + add(BLOB, logs.location_log(logs.WEB_UUID, LOG_TIMESTAMP))
        log_of_one = self._log_of_one()
        for folder, files in lines.by_folder():
            entries: list[bytes] = []
            if len(files) == 1 and files[0][2] == NOW and files[0][4]:
                # Nearly all: one file has the key, which is the only one in its folder.
                _, key, _, path, version_id = files[0]
                oid = log_of_one(path, version_id)
                entries.append(b"100644 %b%b100644 %b.log.web\0%b" % (key, here, key, oid))
            else:
                for key, now, before in _keys(files):
                    oid = self._log(now or before)
                    entries += (b"100644 %b%b" % (key, here), b"100644 %b.log.web\0%b" % (key, oid))
                entries.sort()  # as git sorts them: all have one mode, and a name ends in a zero byte
            yield b"%b/%b" % (folder[:3], folder[3:]), Entry(MODE_TREE, add_new(TREE, b"".join(entries)))
        yield b"remote.log", Entry(MODE_FILE, add(BLOB, remote_log([remotes])))

    def _log(self, files: Files) -> Oid:
        urls = sorted(url for file in files[:ADDRESSES_OF] for url in self._addresses.of(*file))
        return self._writer.add(BLOB, b"".join([b"%b%b\n" % (_SAY, url) for url in urls]))

    def _log_of_one(self) -> Callable[[bytes, bytes], Oid]:
        """Writes the log of a key that one file has: they differ in its path and version id, so that each is stored as
        what differs from the first one. That takes a third of the room.

        An address with its version leads to one content only, so each of these logs is new.
        """
        text = b"".join(b"%b%b\n" % (_SAY, url) for url in sorted(self._addresses.of(_PATH, _VERSION)))
        texts, places = _cut(text)
        add_new_delta = self._writer.add_new_delta
        template: Template | None = None
        base = b""

        def write(path: bytes, version_id: bytes) -> Oid:
            nonlocal template, base
            values = [path if place == _PATH else version_id for place in places]
            if template is None:
                template = Template(texts, values)
                base = self._writer.add(BLOB, template.base)
                return base
            body, delta = template.fill(values)
            return add_new_delta(base, delta, body)

        return write


def _cut(text: bytes) -> tuple[list[bytes], list[bytes]]:
    """The places where a path or a version id stands, and the texts around them."""
    pieces = re.split(rb"(%b|%b)" % (_PATH, _VERSION), text)
    return pieces[::2], pieces[1::2]


def edited(branch: BranchWriter, lines: KeyLines, addresses: Addresses, remotes: bytes, timestamp: int) -> Oid:
    """The tree of a branch that is there, with what is new said on it.

    A key of the Zarr has the addresses of the first few files that have it, and no others. One that it has no more
    keeps those it had: while the bucket still has the bytes, earlier states can be had.
    """
    return branch.write_in_order(_facts(branch, lines, addresses), remotes, timestamp)


def _facts(branch: BranchWriter, lines: KeyLines, addresses: Addresses) -> Iterable[tuple[str, KeyFacts]]:
    for _, files in lines.by_folder():
        for name, now, before in _keys(files):
            key = name.decode()
            known = branch.urls(key)
            wanted = addresses.of_all(islice(now or before, ADDRESSES_OF))
            # Of what was open once, the addresses in the bucket stay, too, when it came under embargo.
            gone = tuple(sorted(known.difference(wanted))) if now and addresses.bucket is not None else ()
            if not known.issuperset(wanted) or gone:
                yield key, KeyFacts(urls=tuple(sorted(wanted)), gone=gone)
