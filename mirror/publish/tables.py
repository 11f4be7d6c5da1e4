"""What a superdataset's branch `releases` holds at one commit, ready for the next: its tables are its state."""

from __future__ import annotations

from mirror.dataset.facts import Facts
from mirror.dataset.submodules import GITMODULES, section
from mirror.dataset.superdataset import (
    CITATION_FILE,
    DANDISETS_FILE,
    README_FILE,
    RELEASES_FILE,
    RELEASES_HEAD,
    Member,
    Subject,
    Totals,
    citation_cff,
    dandisets_head,
    dandisets_line,
    fixed_files,
    readme,
    releases_line,
    rows,
)
from mirror.git.delta import Copy
from mirror.git.objects import BLOB, MODE_FILE, MODE_GITLINK, MODE_TREE, TREE, Entry, Oid, encode_tree
from mirror.git.pack import PackWriter
from mirror.git.reader import Objects
from mirror.git.successive import Parts, Pieces, Successive


class Tables:
    """The tables of the chain, and the tree that they make with the Dandisets. Starts empty, or from a tree."""

    def __init__(self, subject: Subject, writer: PackWriter, objects: Objects, tree: Oid | None) -> None:
        self._subject = subject
        self._writer = writer
        dandisets, releases = dandisets_head(draft=False), RELEASES_HEAD
        if tree is not None:
            entries = objects.tree(tree)
            dandisets = objects.blob(entries[DANDISETS_FILE].oid)
            releases = objects.blob(entries[RELEASES_FILE].oid)
        self.standing = {row["identifier"]: row for row in rows(dandisets)}
        """the line of each Dandiset, by its identifier"""
        listed = rows(releases)
        self.listed = {(row["dandiset"], row["version"]): row["created"] for row in listed}
        """the versions that the chain has had so far, in its order, with the time of each"""
        self._latest = _latest(listed[-1]) if listed else None
        self._releases = releases
        self._dandisets = Pieces(dandisets_head(draft=False), _lines(dandisets))
        self._gitmodules = Pieces(b"", {key.encode(): _section(row) for key, row in self.standing.items()})
        self._links = Pieces(b"", {key.encode(): _link(key, row["commit"]) for key, row in self.standing.items()})
        self._assets = sum(int(row["assets"]) for row in self.standing.values())
        self._size = sum(int(row["bytes"]) for row in self.standing.values())
        self._blobs = {name: Successive(writer, BLOB) for name in (DANDISETS_FILE, RELEASES_FILE, GITMODULES)}
        self._trees = Successive(writer, TREE)
        self._oids: dict[bytes, Oid] = {}
        self._fixed = _fixed_entries(subject, writer)

    @property
    def totals(self) -> Totals:
        return Totals(len(self.standing), len(self.listed), self._assets, self._size)

    def add(self, facts: Facts, commit: str, dataset_id: str) -> Oid:
        """List a published version, and move its Dandiset to it. The tree that this makes."""
        line = releases_line(facts, commit)
        grown: Parts = (Copy(0, len(self._releases)), line)
        self._releases += line
        self.listed[facts.identifier, facts.version] = facts.created
        self._latest = facts
        self._write(RELEASES_FILE, self._releases, grown)
        return self.move(facts, commit, dataset_id)

    def move(self, facts: Facts, commit: str, dataset_id: str) -> Oid:
        """Let a Dandiset stand at a version that is listed already."""
        member = Member(facts, commit, dataset_id, latest=facts)
        line = dandisets_line(member, draft=False)
        self._count(facts.identifier, -1)
        is_new = facts.identifier not in self.standing
        (self.standing[facts.identifier],) = rows(dandisets_head(draft=False) + line)
        self._count(facts.identifier, 1)
        changed = self._dandisets.put(member.path, line)
        self._write(DANDISETS_FILE, self._dandisets.body, changed)
        if is_new:
            changed = self._gitmodules.put(member.path, _section(self.standing[facts.identifier]))
            self._write(GITMODULES, self._gitmodules.body, changed)
        return self._tree(self._links.put(member.path, _link(facts.identifier, commit)))

    def remove(self, identifier: str) -> Oid:
        """Take a Dandiset out; its versions stay listed."""
        key = identifier.encode()
        self._count(identifier, -1)
        del self.standing[identifier]
        changed = self._dandisets.remove(key)
        self._write(DANDISETS_FILE, self._dandisets.body, changed)
        changed = self._gitmodules.remove(key)
        self._write(GITMODULES, self._gitmodules.body, changed)
        return self._tree(self._links.remove(key))

    def _count(self, identifier: str, sign: int) -> None:
        if (row := self.standing.get(identifier)) is not None:
            self._assets += sign * int(row["assets"])
            self._size += sign * int(row["bytes"])

    def _write(self, name: bytes, body: bytes, parts: Parts) -> None:
        self._oids[name] = self._blobs[name].write(body, parts)

    def _tree(self, links: Parts) -> Oid:
        """The tree as it is now; `links` is what changed in the middle of it, where the Dandisets are."""
        bodies = {DANDISETS_FILE: self._dandisets, GITMODULES: self._gitmodules}
        for name, pieces in bodies.items():
            if name not in self._oids:
                self._write(name, pieces.body, ())
        if RELEASES_FILE not in self._oids:
            self._write(RELEASES_FILE, self._releases, ())
        first = min(self.standing, default=None)
        about = readme(self._subject, self.totals, self._latest, first, draft=False)
        files = {
            CITATION_FILE: self._writer.add_blob(citation_cff(self._subject, self._latest)),
            README_FILE: self._writer.add_blob(about),
            DANDISETS_FILE: self._oids[DANDISETS_FILE],
            RELEASES_FILE: self._oids[RELEASES_FILE],
        }
        # Dandisets are named by digits, which stand behind a dot and before letters.
        head = encode_tree({**self._fixed, GITMODULES: Entry(MODE_FILE, self._oids[GITMODULES])})
        tail = encode_tree({name: Entry(MODE_FILE, oid) for name, oid in files.items()})
        shifted = [Copy(part.offset + len(head), part.size) if isinstance(part, Copy) else part for part in links]
        return self._trees.write(b"".join((head, self._links.body, tail)), (head, *shifted, tail))


