"""After a sync: the change feed, the superdatasets, the hosts. Also by itself, of what is mirrored already."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from hashlib import sha1
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from mirror.config import Settings
from mirror.dataset.layout import Layout
from mirror.dataset.superdataset import NUMBER, Subject
from mirror.dataset.times import moment
from mirror.errors import CatalogueDamaged, MirrorError, NoRoom, SomeFailed, UsageError
from mirror.publish.horizon import Marks, horizon_of
from mirror.publish.releases import Skipped
from mirror.publish.superdatasets import Holdings, SuperdatasetWriter, Written, holdings, subjects_of
from mirror.store.cache import is_damaged
from mirror.store.catalogue import Catalogue
from mirror.store.chronicle import Chronicle
from mirror.store.feed import Change
from mirror.store.frontier import PublishedMark
from mirror.store.skips import Skip
from mirror.store.state import DandisetState
from mirror.store.store import Store

if TYPE_CHECKING:
    from mirror.publish.hosts import HostOutcome

logger = logging.getLogger(__name__)


_Holds = Callable[[], Holdings]
"""Gives what is mirrored, put together when first asked for."""


class Watcher(Protocol):
    """Is told how publishing gets on."""

    def publishing(self, how_far: str) -> None: ...

    def superdataset(self, written: Written) -> None: ...

    def host(self, outcome: HostOutcome) -> None: ...


@dataclass
class Published:
    """How publishing went."""

    changes: list[Change] = field(default_factory=list)
    superdatasets: list[Written] = field(default_factory=list)
    hosts: list[HostOutcome] = field(default_factory=list)
    held_back: int = 0
    """published versions that a chain of releases does not have yet"""
    waits_for: str | None = None
    """what it waits for, where it is more than the next poll"""
    problems: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise if anything failed."""
        failing = [outcome.host for outcome in self.hosts if not outcome.ok]
        parts = [f"host{'s' if len(failing) > 1 else ''} without everything: {', '.join(failing)}"] if failing else []
        parts += self.problems
        if parts:
            raise SomeFailed("; ".join(parts), hint="`dandi-mirror status` shows why; the next sync tries again")


