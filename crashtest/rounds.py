"""One round after another: the archive changes, a sync is killed, what lies there is looked at, it is run again."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from crashtest import steps
from crashtest.changes import Contributors
from crashtest.killing import Blow, Ending, run_sync
from crashtest.looking import Loss, Refs, check_objects, check_same_as_fresh, check_same_store, clone, refs, served
from crashtest.pair import SUPERDATASETS, Pair, host_of
from crashtest.published import check_catalogue, check_feed, check_host, check_links, check_same_feed
from crashtest.victim import Aim
from mirror.demo import DemoProcess
from mirror.errors import SomeFailed
from mirror.git.repository import PACK_LIMIT, Repository
from mirror.store.store import Store

FRESH_EVERY = 10
"""In every so many rounds the store that is killed is a new one."""
REPACK_EVERY = 4
"""In every so many rounds there are so many packs that they are made one."""
CATALOGUE_EVERY = 5
"""In every so many rounds the catalogue is compared with one made from nothing."""

_LAID_OUT = 60
"""By this step a new store is laid out."""

_DAY = 86_400
_SOME_FAILED = SomeFailed.exit_code


@dataclass
class Tally:
    """What the rounds came to."""

    rounds: int = 0
    killed: int = 0
    old: int = 0
    """repositories found in their old state, of those that had a new one"""
    new: int = 0
    repacks: int = 0
    lingered: float = 0.0
    losses: list[str] = field(default_factory=list)


class CrashTest:
    """A demo archive, a store and its twin, in a folder of their own. `with` it, run `round` as often as you like."""

    def __init__(self, folder: Path, archive: DemoProcess, seed: int) -> None:
        self.folder = folder
        self.tally = Tally()
        self._archive = archive
        self._chance = random.Random(seed)
        self._contributors = Contributors(archive, self._chance)
        self._settings = {
            "instance": "demo-dandi",
            "api_url": archive.api_url,
            "s3_endpoint": archive.s3_endpoint,
            "settle_seconds": 0,
        }
        self._pair = self._pair_called("store", "twin")
        self._steps = {steps.CHANGE: 0, steps.PROCESS: 0}
        self._until_publishing = dict(self._steps)
        self._startup = 0.0
        self._known: list[str] = []
        steps.watch(folder, self._count)
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}

    def _pair_called(self, store: str, twin: str) -> Pair:
        return Pair(self.folder / store, self.folder / twin, self._settings)

    def measure(self) -> None:
        """How long a sync takes that finds an empty archive: the time it needs to begin."""
        began = time.monotonic()
        pair = self._pair_called("empty", "empty-twin")
        ending = self._run(pair, jobs=1)
        self._startup = time.monotonic() - began
        if ending.code:
            raise Loss(f"a sync of an empty archive ended with {ending.code}: {ending.said}")

    def round(self) -> str:
        """One round; what happened in it. `Loss` when something was lost: the store then lies in `lost-…`."""
        number = self.tally.rounds
        self.tally.rounds += 1
        fresh = number % FRESH_EVERY == FRESH_EVERY - 1
        moved = self._contributors.work(settled=fresh)
        self._known = sorted({*self._known, *moved})
        if fresh:
            return self._fresh_round(moved)
        with self._losses_kept(self._pair):
            return self._kill_and_look(self._pair, moved, repack=number % REPACK_EVERY == REPACK_EVERY - 1)

    def _fresh_round(self, moved: list[str]) -> str:
        """As any other, but with a new store; and the old one, brought up to date, is compared with that."""
        pair = self._pair_called("fresh", "fresh-twin")
        with self._losses_kept(pair):
            told = self._kill_and_look(pair, self._known, repack=False, early=self._chance.random() < 0.5)
        with self._losses_kept(self._pair):
            code, _ = self._sync_twin(self._pair)
            self._sync_again(self._pair, self._pair.expected(moved), moved, code)
            check_same_as_fresh(self._pair.store, pair.store, self._known, SUPERDATASETS)
        pair.remove()
        return f"a new store, {told}"

    @contextlib.contextmanager
    def _losses_kept(self, pair: Pair) -> Iterator[None]:
        """Put a store that lost something aside, and go on with a copy of its twin."""
        try:
            yield
        except (Loss, TimeoutError) as loss:
            self.tally.losses.append(str(loss))
            pair.replace_by_twin(self.folder / f"lost-{self.tally.rounds}")
            raise Loss(str(loss)) from loss

    def _kill_and_look(self, pair: Pair, moved: list[str], *, repack: bool = False, early: bool = False) -> str:
        before = pair.expected(moved)
        if repack:
            self._make_many_packs(pair, moved)
        code, seconds = self._sync_twin(pair)
        after = pair.expected(moved)
        jobs = self._chance.choice((1, 1, 1, 2))
        kill = self._choose(pair, seconds, jobs, repack=repack, early=early)
        ending = self._run(pair, jobs, kill)
        self.tally.killed += ending.killed
        self.tally.lingered = max(self.tally.lingered, ending.lingered)
        if not ending.killed and ending.code not in (code, _SOME_FAILED):
            raise Loss(f"a sync that nobody killed ended with {ending.code}: {ending.said}")
        new = self._look(pair.store, before, after)
        self._look_at_published(pair.store, moved)
        self._sync_again(pair, after, moved, code)
        moves = sum(before.get(folder, {}) != after[folder] for folder in after)
        self.tally.new += new
        self.tally.old += moves - new
        return f"{_described(kill)}: {'killed' if ending.killed else 'survived'}, {new} of {moves} moved"

    def _make_many_packs(self, pair: Pair, moved: list[str]) -> None:
        """So many packs that the next one makes a repack due. Those an earlier one has replaced become old enough."""
        identifier = self._chance.choice(moved)
        for root in (pair.store, pair.twin):
            repository = Store.open(root).repository(identifier)
            if not repository.path.exists():
                return
            _pass_a_day(repository)
            for number in range(PACK_LIMIT - len(repository.packs()) + 1):
                with repository.writer() as writer:
                    writer.add_blob(b"%d of round %d" % (number, self.tally.rounds))
                    repository.publish(writer, {})
        self.tally.repacks += 1

    def _sync_twin(self, pair: Pair) -> tuple[int, float]:
        """Bring the twin up to date, and count the steps of that; its exit code, and how long it took."""
        self._steps = dict.fromkeys(self._steps, 0)

        def publishing_begins() -> None:
            self._until_publishing = dict(self._steps)

        return pair.sync_twin(at_end=publishing_begins)

    def _choose(self, pair: Pair, seconds: float, jobs: int, *, repack: bool, early: bool) -> Blow | Aim:
        """How and when to kill the next sync; early, while it lays out its store."""
        chance = self._chance
        alone = chance.random() < 0.25
        if repack and self._steps[steps.PROCESS] and chance.random() < 0.5:
            return Aim(str(pair.store), steps.PROCESS, 1, chance.uniform(0, 0.03), alone)
        if early:
            return Aim(str(pair.store), steps.CHANGE, chance.randint(1, _LAID_OUT), alone=alone)
        if chance.random() < 0.3:
            return Blow(chance.uniform(0, 1.1 * (self._startup + seconds)), alone)
        # Git, here or on the host, may be in the middle of anything; of files, every step is known.
        kind = steps.PROCESS if chance.random() < 0.2 else steps.CHANGE
        longest = 0.03 if kind == steps.PROCESS else 0.005
        delay = chance.choice((0.0, 0.0, 0.0, chance.uniform(0, longest)))
        # Each of several processes counts its own.
        last = max(1, self._steps[kind] // jobs)
        first = last // 2 if repack else 1
        if jobs == 1 and chance.random() < 0.4:
            first = self._until_publishing[kind]
        return Aim(str(pair.store), kind, chance.randint(max(1, min(first, last)), last), delay, alone)

    def _look(self, store: Path, before: dict[str, Refs], after: dict[str, Refs]) -> int:
        """Every repository is in its old state or its new one, for git as for its readers. How many are in the new."""
        new = 0
        with served(store / "public") as address:
            for folder, expected in after.items():
                allowed = [before.get(folder, {}), expected]
                found = refs(store / folder)
                self._check_state(folder, "its refs", found, allowed)
                new += found == expected != allowed[0]
                if not found:
                    continue
                check_objects(store / folder)
                way = address + folder.removeprefix("public")
                self._check_state(folder, "a clone's", clone(store / folder, self.folder / "clone"), [found])
                self._check_state(folder, "an HTTP clone's", clone(way, self.folder / "clone"), allowed)
        return new

    @staticmethod
    def _check_state(folder: str, whose: str, found: Refs, allowed: list[Refs]) -> None:
        if found not in allowed:
            raise Loss(f"{folder}: {whose} refs are {found}, which is none of {allowed}")

    @staticmethod
    def _look_at_published(root: Path, moved: list[str]) -> None:
        """What anybody may see at that moment: no superdataset, here or on the host, points at what is not there."""
        if not (root / "state" / "store.json").exists():
            return
        check_links(root / "public", SUPERDATASETS, moved)
        check_links(host_of(root), SUPERDATASETS, moved)
        check_feed(Store.open(root), moved, ended=False)

    def _sync_again(self, pair: Pair, after: dict[str, Refs], moved: list[str], code: int) -> None:
        """After the next sync all is as in the twin, as if nothing had happened."""
        _pass_hours(pair.store)
        ending = self._run(pair, self._chance.choice((1, 2)))
        if ending.code != code:
            raise Loss(f"the next sync ended with {ending.code}: {ending.said}")
        for folder, expected in after.items():
            self._check_state(folder, "after the next sync, its", refs(pair.store / folder), [expected])
            if expected:
                check_objects(pair.store / folder)
        check_same_store(pair.store, pair.twin)
        self._check_published(pair, after, moved)

    def _check_published(self, pair: Pair, after: dict[str, Refs], moved: list[str]) -> None:
        store = Store.open(pair.store)
        check_feed(store, moved, ended=True)
        check_same_feed(store, Store.open(pair.twin))
        check_host(store, host_of(pair.store), after)
        if self.tally.rounds % CATALOGUE_EVERY == 0:
            check_catalogue(store, self.folder / "rebuilt")

    def _run(self, pair: Pair, jobs: int, kill: Blow | Aim | None = None) -> Ending:
        arguments = ["sync", "-c", str(pair.write_settings(pair.store)), "-J", str(jobs)]
        return run_sync(arguments, self._environment, self.folder / "sync.log", kill)

    def _count(self, kind: str) -> None:
        self._steps[kind] += 1


def _pass_hours(store: Path) -> None:
    """What git left, here and on the host, is old now: only that is taken for dead, a live git might be at work."""
    for pattern in ("tmp_*", ".tmp-*"):
        for path in store.glob(f"public/*/*/objects/pack/{pattern}"):
            if not path.name.startswith("tmp_pack_mirror_"):
                os.utime(path, (1, 1))
    for lock in host_of(store).rglob("*.lock"):
        os.utime(lock, (1, 1))


def _pass_a_day(repository: Repository) -> None:
    """What the last repack replaced is old enough to go."""
    record = repository.path / "objects" / "info" / "replaced-packs"
    if record.exists():
        lines = [line.split(" ") for line in record.read_text().splitlines()]
        record.write_text("".join(f"{int(since) - _DAY - 1} {name}\n" for since, name in lines))


def _described(kill: Blow | Aim) -> str:
    alone = ", alone" if kill.alone else ""
    if isinstance(kill, Blow):
        return f"after {kill.seconds:.2f} s{alone}"
    return f"at {kill.kind} {kill.number}" + (f" + {kill.delay * 1000:.1f} ms" if kill.delay else "") + alone
