"""A dataset as one file: a git bundle, the same bytes however the repository happens to be packed.

Made in a repository of its own, which borrows the objects of the store's: the `git-annex` branch is to say that the
bundle has content, and the store's own branch knows nothing of bundles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mirror.git.bare import create_bare
from mirror.git.large.bundle import unpack_bundle, write_bundle
from mirror.git.objects import Oid
from mirror.git.process import FRUGAL, run_git
from mirror.git.repository import Repository
from mirror.store.locations import ANNEX, note_locations
from mirror.store.room import telling_of_room

HEADS, TAGS = "refs/heads/", "refs/tags/"
DRAFT, RELEASES = HEADS + "draft", HEADS + "releases"


class BundleRefs(NamedTuple):
    """What a git bundle has besides `git-annex`."""

    head: str
    """the branch that a clone is on"""
    refs: Mapping[str, Oid]


class Contents(NamedTuple):
    """What content is there."""

    uuid: str
    """of the remote that has it"""
    keys: Iterable[str]


def refs_of_version(repository: Repository, version: str, commit: Oid) -> BundleRefs:
    """Of a published version: `releases` as it was then, and the tags up to there. Of the draft: all there are."""
    refs = repository.refs()
    tags = {name: oid for name, oid in refs.items() if name.startswith(TAGS)}
    if version == "draft":
        # That of the plan, not what a sync has made of it since.
        return BundleRefs(DRAFT, {name: oid for name, oid in refs.items() if name == RELEASES} | {DRAFT: commit} | tags)
    until = set(run_git(repository.path, "tag", "--merged", commit.hex()).decode().split())
    merged = {name: oid for name, oid in tags.items() if name.removeprefix(TAGS) in until}
    return BundleRefs(RELEASES, {RELEASES: commit} | merged)


def refs_of_zarr(repository: Repository) -> BundleRefs:
    """Every state that it was seen in, for versions name any of them."""
    refs = repository.refs()
    return BundleRefs(DRAFT, {name: oid for name, oid in refs.items() if name == DRAFT or name.startswith(TAGS)})


def write_git_bundle(repository: Repository, scratch: Path, file: Path, refs: BundleRefs, contents: Contents) -> None:
    """Write the file; in `scratch` a repository is made for it."""
    create_bare(scratch, head=refs.head, config=FRUGAL)
    (scratch / "objects/info/alternates").write_text(f"{(repository.path / 'objects').resolve()}\n")
    borrower, tips = Repository(scratch), dict(refs.refs)
    if (tip := repository.refs().get(ANNEX)) is not None:
        borrower.publish(None, {ANNEX: tip})
        note_locations(borrower, contents.uuid, present=contents.keys)
        tips[ANNEX] = borrower.refs()[ANNEX]
    with telling_of_room(), file.open("wb") as out, borrower.objects() as objects:
        write_bundle(out, objects, refs.head, tips, scratch)


def unpack_git_bundle(file: Path, path: Path) -> Repository:
    """A bare repository of all that a bundle has, every object of it looked at. `StoreError` where it is damaged."""
    create_bare(path, head=DRAFT, config=FRUGAL)
    repository = Repository(path)
    with telling_of_room(), file.open("rb") as source:
        unpack_bundle(source, repository, path)
    return repository
