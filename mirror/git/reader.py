"""Reading objects: by name from the repository, and as a layered view that sees an unfinished pack too."""

from __future__ import annotations

import subprocess
import tempfile
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, NamedTuple, Self

from mirror.errors import GitError, StoreError
from mirror.git.objects import BLOB, COMMIT, MODE_TREE, TREE, Commit, Entry, Oid, decode_tree
from mirror.git.pack import PackWriter
from mirror.git.process import command, environment

# Questions sent ahead of their answers. All of them together (41 bytes each) must fit into the smallest pipe there
# is, 4 KiB: then sending never blocks, and git and we cannot wait for each other.
_AHEAD = 90

# Entries kept by all remembered trees together, some 300 bytes each.
_REMEMBERED_ENTRIES = 30_000

# Trees read along with one that is needed, at most.
_TREES_AHEAD = 64


class MissingObject(StoreError):
    """The repository does not have this object."""

    def __init__(self, oid: Oid, repository: Path) -> None:
        super().__init__(f"object {oid.hex()} is missing in {repository}", hint="`git fsck` there says what else is")
        self.oid = oid


class ObjectReader:
    """Objects of one repository, read through `git cat-file --batch` processes that stay until `close`.

    A process is started when first needed; a further one when `read_many` is still being consumed. Packs that appear
    later are seen. Not for use by several threads.
    """

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self._idle: list[_CatFile] = []
        self._closings = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def read(self, oid: Oid) -> tuple[bytes, bytes]:
        """Kind and content of an object."""
        for _, kind, body in self.read_many((oid,)):
            return kind, body
        raise AssertionError("one question has one answer")

    def read_many(self, oids: Iterable[Oid]) -> Iterator[tuple[Oid, bytes, bytes]]:
        """Name, kind and content of each, in this order, much faster than one by one."""
        process = self._idle.pop() if self._idle else _CatFile(self.repository)
        closings = self._closings
        free = True  # no answer is still to come
        try:
            source = iter(oids)
            asked: deque[Oid] = deque()
            while True:
                if len(asked) <= _AHEAD // 2 and (more := list(islice(source, _AHEAD - len(asked)))):
                    free = False
                    process.ask(more)
                    asked.extend(more)
                if not asked:
                    break
                oid = asked.popleft()
                answer = process.answer()
                free = not asked
                if answer is None:
                    raise MissingObject(oid, self.repository)
                yield oid, *answer
        finally:
            if free and closings == self._closings:
                self._idle.append(process)
            else:
                process.close()

    def close(self) -> None:
        """End the processes; one whose answers are still being taken ends with that. The reader may be used again: it
        starts new ones."""
        self._closings += 1
        while self._idle:
            self._idle.pop().close()


