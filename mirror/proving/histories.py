"""Two histories of one dataset, hash by hash: equal, one behind the other, or different, and from which version on.

The published history of a Dandiset is the same in every mirror: what differs in it is an error of one of the two. The
history of a draft depends on when it was looked at, and the `git-annex` branch on who has what: these are told of, and
are no contradiction where the trees agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mirror.git.compare import compare
from mirror.git.objects import MODE_GITLINK, Entry, Oid
from mirror.git.reader import Objects
from mirror.store.version_keys import versions_in

DRAFT = "refs/heads/draft"
RELEASES = "refs/heads/releases"
ANNEX = "refs/heads/git-annex"
TAGS = "refs/tags/"

Verdict = Literal["equal", "behind", "ahead", "different", "missing here", "missing there", "unknown"]
"""`behind`: the other has all that is here, and more; `ahead`: the other way round"""

_OF_TIMES = b".dandi/version.json"
"""has the draft's times: of a draft in which nothing else moved, a mirror keeps those that it saw"""
_PATHS_NAMED = 10


@dataclass(frozen=True)
class Compared:
    """How two histories of one dataset stand to each other."""

    name: str
    verdict: Verdict
    releases: Verdict = "equal"
    draft: Verdict = "equal"
    version: str | None = None
    """the first version that differs, or that one of the two lacks"""
    paths: tuple[str, ...] = ()
    """in which files it differs; the first few"""
    annex_differs: bool = False
    message: str = ""
    here_layout: str | None = None
    there_layout: str | None = None


def released(refs: Mapping[str, Oid]) -> dict[str, Oid]:
    """The published versions among peeled refs, in the order of their names, which is that of time."""
    return {name: refs[TAGS + name] for name in sorted(versions_in(refs))}


def standing(here: Iterable[str], there: Iterable[str]) -> Verdict:
    """How two sets of versions that agree where both have them stand to each other."""
    ours, theirs = set(here), set(there)
    if ours == theirs:
        return "equal"
    if ours < theirs:
        return "behind"
    return "ahead" if theirs < ours else "different"


def first_difference(here: Mapping[str, Oid], there: Mapping[str, Oid]) -> str | None:
    """The first version of which both have another commit."""
    return next((name for name in here if name in there and here[name] != there[name]), None)


def first_lacking(here: Mapping[str, Oid], there: Mapping[str, Oid]) -> str | None:
    """The first version that one of the two lacks."""
    return next(iter(sorted(here.keys() ^ there.keys())), None)


def tree_differences(objects: Objects, here: Oid | None, there: Oid | None, *, of_draft: bool) -> tuple[str, ...]:
    """The paths in which two trees differ, the first few. Of drafts, the file with their times is passed over, and of
    Zarrs only counts that they are there: their histories depend on when they were looked at."""
    found: list[str] = []
    for path, old, new in compare(objects, here, there):
        if of_draft and (path == _OF_TIMES or (_is_zarr(old) and _is_zarr(new))):
            continue
        found.append(path.decode("utf-8", "backslashreplace"))
        if len(found) == _PATHS_NAMED:
            break
    return tuple(found)


def _is_zarr(entry: Entry | None) -> bool:
    return entry is not None and entry.mode == MODE_GITLINK


def is_ancestor(objects: Objects, ancestor: Oid, tip: Oid) -> bool:
    """Whether `tip` was built upon `ancestor`, by first parents."""
    at: Oid | None = tip
    while at is not None:
        if at == ancestor:
            return True
        parents = objects.commit(at).parents
        at = parents[0] if parents else None
    return False
