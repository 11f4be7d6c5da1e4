"""One round after another: the archive changes, a sync is killed, what lies there is looked at, it is run again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from crashtest import steps
from crashtest.changes import Contributors
from crashtest.killing import Blow, Ending, run_sync
from crashtest.looking import Loss, Refs, check_objects, check_same_as_fresh, check_same_store, clone, refs, served
from crashtest.victim import Aim
from mirror.config import Archive, Settings
from mirror.demo import DemoProcess
from mirror.git.repository import PACK_LIMIT, Repository
from mirror.store.store import Store
from mirror.sync.engine import sync
from mirror.sync.zarr.materialize import zarrs_of

FRESH_EVERY = 10
"""In every so many rounds the store that is killed is a new one."""
REPACK_EVERY = 4
"""In every so many rounds there are so many packs that they are made one."""

_LAID_OUT = 40
"""By this step a new store is laid out."""

_DAY = 86_400
_SOME_FAILED = 3


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


@dataclass
class _Pair:
    """A store that is killed, and its twin that is not."""

    store: Path
    twin: Path

    def expected(self, identifiers: list[str]) -> dict[str, Refs]:
        """The refs of the twin's repositories and of those of their Zarrs, by their folder from the store on."""
        if not (self.twin / "state" / "store.json").exists():
            return {}
        twin = Store.open(self.twin)
        folders = [twin.repository(identifier).path for identifier in identifiers]
        zarrs = [zarrs_of(twin, identifier) for identifier in identifiers if refs(twin.repository(identifier).path)]
        folders += [twin.dataset(zarr_id).path for zarr_id in dict.fromkeys(chain.from_iterable(zarrs))]
        return {folder.relative_to(self.twin).as_posix(): refs(folder) for folder in folders}


