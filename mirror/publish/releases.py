"""The branch `releases` of a superdataset: one commit for each published version of any Dandiset, in their order.

The chain is a function of the published versions alone, so that two mirrors of the same selection have it with equal
hashes. It is only ever added to. A version that comes to light too late for its place is added at the end, and said so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mirror.dataset.commits import doi_tag
from mirror.dataset.facts import Facts
from mirror.dataset.superdataset import (
    Key,
    SelectionLayout,
    leaving_message,
    place,
    release_message,
)
from mirror.dataset.times import epoch, moment
from mirror.git.objects import COMMIT, Commit, Oid
from mirror.git.pack import PackWriter
from mirror.publish.tables import Tables
from mirror.store.catalogue import Standing
from mirror.store.skips import ALL_UNKNOWN
from mirror.store.writer import writer_at

TAGS = "refs/tags/"


@dataclass(frozen=True)
class Skipped:
    """A published version that will never come, with its place in the chain."""

    key: Key

    @property
    def name(self) -> str:
        _, identifier, version = self.key
        return f"{identifier}@{version}" if version != ALL_UNKNOWN else identifier


@dataclass
class Chain:
    """The chain as far as it goes. `updates` are the tags that its new commits get."""

    tables: Tables
    writer: PackWriter
    layout: SelectionLayout
    skipped: tuple[Skipped, ...]
    is_free: Callable[[str], bool]
    """whether a tag may be made"""
    dataset_id: Callable[[str], str]
    tip: Oid | None
    seconds: int = 0
    """the time of the tip"""
    updates: dict[str, Oid] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    """versions that belong before one which was there already"""

    def extend(self, versions: Iterable[Standing], matches: Callable[[Facts], bool]) -> None:
        """Add what is new among these published versions, which are all that is known, in their order."""
        wanted: dict[str, Standing] = {}
        last = self.reached
        for version in versions:
            facts, name = version.facts, f"{version.facts.identifier} {version.facts.version}"
            if not matches(facts):
                wanted.pop(facts.identifier, None)
                self._leave(facts)
                continue
            wanted[facts.identifier] = version
            if (facts.identifier, facts.version) in self.tables.listed:
                continue
            if last is not None and place(facts) < last:
                self.late.append(name)
            self._add(version)
            self.added.append(name)
        self._put_right(wanted)

    @property
    def reached(self) -> Key | None:
        """The place of the last of the versions that the chain has had."""
        return max((self._place(listed) for listed in self.tables.listed), default=None)

    def _place(self, listed: tuple[str, str]) -> Key:
        return moment(self.tables.listed[listed]), *listed

    def _add(self, version: Standing) -> None:
        facts = version.facts
        self._moved(self.tables.add(facts, version.commit, self.dataset_id(facts.identifier)), facts)
        tag = doi_tag(facts.doi) if facts.doi else None
        if tag is not None and self.tip is not None and self.is_free(TAGS + tag):
            self.updates[TAGS + tag] = self.tip

    def _leave(self, facts: Facts) -> None:
        """A version that does not match takes its Dandiset out, unless a later one that does has put it in."""
        row = self.tables.standing.get(facts.identifier)
        if row is None:
            return
        stands_at = self.tables.listed.get((facts.identifier, row["latest_version"]))
        if stands_at is not None and (moment(stands_at), facts.identifier, row["latest_version"]) > place(facts):
            return
        tree = self.tables.remove(facts.identifier)
        message = leaving_message([facts.identifier], self.tables.totals, self._trailer(place(facts)))
        self._commit(tree, message, epoch(facts.created))

    def _put_right(self, wanted: dict[str, Standing]) -> None:
        """What a changed query leaves to be done: Dandisets that were put in before, and taken out, or later ones."""
        for identifier, version in sorted(wanted.items()):
            row = self.tables.standing.get(identifier)
            if row is not None and row["commit"] == version.commit:
                continue
            tree = self.tables.move(version.facts, version.commit, self.dataset_id(identifier))
            self._moved(tree, version.facts)

    def _moved(self, tree: Oid, facts: Facts) -> None:
        """The commit that moves a Dandiset to this version."""
        message = release_message(facts, self.tables.totals, self._trailer(place(facts)))
        self._commit(tree, message, epoch(facts.created))

    def _trailer(self, key: Key) -> str:
        return self.layout.trailer(skip.name for skip in self.skipped if skip.key < key)

    def _commit(self, tree: Oid, message: str, seconds: int) -> None:
        who = writer_at(seconds)
        commit = Commit(tree, (self.tip,) if self.tip is not None else (), who, who, message)
        self.tip = self.writer.add(COMMIT, commit.encode())
        self.seconds = max(self.seconds, seconds)
