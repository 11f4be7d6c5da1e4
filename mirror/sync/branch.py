"""Write the `git-annex` branch: where each key's bytes are, and what is worth asking of it.

Built on the branch's present tip, whoever moved it there, and by additions only: clones merge it line by line, so
nothing that was said is ever deleted, only said anew with a later time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from mirror.annex import hashdirs, logs, metadata
from mirror.annex.remotes import remote_log
from mirror.dataset.fields import Fields
from mirror.dataset.layout import LOG_TIMESTAMP
from mirror.git.objects import MODE_FILE, Entry, Oid
from mirror.git.pack import PackWriter
from mirror.git.reader import Objects
from mirror.git.trees import edit_tree


@dataclass(slots=True)
class KeyFacts:
    """What this sync has to say of one key."""

    urls: list[str] = field(default_factory=list)
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

    def urls(self, key: str) -> set[str]:
        """The addresses that the branch has for a key at present."""
        body = self._body(_path(key, b".log.web"))
        return {url.decode() for url in logs.present(body)} if body else set()

    def write(self, facts: Mapping[str, KeyFacts], remotes: bytes, timestamp: int) -> Oid:
        """The branch's new tree. What is said anew is said at `timestamp`, or later where the log is later."""
        changes = self._changes(facts, remotes, timestamp)
        tree = edit_tree(self._objects, self._writer, self._root, changes)
        assert tree is not None, "the branch always holds remote.log"
        return tree

    def _changes(
        self, facts: Mapping[str, KeyFacts], remotes: bytes, timestamp: int
    ) -> Iterator[tuple[bytes, Entry | None]]:
        """In path order. `remote.log` sorts behind the hash directories, whose names are hex digits."""
        fresh = self._root is None
        by_folder = sorted([(hashdirs.lower(key), key) for key in facts])
        for folder, keys in groupby(by_folder, key=itemgetter(0)):
            here: list[tuple[bytes, Entry]] = []
            for _, key in keys:
                path = folder + b"/" + key.encode()
                if fresh:
                    here += self._first_words(path, facts[key])
                else:
                    here += self._further_words(path, facts[key], timestamp)
            # One key may be the beginning of another: by path they may come the other way round.
            here.sort()
            yield from here
        yield b"remote.log", self._file(remotes if fresh else self._remotes(remotes))

    def _first_words(self, path: bytes, facts: KeyFacts) -> Iterator[tuple[bytes, Entry]]:
        """A key's log files in a branch that has nothing of it."""
        if self._present is None:
            self._present = self._file(logs.location_log(logs.WEB_UUID, LOG_TIMESTAMP))
        yield path + b".log", self._present
        if facts.fields:
            yield path + b".log.met", self._metadata_entry(facts.fields)
        yield path + b".log.web", self._file(logs.url_log(facts.urls, LOG_TIMESTAMP))

    def _metadata_entry(self, fields: Fields) -> Entry:
        """Many keys share their metadata."""
        entry = self._metadata.get(fields)
        if entry is None:
            entry = self._metadata[fields] = self._file(metadata.encode(dict(fields), LOG_TIMESTAMP))
        return entry

    def _further_words(self, path: bytes, facts: KeyFacts, timestamp: int) -> Iterator[tuple[bytes, Entry]]:
        web, location = self._body(path + b".log.web"), self._body(path + b".log")
        if web is None and location is None:
            yield from self._first_words(path, facts)
            return
        new_web = _with(
            web or b"", [url.encode() for url in facts.urls], [url.encode() for url in facts.gone], timestamp
        )
        held = bool(logs.present(new_web))
        on_web = [logs.WEB_UUID.encode()]
        new_location = _with(location or b"", on_web if held else [], [] if held else on_web, timestamp)
        yield from self._changed(path + b".log", location, new_location)
        if facts.fields is not None:
            known = self._body(path + b".log.met")
            new = metadata.change(known or b"", dict(facts.fields), timestamp)
            yield from self._changed(path + b".log.met", known, new)
        yield from self._changed(path + b".log.web", web, new_web)

    def _changed(self, path: bytes, old: bytes | None, new: bytes) -> Iterator[tuple[bytes, Entry]]:
        if new != (old or b""):
            yield path, self._file(new)

    def _remotes(self, remotes: bytes) -> bytes:
        """`remote.log` with our line in it, and whatever git-annex wrote there besides."""
        known = self._body(b"remote.log") or b""
        uuid = remotes.partition(b" ")[0]
        if any(line.startswith(uuid) for line in known.splitlines()):
            return known
        return remote_log([*known.splitlines(), remotes])

    def _body(self, path: bytes) -> bytes | None:
        if self._root is None:
            return None
        entry = self._objects.lookup(self._root, path)
        return self._objects.blob(entry.oid) if entry is not None else None

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


def _path(key: str, suffix: bytes) -> bytes:
    return hashdirs.lower(key) + b"/" + key.encode() + suffix
