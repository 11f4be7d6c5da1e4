"""Names: whether the repository of a Dandiset holds together, and says of itself what is so. Without the archive."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from mirror.annex.logs import WEB_UUID
from mirror.errors import Locked, MirrorError
from mirror.git.objects import COMMIT, Commit, Oid, hash_object
from mirror.git.reader import MissingObject, Objects
from mirror.git.repository import Repository
from mirror.proving.branch import key_logs, tree_of
from mirror.proving.findings import Stop, Stopped, Teller
from mirror.proving.fsck import fsck
from mirror.proving.records import ANNEX, DRAFT, RELEASES, TAGS, Needs, Version, needs_of, versions_of
from mirror.proving.trees import Link, TreeCheck
from mirror.store.store import Store

_TELL_EVERY = 5000


def prove_names(store: Store, identifier: str, teller: Teller, *, stop: Stop) -> None:
    """Everything that can be told of a Dandiset without the archive. Adds to `teller.result.checked` as it goes."""
    repository = store.repository(identifier)
    check_repository(repository, teller, stop, store.side(private=teller.result.private).temporary)
    check_address(store, identifier, repository.path, teller)
    refs = repository.peeled_refs()
    with repository.objects() as objects:
        versions = versions_of(refs, objects)
        check_history(identifier, refs, versions, objects, teller)
        _check_trees(store, versions, objects, teller, stop)
        with Needs(store.side(private=teller.result.private).temporary) as needs:
            needs.add(needs_of(versions, objects))
            check_logs(objects, tree_of(objects, refs, ANNEX), needs, teller, stop)


def check_repository(repository: Repository, teller: Teller, stop: Stop, scratch: Path) -> None:
    """What git itself finds, and what web servers hand out."""
    teller.watcher.how_far("git fsck")
    for line in fsck(repository, scratch, stop):
        teller.find("repository", repository.path.name, line)
    # While somebody is at work in it, it may be ahead of what it announces.
    with suppress(Locked), repository.lock(wait=False):
        if repository.looks_unfinished():
            teller.find(
                "published",
                "info/refs, objects/info/packs",
                "do not tell what is there, or something unfinished is left; the next sync mends that",
            )


def check_address(store: Store, name: str, folder: Path, teller: Teller) -> None:
    """The alias leads to the repository."""
    side = folder.parent.parent
    alias = side / "alias" / name
    leads = os.path.realpath(alias) if alias.is_symlink() else None
    if leads != os.path.realpath(folder):
        shown = alias.relative_to(store.root)
        teller.find("address", str(shown), f"leads to {leads or 'nothing'}, not to {folder.relative_to(store.root)}")


def check_history(
    identifier: str, refs: Mapping[str, Oid], versions: list[Version], objects: Objects, teller: Teller
) -> None:
    """Tags, commits and what these say of themselves fit together."""
    released = dict(_chain(objects, refs.get(RELEASES)))
    published = {version.oid: version.name for version in versions if version.name != "draft"}
    for version in versions:
        ref = DRAFT if version.name == "draft" else TAGS + version.name
        said = version.says
        if (said.get("Dandiset"), said.get("Version")) != (identifier, version.name):
            what = f"{said.get('Version')} of Dandiset {said.get('Dandiset')}"
            teller.find("history", ref, f"is at a commit that says it is {what}", version=version.name)
        if version.name != "draft" and version.oid not in released:
            teller.find("history", ref, "is at a commit that the branch `releases` does not lead to")
    for oid, commit in released.items():
        if oid not in published:
            said_version = commit.message.partition(":")[0]
            teller.find("history", RELEASES, f"its commit {oid.hex()} ({said_version}) has no tag")
    for ref, oid in refs.items():
        if ref.startswith(f"{TAGS}doi/") and oid not in published:
            teller.find("history", ref, "is not at a published version")
    for ref in (DRAFT, ANNEX):
        if ref not in refs:
            teller.find("history", ref, "is not there")


def _chain(objects: Objects, tip: Oid | None) -> Iterator[tuple[Oid, Commit]]:
    while tip is not None:
        commit = objects.commit(tip)
        yield tip, commit
        tip = commit.parents[0] if commit.parents else None


def _check_trees(store: Store, versions: list[Version], objects: Objects, teller: Teller, stop: Stop) -> None:
    check, zarrs = TreeCheck(objects), ZarrCommits(store)
    for version in versions:
        if stop():
            raise Stopped
        teller.watcher.how_far(f"the tree of {version.name}")
        name = version.name

        def tell(where: str, what: str, name: str = name) -> None:
            teller.find("tree", where, what, version=name)

        def link(found: Link, name: str = name) -> None:
            if (missing := zarrs.missing(found.zarr_id, found.commit)) is not None:
                teller.find("zarr", found.path, missing, version=name)

        has = check.check(version, tell, link)
        teller.result.checked += has.files
        said = (version.says.get("Assets"), version.says.get("Bytes"))
        if said != (str(has.files), str(has.bytes)):
            what = f"its commit says {said[0]} assets of {said[1]} bytes, its records {has.files} of {has.bytes}"
            teller.find("history", name, what, version=name)


class ZarrCommits:
    """Which commits of Zarrs are there, in their repositories or by their manifests."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def missing(self, zarr_id: str, commit: Oid) -> str | None:
        """Why a Zarr's commit cannot be had; None: it can."""
        try:
            repository = self._store.dataset(zarr_id)
            if repository.path.is_dir():
                with repository.objects() as objects:
                    objects.commit(commit)
                return None
            commits = self._store.zarr(zarr_id).commits()
        except (MissingObject, MirrorError) as error:
            return f"stands in the tree by {commit.hex()}: {error.message}"
        if any(hash_object(COMMIT, text.encode()) == commit for text in commits):
            return None
        return f"stands in the tree by {commit.hex()}, which nothing here has"


def check_logs(objects: Objects, tree: Oid | None, needs: Needs, teller: Teller, stop: Stop) -> None:
    """Every content that some version has is on the git-annex branch, and what the branch says makes sense."""
    for count, logs in enumerate(key_logs(objects, tree, needs.in_order())):
        if count % _TELL_EVERY == 0:
            if stop():
                raise Stopped
            teller.watcher.how_far(f"{count:,} contents on the git-annex branch")
        for wrong in _wrong_in(logs.need is not None, logs.located, logs.addressed, logs.unread):
            where = logs.need.path if logs.need is not None else logs.key
            version = logs.need.version if logs.need is not None else None
            teller.find("logs", where, wrong, version=version, key=logs.key)
        if logs.addressed and (WEB_UUID in logs.remotes) != bool(logs.urls):
            have = "has addresses" if logs.urls else "has no address"
            what = "says that the web has it" if WEB_UUID in logs.remotes else "does not say that the web has it"
            teller.find("logs", logs.key, f"{have}, and its location log {what}", key=logs.key)


def _wrong_in(needed: bool, located: bool, addressed: bool, unread: tuple[str, ...]) -> Iterator[str]:
    if not located and (needed or addressed):
        yield "has no location log on the git-annex branch"
    if not addressed and needed:
        yield "has no log of its addresses on the git-annex branch"
    for line in unread:
        yield f"a log of it has a line that git-annex does not understand: {line!r}"
