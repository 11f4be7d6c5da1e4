"""What lies in a store, as git and its readers see it. Nothing here changes anything in it."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from mirror.git.process import environment
from mirror.store.store import Store

Refs = dict[str, str]
"""Refs by their full name, with the object each is at."""

_OF_ONE_SYNC = ("synced", "checked", "failure", "vanished", "open_since")
"""Marks that tell of the sync, not of what was mirrored."""


class Loss(Exception):
    """Something that should have survived did not. This is what the crash test looks for."""


def git(*arguments: str | Path) -> str:
    """What git prints."""
    command = ["git", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment(), check=False)
    if done.returncode:
        raise Loss(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def refs(repository: Path) -> Refs:
    """The refs of a repository, none when there is no repository."""
    if not (repository / "HEAD").exists():
        return {}
    lines = git(f"--git-dir={repository}", "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split(" ") for line in lines)


def check_objects(repository: Path) -> None:
    """Everything that refs lead to is there and sound."""
    git(f"--git-dir={repository}", "fsck", "--strict", "--no-dangling", "--no-progress")


def clone(source: str | Path, folder: Path) -> Refs:
    """The refs of a clone, after git found it sound."""
    try:
        git("clone", "--quiet", "--mirror", source, folder)
        check_objects(folder)
        return refs(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder by a web server that knows nothing of git; its address."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            told = re.search(r"port (\d+)", server.stdout.readline())
            assert told, "the web server did not start"
            yield f"http://127.0.0.1:{told[1]}"
        finally:
            server.terminate()


def check_same_store(store: Path, twin: Path) -> None:
    """A store has the same folders and files as its twin, the same addresses and marks: nothing is left over.

    Which packs there are depends on what happened; that each is whole does not.
    """
    found, expected = _shape(store), _shape(twin)
    if left := found.keys() - expected.keys():
        raise Loss(f"left over: {', '.join(sorted(left))}")
    if lacking := expected.keys() - found.keys():
        raise Loss(f"not there: {', '.join(sorted(lacking))}")
    for name, what in expected.items():
        if found[name] != what:
            raise Loss(f"{name} is {', '.join(found[name])}, not {', '.join(what)}")
    _check_packs(store)
    _check_marks(Store.open(store), Store.open(twin))
    for name in ("index.sqlite", "catalogue.sqlite"):
        with closing(sqlite3.connect(store / "state" / name)) as database:
            answer = database.execute("PRAGMA integrity_check").fetchone()[0]
        if answer != "ok":
            raise Loss(f"{name}: {answer}")


def _shape(store: Path) -> dict[str, set[str]]:
    """What there is, by name, with what it points at and, in public, its mode."""
    found: dict[str, set[str]] = {}
    for path in store.rglob("*"):
        name = re.sub(r"/pack-[0-9a-f]{40}\.\w+$", "/pack-*", path.relative_to(store).as_posix())
        # A reader that comes first finds a database without these two, whoever comes last removes them.
        if name.endswith(("/replaced-packs", ".sqlite-wal", ".sqlite-shm")):
            continue
        try:
            what = f"-> {path.readlink()}" if path.is_symlink() else f"{path.stat().st_mode:o}"
        except FileNotFoundError:
            continue
        found.setdefault(name, set()).add(what if name.startswith("public/") else "")
    return found


def _check_packs(store: Path) -> None:
    packs = set(store.glob("public/*/*/objects/pack/pack-*.pack"))
    indexes = set(store.glob("public/*/*/objects/pack/pack-*.idx"))
    if halves := {path.with_suffix("") for path in packs} ^ {path.with_suffix("") for path in indexes}:
        raise Loss(f"half a pack: {', '.join(sorted(map(str, halves)))}")


def _check_marks(store: Store, twin: Store) -> None:
    if store.known() != twin.known():
        raise Loss(f"known are {store.known()}, not {twin.known()}")
    for identifier in twin.known():
        found, expected = (msgspec.structs.asdict(one.state(identifier)) for one in (store, twin))
        for name in expected.keys() - set(_OF_ONE_SYNC):
            if found[name] != expected[name]:
                raise Loss(f"Dandiset {identifier}: the marks say {name} = {found[name]!r}, not {expected[name]!r}")
        if (found["failure"] is None) != (expected["failure"] is None):
            raise Loss(f"Dandiset {identifier}: the marks say failure = {found['failure']!r}")
    for name in ("frontier", "published", "skips"):
        ours, theirs = (getattr(one, name)() for one in (store, twin))
        if ours != theirs:
            raise Loss(f"the mark {name} is {ours}, not {theirs}")


def check_same_as_fresh(store: Path, fresh: Path, identifiers: list[str], superdatasets: Iterable[str]) -> None:
    """A mirror made today has the same releases and tags, and the same draft, if not the draft's history."""
    old, new = Store.open(store), Store.open(fresh)
    for name in superdatasets:
        published = [{ref: oid for ref, oid in refs(one.alias(name)).items() if _published(ref)} for one in (old, new)]
        if published[0] != published[1]:
            raise Loss(f"superdataset {name}: published are {published[0]}, in a fresh mirror {published[1]}")
    for identifier in identifiers:
        ours, theirs = old.repository(identifier).path, new.repository(identifier).path
        published = [{name: oid for name, oid in refs(one).items() if _published(name)} for one in (ours, theirs)]
        if published[0] != published[1]:
            raise Loss(f"Dandiset {identifier}: published are {published[0]}, in a fresh mirror {published[1]}")
        if not refs(theirs):
            continue
        if differing := _files(ours, "draft") ^ _files(theirs, "draft"):
            raise Loss(f"Dandiset {identifier}: the draft is another in a fresh mirror: {sorted(differing)}")
        keys = [
            set(git(f"--git-dir={one}", "ls-tree", "-r", "--name-only", "git-annex").split()) for one in (ours, theirs)
        ]
        if lacking := keys[1] - keys[0]:
            raise Loss(f"Dandiset {identifier}: its git-annex branch lacks {', '.join(sorted(lacking))}")


def _files(repository: Path, branch: str) -> set[str]:
    """The files of a branch with what they hold. Without the one that has the draft's times and status: of a draft in
    which nothing else moved, the older mirror keeps the older ones. And of Zarrs only where they are: a Zarr's draft
    depends on the states that were seen."""
    lines = git(f"--git-dir={repository}", "ls-tree", "-r", branch).splitlines()
    lines = [re.sub(r"^(160000 commit )[0-9a-f]+", r"\1", line) for line in lines]
    return {line for line in lines if not line.endswith("\t.dandi/version.json")}


def _names(repository: Path, branch: str) -> set[str]:
    return set(git(f"--git-dir={repository}", "ls-tree", "-r", "--name-only", branch).splitlines())


def _published(ref: str) -> bool:
    return ref.startswith("refs/tags/") or ref == "refs/heads/releases"
