"""Write a version's tree: from the tree of an earlier state and what differs, only what differs.

Whatever the earlier state, the same version gives the same tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from mirror.annex.hashdirs import link_target
from mirror.annex.keys import sha256e_key
from mirror.dataset.assets import ANNEXED, PENDING, TEXT, ZARR, AssetEntry, Held
from mirror.dataset.layout import Layout
from mirror.dataset.names import tree_path
from mirror.dataset.records import (
    PENDING_FILE,
    by_file,
    digits_for,
    file_names,
    folder_of,
    joined,
    lines_by_path,
    records_path,
    split_lines,
)
from mirror.dataset.submodules import GITMODULES, gitmodules, submodule_path
from mirror.git.objects import BLOB, MODE_FILE, MODE_GITLINK, MODE_LINK, Entry, Oid, hash_object
from mirror.git.pack import PackWriter
from mirror.git.reader import Objects
from mirror.git.trees import edit_tree

Change = tuple[bytes, Entry | None]


@dataclass(frozen=True)
class Step:
    """How to get from one state of a Dandiset to another."""

    base: Oid | None
    before: Mapping[str, Held]
    after: Mapping[str, Held]
    entries: list[AssetEntry]
    """new or changed"""
    removed: list[str]
    links: Mapping[str, Oid]
    """the commits that stand for Zarrs among the entries"""


class TreeWriter:
    """Writes trees of one Dandiset. `line_of` gives back the lines that were put aside while listing."""

    def __init__(
        self, objects: Objects, writer: PackWriter, line_of: Callable[[tuple[int, int]], bytes], layout: Layout
    ) -> None:
        self._objects = objects
        self._layout = layout
        self._writer = writer
        self._line_of = line_of

    def write(self, step: Step, texts: Mapping[str, Oid], files: Mapping[bytes, bytes]) -> Oid:
        """The tree of a version. `texts` are the blobs of its new texts, by asset path; `files` the documents."""
        changes: list[Change] = list(self._asset_changes(step, texts))
        changes += self._record_changes(step)
        changes.append((PENDING_FILE, self._pending_file(step)))
        changes.append((GITMODULES, self._submodules(step)))
        changes += [(path, self._file(body)) for path, body in files.items() if not self._stands(step, path, body)]
        changes.sort(key=lambda change: change[0])
        tree = edit_tree(self._objects, self._writer, step.base, changes)
        assert tree is not None, "a version's tree always holds its documents"
        return tree

    def _stands(self, step: Step, path: bytes, body: bytes) -> bool:
        """Whether a file stands in the earlier tree as it is."""
        held = self._objects.lookup(step.base, path) if step.base is not None else None
        return held == Entry(MODE_FILE, hash_object(BLOB, body))

    def _file(self, body: bytes) -> Entry:
        return Entry(MODE_FILE, self._writer.add_blob(body))

    def _asset_changes(self, step: Step, texts: Mapping[str, Oid]) -> Iterator[Change]:
        add_blob = self._writer.add_blob
        for entry in step.entries:
            path = tree_path(entry.path)
            if entry.held.kind == ANNEXED:
                yield path, Entry(MODE_LINK, add_blob(link_target(path, annex_key(entry))))
            elif entry.held.kind == TEXT:
                yield path, Entry(MODE_FILE, texts[entry.path])
            elif (link := step.links.get(entry.path)) is None:
                yield path, None
            elif (where := submodule_path(entry.path)) == path:
                yield path, Entry(MODE_GITLINK, link)
            else:
                yield path, None
                yield where, Entry(MODE_GITLINK, link)
                continue
            if path.startswith(b"-") and entry.path in step.before:
                yield submodule_path(entry.path), None
        for removed in step.removed:
            yield from ((path, None) for path in {tree_path(removed), submodule_path(removed)})

    def _submodules(self, step: Step) -> Entry | None:
        """`.gitmodules`: every Zarr that did not change and stands in the tree, and those that did and can be had."""
        if not self._layout.zarrs:
            return None
        linked = dict.fromkeys(step.links)
        zarrs = [path for path, held in step.after.items() if held.kind == ZARR]
        if zarrs and step.base is not None:
            changed = {entry.path for entry in step.entries}
            unchanged = [path for path in zarrs if path not in changed]
            linked |= {path: None for path in unchanged if standing(self._objects, step.base, path) is not None}
        if not linked:
            return None
        return self._file(gitmodules({submodule_path(path): step.after[path].blob or "" for path in linked}))

    def _pending_file(self, step: Step) -> Entry | None:
        lines = [(entry.path, self._line_of(entry.line)) for entry in step.entries if entry.held.kind == PENDING]
        return self._file(joined(dict(lines))) if lines else None

    def _record_changes(self, step: Step) -> Iterator[Change]:
        puts: dict[str, dict[str, AssetEntry]] = {}
        drops: dict[str, set[str]] = {}
        for entry in step.entries:
            folder = folder_of(entry.path)
            if entry.held.kind == PENDING:
                drops.setdefault(folder, set()).add(entry.path)
            else:
                puts.setdefault(folder, {})[entry.path] = entry
        for path in step.removed:
            drops.setdefault(folder_of(path), set()).add(path)
        folders = puts.keys() | drops.keys()
        before = counts_with_records(step.before, folders)
        after = counts_with_records(step.after, folders)
        for folder in folders:
            yield from self._folder_changes(
                step.base,
                folder,
                digits_for(before[folder]) if before[folder] else None,
                digits_for(after[folder]),
                puts.get(folder, {}),
                drops.get(folder, set()),
            )

    def _folder_changes(
        self,
        base: Oid | None,
        folder: str,
        digits_before: int | None,
        digits_after: int,
        puts: Mapping[str, AssetEntry],
        drops: set[str],
    ) -> Iterator[Change]:
        """The changes to the files of records of one folder."""
        if base is None or digits_before is None:
            groups = by_file(puts, digits_after)
            for name, paths in groups.items():
                yield records_path(folder, name), self._records({}, (puts[path] for path in paths), ())
            return
        if digits_before == digits_after:
            for name, paths in by_file(puts.keys() | drops, digits_after).items():
                where = records_path(folder, name)
                new = (puts[path] for path in paths if path in puts)
                yield where, self._records(self._lines(base, where), new, (path for path in paths if path in drops))
            return
        yield from self._respread(base, folder, digits_before, digits_after, puts, drops)

    def _respread(
        self,
        base: Oid,
        folder: str,
        digits_before: int,
        digits_after: int,
        puts: Mapping[str, AssetEntry],
        drops: set[str],
    ) -> Iterator[Change]:
        """A folder has grown or shrunk so much that its records go into other files."""
        lines: dict[str, bytes] = {}
        for name in file_names(digits_before):
            where = records_path(folder, name)
            lines.update(self._lines(base, where))
            yield where, None
        for path in drops:
            lines.pop(path, None)
        lines.update((path, self._line_of(entry.line)) for path, entry in puts.items())
        if not lines:
            return
        for name, paths in by_file(lines, digits_after).items():
            yield records_path(folder, name), self._file(joined({path: lines[path] for path in paths}))

    def _lines(self, base: Oid, where: bytes) -> dict[str, bytes]:
        entry = self._objects.lookup(base, where)
        return lines_by_path(self._objects.blob(entry.oid)) if entry is not None else {}

    def _records(self, lines: dict[str, bytes], puts: Iterable[AssetEntry], drops: Iterable[str]) -> Entry | None:
        for path in drops:
            lines.pop(path, None)
        if not lines:
            return self._new_records(sorted(puts, key=attrgetter("path")))
        for entry in puts:
            lines[entry.path] = self._line_of(entry.line)
        return self._file(joined(lines))

    def _new_records(self, entries: list[AssetEntry]) -> Entry | None:
        """A file of these records. They mostly came in order, and then lie in a row where they were put aside."""
        if not entries:
            return None
        first, end, whole = entries[0].line_at, entries[0].line_at, True
        for entry in entries:
            if entry.line_at != end:
                whole = False
                break
            end += entry.line_length
        if whole:
            return self._file(self._line_of((first, end - first)))
        return self._file(b"".join([self._line_of(entry.line) for entry in entries]))


def standing(objects: Objects, tree: Oid, path: str) -> Oid | None:
    """The commit that stands in a tree for the Zarr at this path; None when none does."""
    found = objects.lookup(tree, submodule_path(path))
    return found.oid if found is not None and found.mode == MODE_GITLINK else None


def counts_with_records(assets: Mapping[str, Held], folders: Iterable[str]) -> dict[str, int]:
    """How many assets with a record these folders have."""
    counts = dict.fromkeys(folders, 0)
    for path, held in assets.items():
        # `folder_of` written out: this runs over all assets, for a change of one.
        folder = path[: path.rfind("/")] if "/" in path else ""
        if folder in counts and held.kind != PENDING:
            counts[folder] += 1
    return counts


def annex_key(entry: AssetEntry) -> str:
    """The git-annex key of an annexed asset."""
    assert entry.held.kind == ANNEXED
    assert entry.sha256 is not None
    return sha256e_key(entry.path, entry.size, entry.sha256)


def held_assets(objects: Objects, tree: Oid, read_line: Callable[[bytes], tuple[str, Held]]) -> dict[str, Held]:
    """Every asset a tree has, read back from its records."""
    assets: dict[str, Held] = {}
    pending = objects.lookup(tree, PENDING_FILE)
    if pending is not None:
        assets.update(map(read_line, split_lines(objects.blob(pending.oid))))
    records = objects.lookup(tree, b".dandi/assets")
    if records is not None:
        for _, entry in objects.list_tree(records.oid):
            assets.update(map(read_line, split_lines(objects.blob(entry.oid))))
    return assets
