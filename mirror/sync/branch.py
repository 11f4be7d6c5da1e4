"""Write the `git-annex` branch: where each key's bytes are, and what is worth asking of it.

Built on the branch's present tip, whoever moved it there, and by additions only: clones merge it line by line, so
nothing that was said is ever deleted, only said anew with a later time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from mirror.annex import hashdirs, logs, metadata
from mirror.annex.remotes import remote_log
from mirror.dataset.fields import FIELD_NAMES, Fields
from mirror.dataset.layout import LOG_TIMESTAMP
from mirror.git.objects import MODE_FILE, MODE_TREE, TREE, Entry, Oid, encode_tree
from mirror.git.pack import PackWriter
from mirror.git.reader import Objects
from mirror.git.trees import Change, edit_tree


@dataclass(slots=True)
class KeyFacts:
    """What this sync has to say of one key."""

    urls: tuple[str, ...] = ()
    """addresses that hold it"""
    fields: Fields | None = None
    """its metadata; None: nothing to say"""
    turn: int = -1
    """the observation that `fields` are from, counted from the oldest"""
    gone: tuple[str, ...] = ()
    """addresses that do not hold it any more"""


class BranchWriter:
    """Edits the git-annex branch of one repository. `root` is its present tree, None for a new one."""

    def __init__(self, objects: Objects, writer: PackWriter, root: Oid | None) -> None:
        self._objects = objects
        self._writer = writer
        self._root = root
        self._present: Entry | None = None
        self._metadata: dict[Fields, Entry] = {}

    @property
    def is_new(self) -> bool:
        return self._root is None

    def urls(self, key: str) -> set[str]:
        """The addresses that the branch has for a key at present."""
        body = self._body(self._held(hashdirs.lower(key)), key.encode() + b".log.web")
        return {url.decode() for url in logs.present(body)} if body else set()

    def write(self, facts: Mapping[str, KeyFacts], remotes: bytes, timestamp: int) -> Oid:
        """The branch's new tree. What is said anew is said at `timestamp`, or later where the log is later."""
        ordered = ((key, facts[key]) for key in sorted(facts, key=hashdirs.lower))
        return self.write_in_order(ordered, remotes, timestamp)

    def write_in_order(self, facts: Iterable[tuple[str, KeyFacts]], remotes: bytes, timestamp: int) -> Oid:
        """The same of more keys than one wants to hold at once; they come in the order of their folders."""
        changes = self._changes(facts, remotes, timestamp)
        tree = edit_tree(self._objects, self._writer, self._root, changes)
        assert tree is not None, "the branch always holds remote.log"
        return tree

    def _changes(self, facts: Iterable[tuple[str, KeyFacts]], remotes: bytes, timestamp: int) -> Iterator[Change]:
        """One hash folder after the other. `remote.log` sorts behind them: their names are hex digits."""
        if self.is_new:
            yield from self._new_folders(facts)
            yield b"remote.log", self._file(remotes)
            return
        for folder, keys in groupby(facts, key=lambda item: hashdirs.lower(item[0])):
            held = self._held(folder)
            files = dict(held)
            for key, known in keys:
                name = key.encode()
                if name + b".log" in held or name + b".log.web" in held:
                    self._say_further(files, name, known, timestamp)
                else:
                    self._say_first(files, name, known)
            if files != held:
                yield folder, Entry(MODE_TREE, self._writer.add(TREE, encode_tree(files)))
        if (remotes_now := self._remotes(remotes)) is not None:
            yield b"remote.log", self._file(remotes_now)

    def _new_folders(self, facts: Iterable[tuple[str, KeyFacts]]) -> Iterator[Change]:
        """The hash folders of a new branch, nearly all of one key: as many as there are assets, so this is lean."""
        add, files, open_folder = self._writer.add, dict[bytes, Entry](), b""
        for key, known in facts:
            folder = hashdirs.lower(key)
            if folder != open_folder:
                if files:
                    yield open_folder, Entry(MODE_TREE, add(TREE, encode_tree(files)))
                files, open_folder = {}, folder
            self._say_first(files, key.encode(), known)
        if files:
            yield open_folder, Entry(MODE_TREE, add(TREE, encode_tree(files)))

    def _say_first(self, files: dict[bytes, Entry], key: bytes, facts: KeyFacts) -> None:
        """A key's log files where there are none."""
        if self._present is None:
            self._present = self._file(logs.location_log(logs.WEB_UUID, LOG_TIMESTAMP))
        files[key + b".log"] = self._present
        if facts.fields:
            files[key + b".log.met"] = self._metadata_entry(facts.fields)
        files[key + b".log.web"] = self._file(logs.url_log(facts.urls, LOG_TIMESTAMP))

    def _metadata_entry(self, fields: Fields) -> Entry:
        """Many keys share their metadata."""
        entry = self._metadata.get(fields)
        if entry is None:
            entry = self._metadata[fields] = self._file(metadata.encode(dict(fields), LOG_TIMESTAMP))
        return entry

    def _say_further(self, files: dict[bytes, Entry], key: bytes, facts: KeyFacts, timestamp: int) -> None:
        """A key's log files where there are some: what is new is added, nothing is deleted."""
        urls, gone = [url.encode() for url in facts.urls], [url.encode() for url in facts.gone]
        known = self._body(files, key + b".log.web")
        web = _with(known, urls, gone, timestamp)
        self._put(files, key + b".log.web", known, web)
        held = bool(logs.present(web))
        on_web = [logs.WEB_UUID.encode()]
        known = self._body(files, key + b".log")
        self._put(files, key + b".log", known, _with(known, on_web if held else [], [] if held else on_web, timestamp))
        if facts.fields is not None:
            known = self._body(files, key + b".log.met")
            # A field that an asset has no more is named without values: not named, it would keep them.
            wanted: dict[str, tuple[str, ...]] = {**dict.fromkeys(FIELD_NAMES, ()), **dict(facts.fields)}
            self._put(files, key + b".log.met", known, metadata.change(known, wanted, timestamp))

    def _put(self, files: dict[bytes, Entry], name: bytes, known: bytes, now: bytes) -> None:
        if now != known:
            files[name] = self._file(now)

    def _remotes(self, remotes: bytes) -> bytes | None:
        """`remote.log` with our line in it, and whatever git-annex wrote there besides; None: it has that line."""
        known = self._body(self._objects.tree(self._root), b"remote.log") if self._root is not None else b""
        uuid = remotes.partition(b" ")[0]
        if any(line.startswith(uuid) for line in known.splitlines()):
            return None
        return remote_log([*known.splitlines(), remotes])

    def _held(self, folder: bytes) -> Mapping[bytes, Entry]:
        """The files that a hash folder of the branch has at present."""
        if self._root is None:
            return {}
        entry = self._objects.lookup(self._root, folder)
        return self._objects.tree(entry.oid) if entry is not None else {}

    def _body(self, files: Mapping[bytes, Entry], name: bytes) -> bytes:
        """A file's content; nothing when there is no such file."""
        entry = files.get(name)
        return self._objects.blob(entry.oid) if entry is not None else b""

    def _file(self, body: bytes) -> Entry:
        return Entry(MODE_FILE, self._writer.add_blob(body))


def _with(log: bytes, add: list[bytes], withdraw: list[bytes], timestamp: int) -> bytes:
    """A presence log with this said. What was never mentioned is said at the time of all first statements, so that a
    mirror that saw it come and one that began later say the same."""
    mentioned = logs.parse(log)
    first = [value for value in add if value not in mentioned]
    again = [value for value in add if value in mentioned]
    log = logs.with_changes(log, add=first, withdraw=[], timestamp=LOG_TIMESTAMP)
    return logs.with_changes(log, add=again, withdraw=withdraw, timestamp=timestamp)
