"""Looking after a store, now and then: what piles up is joined, what the dead left goes, what is damaged is found.

For whoever holds the store's lock. One repository's trouble does not stop the others.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from mirror.errors import MirrorError, Stopped
from mirror.git.repository import Repository
from mirror.store.cache import discard, find_damage, shrink
from mirror.store.content_book import book_path
from mirror.store.files import bytes_on_disk
from mirror.store.packing import repack
from mirror.store.room import no_room_of
from mirror.store.store import Store

logger = logging.getLogger(__name__)

Checked = Literal["ok", "made anew"]

_TELL_EVERY = 500


@dataclass(frozen=True)
class Maintained:
    """What came of it."""

    repositories: int
    """that were looked at"""
    repacked: int
    """of which one pack was made of many"""
    repaired: int
    """in which something was left unfinished"""
    pruned: int
    """files and folders that the dead had left, and nobody missed"""
    index: Checked
    catalogue: Checked
    """"made anew": it was damaged, and is thrown away; what comes next makes it"""
    store_bytes: int
    """what the store takes of the disk"""
    problems: tuple[str, ...]
    """what could not be done, and is tried again the next time"""


def maintain(store: Store, *, stop: Callable[[], bool], tell: Callable[[str], None]) -> Maintained:
    """Look after all of it. `Stopped` once `stop` says so; it is asked between two repositories."""
    work = _Maintenance(store, stop, tell)
    # What frees room comes before what needs some.
    work.prune()
    work.tend_all()
    checked = [work.check_index(side.index_path) for side in store.sides()]
    index: Checked = "made anew" if "made anew" in checked else "ok"
    catalogue = work.check_cache(store.catalogue_path, work.forget_catalogue)
    for side in store.sides():
        work.check_book(book_path(side))
    tell("the store's size")
    size = bytes_on_disk(store.root, stop)
    work.go_on()
    return Maintained(
        work.repositories, work.repacked, work.repaired, work.pruned, index, catalogue, size, tuple(work.problems)
    )


@dataclass
class _Maintenance:
    store: Store
    stop: Callable[[], bool]
    tell: Callable[[str], None]
    repositories: int = 0
    repacked: int = 0
    repaired: int = 0
    pruned: int = 0
    problems: list[str] = field(default_factory=list)

    def go_on(self) -> None:
        if self.stop():
            raise Stopped(f"stopped; {self.repositories:,} repositories had been looked at")

    def prune(self) -> None:
        self.go_on()
        self.tell("what was left unfinished")
        self._try("what was left unfinished", self._prune)

    def _prune(self) -> None:
        self.pruned = self.store.prune()

    def tend_all(self) -> None:
        for repository in self.store.repositories():
            self.go_on()
            if self.repositories % _TELL_EVERY == 0:
                self.tell(f"{self.repositories:,} repositories looked at")
            self._tend(repository)
            self.repositories += 1

    def _tend(self, repository: Repository) -> None:
        """There are tens of thousands, and nothing to be done in nearly all of them: these are only looked at."""
        try:
            unfinished, scattered = repository.looks_unfinished(), repository.wants_repack(time.time())
        except Exception:
            unfinished = scattered = True  # doing it tells what is wrong
        if unfinished or scattered:
            name = self._name_of(repository.path)
            self._try(name, lambda: self._mend(repository, name))

    def _mend(self, repository: Repository, name: str) -> None:
        # Whoever has it locked is at work in there, and leaves it whole.
        with repository.lock(wait=False):
            if repaired := repository.repair():
                self.repaired += 1
                logger.info("%s: %s", name, "; ".join(repaired))
            if repository.wants_repack(time.time()):
                self.tell(f"{name}: one pack of many")
                self.repacked += repack(repository, name)

    def check_index(self, path: Path) -> Checked:
        return self.check_cache(path, lambda: discard(path))

    def check_book(self, path: Path) -> None:
        """The book of what content is held: others may be at work in it, whom giving room back would hold up."""
        self.check_cache(path, lambda: discard(path), in_use=True)

    def check_cache(self, path: Path, forget: Callable[[], None], *, in_use: bool = False) -> Checked:
        """Throw it away if it is damaged; give room back if much of it is empty, and nobody else is at work in it."""
        self.go_on()
        self.tell(path.name)
        damages: list[str] = []

        def work() -> None:
            if (damage := find_damage(path)) is not None:
                logger.warning("%s is damaged, and made anew: %s", path, damage)
                damages.append(damage)
                forget()
            elif path.exists() and not in_use:
                shrink(path)

        self._try(path.name, work)
        return "made anew" if damages else "ok"

    def forget_catalogue(self) -> None:
        self.store.discard_catalogue()
        self.store.forget_published()

    def _try(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            full = no_room_of(error)
            if full is None and not isinstance(error, MirrorError | OSError | sqlite3.Error):
                logger.exception("%s", name)
            problem = f"{name}: {full or error}"
            logger.warning("%s", problem)
            self.problems.append(problem)

    def _name_of(self, folder: Path) -> str:
        """What people call a repository."""
        return self._names.get(folder, f"{folder.parent.name}/{folder.name}")

    @cached_property
    def _names(self) -> dict[Path, str]:
        return {folder: name for side in self.store.sides() for name, folder in side.addresses()}
