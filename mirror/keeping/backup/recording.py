"""Telling the datasets of a store what a backup has: on their `git-annex` branches, where clones read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from mirror.annex import hashdirs
from mirror.git.objects import Oid
from mirror.git.reader import Objects
from mirror.git.repository import Repository
from mirror.keeping.backup.logs import KEPT_LOGS, REMOTE_LOG, UUID_LOG, with_key_lines, with_line
from mirror.store.branch_logs import in_branch_order, logs_of
from mirror.store.locations import ANNEX, note_locations

Learnt = Mapping[str, Sequence[tuple[bytes, bytes]]]
"""What git-annex noted of some keys besides where they are: endings of logs, and the logs."""


def record(
    repository: Repository, uuid: str, name: str, line: bytes, keys: Callable[[], Iterable[str]], learnt: Learnt
) -> None:
    """Say that the remote has these keys; `line` is what `remote.log` is to say of it."""
    # Nobody else is to change these files between reading and writing them.
    with repository.lock():
        with repository.objects() as objects:
            tip = repository.refs().get(ANNEX)
            root = objects.commit(tip).tree if tip is not None else None
            described = f"{uuid} {name}".encode()
            files = {
                log: with_line(_file(objects, root, log), said)
                for log, said in ((REMOTE_LOG, line), (UUID_LOG, described))
            }
            files |= _key_files(objects, root, uuid.encode(), keys(), learnt) if learnt else {}
        note_locations(repository, uuid, present=keys(), more=files)


def _key_files(
    objects: Objects, root: Oid | None, uuid: bytes, keys: Iterable[str], learnt: Learnt
) -> dict[bytes, bytes]:
    files = {}
    for key in keys:
        for ending, body in learnt.get(key, ()):
            name = log_name(key, ending)
            before = _file(objects, root, name)
            files[name] = with_key_lines(before, body, lambda subject: subject.startswith(uuid))
    return files


def recorded_logs(repository: Repository, keys: Iterable[str]) -> Iterator[tuple[bytes, bytes]]:
    """What the branch has of such logs of these keys, a few thousand of them: names and contents."""
    tip = repository.refs().get(ANNEX)
    if tip is None:
        return
    with repository.objects() as objects:
        root, ordered = objects.commit(tip).tree, in_branch_order(keys)
        for ending in KEPT_LOGS:
            for key, oid in logs_of(objects, root, ordered, ending):
                if oid is not None:
                    yield log_name(key, ending), objects.blob(oid)


def log_name(key: str, ending: bytes) -> bytes:
    return b"%b/%b%b" % (hashdirs.lower(key), key.encode(), ending)


def _file(objects: Objects, root: Oid | None, name: bytes) -> bytes:
    """A file of the branch; nothing where there is none."""
    return objects.blob_at(root, name) if root is not None else b""
