"""The peer: `git fast-import`, fed a stream of the same content that was made beforehand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import IO

from benchmarks.measure import Cost, run
from mirror.git.objects import TAG, Commit, Oid, Signature, Tag
from mirror.git.reader import Objects
from mirror.git.repository import Repository

Change = tuple[str | None, str, bytes]
"""Mode, blob and path; mode None: gone."""
Step = tuple[Oid, Commit, list[Change]]

_GITLINK = "160000"


def write_stream(repository: Repository, stream: IO[bytes], *, by_path: bool = False) -> None:
    """Everything that the repository's refs reach, as a fast-import stream: blobs, then commits, then tags.

    fast-import stores a blob as what differs from the blob before it. `by_path`: all blobs come first, those of one
    path one after the other. Otherwise those that a commit adds come before it.
    """
    refs = repository.refs()
    with repository.objects() as objects:
        commits = _commits(objects, [oid for ref, oid in sorted(refs.items()) if ref.startswith("refs/heads/")])
        steps: Iterable[Step] = ((oid, commit, _changes(repository.path, oid, commit)) for oid, commit in commits)
        writer = _StreamWriter(stream, objects)
        if by_path:
            steps = list(steps)
            writer.add_blobs(sorted((change for _, _, changes in steps for change in changes), key=itemgetter(2)))
        for oid, commit, changes in steps:
            writer.add_blobs(changes)
            writer.add_commit(oid, commit, changes)
        for ref, oid in refs.items():
            writer.add_ref(ref, oid)
    stream.write(b"done\n")


def measure(stream: Path, target: Path) -> Cost:
    subprocess.run(["git", "init", "-q", "--bare", target], check=True)
    with stream.open("rb") as source:
        return run(["git", "fast-import", "--quiet", "--done"], stdin=source, cwd=target)


def heads_and_tags(path: Path) -> dict[str, str]:
    command = ["git", "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags"]
    listed = subprocess.run(command, cwd=path, check=True, capture_output=True, text=True).stdout
    return dict(tuple(line.split(" ", 1)) for line in listed.splitlines())  # type: ignore[misc]


def _commits(objects: Objects, tips: list[Oid]) -> Iterator[tuple[Oid, Commit]]:
    """Parents before children."""
    done: set[Oid] = set()
    todo = list(reversed(tips))
    while todo:
        oid = todo[-1]
        commit = objects.commit(oid)
        missing = [parent for parent in commit.parents if parent not in done]
        if missing:
            todo += missing
            continue
        todo.pop()
        if oid not in done:
            done.add(oid)
            yield oid, commit


def _changes(path: Path, oid: Oid, commit: Commit) -> list[Change]:
    """What differs from the first parent."""
    base = [commit.parents[0].hex()] if commit.parents else ["--root"]
    command = ["git", "diff-tree", "-r", "-z", "--no-renames", *base, oid.hex()]
    out = subprocess.run(command, cwd=path, check=True, capture_output=True).stdout
    fields = out.split(b"\0")
    if not commit.parents:
        fields = fields[1:]
    changes: list[Change] = []
    for raw, name in zip(fields[::2], fields[1::2], strict=False):
        _, mode, _, sha, status = raw.decode().split(" ")
        changes.append((None if status == "D" else mode, sha, name))
    return changes


class _StreamWriter:
    """Writes the commands of a stream. Of everything written it knows the mark."""

    def __init__(self, stream: IO[bytes], objects: Objects) -> None:
        self._stream = stream
        self._objects = objects
        self._marks: dict[str, int] = {}
        self._branches: dict[Oid, bytes] = {}
        """by the commit that each is at"""
        self._count = 0

    def add_blobs(self, changes: Iterable[Change]) -> None:
        wanted = (sha for mode, sha, _ in changes if mode is not None and mode != _GITLINK)
        new = dict.fromkeys(sha for sha in wanted if sha not in self._marks)
        for oid, _, body in self._objects.read_many(bytes.fromhex(sha) for sha in new):
            self._stream.write(b"blob\nmark :%d\ndata %d\n%b\n" % (self._mark(oid), len(body), body))

    def add_commit(self, oid: Oid, commit: Commit, changes: Iterable[Change]) -> None:
        branch = self._branches.pop(commit.parents[0], None) if commit.parents else None
        # A branch goes on from where it is; from elsewhere only a new one can.
        goes_on = branch is not None
        branch = branch or b"refs/import/%d" % self._count
        self._branches[oid] = branch
        self._stream.write(b"commit %b\nmark :%d\n" % (branch, self._mark(oid)))
        self._stream.write(b"author %b\ncommitter %b\n" % (_who(commit.author), _who(commit.committer)))
        message = commit.message.encode()
        self._stream.write(b"data %d\n%b\n" % (len(message), message))
        for number, parent in enumerate(commit.parents):
            if number or not goes_on:
                self._stream.write(b"%b :%d\n" % (b"merge" if number else b"from", self._marks[parent.hex()]))
        for mode, sha, name in changes:
            self._write_change(mode, sha, name)
        self._stream.write(b"\n")

    def _write_change(self, mode: str | None, sha: str, name: bytes) -> None:
        if mode is None:
            self._stream.write(b"D %b\n" % name)
        else:
            content = sha.encode() if mode == _GITLINK else b":%d" % self._marks[sha]
            self._stream.write(b"M %b %b %b\n" % (mode.encode(), content, name))

    def add_ref(self, ref: str, oid: Oid) -> None:
        if oid.hex() in self._marks:
            self._stream.write(b"reset %b\nfrom :%d\n\n" % (ref.encode(), self._marks[oid.hex()]))
            return
        kind, body = self._objects.read(oid)
        assert kind == TAG, ref
        tag = Tag.decode(body)
        message = tag.message.encode()
        self._stream.write(b"tag %b\nfrom :%d\n" % (tag.name.encode(), self._marks[tag.target.hex()]))
        self._stream.write(b"tagger %b\ndata %d\n%b\n" % (_who(tag.tagger), len(message), message))

    def _mark(self, oid: Oid) -> int:
        self._count += 1
        self._marks[oid.hex()] = self._count
        return self._count


def _who(signature: Signature) -> bytes:
    return signature.encode()


if __name__ == "__main__":
    with Path(sys.argv[2]).open("wb") as target:
        write_stream(Repository(Path(sys.argv[1])), target, by_path="by-path" in sys.argv[3:])
