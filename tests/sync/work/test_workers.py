"""Several processes do the work of one, and come to the same; whatever happens to one of them."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mirror.archive.bucket import Bucket
from mirror.archive.client import ArchiveClient
from mirror.archive.http import Tally
from mirror.archive.instances import content_hosts
from mirror.config import Settings
from mirror.dataset.zarr.checksum import Checksum
from mirror.demo.faults import Before, Fault, Status, html_page
from mirror.demo.web import Answer, Request, Response
from mirror.errors import ArchiveDown, Stopped, Unreachable
from mirror.publish.publishing import Publisher
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.dandiset import layout_of
from mirror.sync.engine import Report, sync
from mirror.sync.pools.here import Here
from mirror.sync.pools.pool import WorkerDied
from mirror.sync.work import DandisetWork, ZarrWork, _Todo, _Told, _Turns, work_through
from mirror.sync.zarr.ahead import MOST_SILENT, Ahead, Wanted, ZarrDone
from mirror.sync.zarr.subject import Subject

if TYPE_CHECKING:
    from tests.sync.conftest import MakeSettings, MirrorOnce
    from tests.sync.work.conftest import AllRefs, HeldBack, Witness, World

Soon = Callable[..., bool]


def results(report: Report) -> dict[str, str]:
    return {outcome.identifier: outcome.result for outcome in report.outcomes}


def workers() -> set[int]:
    return {process.pid for process in multiprocessing.active_children() if process.pid is not None}


@pytest.fixture
def alone(mirror_once: MirrorOnce, tmp_path: Path) -> Callable[[], Path]:
    """A store that one process mirrored the archive into, to compare with."""

    def mirrored() -> Path:
        mirror_once(store=tmp_path / "alone", jobs=1)
        return tmp_path / "alone"

    return mirrored


# --- the same, whoever does it -------------------------------------------------------------------------------------


def test_what_several_processes_write_is_what_one_writes(
    world: World, mirror_once: MirrorOnce, store: Path, all_refs: AllRefs, alone: Callable[[], Path]
) -> None:
    assert results(mirror_once(jobs=2)) == dict.fromkeys(world.all, "changed")
    assert all_refs(store) == all_refs(alone())
    assert results(mirror_once(jobs=2, everything=True)) == dict.fromkeys(world.all, "unchanged")


def test_the_zarrs_of_one_dandiset_are_recorded_side_by_side(
    world: World, mirror_once: MirrorOnce, store: Path, all_refs: AllRefs, alone: Callable[[], Path]
) -> None:
    together = threading.Barrier(2)
    for zarr_id in world.zarr_ids[:2]:
        world.archive.s3_faults.add(Before(lambda: together.wait(60)), path=f"prefix=zarr/{zarr_id}")
    report = mirror_once(world.zarrs, jobs=2)
    assert not together.broken
    assert results(report) == {world.zarrs: "changed"}
    assert "3 Zarrs written" in report.outcomes[0].message
    assert {name: refs for name, refs in all_refs(alone()).items() if name in all_refs(store)} == all_refs(store)


def test_the_zarrs_of_a_published_version_are_recorded_side_by_side(
    world: World, mirror_once: MirrorOnce, store: Path, all_refs: AllRefs, alone: Callable[[], Path]
) -> None:
    world.archive.publish(world.zarrs, allow_zarrs=True)
    world.archive.change_zarr(world.zarrs, "sub-M3/c.ome.zarr", {"0/0": b"changed since"})
    together = threading.Barrier(2)
    for zarr_id in world.zarr_ids[:2]:
        world.archive.s3_faults.add(Before(lambda: together.wait(60)), path=f"prefix=zarr/{zarr_id}")
    assert results(mirror_once(jobs=2)) == dict.fromkeys(world.all, "changed")
    assert not together.broken
    assert all_refs(store) == all_refs(alone())
    state, state_alone = Store.open(store).state(world.zarrs), Store.open(alone()).state(world.zarrs)
    assert state.waiting == state_alone.waiting
    assert "not in the state that was published" in next(iter(state.waiting.values()))


@pytest.mark.parametrize("everything", [False, True])
def test_a_zarr_is_listed_as_often_by_several_as_by_one(
    everything: bool, world: World, mirror_once: MirrorOnce, tmp_path: Path
) -> None:
    counts = []
    for jobs in (1, 2):
        there = tmp_path / str(jobs)
        mirror_once(store=there, jobs=jobs)
        if everything:
            world.archive.requests.clear()
            mirror_once(store=there, jobs=jobs, everything=True)
        counts.append([world.archive.requests.count(path=f"prefix=zarr/{zarr_id}") for zarr_id in world.zarr_ids])
        world.archive.requests.clear()
    assert counts[0] == counts[1] == [1, 1, 1]


def test_small_zarrs_are_recorded_in_the_turn_of_their_dandiset(world: World, mirror_once: MirrorOnce) -> None:
    mirror_once(world.small, jobs=2)
    assert world.archive.requests.count(path=rf"/{world.small}/versions/draft/assets/\?") == 1
    mirror_once(world.zarrs, jobs=2)
    assert world.archive.requests.count(path=rf"/{world.zarrs}/versions/draft/assets/\?") == 2


def test_a_zarr_that_fails_fails_as_in_the_turn_of_its_dandiset(
    world: World, mirror_once: MirrorOnce, store: Path, all_refs: AllRefs, alone: Callable[[], Path]
) -> None:
    world.archive.ingest_zarr(world.zarrs, "sub-M3/b.ome.zarr", checksum=f"{'0' * 32}-{800}--9000")
    report = mirror_once(jobs=2)
    assert results(report) == dict.fromkeys(world.all, "changed") | {world.zarrs: "failed"}
    state, state_alone = Store.open(store).state(world.zarrs), Store.open(alone()).state(world.zarrs)
    assert list(state.zarrs_failed) == ["sub-M3/b.ome.zarr"]
    assert "add up to" in state.zarrs_failed["sub-M3/b.ome.zarr"]
    assert (state.zarrs_failed, state.failure and state.failure.message) == (
        state_alone.zarrs_failed,
        state_alone.failure and state_alone.failure.message,
    )
    assert all_refs(store) == all_refs(alone())


def test_when_the_bucket_does_not_answer_it_is_not_asked_for_every_zarr(
    world: World, settings: MakeSettings, store: Path
) -> None:
    for name in ("x", "y"):
        world.archive.add_zarr(world.zarrs, f"sub-M3/{name}.ome.zarr", {"0/0": name.encode()})
    world.archive.s3_faults.add(Status(503), path="prefix=zarr/", times=None)
    chosen, archive = settings(jobs=2), settings().archive
    client = ArchiveClient(archive.api_url, tries=1)
    connection = Connection(
        client, Bucket(client.http, archive.s3_endpoint), content_hosts(archive.api_url, archive.s3_endpoint)
    )
    ours = Store.open_or_create(store, connection.instance)
    todo = _Todo([DandisetWork(world.zarrs, ahead=Ahead.allowed())])
    turns = _Turns(ours, todo, lambda: False, lambda _: None)
    [outcome] = turns.outcomes(Here(chosen, ours, connection, _Told(None)))
    assert outcome.kind == "Unreachable"
    assert world.archive.requests.count(server="s3", path="prefix=zarr/") == MOST_SILENT
    reasons = list(ours.state(world.zarrs).zarrs_failed.values())
    assert len(reasons) == 5
    assert sum("not asked for, since" in reason for reason in reasons) == 5 - MOST_SILENT


def test_of_two_whose_processes_die_together_neither_is_to_blame_at_once(
    world: World, settings: MakeSettings, store: Path
) -> None:
    """Though one of the deaths be heard of first, when nothing is left to be begun."""

    class Deadly:
        """A pool whose first two items die, one after the other, and whose others are done."""

        def __init__(self, here: Here) -> None:
            self._here = here
            self._dying: list[Future[Any]] = []
            self.begun: list[str] = []

        def room(self) -> int:
            return 2

        def submit(self, item: Any) -> Future[Any]:
            self.begun.append(item.identifier)
            if len(self.begun) > 2:
                return self._here.submit(item)
            self._dying.append(Future())
            if len(self._dying) == 2:
                self._dying[0].set_exception(WorkerDied(certain=False))
            return self._dying[-1]

        def result(self, future: Future[Any]) -> Any:
            if future is self._dying[0]:
                threading.Timer(0.2, self._dying[1].set_exception, [WorkerDied(certain=False)]).start()
            return future.result()

        def look(self) -> None: ...
        def close(self) -> None: ...

    chosen = settings()
    with closing(Connection.open(chosen)) as connection:
        ours = Store.open_or_create(store, connection.instance)
        todo = _Todo([DandisetWork(world.draft), DandisetWork(world.published)])
        pool = Deadly(Here(chosen, ours, connection, _Told(None)))
        outcomes = list(_Turns(ours, todo, lambda: False, lambda _: None).outcomes(pool))
    assert {one.identifier: one.result for one in outcomes} == {world.draft: "changed", world.published: "changed"}
    assert pool.begun == [world.draft, world.published] * 2


def test_a_zarr_that_is_given_up_is_not_tried_alone_either(world: World) -> None:
    """Its process was killed; before its second turn comes, the bucket does not answer any more."""
    todo = _Todo([DandisetWork(world.zarrs, ahead=Ahead.allowed())])
    dandiset = todo.next(alone=True)
    assert isinstance(dandiset, DandisetWork)
    checksum = Checksum.parse(f"{'0' * 32}-{800}--9000")
    wanted = [Wanted(Subject(f"zarr-{number}", "", "", b""), checksum) for number in range(MOST_SILENT + 2)]
    todo.divide(dandiset, wanted)
    nobody = Unreachable("no answer")
    killed = todo.next(alone=True)
    assert isinstance(killed, ZarrWork)
    todo.try_alone(killed)
    for _ in range(MOST_SILENT):
        silent = todo.next(alone=False)
        assert isinstance(silent, ZarrWork)
        todo.done(silent, ZarrDone(silent.wanted.key, error=nobody))
        todo.unanswered(world.zarrs, nobody, [])
    again = todo.next(alone=True)
    assert isinstance(again, DandisetWork)
    assert len(again.ahead.done) == MOST_SILENT + 2
    assert todo.next(alone=True) is None


# --- what one hears of it ------------------------------------------------------------------------------------------


def test_how_far_it_is_is_heard_from_other_processes(world: World, settings: MakeSettings, witness: Witness) -> None:
    sync(settings(jobs=2), watcher=witness)
    for identifier in world.all:
        told = [what for what, who in witness.told if who == identifier]
        assert (told[0], told[-1]) == ("begun", "done")
        assert (told.count("begun"), told.count("done")) == (1, 1)
        assert "working" in told
    assert any("800 of 800 files listed" in line for line in witness.how_far)
    begun = [who for what, who in witness.told if what == "begun"]
    assert begun[0] == world.published, "the largest comes first"


def test_what_processes_log_is_logged_here(
    world: World, mirror_once: MirrorOnce, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    world.archive.ingest_zarr(world.zarrs, "sub-M3/b.ome.zarr", checksum=f"{'0' * 32}-{800}--9000")
    with caplog.at_level(logging.INFO, "mirror"):
        mirror_once(jobs=2)
    assert any(record.getMessage().startswith("sub-M3/b.ome.zarr: Zarr") for record in caplog.records)
    assert "sub-M3/b.ome.zarr" not in capfd.readouterr().err


@pytest.mark.usefixtures("world")
def test_whoever_is_told_and_cannot_hear_it_is_not_a_death(settings: MakeSettings, store: Path) -> None:
    class Deaf:
        def asked(self, tally: object) -> None: ...
        def polled(self, found: object) -> None: ...
        def begun(self, identifier: str) -> None: ...
        def done(self, outcome: object) -> None: ...

        def working(self, identifier: str, how_far: str) -> None:  # noqa: ARG002 - as every watcher has it
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        sync(settings(jobs=2), watcher=Deaf())
    assert [state.failure for state in Store.open(store).states()] == [None] * len(Store.open(store).known())


def test_what_processes_asked_of_the_archive_is_told(world: World, mirror_once: MirrorOnce) -> None:
    report = mirror_once(jobs=2)
    counted = {kind: sum(n for (of, _), n in report.asked.answers.items() if of == kind) for kind in ("api", "s3")}
    assert counted == {kind: world.archive.requests.count(server=kind) for kind in ("api", "s3")}
    assert report.asked.bytes["s3"] > 3 * 800 * 100


# --- an archive that goes down -------------------------------------------------------------------------------------


def test_what_is_under_way_when_the_archive_goes_down_is_finished_and_charged_to_nobody(
    world: World, settings: MakeSettings, store: Path, soon: Soon
) -> None:
    first, second = world.published, world.small
    nonsense = {one: world.answer_nonsense(one) for one in (first, second)}
    honest = world.hold_back(world.draft)

    def others_are_done() -> bool:
        kept = Store.open(store)
        return kept.state(world.draft).synced is not None and kept.state(second).failure is not None

    class Down(Fault):
        """The archive is asked whether it is in order. While it does not say, the others come to their ends."""

        def apply(self, request: Request, answer: Answer) -> Response:
            nonsense[second].let_go()
            honest.let_go()
            assert soon(others_are_done)
            return html_page().apply(request, answer)

    def during(_: Future[Report]) -> None:
        assert all(held.came.wait(60) for held in (honest, *nonsense.values()))
        world.archive.api_faults.add(Down(), path="/api/info/$", times=None)
        nonsense[first].let_go()

    chosen = settings(jobs=3)
    with Publisher(chosen, layout_of(chosen)) as publisher:
        named = [first, second, world.draft]
        report = in_background(chosen, during, named=named, follower=publisher)
    assert isinstance(report.cut_short, ArchiveDown)
    assert (results(report), report.left) == ({world.draft: "changed"}, 2)
    assert [Store.open(store).state(one).failure for one in named] == [None] * 3
    assert {change.dandiset for change in publisher.published.changes} == {world.draft}


# --- stopping ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_when_asked_to_stop_what_is_under_way_is_finished_and_the_rest_left(
    jobs: int,
    world: World,
    settings: MakeSettings,
    witness: Witness,
    mirror_once: MirrorOnce,
    store: Path,
    all_refs: AllRefs,
    alone: Callable[[], Path],
) -> None:
    def stop() -> bool:
        return any(what == "done" for what, _ in witness.told)

    report = sync(settings(jobs=jobs), watcher=witness, stop=stop)
    begun = {who for what, who in witness.told if what == "begun"}
    assert isinstance(report.cut_short, Stopped)
    assert 0 < len(report.outcomes) < len(world.all)
    assert report.left == len(world.all) - len(report.outcomes)
    # A Dandiset whose Zarrs come first may have been begun, and is left nevertheless.
    assert {outcome.identifier for outcome in report.outcomes} >= begun - {world.zarrs}
    rest = mirror_once(jobs=jobs)
    assert {outcome.identifier for outcome in rest.outcomes} == world.all - set(results(report))
    assert all_refs(store) == all_refs(alone())


def test_whoever_interrupts_does_not_wait_for_what_is_under_way(
    world: World, settings: MakeSettings, store: Path, soon: Soon
) -> None:
    held = world.hold_back(world.draft)
    chosen = settings(jobs=2)
    with closing(Connection.open(chosen)) as connection:
        ours = Store.open_or_create(store, connection.instance)
        work = [DandisetWork(world.draft), DandisetWork(world.published)]
        asked: list[Tally] = []
        outcomes = work_through(chosen, ours, connection, work, watcher=None, stop=lambda: False, asked=asked.append)
        with closing(outcomes):
            assert next(outcomes).identifier == world.published
            assert held.came.wait(60)
            started = time.monotonic()
    assert time.monotonic() - started < 10
    assert soon(lambda: not workers())
    held.let_go()


# --- processes that are killed -------------------------------------------------------------------------------------


def in_background(settings: Settings, during: Callable[[Future[Report]], None], **options: Any) -> Report:
    """Sync, and meanwhile do something here."""
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(sync, settings, **options)
        try:
            during(running)
        except BaseException:
            kill(workers())
            raise
        return running.result(180)


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Killing:
    """Kills whatever is at work each time that something is come to. Nothing is begun before all of them are dead."""

    def __init__(self, held: HeldBack) -> None:
        self._held = held
        self._lock = threading.Lock()

    def during(self, running: Future[Report]) -> None:
        while not running.done():
            if self._held.one_more_came(0.1):
                with self._lock:
                    kill(condemned := workers())
                    while condemned & workers():
                        time.sleep(0.01)

    def stop(self) -> bool:
        """What a sync asks before it begins anything."""
        with self._lock:
            return False


def test_a_killed_process_takes_nothing_with_it_but_its_item_which_is_tried_again(
    world: World, settings: MakeSettings, store: Path, all_refs: AllRefs, alone: Callable[[], Path]
) -> None:
    held = [world.hold_back(world.published), world.hold_back(world.draft)]

    def during(_: Future[Report]) -> None:
        assert all(each.came.wait(60) for each in held)
        kill([min(workers())])
        for each in held:
            each.let_go()

    report = in_background(settings(jobs=2), during, named=[world.published, world.draft])
    assert results(report) == {world.published: "changed", world.draft: "changed"}
    mirror = {name: refs for name, refs in all_refs(alone()).items() if name in (world.published, world.draft)}
    assert all_refs(store) == mirror


def test_a_dandiset_whose_processes_are_killed_fails_and_the_others_do_not(
    world: World, settings: MakeSettings, store: Path
) -> None:
    held = world.hold_back(world.draft, times=None)

    killing = Killing(held)
    report = in_background(settings(jobs=2), killing.during, stop=killing.stop)
    held.let_go()
    how = results(report)
    assert how.keys() == world.all
    # One that was killed with it, when it had been written already, is found unchanged.
    assert {who for who, result in how.items() if result == "failed"} == {world.draft}
    failed = next(outcome for outcome in report.outcomes if outcome.result == "failed")
    assert failed.kind == "Killed"
    assert failed.failure == Store.open(store).state(world.draft).failure
    assert "was killed" in failed.message


def test_a_zarr_whose_processes_are_killed_fails_and_the_others_of_its_dandiset_do_not(
    world: World,
    settings: MakeSettings,
    store: Path,
    mirror_once: MirrorOnce,
    all_refs: AllRefs,
    alone: Callable[[], Path],
) -> None:
    held = world.hold_back_zarr(world.zarr_ids[1], times=None)

    killing = Killing(held)
    report = in_background(settings(jobs=2), killing.during, stop=killing.stop, named=[world.zarrs])
    held.let_go()
    assert results(report) == {world.zarrs: "failed"}
    state = Store.open(store).state(world.zarrs)
    assert list(state.zarrs_failed) == ["sub-M3/b.ome.zarr"]
    assert "was killed" in state.zarrs_failed["sub-M3/b.ome.zarr"]
    world.archive.s3_faults.clear()
    assert results(mirror_once(jobs=2))[world.zarrs] == "changed"
    assert set(all_refs(store)) == set(all_refs(alone()))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_is_for_the_first_of_them_to_heed(
    signum: signal.Signals, world: World, settings: MakeSettings
) -> None:
    held: HeldBack = world.hold_back(world.draft)

    def during(_: Future[Report]) -> None:
        assert held.came.wait(60)
        for pid in workers():
            os.kill(pid, signum)
        time.sleep(0.2)
        held.let_go()

    report = in_background(settings(jobs=2), during)
    assert results(report) == dict.fromkeys(world.all, "changed")
    assert world.archive.requests.count(path=rf"/{world.draft}/versions/draft/assets/\?") == 1, "nothing is done again"
