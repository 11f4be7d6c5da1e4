"""What people ask for by hand: content to be brought into the store, or to be given up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from mirror.config import Settings
from mirror.dataset.query import Query
from mirror.errors import SomeFailed, StoreError, UsageError
from mirror.keeping.books import Books
from mirror.keeping.dropping import Dropped, Dropper
from mirror.keeping.fetching import plans
from mirror.keeping.keeping import CONNECTIONS_PER_JOB, Kept, asked_by_rules, holding, keep
from mirror.keeping.pins import give_up, pin, with_pinned
from mirror.keeping.plan import Amount, Asked, Plan
from mirror.keeping.populating import Populated, Populator, Watcher
from mirror.keeping.wishes import Versions, Wish, Zarrs, keys_of, wishes_for
from mirror.store import contents
from mirror.store.content_book import Holding
from mirror.store.store import Store
from mirror.sync.connection import Connection


class Listener(Watcher, Protocol):
    """Hears more than how it goes with each."""

    def doing(self, what: str) -> None: ...

    def would(self, asked: Asked) -> None:
        """It would be fetched, if it were not only tried."""

    def passed(self, zarr_id: str, path: str) -> None:
        """A Zarr whose files are passed over: it is held as a manifest."""


@dataclass
class Summary:
    """What came of it."""

    populated: Populated = field(default_factory=Populated)
    dropped: Dropped = field(default_factory=Dropped)
    beyond: Amount = field(default_factory=Amount)
    """of what was asked for, what the budget did not reach"""
    wanted: Amount = field(default_factory=Amount)
    """what would be fetched, if it is only tried"""
    asked_for_otherwise: Amount = field(default_factory=Amount)
    """what was to be given up, and is asked for by a rule, or still by hand"""
    notes: list[str] = field(default_factory=list)
    """what else a person should know of"""
    held: Holding | None = None
    seconds: float = 0.0

    def check(self) -> None:
        """Raise if something could not be had."""
        if self.populated.failed.keys:
            raise SomeFailed(f"{self.populated.failed.keys:,} files could not be had; the rest is here")

    def lines(self, told: Callable[[Amount], str], *, dry_run: bool) -> list[str]:
        """For people; `told` says how much an amount is."""
        if dry_run:
            parts = [(self.wanted, "would be fetched"), (self.populated.there, "here already")]
        else:
            done = self.populated
            parts = [
                (done.fetched, "fetched"),
                (done.shared, "held already, and shared"),
                (done.copied, "held already, and copied, for this file system can do no better"),
                (done.found, "found in place"),
                (done.there, "here already"),
                (self.dropped.dropped, "given up"),
                (self.dropped.stayed, "not given up"),
                (self.asked_for_otherwise, "kept, since it is asked for otherwise"),
                (done.failed, "failed"),
            ]
        parts.append((self.beyond, "beyond the budget"))
        lines = [f"{told(amount)}: {what}" for amount, what in parts if amount.keys]
        lines += [f"note: {problem}" for problem in (*self.notes, *self.dropped.problems)]
        lines = lines or ["nothing to do"]
        if self.held is not None:
            lines.append(f"{told(Amount(self.held.keys, self.held.distinct_bytes))}: held in all")
        return lines


class Populating:
    """One command of somebody's."""

    def __init__(self, settings: Settings, command: str) -> None:
        self.store = Store.open(settings.store)
        self._settings = settings
        self._command = command

    def run(
        self,
        what: Sequence[str],
        where: str | None,
        versions: Versions,
        budget: int | None,
        listener: Listener,
        *,
        dry_run: bool = False,
    ) -> Summary:
        """Bring what is asked for; without anything, what the rules ask for."""
        if not what and where is None:
            return self._as_rules_say(budget, listener, dry_run=dry_run)
        began, summary, zarrs = time.monotonic(), Summary(), Zarrs()
        listener.doing("what is asked for")
        wishes = wishes_for(self.store, what, Query.parse(where) if where is not None else None, versions)
        with ExitStack() as stack:
            books = None if dry_run else stack.enter_context(holding(self.store, self._command))
            plan = stack.enter_context(Plan(plans(self.store)))
            self._ask(plan, wishes, zarrs, lambda wish: wish.name)
            summary.beyond = plan.take(budget).beyond
            for zarr_id, path in zarrs.passed.items():
                listener.passed(zarr_id, path)
            listener.planned(plan.total())
            if books is None:
                self._try(plan, listener, summary)
            else:
                # Before any of it is here: whatever becomes of this process, it is known to be asked for.
                pin(self.store, wishes)
                self._populate(plan, books, listener, summary)
                summary.held = books.holding()
        summary.seconds = time.monotonic() - began
        return summary

    def drop(self, what: Sequence[str], where: str | None, versions: Versions) -> Summary:
        """Give up what was asked for by hand, and drop what nobody asks for then."""
        if not what and where is None:
            raise UsageError("what is to be given up?", hint="name Dandisets, versions or paths, or a --where")
        summary = Summary()
        named = wishes_for(self.store, what, Query.parse(where) if where is not None else None, versions)
        wishes = with_pinned(self.store, named)
        with ExitStack() as stack:
            books = stack.enter_context(holding(self.store, self._command))
            kept = Kept()
            rules = stack.enter_context(asked_by_rules(self.store, self._settings, lambda _: None, kept))
            if kept.unread:
                raise StoreError(f"what the rules ask for is not known: {kept.unread[0]}")
            given_up = stack.enter_context(Plan(plans(self.store), "given-up"))
            # Of all versions of a Dandiset, one that has the path will do.
            self._ask(given_up, wishes, Zarrs(), lambda wish: "/".join((wish.identifier, *wish.paths)))
            given_up.take()
            left = give_up(self.store, named)
            # What is asked for by hand otherwise is never said not to be: a kill would leave it to the rules.
            pinned = stack.enter_context(Plan(plans(self.store), "pinned"))
            for one in left:
                pinned.ask(keys_of(self.store, one, Zarrs()))
            pinned.take()
            for some in given_up.in_order():
                pairs = ((one.dataset_id, one.key) for one in some)
                books.set_by_hand((pair for pair in pairs if not pinned.asks_for(*pair)), False)
            connection = Connection.open(self._settings)
            stack.callback(connection.close)
            dropper = Dropper(self.store, books, connection.content, break_off=connection.close, discreet=False)
            dropper.result = summary.dropped
            self._drop(given_up, rules, books, dropper, summary)
            summary.held = books.holding()
        return summary

    def _as_rules_say(self, budget: int | None, listener: Listener, *, dry_run: bool) -> Summary:
        if not self._settings.content:
            hint = "name Dandisets, versions or paths, or a --where; or set `content` in the settings"
            raise UsageError("what is to be fetched?", hint=hint)
        if budget is not None:
            raise UsageError("each rule of the settings has its own budget", hint="name what is to be fetched, too")
        summary, kept = Summary(), Kept()
        if dry_run:
            with asked_by_rules(self.store, self._settings, listener.doing, kept) as plan:
                summary.notes += kept.unread
                listener.planned(plan.total())
                self._try(plan, listener, summary)
        else:
            keep(self._settings, tell=listener.doing, command=self._command, watcher=listener, kept=kept)
            summary = Summary(kept.populated, kept.dropped, held=kept.held, seconds=kept.seconds)
            summary.notes += [*kept.unread, *kept.troubled, *([kept.full] if kept.full else [])]
        summary.beyond = sum((taken.beyond for taken in kept.rules), Amount())
        if kept.zarrs_passed:
            summary.notes.append(f"Zarrs held as manifests are passed over: {len(kept.zarrs_passed):,}")
        return summary

    def _ask(self, plan: Plan, wishes: Sequence[Wish], zarrs: Zarrs, named: Callable[[Wish], str]) -> None:
        """UsageError where nothing is at the paths of one that was `named`."""
        empty: dict[str, bool] = {}
        for wish in wishes:
            name, passed = named(wish), len(zarrs.passed)
            found = plan.ask(keys_of(self.store, wish, zarrs)) or len(zarrs.passed) - passed
            empty[name] = empty.get(name, bool(wish.paths)) and not found
        for name in [name for name, is_empty in empty.items() if is_empty][:1]:
            hint = "small text lies in git itself; `*` stands for names, `**` for folders, too"
            raise UsageError(f"nothing is annexed at {name}", hint=hint)

    def _try(self, plan: Plan, listener: Listener, summary: Summary) -> None:
        """Find out what would be fetched, without writing or asking anything."""
        for asked in plan.in_order():
            folder = self.store.dataset(asked[0].dataset_id).path
            for one in asked:
                amount = Amount(1, one.size)
                if contents.has(folder, one.key):
                    summary.populated.there += amount
                    listener.there(one)
                else:
                    summary.wanted += amount
                    listener.would(one)

    def _populate(self, plan: Plan, books: Books, listener: Listener, summary: Summary) -> None:
        connection = Connection.open(self._settings)
        try:
            populator = Populator(
                self.store,
                books,
                connection.content,
                listener,
                by_hand=True,
                connections=CONNECTIONS_PER_JOB * self._settings.jobs,
                break_off=connection.close,
            )
            populator.result = summary.populated
            populator.run(plan)
        finally:
            connection.close()

    def _drop(self, given_up: Plan, rules: Plan, books: Books, dropper: Dropper, summary: Summary) -> None:
        for asked in given_up.in_order():
            dataset_id, unasked = asked[0].dataset_id, []
            for one in asked:
                held = books.of(dataset_id).get(dataset_id, one.key)
                if held is None:
                    continue
                if held.by_hand or rules.asks_for(dataset_id, one.key):
                    summary.asked_for_otherwise += Amount(1, one.size)
                else:
                    unasked.append(held)
            dropper.run(dataset_id, unasked)
