"""What a sync has to say of each git-annex key: addresses and metadata, gathered from what it observed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mirror.annex.keys import sha256e_key
from mirror.dataset.assets import ANNEXED, AssetEntry, Held
from mirror.dataset.fields import Fields, annex_fields, merged
from mirror.dataset.records import digits_for, file_name, folder_of, lines_by_path, records_path
from mirror.git.objects import Oid
from mirror.git.reader import Objects
from mirror.sync.branch import BranchWriter, KeyFacts
from mirror.sync.observe import Observation
from mirror.sync.trees import annex_key, counts_with_records

Facts = dict[str, KeyFacts]

_DOWNLOAD = re.compile(r"/assets/([0-9a-f-]{36})/download/$").search


class KeyGatherer:
    """Gathers facts over the observations of one sync, oldest first, against what the branch says already.

    With `versions_again`, an S3 address that is recorded without its version id counts as not recorded. `embargoed`
    keys get no S3 address, but that of a download from the API for as long as the asset is there.
    """

    def __init__(
        self, branch: BranchWriter, *, metadata: bool, versions_again: bool = False, embargoed: bool = False
    ) -> None:
        self._branch = branch
        self._metadata = metadata
        self._versions_again = versions_again
        self._embargoed = embargoed
        self._present: frozenset[str] = frozenset()
        """the ids of the assets of the version in hand; of one under embargo"""
        self._turn = -1
        self._known: dict[str, set[str]] = {}
        self.facts: Facts = {}
        self.unrecorded: list[tuple[AssetEntry, str]] = []
        """assets whose S3 address the branch lacks, each with its key"""

    def gather(self, seen: Observation, objects: Objects, tree: Oid, *, release: bool) -> None:
        """Take in a version's new and changed assets, and the metadata of unchanged ones that share their keys.

        `tree` is the tree that was written for the version.
        """
        self._turn += 1
        if self._embargoed:
            self._present = frozenset(held.asset_id for held in seen.assets.values())
        for entry in seen.entries:
            if entry.held.kind == ANNEXED:
                self._take(annex_key(entry), entry, release=release)
        if self._metadata and len(seen.entries) < len(seen.assets):
            twins = {url.partition("?")[0].rpartition("/")[2] for urls in self._known.values() for url in urls}
            for key, fields in unchanged_sharers(objects, tree, seen, twins):
                self._take_fields(self.facts.setdefault(key, KeyFacts()), fields)

    def _take(self, key: str, entry: AssetEntry, *, release: bool) -> None:
        first = key not in self.facts
        facts = self._facts_of(key)
        known = self._known.get(key)
        # The first asset's download address, and those of published ones: these stay valid.
        if release or (first and not known) or (self._embargoed and not self._can_be_had(key)):
            api_url = entry.api_url
            if api_url and not (known and api_url in known) and api_url not in facts.urls:
                facts.urls += (api_url,)
        self._take_s3(entry, key)
        self._take_fields(facts, entry.fields)

    def _facts_of(self, key: str) -> KeyFacts:
        facts = self.facts.get(key)
        if facts is None:
            facts = self.facts[key] = KeyFacts()
            if not self._branch.is_new and (urls := self._branch.urls(key)):
                self._known[key] = urls
        return facts

    def _can_be_had(self, key: str) -> bool:
        """Whether an asset of the version in hand is one of those where the key is to be had."""
        urls = (*self._known.get(key, ()), *self.facts[key].urls)
        return any(found[1] in self._present for url in urls if (found := _DOWNLOAD(url)) is not None)

    def _take_s3(self, entry: AssetEntry, key: str) -> None:
        assert entry.s3_url is not None
        known = self._known.get(key)
        if not (self._embargoed or (known and self._has(known, entry.s3_url))):
            self.unrecorded.append((entry, key))

    def _has(self, known: set[str], s3_url: str) -> bool:
        if s3_url in known and not self._versions_again:
            return True
        return any(url.startswith(f"{s3_url}?versionId=") for url in known)

    def _take_fields(self, facts: KeyFacts, fields: Fields) -> None:
        """A later version's metadata replaces an earlier one's; within a version, sharers of a key add up."""
        if not self._metadata:
            return
        if facts.turn == self._turn and facts.fields is not None:
            fields = merged(facts.fields, fields)
        facts.fields, facts.turn = fields, self._turn

    def record(self, recorded: Mapping[str, str]) -> None:
        """Add the S3 addresses, as they are to be recorded, by their plain form."""
        for entry, key in self.unrecorded:
            assert entry.s3_url is not None
            url, facts = recorded[entry.s3_url], self.facts[key]
            if url not in facts.urls and url not in self._known.get(key, ()):
                facts.urls += (url,)


class StoredRecord(msgspec.Struct, frozen=True):
    """An annexed asset's record read back from a tree, as far as it tells a key and its metadata."""

    path: str
    size: int
    metadata: dict[str, Any]
    blob: str | None = None

    @property
    def sha256(self) -> str:
        return str(self.metadata["digest"]["dandi:sha2-256"])


read_record = msgspec.json.Decoder(StoredRecord).decode


def unchanged_sharers(objects: Objects, tree: Oid, seen: Observation, twins: set[str]) -> Iterator[tuple[str, Fields]]:
    """Keys and metadata of unchanged annexed assets that share a blob with one that changed, came or went.

    `twins` are further blobs, known to hold the same bytes as some that changed.
    """
    changed = {entry.path for entry in seen.entries}
    blobs: set[str | None] = {entry.held.blob for entry in seen.entries if entry.held.kind == ANNEXED} | twins
    blobs |= {seen.before[path].blob for path in (*changed, *seen.removed) if path in seen.before}
    sharers = [
        path
        for path, held in seen.assets.items()
        if held.blob in blobs and held.kind == ANNEXED and path not in changed
    ]
    for line in stored_lines(objects, tree, seen.assets, sharers).values():
        record = read_record(line)
        yield sha256e_key(record.path, record.size, record.sha256), annex_fields(record.metadata)


def stored_lines(objects: Objects, tree: Oid, assets: Mapping[str, Held], paths: Sequence[str]) -> dict[str, bytes]:
    """The records of some assets of a tree, by path."""
    counts = counts_with_records(assets, {folder_of(path) for path in paths})
    files: dict[bytes, list[str]] = {}
    for path in paths:
        folder = folder_of(path)
        files.setdefault(records_path(folder, file_name(path, digits_for(counts[folder]))), []).append(path)
    found: dict[str, bytes] = {}
    for where, wanted in files.items():
        entry = objects.lookup(tree, where)
        if entry is not None:
            lines = lines_by_path(objects.blob(entry.oid))
            found.update((path, lines[path]) for path in wanted if path in lines)
    return found
