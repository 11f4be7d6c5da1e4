"""What the location logs say of a repository of the store, and saying it: which keys have their content there.

Built on the git-annex branch as it stands, whoever moved it there. What is said is said at the time of the branch's
tip, or just after what it replaces: no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from itertools import chain, islice

from mirror.annex import hashdirs, logs
from mirror.dataset.layout import LOG_TIMESTAMP
from mirror.errors import StoreError
from mirror.git.objects import COMMIT, MODE_FILE, Commit, Entry, Oid
from mirror.git.pack import PackWriter
from mirror.git.process import run_git
from mirror.git.reader import Objects
from mirror.git.repository import Repository
from mirror.git.trees import Change, edit_tree
from mirror.store.branch_logs import in_branch_order, logs_of
from mirror.store.writer import writer_at

ANNEX = "refs/heads/git-annex"

_AT_ONCE = 20_000
"""keys in one commit: that many are held in memory"""


def annex_uuid(repository: Repository) -> str:
    """The uuid under which git-annex knows what this store has of a dataset."""
    found = run_git(repository.path, "config", "--get", "annex.uuid").decode().strip()
    if not found:
        raise StoreError(f"{repository.path} has no annex.uuid in its config")
    return found


def note_locations(
    repository: Repository,
    uuid: str,
    *,
    present: Iterable[str] = (),
    absent: Iterable[str] = (),
    more: Mapping[bytes, bytes] = {},
) -> bool:
    """Say on the git-annex branch that the remote with this uuid has some keys, and others not; whether that was new.

    One commit, or, of more keys than one wants to hold, one for each 20,000. `more`: whole files of the branch, put
    along with the first. The repository is locked meanwhile.
    """
    said = chain(((key, True) for key in present), ((key, False) for key in absent))
    files, wrote = dict(more), False
    while (batch := dict(islice(said, _AT_ONCE))) or files:
        wrote |= _commit(repository, uuid, batch, files)
        files = {}
    return wrote


def present_in(repository: Repository, uuid: str, keys: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Whether the branch says of each key that this remote has it. In the order of the branch, some thousands each."""
    with repository.objects() as objects:
        root, given, value = _root(repository, objects), iter(keys), uuid.encode()
        known: dict[Oid | None, bool] = {None: False}
        while batch := in_branch_order(islice(given, _AT_ONCE)):
            if root is None:
                yield from ((key, False) for key in batch)
                continue
            for key, oid in logs_of(objects, root, batch, b".log"):
                if oid is not None and oid not in known:
                    known[oid] = value in logs.present(objects.blob(oid))
                yield key, known[oid]


def _root(repository: Repository, objects: Objects) -> Oid | None:
    tip = repository.refs().get(ANNEX)
    return objects.commit(tip).tree if tip is not None else None


def _commit(repository: Repository, uuid: str, said: Mapping[str, bool], files: Mapping[bytes, bytes]) -> bool:
    with repository.lock(), repository.writer() as writer, repository.objects(writer) as objects:
        tip = repository.refs().get(ANNEX)
        before = objects.commit(tip) if tip is not None else None
        seconds = before.committer.seconds if before is not None else LOG_TIMESTAMP
        root = before.tree if before is not None else None
        changes = _Lines(objects, writer, root, uuid.encode(), seconds).changes(said)
        put = [(name, Entry(MODE_FILE, writer.add_blob(body))) for name, body in sorted(files.items())]
        tree = edit_tree(objects, writer, root, merge(changes, put, key=lambda change: change[0]))
        if tree is None or tree == root:
            return False
        who = writer_at(seconds)
        commit = Commit(tree, (tip,) if tip is not None else (), who, who, "update\n")
        repository.publish(writer, {ANNEX: writer.add(COMMIT, commit.encode())}, expected={ANNEX: tip})
        return True


class _Lines:
    """The location logs of some keys with what is said of one remote. Most of them are the same file."""

    def __init__(self, objects: Objects, writer: PackWriter, root: Oid | None, uuid: bytes, seconds: int) -> None:
        self._objects = objects
        self._writer = writer
        self._root = root
        self._uuid = uuid
        self._seconds = seconds
        self._known: dict[tuple[Oid | None, bool], Entry | None] = {}

    def changes(self, said: Mapping[str, bool]) -> Iterator[Change]:
        """In the order of the branch."""
        for key, oid in self._logs(in_branch_order(said)):
            entry = self._with(oid, said[key])
            if entry is not None:
                yield b"%b/%b.log" % (hashdirs.lower(key), key.encode()), entry

    def _logs(self, keys: list[str]) -> Iterator[tuple[str, Oid | None]]:
        if self._root is None:
            return ((key, None) for key in keys)
        return logs_of(self._objects, self._root, keys, b".log")

    def _with(self, oid: Oid | None, present: bool) -> Entry | None:
        """The log that follows on this one; None where it says so already."""
        if (oid, present) not in self._known:
            self._known[oid, present] = self._written(oid, present)
        return self._known[oid, present]

    def _written(self, oid: Oid | None, present: bool) -> Entry | None:
        before = self._objects.blob(oid) if oid is not None else b""
        add, withdraw = ([self._uuid], []) if present else ([], [self._uuid])
        after = logs.with_changes(before, add=add, withdraw=withdraw, timestamp=self._seconds)
        return Entry(MODE_FILE, self._writer.add_blob(after)) if after != before else None
