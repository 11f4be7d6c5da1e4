"""What is published of a store: superdatasets, the change feed, the catalogue, another store that it is pushed to.

Nothing here changes anything in them.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from crashtest.looking import Loss, Refs, check_objects, git, refs
from mirror.store.chronicle import Chronicle
from mirror.store.store import Store

BRANCHES = ("releases", "draft")
_ANNEX = "git-annex"
_COUNTED = ("added", "modified", "removed", "renamed", "assets", "bytes", "bytes_changed")

Change = dict[str, Any]
"""A line of the feed."""


def check_links(public: Path, superdatasets: Iterable[str], identifiers: Iterable[str]) -> None:
    """Each Dandiset stands, in each superdataset, at a commit that is on its branch of the same name.

    So it is in `public` of a store, or on a host, whoever looks, whenever.
    """
    known: dict[tuple[str, str], set[str]] = {}
    wanted = set(identifiers)
    for name in superdatasets:
        for branch in BRANCHES:
            for identifier, oid in _links(public / "alias" / name, branch).items():
                if identifier not in wanted:
                    continue
                line = identifier, branch
                if line not in known:
                    known[line] = set(_history(public / "alias" / identifier, branch))
                if oid not in known[line]:
                    raise Loss(f"{public}: {name}, branch {branch}, has {identifier} at {oid}, which is not on it")


def _links(repository: Path, branch: str) -> Refs:
    """The datasets below one, by their path, with their commits."""
    if f"refs/heads/{branch}" not in refs(repository):
        return {}
    lines = git(f"--git-dir={repository}", "ls-tree", "-r", branch).splitlines()
    found = (line.partition("\t") for line in lines if line.startswith("160000 commit "))
    return {path: about.rpartition(" ")[2] for about, _, path in found}


def _history(repository: Path, branch: str) -> list[str]:
    """The commits of a branch, by their first parents, the latest first; none when there is no such branch."""
    if f"refs/heads/{branch}" not in refs(repository):
        return []
    return git(f"--git-dir={repository}", "rev-list", "--first-parent", branch).split()


def check_host(store: Store, host: Path, folders: Iterable[str]) -> None:
    """The host has what the store has."""
    for folder in folders:
        name = folder.removeprefix("public/")
        found, expected = refs(host / name), refs(store.root / folder)
        if found != expected:
            raise Loss(f"on the host, the refs of {name} are {found}, not {expected}")
        if found:
            check_objects(host / name)


# --- the feed ---


def read_feed(store: Store, *, ended: bool) -> list[Change]:
    """Its changes. They are numbered 1, 2, 3 …; behind them is nothing, once a run has `ended`."""
    body = store.changes.read_bytes() if store.changes.exists() else b""
    *lines, rest = body.split(b"\n")
    if ended and rest:
        raise Loss(f"the feed ends with what is no whole line: {rest!r}")
    changes = [_decoded(line) for line in lines]
    serials = [change["serial"] for change in changes]
    if serials != list(range(1, len(serials) + 1)):
        raise Loss(f"the serials of the feed are {serials}")
    return changes


def _decoded(line: bytes) -> Change:
    try:
        found: Change = json.loads(line)
    except ValueError:
        raise Loss(f"the feed has a line that is none: {line!r}") from None
    return found


def check_feed(store: Store, identifiers: Iterable[str], *, ended: bool) -> None:
    """Each commit of these Dandisets is announced once, after the one before it; none that is not there."""
    changes = read_feed(store, ended=ended)
    told = Counter((one["dandiset"], one["version"], one["old"], one["new"]) for one in changes)
    if twice := [about for about, times in told.items() if times > 1]:
        raise Loss(f"the feed tells twice of {twice}")
    for identifier in identifiers:
        mine = [change for change in changes if change["dandiset"] == identifier]
        there = _commits(store, identifier)
        for branch in BRANCHES:
            _check_line(identifier, branch, _announced(mine, branch), there[branch], ended=ended)


def _commits(store: Store, identifier: str) -> dict[str, list[str]]:
    """The commits of each branch, oldest first; a draft's begin where it left the published versions."""
    repository = store.repository(identifier).path
    releases = _history(repository, "releases")
    drafts = [oid for oid in _history(repository, "draft") if oid not in set(releases)]
    return {"releases": releases[::-1], "draft": drafts[::-1]}


