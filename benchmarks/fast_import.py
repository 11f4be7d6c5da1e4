"""The peer: `git fast-import`, fed a stream of the same content that was made beforehand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from benchmarks.measure import Cost, run
from mirror.git.objects import TAG, Commit, Oid, Signature, Tag
from mirror.git.reader import Objects
from mirror.git.repository import Repository


def write_stream(repository: Repository, stream: IO[bytes]) -> None:
    """Everything that the repository's refs reach, as a fast-import stream: blobs, then commits, then tags."""
    refs = repository.refs()
    with repository.objects() as objects:
        commits = list(_commits(objects, [oid for ref, oid in sorted(refs.items()) if ref.startswith("refs/heads/")]))
        marks: dict[str, int] = {}
        for oid, commit in commits:
            changes = _changes(repository.path, oid, commit)
            new = dict.fromkeys(sha for mode, sha, _ in changes if mode is not None and sha not in marks)
            for sha, _, body in objects.read_many(bytes.fromhex(sha) for sha in new):
                marks[sha.hex()] = len(marks) + 1
                stream.write(b"blob\nmark :%d\ndata %d\n%b\n" % (marks[sha.hex()], len(body), body))
            _write_commit(stream, oid, commit, changes, marks)
        for ref, oid in refs.items():
            if ref.startswith("refs/heads/"):
                stream.write(b"reset %b\nfrom refs/import/%b\n\n" % (ref.encode(), oid.hex().encode()))
            elif ref.startswith("refs/tags/"):
                _write_tag(stream, objects, ref, oid)
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


Change = tuple[str | None, str, bytes]


def _changes(path: Path, oid: Oid, commit: Commit) -> list[Change]:
    """Mode, blob and path of what differs from the first parent; mode None: gone."""
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


def _write_commit(stream: IO[bytes], oid: Oid, commit: Commit, changes: list[Change], marks: dict[str, int]) -> None:
    stream.write(b"commit refs/import/%b\n" % oid.hex().encode())
    stream.write(b"author %b\ncommitter %b\n" % (_who(commit.author), _who(commit.committer)))
    message = commit.message.encode()
    stream.write(b"data %d\n%b\n" % (len(message), message))
    for number, parent in enumerate(commit.parents):
        word = b"from" if number == 0 else b"merge"
        stream.write(b"%b refs/import/%b\n" % (word, parent.hex().encode()))
    for mode, sha, name in changes:
        if mode is None:
            stream.write(b"D %b\n" % name)
        else:
            stream.write(b"M %b :%d %b\n" % (mode.encode(), marks[sha], name))
    stream.write(b"\n")


def _write_tag(stream: IO[bytes], objects: Objects, ref: str, oid: Oid) -> None:
    kind, body = objects.read(oid)
    if kind != TAG:
        stream.write(b"reset %b\nfrom refs/import/%b\n\n" % (ref.encode(), oid.hex().encode()))
        return
    tag = Tag.decode(body)
    message = tag.message.encode()
    stream.write(b"tag %b\nfrom refs/import/%b\n" % (tag.name.encode(), tag.target.hex().encode()))
    stream.write(b"tagger %b\ndata %d\n%b\n" % (_who(tag.tagger), len(message), message))


def _who(signature: Signature) -> bytes:
    return signature.encode()


if __name__ == "__main__":
    with Path(sys.argv[2]).open("wb") as target:
        write_stream(Repository(Path(sys.argv[1])), target)
