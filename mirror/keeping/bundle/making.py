"""A bundle: one version of a Dandiset with chosen content, to be carried on a disk and used without a network.

::

    BUNDLE/                   or the same in BUNDLE.tar
        README.md             two commands that make a clone of it
        connect.sh            the second of these
        bundle.json           what is in it
        missing.jsonl         what the version names, and is not in it; absent when that is nothing
        git/000003            the Dandiset, a git bundle; and its Zarrs, each under its id, beside it: where
        git/7d0e2…            submodules are looked for
        annex/abc/def/KEY/KEY what a `directory` special remote of git-annex has
        SHA256SUMS

The same version with the same content gives the same bytes, with the same zlib: no clock, and nothing of how the store
is packed. No lock is taken: what vanishes from the store meanwhile is told as missing.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from mirror.annex import hashdirs
from mirror.annex.keys import parse_key
from mirror.dataset.facts import Facts, facts_of
from mirror.errors import StoreError, UsageError
from mirror.git.objects import Oid
from mirror.git.repository import Repository
from mirror.json_lines import json_line
from mirror.keeping.bundle.git import BundleRefs, Contents, refs_of_version, refs_of_zarr, write_git_bundle
from mirror.keeping.bundle.plan import ALL, DAMAGED, LACKING, Choice, Plan, Wanted
from mirror.keeping.bundle.target import Digests, Target, check_free, opened
from mirror.keeping.bundle.words import FORMAT, BundleFacts, connect_script, readme
from mirror.keeping.telling import SILENT, Teller
from mirror.store.scratch import scratch_folder
from mirror.store.store import Store
from mirror.store.version_keys import DRAFT, latest_version, version_commit

SUMS, FACTS, MISSING, README, CONNECT = "SHA256SUMS", "bundle.json", "missing.jsonl", "README.md", "connect.sh"
GIT, ANNEX = "git", "annex"

VERSION_FILE = b".dandi/version.json"

_SCRATCH = "bundle-"


@dataclass(frozen=True)
class Bundled:
    """A bundle that was made."""

    path: Path
    facts: BundleFacts

    @property
    def damaged(self) -> int:
        """contents that the store has, but not as they should be"""
        return self.facts.missing.get(DAMAGED, 0)

    @property
    def lacking(self) -> int:
        """contents that were asked for and the store does not hold"""
        return self.facts.missing.get(LACKING, 0)


def make_bundle(
    store: Store,
    identifier: str,
    version: str | None,
    path: Path,
    choice: Choice = ALL,
    *,
    private: bool = False,
    teller: Teller = SILENT,
) -> Bundled:
    """Make the bundle at `path`, a tar file if it ends so. Without a version: of the latest one, else of the draft.

    `private`: also of a Dandiset under embargo.
    """
    check_free(path)
    repository, embargoed = store.repository(identifier), store.is_embargoed(identifier)
    if embargoed and not private:
        raise UsageError(
            f"Dandiset {identifier} is under embargo",
            hint="--private makes a bundle of it all the same, which whoever has it can read",
        )
    version = version or latest_version(repository) or DRAFT
    commit = version_commit(repository, identifier, version)
    # Of what is under embargo, on the side that nobody else sees.
    parent = store.side(private=embargoed).temporary
    ours = parent if os.access(parent, os.W_OK) else None
    with scratch_folder(ours, _SCRATCH) as scratch, Plan(scratch / "plan.sqlite") as plan:
        teller.doing("what the version holds")
        plan.fill(store, identifier, commit, choice)
        subject = _Subject(store, identifier, version, commit, repository, embargoed)
        return _Making(subject, plan, scratch, teller).make(path)


@dataclass(frozen=True)
class _Subject:
    store: Store
    identifier: str
    version: str
    commit: Oid
    repository: Repository
    embargoed: bool

    @property
    def dataset_id(self) -> str:
        return self.store.dataset_id(self.identifier)

    def facts(self, plan: Plan) -> BundleFacts:
        known, (files, size) = self._known(), plan.amount()
        return BundleFacts(
            format=FORMAT,
            instance=self.store.facts.instance,
            instance_url=self.store.facts.instance_url,
            identifier=self.identifier,
            version=self.version,
            title=known.name,
            doi=known.doi,
            commit=self.commit.hex(),
            dataset_id=self.dataset_id,
            embargoed=self.embargoed,
            remote=f"bundle-{self.version}",
            annex_uuid=plan.uuid(self.dataset_id, self.commit),
            files=files,
            bytes=size,
            zarrs=len(plan.zarrs),
            missing=plan.counts(),
        )

    def _known(self) -> Facts:
        with self.repository.objects() as objects:
            tree = objects.commit(self.commit).tree
            document, record = (objects.lookup(tree, name) for name in (b"dandiset.yaml", VERSION_FILE))
            if document is None or record is None:
                raise StoreError(f"commit {self.commit.hex()} of {self.identifier} is no version of a Dandiset")
            return facts_of(objects.blob(document.oid), objects.blob(record.oid))

    @property
    def seconds(self) -> int:
        """The time of the version."""
        with self.repository.objects() as objects:
            return objects.commit(self.commit).committer.seconds


class _Making:
    def __init__(self, subject: _Subject, plan: Plan, scratch: Path, teller: Teller) -> None:
        self._subject = subject
        self._plan = plan
        self._scratch = scratch
        self._teller = teller
        self._sums = scratch / SUMS

    def make(self, path: Path) -> Bundled:
        files, size = self._plan.amount()
        self._teller.total(files, size)
        planned = msgspec.json.encode(self._subject.facts(self._plan)).decode()
        private = self._subject.embargoed
        with (
            opened(path, self._subject.seconds, planned, size, private=private) as target,
            self._sums.open("w") as self._out,
        ):
            self._put_content(target)
            facts = self._subject.facts(self._plan)
            self._put_datasets(target, facts.annex_uuid)
            self._put_words(target, facts)
            self._out.flush()
            with self._sums.open("rb") as source:
                target.put(SUMS, source)
        return Bundled(path, facts)

    def _put_content(self, target: Target) -> None:
        for wanted in self._plan.wanted():
            self._teller.doing(wanted.key)
            if (reason := self._put_key(target, wanted)) is not None:
                self._plan.spoil(wanted.key, reason)
            self._teller.done(wanted.size)

    def _put_key(self, target: Target, wanted: Wanted) -> str | None:
        """Take content over; the reason, where it is not what it should be."""
        name, md5 = place_of(wanted.key), needs_md5(wanted.key)
        known = target.known(name, md5=md5)
        if known is None or not is_content_of(wanted.key, known):
            if (source := _opened(wanted.file)) is None:
                target.discard(name)
                return LACKING
            with source:
                known = target.put(name, source, md5=md5)
        if not is_content_of(wanted.key, known):
            target.take_back()
            return DAMAGED
        self._sum(name, known)
        return None

    def _put_datasets(self, target: Target, uuid: str) -> None:
        subject = self._subject
        refs = refs_of_version(subject.repository, subject.version, subject.commit)
        keys = self._plan.keys_of(subject.dataset_id)
        self._put_dataset(target, subject.identifier, subject.repository, refs, Contents(uuid, keys))
        for zarr_id in self._plan.zarrs:
            repository, keys = subject.store.dataset(zarr_id), self._plan.keys_of(zarr_id)
            self._put_dataset(target, zarr_id, repository, refs_of_zarr(repository), Contents(uuid, keys))

    def _put_dataset(
        self, target: Target, name: str, repository: Repository, refs: BundleRefs, contents: Contents
    ) -> None:
        self._teller.doing(f"the history of {name}")
        borrower, file = self._scratch / "borrower", self._scratch / "dataset"
        write_git_bundle(repository, borrower, file, refs, contents)
        self._put(target, f"{GIT}/{name}", file)
        shutil.rmtree(borrower)

    def _put_words(self, target: Target, facts: BundleFacts) -> None:
        file = self._scratch / "words"
        if facts.missing:
            with file.open("w") as out:
                out.writelines(f"{json_line(missing._asdict())}\n" for missing in self._plan.missing())
            self._put(target, MISSING, file)
        else:
            target.discard(MISSING)
        told = msgspec.json.format(msgspec.json.encode(facts), indent=2).decode() + "\n"
        for name, text in ((FACTS, told), (CONNECT, connect_script(facts)), (README, readme(facts))):
            file.write_text(text)
            self._put(target, name, file)

    def _put(self, target: Target, name: str, file: Path) -> None:
        with file.open("rb") as source:
            self._sum(name, target.put(name, source))

    def _sum(self, name: str, digests: Digests) -> None:
        self._out.write(f"{digests.sha256}  {name}\n")


def _opened(file: Path) -> IO[bytes] | None:
    """None: it is gone."""
    try:
        return file.open("rb")
    except FileNotFoundError:
        return None


def place_of(key: str) -> str:
    """Where content is in a bundle."""
    return f"{ANNEX}/{hashdirs.lower(key).decode()}/{key}/{key}"


def needs_md5(key: str) -> bool:
    return parse_key(key).backend.startswith("MD5")


def is_content_of(key: str, digests: Digests) -> bool:
    """Whether this is what the key names."""
    parsed = parse_key(key)
    digest = digests.md5 if needs_md5(key) else digests.sha256
    return (parsed.size, parsed.digest) == (digests.size, digest)
