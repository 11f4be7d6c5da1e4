"""The week: the archive is filled, two mirrors begin to follow it, things happen, all settles, all is compared."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from mirror.demo import DemoProcess
from mirror.store.store import Store
from simulation.comparing import compare
from simulation.contributors import Change, Contributors
from simulation.disk import SmallDisk
from simulation.following import Following, Stuck
from simulation.memory import resident, trend
from simulation.mirrors import Daemon, Fallen, Mirror, Timer
from simulation.outcome import Outcome
from simulation.plan import Plan, drawn
from simulation.scale import Scale
from simulation.trouble import Troubles
from simulation.weather import Weather

START = "2026-01-01T00:00:00+00:00"
WEEK = 7 * 86_400
_DOI_DELAY = 1200
"""By the archive's clock, so many seconds after its publication a version gets its DOI."""
_STEP = 0.5
_SAMPLE = 100
_TOLD_EVERY = 15.0
_DISK_PER_ASSET, _DISK_AT_LEAST = 12_000, 256 << 20


Say = Callable[[str], None]


class Simulation:
    """`run` it once, in a folder of its own."""

    def __init__(self, folder: Path, scale: Scale, seed: int, say: Say, *, keep: bool = False) -> None:
        self.folder = folder
        self.outcome = Outcome(scale, seed)
        self._scale = scale
        self._plan: Plan = drawn(scale, seed)
        self._seed = seed
        self._say = say
        self._keep = keep
        self._told = 0.0
        self._disk: SmallDisk | None = None

    def run(self) -> Outcome:
        outcome = self.outcome
        with DemoProcess("empty", start=START, seed=self._seed) as archive:
            try:
                self._run(archive)
            except Stuck as stuck:
                outcome.wrong.append(f"dead lock: {stuck}")
            except Fallen as fallen:
                outcome.wrong.append(str(fallen))
            finally:
                outcome.wrong += [told for one in outcome.followings for told in one.mirror.complaints()]
                self._stop_all()
        return outcome

    def _run(self, archive: DemoProcess) -> None:
        outcome = self.outcome
        with outcome.timed("filling"):
            identifiers = self._fill(archive)
        daemon, timer = self._mirrors(archive)
        outcome.followings = [Following(one, self._scale.patience) for one in (daemon, timer)]
        weather = Weather(archive, self._plan.events)
        weather.before()
        with outcome.timed("first mirrors"):
            self._mirror_first(len(identifiers))
        contributors = Contributors(archive, identifiers, self._seed)
        troubles = Troubles(self._plan.events, weather, self._disk, outcome.followings, self._say)
        with outcome.timed("the week"):
            self._live(archive, contributors, troubles)
        outcome.struck, outcome.events = weather.struck(), troubles.happened
        with outcome.timed("settling"):
            self._settle(archive, contributors)
        outcome.wrong += [told for one in outcome.followings for told in one.complaints()]
        self._look_at_memory(archive, daemon)
        with outcome.timed("comparing"):
            self._compare(archive)

    def _fill(self, archive: DemoProcess) -> list[str]:
        scale = self._scale
        self._say(f"filling an archive of {scale.dandisets:,} Dandisets with {scale.assets:,} assets")
        size = {"dandisets": scale.dandisets, "assets": scale.assets, "versions": scale.versions}
        identifiers: list[str] = archive.call("fill", **size, seed=self._seed)
        archive.call("set_doi_delay", seconds=_DOI_DELAY)
        archive.call("advance_clock", seconds=_DOI_DELAY)
        return identifiers

    def _mirrors(self, archive: DemoProcess) -> tuple[Daemon, Timer]:
        where = {"instance": "demo-dandi", "api_url": archive.api_url, "s3_endpoint": archive.s3_endpoint}
        size = max(_DISK_AT_LEAST, _DISK_PER_ASSET * self._scale.assets)
        root = None
        try:
            self._disk = SmallDisk(self.folder / "disk", size)
            root = self._disk.folder / "timer"
        except SmallDisk.Unavailable as why:
            self.outcome.disk = str(why)
            self._say(f"no disk will be full: nothing can be mounted here: {why}")
        return Daemon(self.folder, where), Timer(self.folder, where, root)

    def _mirror_first(self, count: int) -> None:
        """Each is killed once on its way, and goes on where it was."""
        chance = random.Random(f"{self._seed} first")
        kills = {one.mirror.name: chance.uniform(0.1, 0.7) * count for one in self.outcome.followings}
        for following in self.outcome.followings:
            following.mirror.begin()

        def all_there() -> bool:
            for following in self.outcome.followings:
                mirror = following.mirror
                if mirror.name in kills and _known(mirror) >= kills[mirror.name] and mirror.kill(alone=False):
                    self._say(f"{mirror.name}: killed with {_known(mirror)} of {count} Dandisets mirrored")
                    del kills[mirror.name]
            return all(_has_all(one.mirror, count) for one in self.outcome.followings)

        self._wait("first mirrors", all_there, lambda: [_known(one.mirror) for one in self.outcome.followings])

    def _wait(self, what: str, until: Callable[[], bool], moves: Callable[[], object]) -> None:
        """Until something is so; `Stuck` when nothing gets nearer to it for too long, whatever else moves."""
        last, since = moves(), time.monotonic()
        while not until():
            self._look(what)
            if (now := moves()) != last:
                last, since = now, time.monotonic()
            if time.monotonic() - since > self._scale.patience:
                said = "; ".join(one.mirror.said() for one in self.outcome.followings)
                raise Stuck(f"{what}: at {last} for {self._scale.patience:.0f} s: {said}")
            time.sleep(_STEP)

    def _live(self, archive: DemoProcess, contributors: Contributors, troubles: Troubles) -> None:
        began = time.time()
        changes, publications = list(self._plan.changes), list(self._plan.publications)
        gone = 0.0
        while gone < self._scale.seconds:
            before, gone = gone, min(time.time() - began, self._scale.seconds)
            archive.call("advance_clock", seconds=WEEK * (gone - before) / self._scale.seconds)
            troubles.at(gone)
            for _ in _due(changes, gone):
                self._note(contributors, publication=False)
            for _ in _due(publications, gone):
                self._note(contributors, publication=True)
            self._look(f"day {1 + int(7 * gone / (self._scale.seconds + 1))}")
            time.sleep(_STEP)
        troubles.end()

    def _note(self, contributors: Contributors, *, publication: bool) -> None:
        change = contributors.publish() if publication else contributors.change()
        self.outcome.publications += publication
        self.outcome.changes += not publication
        self._tell(change)

    def _tell(self, change: Change) -> None:
        for following in self.outcome.followings:
            following.noted(change)

    def _awaited(self) -> int:
        return sum(one.awaited for one in self.outcome.followings)

    def _settle(self, archive: DemoProcess, contributors: Contributors) -> None:
        """Fine weather, room, and time enough: everything arrives by itself; then once more by hand."""
        self._say("the week is over: letting all settle")
        for change in contributors.finish():
            self._tell(change)

        def all_seen() -> bool:
            # Time goes on: what the archive does late, such as giving DOIs, settles after that only.
            archive.call("advance_clock", seconds=_DOI_DELAY)
            return not self._awaited()

        self._wait("settling", all_seen, self._awaited)
        for following in self.outcome.followings:
            following.mirror.end()
        for following in self.outcome.followings:
            following.mirror.bring_up_to_date()
        self.outcome.requests = archive.call("count")

    def _look_at_memory(self, archive: DemoProcess, daemon: Daemon) -> None:
        outcome = self.outcome
        longest = max(daemon.lives, key=lambda life: len(life.own))
        outcome.memory = trend(longest.own)
        outcome.memory_peak = max((most for life in daemon.lives for most in life.whole), default=0.0)
        outcome.archive_memory = resident(archive.pid) if archive.pid else 0.0
        if outcome.memory is not None and not outcome.memory.flat:
            outcome.wrong.append(f"the daemon's memory grows: {outcome.memory}")

    def _compare(self, archive: DemoProcess) -> None:
        identifiers = sorted(archive.call("standing"))
        self._say(f"comparing {len(identifiers):,} Dandisets")
        stores = [Store.open(one.mirror.root) for one in self.outcome.followings]
        self.outcome.compared = compare(
            lambda identifier: archive.call("inventory", identifier=identifier),
            identifiers,
            stores,
            closely=self._to_be_seen_closely(identifiers),
            threads=os.cpu_count() or 1,
        )
        self.outcome.wrong += self.outcome.compared.wrong

    def _to_be_seen_closely(self, identifiers: list[str]) -> list[str]:
        """Those that changed in the week, and a sample of the others."""
        changed = {lag.change.identifier for one in self.outcome.followings for lag in one.lags}
        others = [identifier for identifier in identifiers if identifier not in changed]
        sample = random.Random(f"{self._seed} sample").sample(others, min(_SAMPLE, len(others)))
        return sorted({*changed, *sample})

    def _look(self, when: str) -> None:
        for following in self.outcome.followings:
            following.look()
        if time.monotonic() - self._told > _TOLD_EVERY:
            self._told = time.monotonic()
            parts = [
                f"{one.mirror.name} has {_known(one.mirror)} Dandisets after {len(one.mirror.rounds)} rounds,"
                f" {one.awaited} changes awaited"
                for one in self.outcome.followings
            ]
            self._say(f"{when}: {'; '.join(parts)}")

    def _stop_all(self) -> None:
        for following in self.outcome.followings:
            following.mirror.abandon()
        if self._disk is not None:
            self._disk.free()
            self._disk.close(keep=self._keep or bool(self.outcome.wrong))


def _due(times: list[float], now: float) -> list[float]:
    """Those that have come, taken out of those to come."""
    due = [one for one in times if one <= now]
    del times[: len(due)]
    return due


def _known(mirror: Mirror) -> int:
    """How many Dandisets it has looked at."""
    store = mirror.store()
    return len(store.known()) if store is not None else 0


def _has_all(mirror: Mirror, count: int) -> bool:
    return _known(mirror) >= count and bool(mirror.rounds) and mirror.rounds[-1].code == 0