def _announced(changes: list[Change], branch: str) -> list[Change]:
    if branch == "draft":
        return [change for change in changes if change["version"] == "draft"]
    return [change for change in changes if change["version"] not in ("draft", _ANNEX)]


def _check_line(identifier: str, branch: str, told: list[Change], there: list[str], *, ended: bool) -> None:
    new = [change["new"] for change in told]
    if new != there[: len(new)] or (ended and len(new) < len(there)):
        raise Loss(f"the feed tells of {identifier}, {branch}: {new}, while there are {there}")
    if [change["old"] for change in told] != [None, *new][: len(new)]:
        raise Loss(f"the feed tells of steps of {identifier}, {branch}, that do not follow each other: {told}")


def check_same_feed(store: Store, twin: Store) -> None:
    """Two stores that saw the same told the same, in whatever order of Dandisets."""
    found, expected = (Counter(map(_gist, read_feed(one, ended=True))) for one in (store, twin))
    if found != expected:
        raise Loss(f"the feed tells {found - expected} and not {expected - found}")


def _gist(change: Change) -> tuple[Any, ...]:
    return tuple(change[key] for key in ("dandiset", "version", "old", "new", "annex", *_COUNTED))


# --- the catalogue ---


def check_catalogue(store: Store, scratch: Path) -> None:
    """One that is made from nothing has the same, and finds nothing to announce. `scratch`: a folder to make."""
    try:
        other = _without_catalogue(store, scratch)
        before = other.changes.read_bytes()
        with other.lock("crash-test"), Chronicle(other) as chronicle:
            chronicle.begin()
            chronicle.catch_up()
            chronicle.finish()
        if other.changes.read_bytes() != before:
            raise Loss("a catalogue made from nothing announced what had been announced")
        found, expected = (list(_catalogued(one)) for one in (store, other))
        if found != expected:
            lines = {*map(repr, found)} ^ {*map(repr, expected)}
            raise Loss(f"the catalogue is not as one made from nothing: {sorted(lines)}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _without_catalogue(store: Store, folder: Path) -> Store:
    """A store of the same repositories, with marks and a feed of its own."""
    shutil.copytree(store.root / "state", folder / "state", ignore=shutil.ignore_patterns("catalogue.sqlite*"))
    (folder / "public").mkdir()
    for path in store.public.iterdir():
        if path != store.changes:
            (folder / "public" / path.name).symlink_to(path)
    other = Store.open(folder)
    shutil.copy(store.changes, other.changes)
    return other


_CATALOGUED = (
    "SELECT identifier, draft, releases, annex FROM dandiset ORDER BY 1",
    "SELECT identifier, line, state.number, oid, version, modified, assets, bytes, doi, facts FROM state"
    " JOIN dandiset ON dandiset.number = dandiset ORDER BY 1, 2, 3",
    # Which row of an asset has which of its intervals may differ, so each is asked for by itself.
    *(
        f"SELECT identifier, path, asset_id, content, sha256, is_zarr, size, {line}_from, {line}_to FROM asset"
        f" JOIN dandiset ON dandiset.number = dandiset WHERE {line}_from NOTNULL ORDER BY 1, 2, 3, 4, 5, 7, 8"
        for line in ("release", "draft")
    ),
    "SELECT * FROM announced",
    "SELECT * FROM behind",
    "SELECT finished FROM mark",
)


def _catalogued(store: Store) -> Iterator[tuple[Any, ...]]:
    """All that a catalogue knows, in an order that does not depend on how it came to know it."""
    with store.catalogue() as catalogue:
        for number, select in enumerate(_CATALOGUED):
            yield from ((number, *row) for row in catalogue.db.execute(select))
