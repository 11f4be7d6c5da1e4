"""The workers of a Dask scheduler do the work of one process, and come to the same; also when one of them is killed."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mirror.config import Settings
from mirror.demo.faults import Before
from mirror.errors import ConfigError, ExecutorDown, Stopped
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.engine import Report, sync
from mirror.sync.pools import cluster as cluster_module
from mirror.sync.pools.there import perform_there
from mirror.sync.work import DandisetWork, work_through

if TYPE_CHECKING:
    from tests.sync.conftest import MakeSettings, MirrorOnce
    from tests.sync.work.conftest import AllRefs, HeldBack, Witness, World

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")

Soon = Callable[..., bool]


@pytest.fixture(scope="module")
def cluster(isolated_home: Path) -> Iterator[Any]:
    """Two workers, each in a process that is started again when it dies."""
    assert isolated_home.is_dir(), "the workers see no other home, nor tokens"
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        # Otherwise a worker that happens to be away just then, since it was killed a second time, is given up.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        distributed.LocalCluster(processes=True, silence_logs=logging.CRITICAL, **options) as cluster,
    ):
        yield cluster


@pytest.fixture
def there(cluster: Any, settings: MakeSettings) -> Settings:
    """Settings for a mirror that the workers of the cluster make."""
    return settings(executor=cluster.scheduler_address.replace("tcp", "dask"), jobs=1)


@pytest.fixture
def alone(mirror_once: MirrorOnce, tmp_path: Path) -> Callable[[], Path]:
    """A store that one process mirrored the archive into, to compare with."""

    def mirrored() -> Path:
        mirror_once(store=tmp_path / "alone", jobs=1)
        return tmp_path / "alone"

    return mirrored


def results(report: Report) -> dict[str, str]:
    return {outcome.identifier: outcome.result for outcome in report.outcomes}


def kill_those_at_work(cluster: Any) -> None:
    """The workers that have an item at this moment."""
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        busy = [address for address, items in client.processing().items() if items]
        for pid in client.run(os.getpid, workers=busy).values():
            os.kill(pid, signal.SIGKILL)


def in_background(settings: Settings, held: HeldBack, during: Callable[[], None], **options: Any) -> Report:
    """Sync, and do something here once a request is held back; then let it go."""
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(sync, settings, **options)
        try:
            assert held.came.wait(60)
            during()
        finally:
            held.let_go()
        return running.result(180)


# --- the same, whoever does it -------------------------------------------------------------------------------------


def test_what_workers_write_is_what_one_process_writes(
    world: World, there: Settings, store: Path, all_refs: AllRefs, alone: Callable[[], Path], witness: Witness
) -> None:
    together = threading.Barrier(2)
    for zarr_id in world.zarr_ids[:2]:
        world.archive.s3_faults.add(Before(lambda: together.wait(60)), path=f"prefix=zarr/{zarr_id}")
    report = sync(there, watcher=witness)
    assert results(report) == dict.fromkeys(world.all, "changed")
    assert not together.broken, "two Zarrs of one Dandiset are recorded side by side"
    assert {who for what, who in witness.told if what == "begun"} == world.all
    assert sum(report.asked.answers.values()) >= world.archive.requests.count()
    assert all_refs(store) == all_refs(alone())
    assert results(sync(there, everything=True)) == dict.fromkeys(world.all, "unchanged")


def test_a_worker_killed_in_the_middle_of_a_dandiset_changes_nothing(
    cluster: Any, world: World, there: Settings, store: Path, all_refs: AllRefs, alone: Callable[[], Path]
) -> None:
    report = in_background(there, world.hold_back(world.published), lambda: kill_those_at_work(cluster))
    assert results(report) == dict.fromkeys(world.all, "changed")
    assert all_refs(store) == all_refs(alone())
    assert list(Store.open(store).temporary.iterdir()) == []


def test_a_worker_killed_in_the_middle_of_a_zarr_changes_nothing(
    cluster: Any, world: World, there: Settings, store: Path, all_refs: AllRefs, alone: Callable[[], Path]
) -> None:
    report = in_background(there, world.hold_back_zarr(world.zarr_ids[1]), lambda: kill_those_at_work(cluster))
    assert results(report) == dict.fromkeys(world.all, "changed")
    assert all_refs(store) == all_refs(alone())


def test_what_a_worker_found_out_spares_the_next_sync_the_same_requests(
    world: World, there: Settings, mirror_once: MirrorOnce, tmp_path: Path
) -> None:
    """It has no part in the index; what it would have put there is put there for it."""
    sync(there)
    mirror_once(store=tmp_path / "alone", jobs=1)
    world.archive.add_asset(world.published, "sub-M1/sub-M1_run-9_ecephys.nwb", b"one more")
    counts = []
    for chosen in (there, there.model_copy(update={"executor": "local", "store": tmp_path / "alone"})):
        world.archive.requests.clear()
        assert results(sync(chosen)) == {world.published: "changed"}
        of_assets = world.archive.requests.count(server="api", path="/assets/")
        counts.append((of_assets, world.archive.requests.count(server="s3")))
    assert counts[0] == counts[1]


def test_when_asked_to_stop_what_is_under_way_is_finished(
    world: World, there: Settings, store: Path, witness: Witness, all_refs: AllRefs, alone: Callable[[], Path]
) -> None:
    report = sync(there, watcher=witness, stop=lambda: any(what == "done" for what, _ in witness.told))
    assert isinstance(report.cut_short, Stopped)
    assert report.left == len(world.all) - len(report.outcomes) > 0
    sync(there)
    assert all_refs(store) == all_refs(alone())


# --- what cannot be done -------------------------------------------------------------------------------------------


def test_a_dandiset_that_no_worker_survives_fails_and_the_others_do_not(
    cluster: Any, world: World, there: Settings, store: Path, soon: Soon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 1)
    held = world.hold_back(world.draft, times=None)

    def during() -> None:
        assert soon(lambda: all(Store.open(store).state(one).synced for one in world.all - {world.draft}))
        for _ in range(2):
            assert held.came.wait(60)
            held.came.clear()
            kill_those_at_work(cluster)

    report = in_background(there, held, during)
    assert results(report) == dict.fromkeys(world.all, "changed") | {world.draft: "failed"}
    failure = Store.open(store).state(world.draft).failure
    assert failure is not None
    assert (failure.kind, failure.count) == ("Killed", 1)


def test_a_store_that_the_workers_do_not_see_ends_the_run(
    world: World, there: Settings, store: Path, tmp_path: Path
) -> None:
    with closing(Connection.open(there)) as connection:
        ours = Store.open_or_create(store, connection.instance)
        elsewhere = Store(tmp_path / "elsewhere", ours.facts)
        with pytest.raises(ConfigError, match=r"the Dask worker on .* does not see the store at .*elsewhere"):
            list(
                work_through(
                    there,
                    elsewhere,
                    connection,
                    [DandisetWork(world.draft)],
                    watcher=None,
                    stop=lambda: False,
                    asked=lambda _: None,
                )
            )


def test_a_worker_that_has_another_store_or_another_version_says_so(
    world: World, mirror_once: MirrorOnce, store: Path
) -> None:
    mirror_once(world.draft)
    with pytest.raises(ConfigError, match="has another store at"):
        perform_there(cluster_module.__version__, str(store), "the id of another", b"")
    with pytest.raises(ConfigError, match=r"has dandi-mirror .*, this is 0\.0\.1"):
        perform_there("0.0.1", str(store), Store.open(store).facts.id, b"")


def test_no_token_is_sent(world: World, there: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sent: list[bytes] = []
    monkeypatch.setenv("DEMO_DANDI_API_KEY", world.archive.token)
    packed = cluster_module.Parcel.packed
    monkeypatch.setattr(cluster_module.Parcel, "packed", lambda parcel: sent.append(packed(parcel)) or sent[-1])
    host = {"name": "there", "kind": "plain", "url": f"{tmp_path}/{{name}}"}
    chosen = Settings.model_validate({**there.model_dump(), "publish": {"hosts": [host]}, "on_failure": "echo secret"})
    sync(chosen, [world.draft])
    assert sent
    assert not any(secret in parcel for parcel in sent for secret in (world.archive.token.encode(), b"echo secret"))


def test_without_dask_it_is_said_what_to_install(
    world: World, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[dask\]'"):
        sync(settings(executor="dask://127.0.0.1:8786"), [world.draft])


def test_without_a_scheduler_it_is_said_how_to_start_one(
    world: World, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "_CONNECT_SECONDS", 0.5)
    with pytest.raises(ExecutorDown, match=r"no Dask scheduler answers at 127\.0\.0\.1:9"):
        sync(settings(executor="dask://127.0.0.1:9"), [world.draft])


@pytest.fixture
def scheduler(tmp_path: Path, soon: Soon) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler without workers, in a process of its own, and its address."""
    said = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(
        [*command, "--dashboard-address", ":0", "--scheduler-file", str(said)], stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert soon(lambda: said.is_file() and said.read_text().endswith("}"))
            yield json.loads(said.read_text())["address"], process
        finally:
            process.kill()


def test_a_scheduler_that_is_lost_ends_the_run(
    world: World,
    scheduler: tuple[str, subprocess.Popen[bytes]],
    settings: MakeSettings,
    witness: Witness,
    soon: Soon,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_module, "_CONNECT_SECONDS", 2)
    address, process = scheduler
    chosen = settings(executor=address.replace("tcp", "dask"))
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(sync, chosen, [world.draft], watcher=witness)
        assert soon(lambda: ("begun", world.draft) in witness.told)
        process.kill()
        with pytest.raises(ExecutorDown, match=r"the Dask scheduler at .* is gone"):
            running.result(60)