def _lines(table: bytes) -> dict[bytes, bytes]:
    """The lines of `dandisets.tsv` by identifier."""
    return {line.partition(b"\t")[0]: line for line in table.splitlines(keepends=True)[1:]}


def _section(row: dict[str, str]) -> bytes:
    return section(row["identifier"].encode(), row["identifier"], row["dataset_id"])


def _link(identifier: str, commit: str) -> bytes:
    return encode_tree({identifier.encode(): Entry(MODE_GITLINK, bytes.fromhex(commit))})


def _latest(row: dict[str, str]) -> Facts:
    """As much of a version as its line tells."""
    return Facts(
        identifier=row["dandiset"],
        version=row["version"],
        name="",
        created=row["created"],
        assets=int(row["assets"]),
        size=int(row["bytes"]),
        doi=row["doi"] or None,
    )


def _fixed_entries(subject: Subject, writer: PackWriter) -> dict[bytes, Entry]:
    """The top of a tree that has the files which are always the same."""
    entries: dict[bytes, Entry] = {}
    folders: dict[bytes, dict[bytes, Entry]] = {}
    for path, body in fixed_files(subject).items():
        folder, _, name = path.rpartition(b"/")
        (folders.setdefault(folder, {}) if folder else entries)[name] = Entry(MODE_FILE, writer.add_blob(body))
    for folder, files in folders.items():
        entries[folder] = Entry(MODE_TREE, writer.add(TREE, encode_tree(files)))
    return entries
