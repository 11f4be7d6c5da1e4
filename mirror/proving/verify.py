"""Proving: through Dandisets and their Zarrs, level by level, one after the other.

One dataset's trouble stops no other. The store is not locked: what is read stays for a day, whatever is synced
meanwhile; and of the little that is changed, each repository's own lock takes care.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mirror.config import Settings
from mirror.dataset.submodules import submodule_path
from mirror.errors import ArchiveDown, ArchiveError, MirrorError, NoRoom, SomeFailed, StoreError
from mirror.git.objects import MODE_GITLINK, Oid
from mirror.proving.against_archive import prove_against_archive
from mirror.proving.contents import ContentProver
from mirror.proving.figures import note_figures
from mirror.proving.findings import HARMLESS, Nobody, Stop, Stopped, SubjectProved, Teller, Watcher
from mirror.proving.looking import Looker
from mirror.proving.names import prove_names
from mirror.proving.rate import Rate
from mirror.proving.records import TAGS, versions_of, zarrs_of
from mirror.proving.sample import Sample
from mirror.proving.urls import Outages, UrlProver
from mirror.proving.zarr_names import prove_zarr_names
from mirror.proving.zarr_urls import ZarrUrlProver
from mirror.store.ledger import LEVELS, Ledger, Level, damage_in, ledger_path
from mirror.store.owner import check_owner
from mirror.store.room import no_room_of
from mirror.store.sides import Side
from mirror.store.store import Store
from mirror.sync.connection import Connection

logger = logging.getLogger(__name__)

_ALL = 1 << 62
_GOES_ON_SECONDS = 86_400.0
"""A round that was broken off is gone on with for so long; by a daemon for longer."""


def levels_up_to(level: Level) -> tuple[Level, ...]:
    """A level, and those before it, which ask less."""
    return LEVELS[: LEVELS.index(level) + 1]


@dataclass
class Proved:
    """What came of a run."""

    dandisets: int = 0
    zarrs: int = 0
    checked: Counter[str] = field(default_factory=Counter)
    """what was looked at, by level: files of trees, contents asked for, contents read"""
    bytes_read: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """findings, by kind"""
    unanswered: int = 0
    """contents of which the archive was asked in vain"""
    troubles: dict[str, str] = field(default_factory=dict)
    """datasets that could not be gone through to their end, with why"""
    requests: int = 0
    seconds: float = 0.0
    stopped: bool = False
    left: int = 0
    """Dandisets that had no turn"""

    @property
    def severe(self) -> int:
        return sum(count for kind, count in self.counts.items() if kind not in HARMLESS)

    @property
    def unknown(self) -> int:
        return self.counts["unknown"]

    def take(self, one: SubjectProved) -> None:
        self.checked[one.level] += one.checked
        self.bytes_read += one.bytes
        self.counts.update(one.counts)
        self.unanswered += one.unknown if one.level == "urls" else 0
        if one.trouble:
            self.troubles[one.subject] = one.trouble

    def check(self) -> None:
        """`SomeFailed` where something is wrong; `MirrorError` where nothing could be told."""
        if self.severe:
            raise SomeFailed(f"{self.severe:,} thing{'s are' if self.severe > 1 else ' is'} not as it should be")
        if self.troubles and not sum(self.checked.values()):
            raise MirrorError("nothing could be proved: " + "; ".join(dict.fromkeys(self.troubles.values())))
        if self.troubles:
            raise SomeFailed(f"{len(self.troubles):,} could not be gone through to their end")
        if 0 < self.checked["urls"] <= self.unanswered:
            raise ArchiveError("nothing could be asked: the archive gave no answer")


@dataclass
class Prover:
    """Proves datasets of one store; a context manager. The archive is asked nothing before it has to be."""

    settings: Settings
    store: Store
    levels: Sequence[Level]
    watcher: Watcher = field(default_factory=Nobody)
    stop: Stop = lambda: False
    against_archive: bool = True
    """hold what is published against a mirror made anew"""
    sample: Sample | None = None
    goes_on_seconds: float = _GOES_ON_SECONDS
    now: Callable[[], float] = time.time
    proved: Proved = field(default_factory=Proved)
    _done: set[str] = field(default_factory=set)
    """Zarrs that had their turn: several Dandisets may have one"""

    def __enter__(self) -> Self:
        check_owner(self.store.root)
        self._stack = ExitStack()
        self._ledgers: dict[bool, Ledger] = {}
        self._connection: Connection | None = None
        self._outages = Outages()
        self._run_began = int(self.now())
        self._rate = Rate(self.settings.verify.requests_per_second)
        self._started = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._stack:
                if isinstance(error, sqlite3.Error | StoreError):
                    raise error  # for the ledgers to see
                self._conclude()
        except sqlite3.DatabaseError as damage:
            if damage_in(damage) is None:
                raise
            raise StoreError("the ledger is damaged", hint="it is set aside; proving again begins another") from damage
        finally:
            self.proved.seconds = time.monotonic() - self._started

    def _conclude(self) -> None:
        """Forget what is not there any more, and sum up the rest."""
        for private in (False, True):
            side = self.store.side(private=private)
            if side.exists and ledger_path(side).is_file():
                self._forget_absent(self.ledger(private=private), side)
                self.ledger(private=private).sum_up()
        if self._connection is not None:
            self.proved.requests = sum(self._connection.client.http.tally().answers.values())

    def _forget_absent(self, ledger: Ledger, side: Side) -> None:
        """Datasets that are on the other side by now, or nowhere; and contents that nothing names any more."""
        for subject in {one.subject for one in ledger.rounds()}:
            dataset_id = self.store.dataset_id(subject) if subject.isdecimal() else subject
            if not side.holds(dataset_id):
                ledger.forget(subject)
        # Each round sees all contents of its Dandiset.
        rounds = [ledger.round(identifier, "urls") for identifier in side.dandisets()]
        ledger.forget_before(min([(one.last_whole or 0) if one is not None else 0 for one in rounds], default=_ALL))

    def ledger(self, *, private: bool) -> Ledger:
        """The ledger of one side."""
        if private not in self._ledgers:
            path = ledger_path(self.store.side(private=private))
            self._ledgers[private] = self._stack.enter_context(Ledger(path))
        return self._ledgers[private]

    def run(self, identifiers: Sequence[str]) -> Proved:
        """Prove these Dandisets, each with its Zarrs. What stops the run is raised, `Stopped` is not."""
        for place, identifier in enumerate(identifiers):
            try:
                self.dandiset(identifier)
            except Stopped:
                self.proved.stopped = True
            finally:
                self.proved.left = len(identifiers) - place - (0 if self.proved.stopped else 1)
            if self.proved.stopped:
                break
        return self.proved

    def dandiset(self, identifier: str) -> None:
        """Prove the Zarrs of a Dandiset, then itself, at all levels; and reckon what can be had of its versions.

        In this order: a round of it that came to its end has seen its Zarrs, too.
        """
        private = self.store.is_embargoed(identifier)
        ledger = self.ledger(private=private)
        began = min(self._began(ledger, identifier, level) for level in self.levels)
        zarrs = self._zarrs(identifier)
        if zarrs is not None:
            ledger.note_zarrs_in(identifier, zarrs)
        for zarr_id, states in (zarrs or {}).items():
            self.zarr(zarr_id, states, since=began)
        for level in self.levels:
            self._dandiset_at(identifier, level, private=private)
        self.proved.dandisets += 1
        try:
            note_figures(self.store, identifier, ledger, int(self.now()))
        except NoRoom:
            raise
        except MirrorError as error:
            logger.info("%s: how much can be had of it is not known: %s", identifier, error)

    def zarr(self, zarr_id: str, states: Collection[Oid] | None = None, *, since: int | None = None) -> None:
        """Prove a Zarr at all levels; those at which it was proved whole `since` then are left out.

        `states`: the commits of it that are named; if that is not known, those that were the last time.
        """
        if zarr_id in self._done:
            return
        private = self.store.is_private(zarr_id)
        if states is None:
            refs, known_states = self.store.dataset(zarr_id).refs(), self.ledger(private=private).zarr_states(zarr_id)
            states = {refs[ref] for ref in (f"{TAGS}{checksum}" for checksum in known_states) if ref in refs}
        for level in self.levels:
            known = self.ledger(private=private).round(zarr_id, level) if self.sample is None else None
            # One that began in the future is of a clock that was wrong.
            is_done = known is not None and known.ended is not None and known.began <= self.now()
            if since is None or known is None or not is_done or known.began < since:
                self._zarr_at(zarr_id, level, states, private=private)
        self._done.add(zarr_id)
        self.proved.zarrs += 1

    def _zarrs(self, identifier: str) -> dict[str, set[Oid]] | None:
        """The Zarrs that stand in the trees of its versions, with their commits; None where that cannot be read."""
        repository = self.store.repository(identifier)
        named: dict[str, set[Oid]] = {}
        try:
            with repository.objects() as objects:
                for version, record in zarrs_of(versions_of(repository.peeled_refs(), objects), objects):
                    # One that could not be had yet, or that the settings leave out, has its record and no place.
                    entry = objects.lookup(version.commit.tree, submodule_path(record.path))
                    if entry is not None and entry.mode == MODE_GITLINK:
                        named.setdefault(str(record.zarr), set()).add(entry.oid)
        except (MirrorError, ValueError):
            return None  # the names tell
        return dict(sorted(named.items()))

    def _dandiset_at(self, identifier: str, level: Level, *, private: bool) -> None:
        result = SubjectProved(identifier, level, str(self.store.alias(identifier)), private)

        def work(teller: Teller, began: int) -> None:
            ledger = self.ledger(private=private)
            if level == "names":
                prove_names(self.store, identifier, teller, stop=self.stop)
                if self.against_archive:
                    prove_against_archive(self.settings, self.store, identifier, teller, stop=self.stop)
            elif level == "urls":
                # What another Dandiset had asked for in this run counts, too.
                since = min(began, self._run_began)
                prover = UrlProver(self.store, self._looker(), ledger, since, self._outages, self.sample, self.now)
                prover.prove(identifier, teller, stop=self.stop)
            else:
                contents = ContentProver(self.store, ledger, self.sample, self.now)
                contents.prove(self.store.dataset_id(identifier), teller, stop=self.stop)

        self._turn(result, work)

    def _zarr_at(self, zarr_id: str, level: Level, states: Collection[Oid], *, private: bool) -> None:
        result = SubjectProved(zarr_id, level, str(self.store.alias(zarr_id)), private)

        def work(teller: Teller, _began: int) -> None:
            ledger = self.ledger(private=private)
            if level == "names":
                prove_zarr_names(self.store, zarr_id, teller, stop=self.stop)
            elif level == "urls":
                zarrs = ZarrUrlProver(self.store, self._connected(), self._looker(), ledger, self._outages, self.now)
                zarrs.prove(zarr_id, teller, states, stop=self.stop)
            else:
                contents = ContentProver(self.store, ledger, self.sample, self.now, of_zarr=True)
                contents.prove(zarr_id, teller, stop=self.stop)

        self._turn(result, work)

    def _turn(self, result: SubjectProved, work: Callable[[Teller, int], None]) -> None:
        """One dataset at one level: begun or gone on with, told of, and remembered."""
        if self.stop():
            raise Stopped
        self.watcher.begun(result.subject, result.level)
        ledger, teller = self.ledger(private=result.private), Teller(result, self.watcher)
        began = self._began(ledger, result.subject, result.level)
        try:
            work(teller, began)
        except Stopped:
            result.unfinished = True
            raise
        except (ArchiveDown, NoRoom):
            raise
        except (MirrorError, OSError, ValueError) as error:
            if (full := no_room_of(error)) is not None:
                raise full from error
            result.trouble = str(error)
        finally:
            self.proved.take(result)
            ledger.note_complaints(result.subject, result.level, teller.kept)
            self.watcher.proved(result)
        if self.sample is None and result.trouble:
            ledger.give_up_round(result.subject, result.level, int(self.now()))
        elif self.sample is None:
            ledger.end_round(result.subject, result.level, int(self.now()))

    def _began(self, ledger: Ledger, subject: str, level: Level) -> int:
        """Since when what was seen counts for this round."""
        now = int(self.now())
        if self.sample is not None:
            return now
        return ledger.begin_round(subject, level, now, oldest=now - int(self.goes_on_seconds))

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = Connection.open(self.settings)
            self._stack.callback(self._connection.close)
        return self._connection

    def _looker(self) -> Looker:
        connection = self._connected()
        return Looker(connection.content, connection.hosts, self._rate)


def everything(store: Store) -> list[str]:
    """All Dandisets of which a store holds something, those under embargo, too."""
    return sorted({one for side in (store.open_side, store.closed_side) if side.exists for one in side.dandisets()})


def in_store(store: Store, identifiers: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those of these Dandisets that are in the store, and those that are not."""
    here = set(everything(store))
    given = list(dict.fromkeys(identifiers))
    return [one for one in given if one in here], [one for one in given if one not in here]
