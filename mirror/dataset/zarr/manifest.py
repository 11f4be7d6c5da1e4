"""A manifest: the files of a Zarr as text, folder by folder, with what was worked out of each folder.

::

    #dandi-mirror zarr manifest 1<TAB>layout<TAB>address in the bucket<TAB>address of the API[<TAB>embargoed]
    /0/0<TAB>checksum<TAB>tree<TAB>latest
    name<TAB>md5<TAB>size<TAB>version id<TAB>time
    …
    /<TAB>checksum<TAB>tree<TAB>latest

A line that starts with a slash is a folder, each after those in it; the lines that follow are the files right in it.
Paths and names are quoted as in addresses. With the tree of a folder its content need not be looked at again as long as
the archive's listing of it says the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import NamedTuple

from mirror.dataset.zarr.checksum import Checksum
from mirror.dataset.zarr.folders import Folder, Row, true_order
from mirror.errors import ManifestDamaged

_HEAD = b"#dandi-mirror zarr manifest 1"
_EMBARGOED = b"embargoed"


class Origin(NamedTuple):
    """What a manifest was made with: trees and addresses depend on it."""

    layout: int
    address: str
    """of the Zarr in its bucket"""
    api: str
    """of the archive"""
    embargoed: bool = False
    """it was listed by the API, and its files have addresses there only"""

    def head(self) -> bytes:
        """The first line of a manifest, without its end."""
        words = [_HEAD, b"%d" % self.layout, self.address.encode(), self.api.encode()]
        return b"\t".join([*words, _EMBARGOED] if self.embargoed else words)

    @classmethod
    def parse(cls, head: bytes) -> Origin:
        words = head.split(b"\t")
        embargoed = words[4:] == [_EMBARGOED]
        if len(words) != 4 + embargoed or words[0] != _HEAD or not words[1].isdigit():
            raise ManifestDamaged("not a manifest of a Zarr")
        return cls(int(words[1]), words[2].decode(), words[3].decode(), embargoed)


class HeldFolder(NamedTuple):
    """A folder as a manifest has it."""

    folder: Folder
    checksum: bytes
    tree: bytes
    """the name of its git tree, in hex"""
    latest: bytes
    """when the latest of its files was written; nothing where it has none"""


def block(folder: Folder, checksum: Checksum, tree: bytes, latest: bytes) -> tuple[bytes, bytes]:
    """What a manifest says of a folder, in two pieces; goes after the head, or after another block."""
    head = b"\n/%b\t%b\t%b\t%b" % (folder.path, str(checksum).encode(), tree.hex().encode(), latest)
    return (head + b"\n", folder.lines) if folder.lines else (head, b"")


def read_manifest(chunks: Iterable[bytes]) -> Iterator[HeldFolder]:
    """The folders of a manifest, in their order. ManifestDamaged where it is."""
    blocks = _blocks(chunks)
    Origin.parse(next(blocks, b""))
    path = None
    for text in blocks:
        head, _, lines = text.partition(b"\n")
        words = head.split(b"\t")
        if len(words) != 4:
            raise ManifestDamaged("a manifest of a Zarr is damaged")
        path = words[0]
        yield HeldFolder(Folder(path, lines), *words[1:])
    if path != b"":
        raise ManifestDamaged("a manifest of a Zarr is cut short")


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The text between lines that start with a slash."""
    block, line_ended = BytesIO(), False  # the end of a line is kept back: it may end the block
    for chunk in chunks:
        text = b"\n" + chunk if line_ended else chunk
        line_ended = text.endswith(b"\n")
        first, *others = (text[:-1] if line_ended else text).split(b"\n/")
        block.write(first)
        for other in others:
            yield block.getvalue()
            block = BytesIO()
            block.write(other)
    if line_ended:
        block.write(b"\n")
    yield block.getvalue()


class Change(NamedTuple):
    """A file that differs between two states of a Zarr; None: it is not there. Paths are quoted."""

    path: bytes
    before: Row | None
    after: Row | None

    @property
    def same_bytes(self) -> bool:
        """Whether only the version or the time of writing is another."""
        return self.before is not None and self.after is not None and self.before[1:3] == self.after[1:3]


def changed_files(before: Folder | None, after: Folder | None) -> Iterator[Change]:
    """The files of a folder that differ in anything, the time of writing included, in the byte order of their names."""
    folder = before or after
    assert folder is not None, "of a folder that was never there nothing changed"
    prefix = folder.path + b"/" if folder.path else b""
    old_lines, new_lines = _lines(before), _lines(after)
    old, new = next(old_lines, None), next(new_lines, None)
    while old is not None or new is not None:
        if old == new:
            old, new = next(old_lines, None), next(new_lines, None)
            continue
        old_row, new_row = _row(old), _row(new)
        if old_row is not None and new_row is not None and old_row[0] != new_row[0]:
            # The one whose name comes first is only on its side.
            if true_order(old_row[0]) < true_order(new_row[0]):
                new_row = None
            else:
                old_row = None
        name = (old_row or new_row or [b""])[0]
        yield Change(prefix + name, old_row, new_row)
        if old_row is not None:
            old = next(old_lines, None)
        if new_row is not None:
            new = next(new_lines, None)


def _lines(folder: Folder | None) -> Iterator[bytes]:
    return folder.each_line() if folder is not None else iter(())


def _row(line: bytes | None) -> Row | None:
    return line.split(b"\t") if line is not None else None


def undo_lines(changes: Iterable[Change]) -> bytes:
    """Lines that lead back from the later state to the earlier one: what stood there, or a path alone: nothing did."""
    lines = [b"\t".join([change.path, *(change.before[1:] if change.before else ())]) + b"\n" for change in changes]
    return b"".join(lines)


def read_undo(body: bytes) -> list[tuple[bytes, Row | None]]:
    """Paths, and what shall stand there (its first field being the path); None: nothing."""
    rows = [line.split(b"\t") for line in body.split(b"\n") if line]
    return [(row[0], row if len(row) > 1 else None) for row in rows]
