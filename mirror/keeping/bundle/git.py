"""A dataset as one file: a git bundle, the same bytes however the repository happens to be packed.

Made in a repository of its own, which borrows the objects of the store's: the `git-annex` branch is to say that the
bundle has content, and the store's own branch knows nothing of bundles.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from mirror.errors import GitError, StoreError
from mirror.git.bare import create_bare
from mirror.git.objects import Oid
from mirror.git.process import command, environment, run_git
from mirror.git.repository import Repository
from mirror.store.locations import ANNEX, note_locations

HEADS, TAGS = "refs/heads/", "refs/tags/"
DRAFT, RELEASES = HEADS + "draft", HEADS + "releases"

# Nothing is taken over from packs that are there, and one thread looks for deltas: then what comes out depends on the
# objects alone (and on the version of git, and of its zlib).
_SETTINGS = ("-c", "pack.compression=6", "-c", "core.bigFileThreshold=512m", "-c", "pack.writeBitmaps=false")
# The packs of a Zarr of a million files need not be mapped into memory all at once.
_FRUGAL = {"core.packedGitWindowSize": "1m", "core.packedGitLimit": "16m", "core.deltaBaseCacheLimit": "16m"}
_PACK_OBJECTS = (
    *("pack-objects", "--stdout", "--quiet", "--delta-base-offset", "--threads=1"),
    *("--no-reuse-delta", "--no-reuse-object", "--no-use-bitmap-index", "--window=10", "--depth=50"),
)


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
    create_bare(scratch, head=refs.head, config=_FRUGAL)
    (scratch / "objects/info/alternates").write_text(f"{(repository.path / 'objects').resolve()}\n")
    borrower, annex = Repository(scratch), dict[str, Oid]()
    if (tip := repository.refs().get(ANNEX)) is not None:
        borrower.publish(None, {ANNEX: tip})
        note_locations(borrower, contents.uuid, present=contents.keys)
        annex = {ANNEX: borrower.refs()[ANNEX]}
    _write_bundle(scratch, file, refs.head, {**refs.refs, **annex})


def _write_bundle(repository: Path, file: Path, head: str, refs: Mapping[str, Oid]) -> None:
    lines = [f"{refs[head].hex()} HEAD", *(f"{refs[name].hex()} {name}" for name in sorted(refs))]
    oids = dict.fromkeys(refs[name].hex() for name in sorted(refs))
    tips, objects = repository / "tips", repository / "to-be-packed"
    tips.write_text("".join(f"{oid}\n" for oid in oids))
    # One process after the other: of millions of objects, one that lists and packs them needs the memory of both.
    with objects.open("wb") as out:
        _run(command(repository, "rev-list", "--objects", "--stdin"), tips, out)
    with file.open("wb") as out:
        out.write("\n".join(["# v2 git bundle", *lines, "", ""]).encode())
        out.flush()
        _run(command(repository, *_SETTINGS, *_PACK_OBJECTS), objects, out)


def _run(cmd: list[str], file: Path, out: IO[bytes]) -> None:
    """A git command that reads a file."""
    with file.open("rb") as given:
        done = subprocess.run(cmd, stdin=given, stdout=out, stderr=subprocess.PIPE, env=environment(), check=False)
    if done.returncode != 0:
        raise GitError(cmd, done.returncode, done.stderr.decode(errors="replace"), str(file.parent))


def unpack_git_bundle(file: Path, path: Path) -> Repository:
    """A bare repository of all that a bundle has, every object of it looked at. `StoreError` where it is damaged."""
    create_bare(path, head=DRAFT, config={**_FRUGAL, "transfer.fsckObjects": "true", "pack.threads": "1"})
    try:
        run_git(path, "bundle", "verify", "--quiet", str(file))
        run_git(path, "fetch", "--quiet", "--no-write-fetch-head", "--update-head-ok", str(file), "+refs/*:refs/*")
        run_git(path, "fsck", "--connectivity-only", "--no-dangling")
    except GitError as error:
        raise StoreError(f"not a whole git bundle: {error.stderr.strip()}") from None
    return Repository(path)
