"""What becomes public of a dataset whose embargo has ended: what everybody might have seen, and nothing else.

A dataset is not opened with its repository, whose history tells of what was deleted or replaced under embargo. It is
made anew, as by a mirror that sees it for the first time; one that was public before goes on from where it then was, so
that clones made then can follow. Of the content that is held, what the new repository names goes over to it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from mirror.annex import logs
from mirror.git import packs
from mirror.git.files import PUBLIC_FOLDER, make_folders, sync_folder, write_durably
from mirror.git.large.copying import copy_reached
from mirror.git.objects import Oid
from mirror.git.repository import Repository
from mirror.store import contents
from mirror.store.branch_logs import in_branch_order, logs_of
from mirror.store.cache import discard, is_damaged
from mirror.store.content_book import ContentBook, book_path
from mirror.store.locations import ANNEX, annex_uuid, note_locations
from mirror.store.sides import Side

_LAST_PUBLIC = "last-public"
"""In a repository on the closed side: the refs that everybody saw. In the folder of a Zarr there: the same of its
manifests."""
_COMMITS = "commits.json"
_AT_ONCE = 10_000
_PUBLISHED = ("refs/heads/", "refs/tags/")


def note_last_public(side: Side, dataset_id: str) -> None:
    """Note what everybody sees of a dataset, before it is taken from the open side."""
    repository, zarr = Repository(side.folder(dataset_id)), side.zarr_folder(dataset_id)
    if repository.path.is_dir():
        refs = sorted((name, oid) for name, oid in repository.refs().items() if name.startswith(_PUBLISHED))
        write_durably(repository.path / _LAST_PUBLIC, b"".join(b"%s %s\n" % _line(*ref) for ref in refs))
    elif (zarr / _COMMITS).exists():
        shutil.rmtree(zarr / _LAST_PUBLIC, ignore_errors=True)
        _link_manifests(zarr, zarr / _LAST_PUBLIC)


def forget_last_public(repository: Path) -> None:
    (repository / _LAST_PUBLIC).unlink(missing_ok=True)


def was_public(folder: Path) -> bool:
    """Whether everybody saw something of this, a repository or the folder of a Zarr, before it was closed."""
    return (folder / _LAST_PUBLIC).exists()


def go_on(closed: Path, repository: Repository) -> None:
    """Put into a new repository what everybody saw of the closed one."""
    lines = (closed / _LAST_PUBLIC).read_text().splitlines()
    refs = {name: bytes.fromhex(oid) for oid, _, name in (line.partition(" ") for line in lines)}
    with repository.lock():
        if not refs or repository.refs():
            return
        write_durably(repository.path / _LAST_PUBLIC, (closed / _LAST_PUBLIC).read_bytes())
        folder = packs.pack_folder(repository.path)
        with Repository(closed).objects() as objects:
            copy_reached(objects, refs.values(), repository.path, folder)
        contents.settle(folder)
        packs.announce(repository.path)
        repository.publish(None, refs)


def go_on_with_manifests(closed: Path, folder: Path) -> None:
    """The same of a Zarr that was held as manifests, by its folders."""
    if not (folder / _COMMITS).exists():
        _link_manifests(closed / _LAST_PUBLIC, folder)


def _link_manifests(source: Path, target: Path) -> None:
    """What is kept of a Zarr is replaced, never edited, so that it may stand in two places. Its commits come last: by
    them the rest is known to be there."""
    make_folders(target)
    names = [path.name for path in source.iterdir() if path.suffix == ".gz" and not path.name.startswith(".")]
    for name in (*names, _COMMITS):
        (target / name).unlink(missing_ok=True)
        os.link(source / name, target / name)
    sync_folder(target)


def hand_over(side: Side, dataset_id: str, repository: Repository) -> None:
    """Move content from the closed repository of a dataset to the one that takes its place, as far as that names it,
    and say there what it has. The book of the closed side forgets the rest."""
    closed = Repository(side.folder(dataset_id))
    with closed.lock(), repository.lock():
        for keys in _batches(key for key, _ in contents.held(closed.path)):
            _move(_named_in(repository, keys), closed.path, repository.path)
        contents.settle(repository.path)
        uuid = annex_uuid(repository)
        gone = (key for key in _said_of(repository, uuid) if not contents.has(repository.path, key))
        note_locations(repository, uuid, present=(key for key, _ in contents.held(repository.path)), absent=gone)
    _forget_lost(book_path(side), dataset_id, repository.path)


def _forget_lost(path: Path, dataset_id: str, repository: Path) -> None:
    if not path.exists():
        return
    try:
        with ContentBook(path) as book:
            held = (one.key for one in book.held(dataset_id))
            book.remove((dataset_id, key) for key in held if not contents.has(repository, key))
    except sqlite3.DatabaseError as error:
        if not is_damaged(error):
            raise
        discard(path)  # another is made from the repositories


def hand_back(repository: Path, closed: Path) -> None:
    """Move all content back: the dataset is not opened after all."""
    for keys in _batches(key for key, _ in contents.held(repository)):
        _move(keys, repository, closed)
    contents.settle(closed)


def unlock_content(repository: Path) -> None:
    """Make what git-annex itself put there deletable: it locks the folders of keys."""
    for folder in (repository / "annex" / "objects").glob("*/*/*"):
        _unlock(folder)


def _unlock(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        folder.chmod(PUBLIC_FOLDER)


def _move(keys: Iterable[str], source: Path, target: Path) -> None:
    for key in keys:
        if (place := contents.found(source, key)) is not None:
            _unlock(place.parent)
            contents.adopt(target, key, place, settled=False)


def _named_in(repository: Repository, keys: Iterable[str]) -> list[str]:
    """Those of the keys that the git-annex branch knows."""
    tip = repository.refs().get(ANNEX)
    if tip is None:
        return []
    with repository.objects() as objects:
        root = objects.commit(tip).tree
        return [key for key, log in logs_of(objects, root, in_branch_order(keys), b".log") if log is not None]


def _said_of(repository: Repository, uuid: str) -> Iterator[str]:
    """The keys that the git-annex branch says a remote has."""
    tip = repository.refs().get(ANNEX)
    if tip is None:
        return
    said: dict[Oid, bool] = {}
    with repository.objects() as objects:
        for path, entry in objects.list_tree(objects.commit(tip).tree):
            if not path.endswith(b".log") or path.count(b"/") != 2:
                continue
            if entry.oid not in said:
                said[entry.oid] = uuid.encode() in logs.present(objects.blob(entry.oid))
            if said[entry.oid]:
                yield path.rpartition(b"/")[2].removesuffix(b".log").decode()


def _batches(keys: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(keys, _AT_ONCE)):
        yield batch


def _line(name: str, oid: Oid) -> tuple[bytes, bytes]:
    return oid.hex().encode(), name.encode()
