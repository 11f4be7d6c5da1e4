"""Earlier states of a Zarr that published versions name: what became of the files in which they differ from today's.

A Zarr is changed in place: what was replaced, the archive has for a time only, as versions that are not today's. Only
of a Zarr that has its repository are the files of such states known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from mirror.annex import logs
from mirror.annex.keys import parse_key
from mirror.dataset.names import asset_path
from mirror.git.compare import compare
from mirror.git.objects import MODE_LINK, Commit, Entry, Oid
from mirror.git.reader import Objects
from mirror.proving.looking import Looked
from mirror.proving.zarr_places import ZarrPlaces
from mirror.store.branch_logs import in_branch_order, logs_of
from mirror.store.ledger import NOTHING, Amount, Figures, Found

OWN = frozenset({b".datalad", b".dandi", b".gitattributes"})
"""What stands at the top of a Zarr's tree besides its files."""

_AT_ONCE = 1000


@dataclass
class Counted:
    """Files of a Zarr, as they are gone through."""

    all: Amount = NOTHING
    store: Amount = NOTHING
    backup: Amount = NOTHING
    by_found: dict[Found, Amount] = field(default_factory=dict)
    """of those that are not as recorded"""
    at_risk: dict[Found, Amount] = field(default_factory=dict)
    """those of them that are neither here nor in a backup"""

    def add(self, key: str, amount: Amount, places: ZarrPlaces) -> None:
        """One of the files."""
        self.all += amount
        if places.is_here(key):
            self.store += amount
        if places.is_in_backup(key):
            self.backup += amount

    def without(self, key: str, amount: Amount, places: ZarrPlaces) -> None:
        """One that was counted is not among them."""
        self.all = less(self.all, amount)
        if places.is_here(key):
            self.store = less(self.store, amount)
        if places.is_in_backup(key):
            self.backup = less(self.backup, amount)

    def take(self, key: str, found: Found, amount: Amount, places: ZarrPlaces) -> None:
        """One that is not as recorded."""
        self.by_found[found] = self.by_found.get(found, NOTHING) + amount
        if not places.is_here(key) and not places.is_in_backup(key):
            self.at_risk[found] = self.at_risk.get(found, NOTHING) + amount

    def figures(self, at: int) -> Figures:
        bad = sum(self.by_found.values(), NOTHING)
        lacking = sum(self.at_risk.values(), NOTHING)
        return Figures(
            all=self.all,
            archive=less(self.all, bad),
            store=self.store,
            backup=self.backup,
            had=less(self.all, lacking),
            non_current=self.at_risk.get(Found.NON_CURRENT, NOTHING),
            changed=self.at_risk.get(Found.CHANGED, NOTHING),
            lost=self.at_risk.get(Found.GONE, NOTHING),
            unknown=self.at_risk.get(Found.NEVER, NOTHING),
            since=at,
        )


def less(one: Amount, other: Amount) -> Amount:
    return Amount(one.files - other.files, one.bytes - other.bytes)


@dataclass(frozen=True)
class Bad:
    """A file of today's state that is not as it was recorded."""

    key: str
    found: Found


@dataclass(frozen=True)
class EarlierStates:
    """Counts what can be had of them, next to what was found of today's."""

    objects: Objects
    annex: Oid | None
    """the tree of the git-annex branch"""
    places: ZarrPlaces
    today: Commit
    counted: Counted
    bad: Mapping[str, Bad]
    """by path; all that there are"""
    look: Callable[[str, frozenset[str]], Looked]
    """at a content, by its key and its addresses"""
    tell: Callable[[str, str, Looked], object]
    """is told of a path and its key what is wrong with it"""

    def of(self, state: Commit) -> tuple[Counted, Counted]:
        """All files of a state; and those that are not in today's as they are."""
        same = Counted(self.counted.all, self.counted.store, self.counted.backup)
        bad, own = dict(self.bad), Counted()
        for batch in self._batches(state):
            for path, before, _ in batch:
                if before is not None:
                    same.without(before, _one(before), self.places)
                    bad.pop(path, None)
            self._take([(path, key) for path, _, key in batch if key is not None], own)
        for one in bad.values():
            same.take(one.key, one.found, _one(one.key), self.places)
        return _joined(same, own), own

    def _batches(self, state: Commit) -> Iterator[list[tuple[str, str | None, str | None]]]:
        """The paths that differ, with the keys that today's state and this one have there."""
        differing = (
            (path, _link(old), _link(new))
            for path, old, new in compare(self.objects, self.today.tree, state.tree)
            if path.partition(b"/")[0] not in OWN
        )
        while batch := list(islice(differing, _AT_ONCE)):
            wanted = {oid for _, *both in batch for oid in both if oid is not None}
            keys = {oid: body.rpartition(b"/")[2].decode() for oid, _, body in self.objects.read_many(sorted(wanted))}
            yield [(_true(path), keys[old] if old else None, keys[new] if new else None) for path, old, new in batch]

    def _take(self, files: list[tuple[str, str]], own: Counted) -> None:
        looked = {key: self.look(key, urls) for key, urls in self._addresses([key for _, key in files])}
        for path, key in files:
            own.add(key, _one(key), self.places)
            if looked[key].found is not Found.OK:
                own.take(key, looked[key].found, _one(key), self.places)
                self.tell(path, key, looked[key])

    def _addresses(self, keys: list[str]) -> Iterator[tuple[str, frozenset[str]]]:
        if self.annex is None:
            yield from ((key, frozenset()) for key in keys)
            return
        for key, oid in logs_of(self.objects, self.annex, in_branch_order(keys), b".log.web"):
            said = logs.present(self.objects.blob(oid)) if oid is not None else set()
            yield key, frozenset(value.decode("utf-8", "surrogateescape") for value in said)


def _one(key: str) -> Amount:
    return Amount(1, parse_key(key).size)


def _link(entry: Entry | None) -> Oid | None:
    return entry.oid if entry is not None and entry.mode == MODE_LINK else None


def _true(path: bytes) -> str:
    return "/".join(asset_path(name) for name in path.split(b"/"))


def _joined(one: Counted, other: Counted) -> Counted:
    sums = one.all + other.all, one.store + other.store, one.backup + other.backup
    joined = Counted(*sums, dict(one.by_found), dict(one.at_risk))
    for mine, theirs in ((joined.by_found, other.by_found), (joined.at_risk, other.at_risk)):
        for found, amount in theirs.items():
            mine[found] = mine.get(found, NOTHING) + amount
    return joined