class CrashTest:
    """A demo archive, a store and its twin, in a folder of their own. `with` it, run `round` as often as you like."""

    def __init__(self, folder: Path, archive: DemoProcess, seed: int) -> None:
        self.folder = folder
        self.tally = Tally()
        self._archive = archive
        self._chance = random.Random(seed)
        self._contributors = Contributors(archive, self._chance)
        self._pair = _Pair(folder / "store", folder / "twin")
        self._steps = {steps.CHANGE: 0, steps.PROCESS: 0}
        self._startup = 0.0
        self._known: list[str] = []
        steps.watch(folder, self._count)
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}
        self._config = folder / "mirror.yaml"
        archive_settings = {
            "instance": "demo-dandi",
            "api_url": archive.api_url,
            "s3_endpoint": archive.s3_endpoint,
            "settle_seconds": 0,
        }
        self._config.write_text(json.dumps({"archive": archive_settings}))
        self._archive_settings = Archive.model_validate(archive_settings)

    def measure(self) -> None:
        """How long a sync takes that finds an empty archive: the time it needs to begin."""
        began = time.monotonic()
        ending = self._run(self.folder / "empty", jobs=1)
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
        pair = _Pair(self.folder / "fresh", self.folder / "fresh-twin")
        with self._losses_kept(pair):
            told = self._kill_and_look(pair, self._known, repack=False, early=self._chance.random() < 0.5)
        with self._losses_kept(self._pair):
            code, _ = self._sync_twin(self._pair)
            self._sync_again(self._pair, self._pair.expected(moved), code)
            check_same_as_fresh(self._pair.store, pair.store, self._known)
        for folder in (pair.store, pair.twin):
            shutil.rmtree(folder)
        return f"a new store, {told}"

    @contextlib.contextmanager
    def _losses_kept(self, pair: _Pair) -> Iterator[None]:
        """Put a store that lost something aside, and go on with a copy of its twin."""
        try:
            yield
        except (Loss, TimeoutError) as loss:
            self.tally.losses.append(str(loss))
            if pair.store.exists():
                pair.store.rename(self.folder / f"lost-{self.tally.rounds}")
            shutil.copytree(pair.twin, pair.store, symlinks=True)
            raise Loss(str(loss)) from loss

    def _kill_and_look(self, pair: _Pair, moved: list[str], *, repack: bool = False, early: bool = False) -> str:
        before = pair.expected(moved)
        if repack:
            self._make_many_packs(pair, moved)
        code, seconds = self._sync_twin(pair)
        after = pair.expected(moved)
        jobs = self._chance.choice((1, 1, 1, 2))
        kill = self._choose(pair, seconds, jobs, repack=repack, early=early)
        ending = self._run(pair.store, jobs, kill)
        self.tally.killed += ending.killed
        self.tally.lingered = max(self.tally.lingered, ending.lingered)
        if not ending.killed and ending.code not in (code, _SOME_FAILED):
            raise Loss(f"a sync that nobody killed ended with {ending.code}: {ending.said}")
        new = self._look(pair.store, before, after)
        self._sync_again(pair, after, code)
        moves = sum(before.get(folder, {}) != after[folder] for folder in after)
        self.tally.new += new
        self.tally.old += moves - new
        return f"{_described(kill)}: {'killed' if ending.killed else 'survived'}, {new} of {moves} moved"

    def _make_many_packs(self, pair: _Pair, moved: list[str]) -> None:
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

    def _sync_twin(self, pair: _Pair) -> tuple[int, float]:
        """Bring the twin up to date, here; its exit code, and how long it took."""
        self._steps = dict.fromkeys(self._steps, 0)
        settings = Settings(archive=self._archive_settings, store=pair.twin, jobs=1)
        report = sync(settings)
        return (_SOME_FAILED if report.count("failed") else 0), report.seconds

    def _choose(self, pair: _Pair, seconds: float, jobs: int, *, repack: bool, early: bool) -> Blow | Aim:
        """How and when to kill the next sync; early, while it lays out its store."""
        chance = self._chance
        alone = chance.random() < 0.25
        if repack and self._steps[steps.PROCESS] and chance.random() < 0.5:
            return Aim(str(pair.store), steps.PROCESS, 1, chance.uniform(0, 0.03), alone)
        if early:
            return Aim(str(pair.store), steps.CHANGE, chance.randint(1, _LAID_OUT), alone=alone)
        if chance.random() < 0.4:
            return Blow(chance.uniform(0, 1.1 * (self._startup + seconds)), alone)
        # Each of several processes counts its own.
        last = max(1, self._steps[steps.CHANGE] // jobs)
        first = last // 2 if repack else 1
        delay = chance.choice((0.0, 0.0, 0.0, chance.uniform(0, 0.005)))  # or in the middle of it
        return Aim(str(pair.store), steps.CHANGE, chance.randint(max(first, 1), last), delay, alone)

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

    def _sync_again(self, pair: _Pair, after: dict[str, Refs], code: int) -> None:
        """After the next sync all is as in the twin, as if nothing had happened."""
        _pass_hours(pair.store)
        ending = self._run(pair.store, self._chance.choice((1, 2)))
        if ending.code != code:
            raise Loss(f"the next sync ended with {ending.code}: {ending.said}")
        for folder, expected in after.items():
            self._check_state(folder, "after the next sync, its", refs(pair.store / folder), [expected])
            if expected:
                check_objects(pair.store / folder)
        check_same_store(pair.store, pair.twin)

    def _run(self, store: Path, jobs: int, kill: Blow | Aim | None = None) -> Ending:
        arguments = ["sync", "-c", str(self._config), "--store", str(store), "-J", str(jobs)]
        return run_sync(arguments, self._environment, self.folder / "sync.log", kill)

    def _count(self, kind: str) -> None:
        self._steps[kind] += 1


def _pass_hours(store: Path) -> None:
    """What git left is old now: a sync takes only that for dead, since a live git might be at work in there."""
    for pattern in ("tmp_*", ".tmp-*"):
        for path in store.glob(f"public/*/*/objects/pack/{pattern}"):
            if not path.name.startswith("tmp_pack_mirror_"):
                os.utime(path, (1, 1))


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