class Publisher:
    """Follows a sync, or runs by itself. A context manager; everything happens under the store's lock."""

    def __init__(
        self,
        settings: Settings,
        layout: Layout,
        watcher: Watcher | None = None,
        *,
        anew: str | None = None,
        patient: bool = False,
    ) -> None:
        """`patient`: hosts that failed rest for a while; for rounds that nobody typed."""
        self._settings = settings
        self._layout = layout
        self._watcher = watcher
        self._anew = anew
        self._patient = patient
        self._store: Store | None = None
        self._chronicle: Chronicle | None = None
        self.published = Published()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._chronicle is not None:
            self._chronicle.__exit__(None, None, None)
            self._chronicle = None

    def begin(self, store: Store) -> None:
        self._store = store
        try:
            self._open(store)
        except (sqlite3.DatabaseError, CatalogueDamaged) as error:
            self._start_over(store, error)

    def _open(self, store: Store) -> None:
        self._chronicle = Chronicle(store)
        self._chronicle.__enter__()
        if self._chronicle.broken_off or self._chronicle.failures:
            # Whatever the last run announced before it was broken off may be in no superdataset yet.
            store.forget_published()
        self._chronicle.begin()

    def _start_over(self, store: Store, error: sqlite3.DatabaseError | CatalogueDamaged) -> None:
        """A catalogue that is damaged is made anew: all of it is in the repositories and the feed."""
        if isinstance(error, sqlite3.DatabaseError) and not is_damaged(error):
            raise error
        logger.warning("the catalogue is damaged, and made anew: %s", error)
        self._close()
        store.discard_catalogue()
        store.forget_published()
        self._open(store)

    def moved(self, identifier: str) -> None:
        """A Dandiset's repository may have changed: everybody can learn of it at once."""
        store, chronicle = self._begun()
        try:
            if store.is_embargoed(identifier) and chronicle.catalogue.standing(identifier) is not None:
                self._tell_of_exposure(store, identifier)
            self._note(chronicle.follow(identifier))
        except (sqlite3.DatabaseError, CatalogueDamaged) as error:
            self._start_over(store, error)
        except NoRoom:
            raise
        except MirrorError:
            logger.debug("Dandiset %s: tried once more at the end, and told then", identifier, exc_info=True)

    def _tell_of_exposure(self, store: Store, identifier: str) -> None:
        """What came under embargo may be on hosts, where everybody saw it."""
        if not self._settings.publish.hosts:
            return
        from mirror.publish.hosts import hosts_that_show

        if names := hosts_that_show(identifier, self._settings.publish.hosts, store.host_marks):
            logger.warning("Dandiset %s, which came under embargo, had been pushed to %s", identifier, ", ".join(names))

    def _note(self, changes: list[Change]) -> None:
        if changes:
            self.published.changes += changes
            # Until they are in the superdatasets, that is left to be done, whatever becomes of this process.
            self._begun()[0].forget_published()

    def end(self, states: Mapping[str, DandisetState]) -> None:
        """Every Dandiset had its turn; `states` are the marks of all of them."""
        try:
            self._end(states)
        except (sqlite3.DatabaseError, CatalogueDamaged) as error:
            self._start_over(self._begun()[0], error)
            self._end(states)

    def _end(self, states: Mapping[str, DandisetState]) -> None:
        store, chronicle = self._begun()
        self._note(chronicle.catch_up())
        failures = chronicle.failures
        self.published.problems = [f"Dandiset {name} is not in the catalogue: {why}" for name, why in failures.items()]
        embargoed = frozenset(store.embargoed())
        # What is missing of those holds nobody up, and is told to nobody.
        states = {identifier: state for identifier, state in states.items() if identifier not in embargoed}
        returned = frozenset(identifier for identifier, state in states.items() if state.returned)
        held = cache(lambda: holdings(store, chronicle.catalogue.standings(), embargoed, returned))
        self._superdatasets(store, held, states, failures)
        self._hosts(store, chronicle.catalogue, held)
        chronicle.finish()
        self._close()

    def _superdatasets(
        self, store: Store, holds: _Holds, states: Mapping[str, DandisetState], failures: Collection[str]
    ) -> None:
        settings, skips = self._settings, store.skips()
        fingerprint = self._fingerprint(skips)
        mark = store.published()
        if mark is not None and mark.of == fingerprint and not mark.held_back:
            return
        held = holds()
        horizon = horizon_of(_marks(settings, store, states, held, failures), settings.select.which)
        writer = SuperdatasetWriter(settings, store, self._layout.trailer, horizon, _skipped(settings, skips))
        done = [self._superdataset(writer, subject, held) for subject in subjects_of(settings, store)]
        lacking = max((one.lacking for one in done if one is not None), default=0)
        self.published.held_back, self.published.waits_for = lacking, horizon.waits_for
        if None not in done:
            store.save_published(PublishedMark(fingerprint, lacking, horizon.waits_for if lacking else None))

    def _superdataset(self, writer: SuperdatasetWriter, subject: Subject, held: Holdings) -> Written | None:
        """Bring one up to date; None if that failed."""
        self._tell(f"superdataset {subject.name}")
        try:
            written = writer.write(subject, held, anew=subject.name == self._anew)
        except NoRoom:
            raise
        except Exception as error:
            if not isinstance(error, MirrorError):
                logger.exception("superdataset %s", subject.name)
            self._trouble(f"superdataset {subject.name}: {error}")
            return None
        if written.changed:
            self.published.superdatasets.append(written)
            if self._watcher is not None:
                self._watcher.superdataset(written)
        return written

    def _fingerprint(self, skips: tuple[Skip, ...]) -> str:
        """Everything but the Dandisets that superdatasets depend on."""
        parts = [self._layout.trailer, self._settings.select.which, str(NUMBER)]
        parts += [f"{one.name}: {one.where}" for one in self._settings.superdatasets]
        parts += [f"{skip.dandiset} {skip.version}" for skip in skips]
        return sha1("\n".join(parts).encode(), usedforsecurity=False).hexdigest()

    def _hosts(self, store: Store, catalogue: Catalogue, holds: _Holds) -> None:
        hosts = self._settings.publish.hosts
        if not hosts:
            return
        # Most mirrors have none, and every sync would pay for the import.
        from mirror.publish.hosts import Patience, push_all
        from mirror.publish.publications import all_publications

        found = all_publications(self._settings, store, catalogue, holds())
        watcher, patience = _HostWatcher(self._watcher), Patience(lets_rest=self._patient)
        self.published.hosts = push_all(hosts, found, store.host_marks, watcher=watcher, patience=patience)

    def _tell(self, how_far: str) -> None:
        if self._watcher is not None:
            self._watcher.publishing(how_far)

    def _trouble(self, problem: str) -> None:
        logger.error("%s", problem)
        self.published.problems.append(problem)

    def _begun(self) -> tuple[Store, Chronicle]:
        assert self._store is not None, "begin comes first"
        assert self._chronicle is not None, "begin comes first"
        return self._store, self._chronicle


