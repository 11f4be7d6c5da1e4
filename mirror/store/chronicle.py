"""The chronicle: what a run tells after a Dandiset moved, so that it can be looked up, and followed from elsewhere.

The catalogue and the feed are brought up to date together. Whatever instant a process dies at: once the next one has
caught up, the catalogue knows every commit, and the feed has told of each once.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import msgspec

from mirror.errors import CatalogueDamaged, MirrorError, NoRoom, StoreError
from mirror.store.announced import Announced
from mirror.store.cache import is_damaged
from mirror.store.catalogue.cataloguing import DandisetCataloguer, Tips, told
from mirror.store.feed import Change, Feed, Move
from mirror.store.room import telling_of_room
from mirror.store.store import Store

logger = logging.getLogger(__name__)

_CACHE_KIB = 65_536
"""The indexes of a million assets are filled at random places."""


class Chronicle:
    """A context manager, for whoever holds the store's lock: `begin`, `follow` what moves, `catch_up`, `finish`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stack = ExitStack()
        self.broken_off = False
        """whether the run before did not come to its end"""
        self.failures: dict[str, str] = {}
        """Dandisets that could not be followed, with the reason; the next `catch_up` tries again"""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            catalogue = stack.enter_context(self._store.catalogue())
            self.catalogue, self._db = catalogue, catalogue.db
            self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self._announced = Announced(self._db)
            self._feed = stack.enter_context(Feed(self._store.changes, self._announced.mark()[1]))
            with self.catalogue.writing():
                self._announced.take_up(self._feed)
            self._all_followed = bool(self._db.execute("SELECT finished FROM mark").fetchone()[0])
            self.broken_off = not self._all_followed
            self.failures = dict(self._db.execute("SELECT identifier, reason FROM behind ORDER BY identifier"))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def begin(self) -> None:
        """Note durably that a run is under way: should it not `finish`, the next `catch_up` looks at everything."""
        self._note_finished(finished=False)

    def finish(self) -> None:
        """Note durably that all was followed; it is not noted if the run before had been broken off, and nobody caught
        up since."""
        if self._all_followed:
            self._note_finished(finished=True)

    def follow(self, identifier: str) -> list[Change]:
        """Bring the catalogue up to where this Dandiset's branches are, and announce what moved; of one under embargo
        nothing is catalogued, nor announced."""
        try:
            with telling_of_room():
                changes = self._follow(identifier)
        except (CatalogueDamaged, NoRoom):
            raise  # that is no trouble of this Dandiset
        except MirrorError as error:
            self._fall_behind(identifier, str(error))
            raise
        except sqlite3.DatabaseError as error:
            if is_damaged(error):
                raise
            raise self._failed(identifier, error) from error
        except Exception as error:
            # Whatever its objects hold: it must not keep the others from being followed.
            raise self._failed(identifier, error) from error
        if self.failures.pop(identifier, None) is not None:
            self._write("DELETE FROM behind WHERE identifier = ?", identifier)
        return changes

    def _failed(self, identifier: str, error: Exception) -> StoreError:
        failure = StoreError(
            f"Dandiset {identifier} cannot be catalogued: {type(error).__name__}: {error}",
            hint=f"`git fsck` in {self._store.alias(identifier)} may say more",
        )
        self._fall_behind(identifier, str(failure))
        return failure

    def catch_up(self) -> list[Change]:
        """Follow every Dandiset, if the last run did not come to its end; otherwise those that could not be followed.

        What cannot be followed now is in `failures`, and in the log.
        """
        changes: list[Change] = []
        for identifier in sorted(self.failures) if self._all_followed else self._known():
            try:
                changes += self.follow(identifier)
            except (CatalogueDamaged, NoRoom):
                raise
            except MirrorError as error:
                logger.warning("%s", error)
        self._all_followed = True
        return changes

    def _known(self) -> list[str]:
        """All there are, and all that were."""
        catalogued = {identifier for (identifier,) in self._db.execute("SELECT identifier FROM dandiset")}
        return sorted(catalogued.union(self._store.dandisets(), self.failures))

    def _follow(self, identifier: str) -> list[Change]:
        repository = self._store.repository(identifier)
        closed = self._store.is_embargoed(identifier)
        tips = Tips.of(repository.refs()) if not closed else Tips()
        if not closed and tips == Tips() and self._store.alias(identifier).is_symlink():
            raise StoreError(f"Dandiset {identifier} has lost its branches", hint=f"restore {repository.path}")
        if tips == Tips.catalogued(self._db, identifier):
            return []
        with self.catalogue.writing():
            self._announced.take_up(self._feed)
            cataloguer = DandisetCataloguer(self._db, identifier)
            if tips == Tips():
                cataloguer.forget()
                if closed:
                    self._announced.keep_all(identifier, self._feed)
                return []
            known = cataloguer.tips
            with repository.objects() as objects:
                moves = cataloguer.update(objects, tips)
            earlier = self._announced.earlier(identifier)
            if earlier is not None:
                moves = [move for move in moves if told(move) not in earlier.told]
                known = Tips(annex=earlier.annex)
            if not moves and tips.annex is not None and tips.annex != known.annex:
                moves = [cataloguer.annex_move(known.annex)]
            return self._announce(identifier, moves, tips)

    def _announce(self, identifier: str, moves: list[Move], tips: Tips) -> list[Change]:
        """Put these into the feed. In this order: a feed that the catalogue does not know of yet is taken up again."""
        serial, _ = self._announced.mark()
        time = datetime.now(UTC).isoformat(timespec="seconds")
        annex = tips.annex.hex() if tips.annex is not None else None
        changes = [
            Change(serial=number, time=time, dandiset=identifier, annex=annex, **msgspec.structs.asdict(move))
            for number, move in enumerate(moves, serial + 1)
        ]
        if changes:
            self._feed.append(changes)
        self._announced.note(serial + len(changes), self._feed.end)
        self._announced.forget(identifier)
        return changes

    def _fall_behind(self, identifier: str, reason: str) -> None:
        self.failures[identifier] = reason
        self._write("INSERT OR REPLACE INTO behind VALUES (?, ?)", identifier, reason)

    def _note_finished(self, *, finished: bool) -> None:
        self._write("UPDATE mark SET finished = ?", finished)

    def _write(self, statement: str, *values: object) -> None:
        with self.catalogue.writing():
            self._db.execute(statement, values)