class _CatFile:
    """One `git cat-file --batch`."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._cmd = command(repository, "cat-file", "--batch")
        # A file, not a pipe: nobody reads it while git runs, and a full pipe would stop git.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                self._cmd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=environment(),
                cwd=repository,
            )
        except OSError as error:
            self._stderr.close()
            raise GitError(self._cmd, -1, str(error), str(repository)) from error

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def ask(self, oids: Iterable[Oid]) -> None:
        try:
            self._stdin.write(b"".join([b"%b\n" % oid.hex().encode() for oid in oids]))
            self._stdin.flush()
        except BrokenPipeError as error:
            raise self._failure() from error

    def answer(self) -> tuple[bytes, bytes] | None:
        header = self._stdout.readline()
        words = header.split()
        if len(words) == 2 and words[1] == b"missing":
            return None
        if len(words) != 3:
            raise self._failure()
        size = int(words[2])
        body = self._stdout.read(size + 1)
        if len(body) != size + 1:
            raise self._failure()
        return words[1], body[:size]

    def _failure(self) -> GitError:
        self._process.kill()
        returncode = self._process.wait()
        self._stderr.seek(0)
        return GitError(self._cmd, returncode, self._stderr.read().decode(errors="replace"), str(self._repository))

    def close(self) -> None:
        # It only reads, so nothing is lost by ending it at once.
        self._process.kill()
        self._process.wait()
        for stream in (self._stdin, self._stdout, self._stderr):
            try:
                stream.close()
            except BrokenPipeError:
                continue


class _OpenTree(NamedTuple):
    """A tree being listed."""

    folder: bytes
    entries: Iterator[tuple[bytes, Entry]]
    subtrees: deque[Oid]
    """those still to be listed"""


class Objects:
    """What the repository will hold once the unfinished pack is part of it."""

    def __init__(self, reader: ObjectReader, writer: PackWriter | None = None) -> None:
        self._reader = reader
        self._writer = writer
        self._trees: OrderedDict[Oid, Mapping[bytes, Entry]] = OrderedDict()
        self._last_tree_size = 1
        self.remembered_entries = 0
        """entries of all remembered trees together: the measure of the memory they take"""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def place(self) -> Path:
        """The repository."""
        return self._reader.repository

    def close(self) -> None:
        self._reader.close()

    def read(self, oid: Oid) -> tuple[bytes, bytes]:
        """Kind and content of an object; `MissingObject` when there is none."""
        if self._writer is not None and oid in self._writer:
            return self._writer.read(oid)
        return self._reader.read(oid)

    def read_many(self, oids: Iterable[Oid]) -> Iterator[tuple[Oid, bytes, bytes]]:
        """Name, kind and content of each, in this order, those of the repository much faster than one by one."""
        writer = self._writer
        if writer is None:
            yield from self._reader.read_many(oids)
            return
        source = iter(oids)
        while batch := list(islice(source, _AHEAD * 10)):
            stored = self._reader.read_many([oid for oid in batch if oid not in writer])
            for oid in batch:
                yield (oid, *writer.read(oid)) if oid in writer else next(stored)

    def blob(self, oid: Oid) -> bytes:
        return _expect(BLOB, oid, *self.read(oid))

    def commit(self, oid: Oid) -> Commit:
        return Commit.decode(_expect(COMMIT, oid, *self.read(oid)))

    def tree(self, oid: Oid, following: Iterable[Oid] = ()) -> Mapping[bytes, Entry]:
        """The entries of a tree, in git's order. Trees used lately are remembered.

        `following` are trees that will probably be wanted next: when this one must be read, some of them are read
        along with it, which spares waiting for git each time.
        """
        entries = self._trees.get(oid)
        if entries is not None:
            self._trees.move_to_end(oid)
            return entries
        ahead = min(_TREES_AHEAD, _REMEMBERED_ENTRIES // 8 // self._last_tree_size)
        for found, kind, body in self.read_many((oid, *islice(following, ahead))):
            decoded = MappingProxyType(decode_tree(_expect(TREE, found, kind, body)))
            self._remember(found, decoded)
            entries = decoded if entries is None else entries
        assert entries is not None  # one question has one answer
        return entries

    def _remember(self, oid: Oid, entries: Mapping[bytes, Entry]) -> None:
        self._last_tree_size = len(entries) + 1
        if oid in self._trees or len(entries) > _REMEMBERED_ENTRIES // 2:
            return
        self._trees[oid] = entries
        self.remembered_entries += len(entries) + 1
        while self.remembered_entries > _REMEMBERED_ENTRIES:
            _, dropped = self._trees.popitem(last=False)
            self.remembered_entries -= len(dropped) + 1

    def lookup(self, tree: Oid, path: bytes) -> Entry | None:
        """What stands at a path below a tree; None when nothing does."""
        *folders, name = path.split(b"/")
        for folder in folders:
            entry = self.tree(tree).get(folder)
            if entry is None or entry.mode != MODE_TREE:
                return None
            tree = entry.oid
        return self.tree(tree).get(name)

    def blob_at(self, tree: Oid, path: bytes) -> bytes:
        """The content of the file at a path below a tree; nothing where there is no such file."""
        entry = self.lookup(tree, path)
        return self.blob(entry.oid) if entry is not None else b""

    def list_tree(self, tree: Oid, prefix: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
        """All files, links and submodules below a tree, in the byte order of their paths.

        `prefix` is put before each path as it is.
        """
        open_trees = [_open_tree(prefix, self.tree(tree))]
        while open_trees:
            folder, entries, subtrees = open_trees[-1]
            for name, entry in entries:
                path = folder + name
                if entry.mode == MODE_TREE:
                    subtrees.popleft()
                    open_trees.append(_open_tree(path + b"/", self.tree(entry.oid, subtrees)))
                    break
                yield path, entry
            else:
                open_trees.pop()


def _open_tree(folder: bytes, entries: Mapping[bytes, Entry]) -> _OpenTree:
    subtrees = deque(entry.oid for entry in entries.values() if entry.mode == MODE_TREE)
    return _OpenTree(folder, iter(entries.items()), subtrees)


def _expect(kind: bytes, oid: Oid, found: bytes, body: bytes) -> bytes:
    if found != kind:
        raise StoreError(f"object {oid.hex()} is a {found.decode()} where a {kind.decode()} is needed")
    return body
