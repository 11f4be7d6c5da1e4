"""After a sync: the change feed, the superdatasets, the hosts. Also by itself, of what is mirrored already."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha1
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from mirror.config import Settings
from mirror.dataset.layout import Layout
from mirror.dataset.superdataset import NUMBER, place
from mirror.dataset.times import moment
from mirror.errors import MirrorError, SomeFailed, UsageError
from mirror.publish.horizon import Horizon, horizon_of
from mirror.publish.releases import Skipped
from mirror.publish.superdatasets import SuperdatasetWriter, Written, holdings, subjects_of
from mirror.store.catalogue import Catalogue
from mirror.store.chronicle import Chronicle
from mirror.store.feed import Change
from mirror.store.frontier import PublishedMark
from mirror.store.skips import Skip
from mirror.store.store import Store

if TYPE_CHECKING:
    from mirror.publish.hosts import HostOutcome

logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """Is told how publishing gets on."""

    def working(self, how_far: str) -> None: ...

    def superdataset(self, written: Written) -> None: ...

    def host(self, outcome: HostOutcome) -> None: ...


@dataclass
class Published:
    """How publishing went."""

    changes: list[Change] = field(default_factory=list)
    superdatasets: list[Written] = field(default_factory=list)
    hosts: list[HostOutcome] = field(default_factory=list)
    horizon: Horizon | None = None
    held_back: int = 0
    """published versions that stand behind the horizon"""
    problems: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise if anything failed."""
        failing = [outcome.host for outcome in self.hosts if not outcome.ok]
        parts = [f"not all of it is on {', '.join(failing)}"] if failing else []
        parts += self.problems
        if parts:
            raise SomeFailed("; ".join(parts), hint="`dandi-mirror status` shows why; the next sync tries again")


class Publisher:
    """Follows a sync, or runs by itself. A context manager; everything happens under the store's lock."""

    def __init__(
        self, settings: Settings, layout: Layout, watcher: Watcher | None = None, *, anew: str | None = None
    ) -> None:
        self._settings = settings
        self._layout = layout
        self._watcher = watcher
        self._anew = anew
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
        with store.catalogue() as catalogue:
            if not catalogue.is_complete:
                # Whatever the last run announced before it was broken off may be in no superdataset yet.
                store.forget_published()
        self._chronicle = Chronicle(store)
        self._chronicle.__enter__()
        self._chronicle.begin()

    def moved(self, identifier: str) -> None:
        """A Dandiset's repository may have changed: everybody can learn of it at once."""
        assert self._chronicle is not None, "begin comes first"
        # What fails now is tried once more at the end, and told then.
        with suppress(MirrorError):
            self._note(self._chronicle.follow(identifier))

    def _note(self, changes: list[Change]) -> None:
        if changes:
            self.published.changes += changes
            # Until they are in the superdatasets, that is left to be done, whatever becomes of this process.
            self._open_store().forget_published()

    def end(self) -> None:
        """Every Dandiset had its turn."""
        assert self._chronicle is not None, "begin comes first"
        self._note(self._chronicle.catch_up())
        failures = self._chronicle.failures
        self.published.problems += [f"Dandiset {name} is not in the catalogue: {why}" for name, why in failures.items()]
        with self._open_store().catalogue() as catalogue:
            self._superdatasets(catalogue)
            self._hosts(catalogue)
        self._chronicle.finish()
        self._close()

    def _superdatasets(self, catalogue: Catalogue) -> None:
        store, settings = self._open_store(), self._settings
        skips = store.skips()
        fingerprint = self._fingerprint(skips)
        mark = store.published()
        if mark is not None and mark.of == fingerprint and not mark.held_back:
            return
        states = [state for state in store.states() if settings.select.includes(state.identifier)]
        horizon = self.published.horizon = horizon_of(store.frontier(), settings.select.which, states, skips)
        held = holdings(store, catalogue.standings())
        self.published.held_back = held_back = sum(
            settings.select.includes(one.facts.identifier) and not horizon.includes(place(one.facts))
            for one in held.published
        )
        writer = SuperdatasetWriter(settings, store, self._layout.trailer, horizon, _skipped(skips))
        failed = False
        for subject in subjects_of(settings, store):
            self._tell(f"superdataset {subject.name}")
            try:
                written = writer.write(subject, held, anew=subject.name == self._anew)
            except Exception as error:
                if not isinstance(error, MirrorError):
                    logger.exception("superdataset %s", subject.name)
                self._trouble(f"superdataset {subject.name}: {error}")
                failed = True
                continue
            if written is not None and written.changed:
                self.published.superdatasets.append(written)
                if self._watcher is not None:
                    self._watcher.superdataset(written)
        if not failed:
            store.save_published(PublishedMark(fingerprint, held_back))

    def _fingerprint(self, skips: tuple[Skip, ...]) -> str:
        """Everything but the Dandisets that superdatasets depend on."""
        parts = [self._layout.trailer, self._settings.select.which, str(NUMBER)]
        parts += [f"{one.name}: {one.where}" for one in self._settings.superdatasets]
        parts += [f"{skip.dandiset} {skip.version}" for skip in skips]
        return sha1("\n".join(parts).encode(), usedforsecurity=False).hexdigest()

    def _hosts(self, catalogue: Catalogue) -> None:
        hosts, store = self._settings.publish.hosts, self._open_store()
        if not hosts:
            return
        # Most mirrors have none, and every sync would pay for the import.
        from mirror.publish.hosts import push_all
        from mirror.publish.publications import all_publications

        found = all_publications(self._settings, store, catalogue)
        self.published.hosts = push_all(hosts, found, store.host_marks, watcher=_HostWatcher(self._watcher))

    def _tell(self, how_far: str) -> None:
        if self._watcher is not None:
            self._watcher.working(how_far)

    def _trouble(self, problem: str) -> None:
        logger.error("%s", problem)
        self.published.problems.append(problem)

    def _open_store(self) -> Store:
        assert self._store is not None, "begin comes first"
        return self._store


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
        publisher.end()
    return publisher.published


class _HostWatcher:
    """Passes on what hosts tell."""

    def __init__(self, watcher: Watcher | None) -> None:
        self._watcher = watcher

    def working(self, host: str, name: str) -> None:
        if self._watcher is not None:
            self._watcher.working(f"{name} to {host}")

    def done(self, outcome: HostOutcome) -> None:
        if self._watcher is not None:
            self._watcher.host(outcome)


def _skipped(skips: tuple[Skip, ...]) -> tuple[Skipped, ...]:
    return tuple(Skipped((moment(skip.created), skip.dandiset, skip.version)) for skip in skips)