def publish(
    settings: Settings, layout: Layout, *, command: str, watcher: Watcher | None = None, anew: str | None = None
) -> Published:
    """Bring feed, superdatasets and hosts up to what is mirrored, without asking the archive.

    `anew`: a superdataset whose chain of releases is written from nothing.
    """
    store = Store.open(settings.store)
    names = [subject.name for subject in subjects_of(settings, store)]
    if anew is not None and anew not in names:
        raise UsageError(f"there is no superdataset {anew!r}", hint=f"there are: {', '.join(names)}")
    with store.lock(command):
        with Chronicle(store) as chronicle:
            # As after a run that was broken off: then every Dandiset is looked at.
            chronicle.begin()
        return _publish(settings, layout, store, watcher, anew)


def _publish(settings: Settings, layout: Layout, store: Store, watcher: Watcher | None, anew: str | None) -> Published:
    with Publisher(settings, layout, watcher, anew=anew) as publisher:
        store.clear_away()
        publisher.begin(store)
        store.forget_published()
        publisher.end({state.identifier: state for state in store.states()})
    return publisher.published


class _HostWatcher:
    """Passes on what hosts tell."""

    def __init__(self, watcher: Watcher | None) -> None:
        self._watcher = watcher

    def working(self, host: str, name: str) -> None:
        if self._watcher is not None:
            self._watcher.publishing(f"{name} to {host}")

    def done(self, outcome: HostOutcome) -> None:
        if self._watcher is not None:
            self._watcher.host(outcome)


def _marks(
    settings: Settings, store: Store, states: Mapping[str, DandisetState], held: Holdings, failures: Collection[str]
) -> Marks:
    """What is known of versions that are missing, or may be."""
    states = {identifier: state for identifier, state in states.items() if settings.select.includes(identifier)}
    latest: dict[str, datetime] = {}
    mirrored = set()
    for one in held.published:
        latest[one.facts.identifier] = moment(one.facts.created)  # they come in their order
        mirrored.add((one.facts.identifier, one.facts.version))
    unread = {}
    for identifier in failures:
        holding = states[identifier].holding if identifier in states else None
        if holding is None or any((identifier, version) not in mirrored for version in holding.releases):
            unread[identifier] = latest.get(identifier, datetime.min.replace(tzinfo=UTC))
    unread = {identifier: until for identifier, until in unread.items() if settings.select.includes(identifier)}
    return Marks(store.frontier(), states, store.skips(), mirrored, unread)


def _skipped(settings: Settings, skips: tuple[Skip, ...]) -> tuple[Skipped, ...]:
    return tuple(
        Skipped((moment(skip.created), skip.dandiset, skip.version))
        for skip in skips
        if settings.select.includes(skip.dandiset)
    )
