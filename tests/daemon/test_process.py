"""The real daemon as a process, against a real archive on loopback."""

from __future__ import annotations

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from daemons import Held, World, wait_until, write_marks

from mirror.daemon.alone import alone
from mirror.demo import DemoArchive
from mirror.demo.faults import html_page
from mirror.errors import Locked
from mirror.store.job_marks import JobMark

ASSETS = r"/dandisets/{}/versions/draft/assets/"


@pytest.fixture
def world(archive: DemoArchive, tmp_path: Path) -> World:
    """An archive of two Dandisets; the larger, which comes first, is 000001."""
    world = World(archive, tmp_path)
    for name, files in (("Large", ("a.txt", "b.txt")), ("Small", ("c.txt",))):
        identifier = archive.create_dandiset(name)
        for path in files:
            archive.add_asset(identifier, path, f"of {path}".encode())
    return world


def test_it_polls_and_mirrors_what_changes_until_it_is_told_to_stop(world: World, archive: DemoArchive) -> None:
    with world.daemon() as daemon:
        daemon.polled(2)
        assert {"a.txt", "b.txt"} <= set(world.paths("000001"))
        archive.add_asset("000001", "new.txt", b"new")
        daemon.says("000001 draft: 1 added")
        daemon.polled()
        assert "new.txt" in world.paths("000001")
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.ends() == 0
        assert time.monotonic() - began < 3
        assert len(daemon.lines("mirrors demo-dandi")) == 1
        assert "stopped by SIGTERM" in daemon.log.splitlines()[-1]
        assert "error" not in daemon.log
    world.check()
    mark = world.mark("poll")
    assert mark is not None
    assert mark.ok
    assert mark.ended is not None


def test_settings_are_read_again_at_sighup_and_wrong_ones_change_nothing(world: World) -> None:
    world.write(select={"exclude": ["000001"]})
    with world.daemon() as daemon:
        daemon.polled()
        assert world.store.dandisets() == ["000002"]
        world.write(select={"exclude": []}, jobs=0, colour="red")
        daemon.signal(signal.SIGHUP)
        daemon.says("stay as they were")
        assert daemon.lines("jobs: expected")
        assert daemon.lines("colour: no such setting")
        daemon.polled(2)
        assert world.store.dandisets() == ["000002"]
        del world.settings["colour"]
        world.write(jobs=1, store=str(world.folder / "elsewhere"))
        daemon.signal(signal.SIGHUP)
        daemon.says("read again: changed: select.exclude")
        daemon.says("has to be started again")
        daemon.polled(2)
        assert sorted(world.store.dandisets()) == ["000001", "000002"]
        assert not (world.folder / "elsewhere").exists()
        daemon.signal(signal.SIGINT)
        assert daemon.ends() == 0


def test_the_dandiset_in_hand_is_finished_and_nothing_new_is_begun(world: World, archive: DemoArchive) -> None:
    held = Held()
    archive.api_faults.add(held, path=ASSETS.format("000001"))
    with world.daemon() as daemon:
        assert held.asked.wait(20)
        daemon.signal(signal.SIGTERM)
        time.sleep(0.5)
        assert daemon.process.poll() is None
        held.go.set()
        assert daemon.ends() == 0
    assert world.store.dandisets() == ["000001"]
    mark = world.mark("poll")
    assert mark is not None
    assert mark.unfinished


def test_what_is_not_finished_in_time_is_dropped_and_the_next_start_goes_on(world: World, archive: DemoArchive) -> None:
    world.write(stop_seconds=1)
    held = Held()
    archive.api_faults.add(held, path=ASSETS.format("000002"))
    with world.daemon() as daemon:
        assert held.asked.wait(20)
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.ends() == 0
        assert 0.5 < time.monotonic() - began < 3
        assert daemon.lines("was dropped")
        assert "Traceback" not in daemon.log
    held.go.set()
    world.check()
    assert world.store.dandisets() == ["000001"]
    assert world.state("000002").failure is None
    with world.daemon() as daemon:
        daemon.says("000002 draft")
        daemon.signal(signal.SIGTERM)
        assert daemon.ends() == 0
    world.check()


def test_a_second_signal_drops_at_once_also_what_other_processes_have_in_hand(
    world: World, archive: DemoArchive
) -> None:
    world.write(jobs=2, stop_seconds=60)
    held = Held()
    archive.api_faults.add(held, path=ASSETS.format("00000[12]"), times=None)
    with world.daemon() as daemon:
        assert held.asked.wait(20)
        daemon.signal(signal.SIGTERM)
        time.sleep(0.3)
        assert daemon.process.poll() is None
        daemon.signal(signal.SIGTERM)
        assert daemon.ends(seconds=5) == 0
    held.go.set()


def test_ctrl_c_at_a_terminal_lets_all_processes_finish_what_they_have_in_hand(
    world: World, archive: DemoArchive
) -> None:
    world.write(jobs=2)
    held = Held()
    archive.api_faults.add(held, path=ASSETS.format("00000[12]"), times=None)
    with world.daemon() as daemon:
        assert held.asked.wait(20)
        os.killpg(daemon.process.pid, signal.SIGINT)
        time.sleep(0.5)
        assert daemon.process.poll() is None
        held.go.set()
        assert daemon.ends() == 0
        assert daemon.lines("stopped by SIGINT")
        assert "Traceback" not in daemon.log
        assert "failed" not in daemon.log
    world.check()


def test_after_kill_9_the_next_start_goes_on(world: World, archive: DemoArchive) -> None:
    held = Held()
    archive.api_faults.add(held, path=ASSETS.format("000002"))
    with world.daemon() as daemon:
        assert held.asked.wait(20)
        daemon.signal(signal.SIGKILL)
        assert daemon.ends() == -signal.SIGKILL
    held.go.set()
    with world.daemon() as daemon:
        daemon.says("000002 draft")
        daemon.polled(2)
        assert not daemon.lines("000001 draft")
        daemon.signal(signal.SIGTERM)
        assert daemon.ends() == 0
    world.check()
    assert sorted(world.store.dandisets()) == ["000001", "000002"]


def test_a_second_daemon_says_who_holds_the_store_and_since_when(world: World) -> None:
    with alone(world.root, "dandi-mirror run"):
        second = world.command("run")
    assert second.returncode == 11
    assert f"`dandi-mirror run`, process {os.getpid()} on {socket.gethostname()}, since 2" in second.stderr
    with world.daemon() as daemon:
        daemon.polled()
        with pytest.raises(Locked, match=f"`dandi-mirror run`, process {daemon.process.pid} on"), alone(world.root, ""):
            pass


def test_commands_typed_by_hand_work_between_jobs_and_are_told_who_is_at_work_during_one(
    world: World, archive: DemoArchive
) -> None:
    world.write(schedule={"poll": "1h", "jitter": "0s"})
    with world.daemon() as daemon:
        daemon.polled()
        archive.add_asset("000002", "by-hand.txt", b"by hand")
        between = world.command("sync")
        assert between.returncode == 0, between.stderr
        assert "by-hand.txt" in world.paths("000002")
        archive.add_asset("000001", "d.txt", b"d")
        held = Held()
        archive.api_faults.add(held, path=ASSETS.format("000001"))
        world.write(schedule={"poll": "1s", "jitter": "0s"})
        daemon.signal(signal.SIGHUP)
        assert held.asked.wait(20)
        with ThreadPoolExecutor() as both:
            for during in both.map(lambda command: world.command(*command), (["sync"], ["run", "--once"])):
                assert during.returncode == 11
                assert f"`dandi-mirror run`, process {daemon.process.pid}" in during.stderr
        held.go.set()
        daemon.says("000001 draft: 1 added")


def test_a_store_that_is_taken_is_told_of_once_and_tried_again_until_it_is_free(world: World) -> None:
    world.sync()
    with world.store.lock("a long repair"), world.daemon("-v") as daemon:
        daemon.says("poll is put off", 3)
        (line,) = daemon.lines("the store is taken")
        assert f"`a long repair`, process {os.getpid()}" in line
        assert not daemon.lines(" poll: ")
        assert " warning: the store is taken" in line
        daemon.signal(signal.SIGTERM)
        assert daemon.ends() == 0


def test_a_store_that_becomes_free_is_polled_soon(world: World) -> None:
    world.sync()
    with ExitStack() as stack:
        with world.store.lock("a short repair"):
            daemon = stack.enter_context(world.daemon())
            daemon.says("the store is taken")
        daemon.says("the store is free again")
        daemon.polled()


def test_an_archive_that_talks_nonsense_for_a_while_is_told_of_once_and_when_it_is_back(
    world: World, archive: DemoArchive
) -> None:
    with world.daemon() as daemon:
        daemon.polled()
        archive.api_faults.add(html_page(), times=None)
        daemon.says("the archive gives no answer")
        asked = archive.count()
        wait_until(lambda: archive.count() > asked + 6, "two further polls")
        assert len(daemon.lines("the archive gives no answer")) == 1
        archive.api_faults.clear()
        daemon.says("the archive is back, after")
        daemon.polled()
        assert len([line for line in daemon.log.splitlines() if "error: " in line]) == 1
        assert all(state.failure is None for state in world.store.states())


def test_a_hook_that_hangs_does_not_keep_the_mirror_from_stopping_in_time(world: World, archive: DemoArchive) -> None:
    world.write(stop_seconds=3, on_failure=f"echo $$ > '{world.folder}/hook'; sleep 300")
    archive.api_faults.add(html_page(), times=None)
    with world.daemon() as daemon:
        wait_until((world.folder / "hook").exists, "the hook is at work")
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.ends() == 0
        assert time.monotonic() - began < 3
        assert daemon.lines("on_failure: the command was ended: the mirror ends")
        assert "the process is ended as it is" not in daemon.log


def test_nor_does_it_keep_one_round_from_doing_so(world: World, archive: DemoArchive) -> None:
    world.write(stop_seconds=3, on_failure=f"echo $$ > '{world.folder}/hook'; sleep 300")
    archive.api_faults.add(html_page(), times=None)
    with world.daemon("--once") as once:
        wait_until((world.folder / "hook").exists, "the hook is at work")
        began = time.monotonic()
        once.signal(signal.SIGTERM)
        assert once.ends() == 1
        assert time.monotonic() - began < 5
        assert once.lines("on_failure: the command was ended: the mirror ends")


def test_a_time_zone_that_has_no_name_is_as_good_as_any(world: World) -> None:
    with world.daemon(TZ="CET-1CEST") as daemon:
        daemon.polled()
        daemon.signal(signal.SIGTERM)
        assert daemon.ends() == 0


def test_a_recheck_that_was_missed_is_made_up_once_at_the_start(world: World) -> None:
    world.sync()
    long_ago = (datetime.now(UTC) - timedelta(days=9)).isoformat(timespec="seconds")
    write_marks(world, JobMark(job="recheck", since=long_ago, started=long_ago))
    with world.daemon() as daemon:
        daemon.says(" recheck: ")
        daemon.polled(2)
        assert len(daemon.lines(" recheck: ")) == 1
        assert not daemon.lines(" maintain: ")


def test_systemd_is_told_how_it_is(world: World, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address)
        channel.settimeout(20)

        def until(word: str) -> list[str]:
            told: list[str] = []
            while not told or word not in told[-1].split("\n"):
                told.append(channel.recv(4096).decode())
            return told

        with world.daemon(NOTIFY_SOCKET=address, WATCHDOG_USEC="2000000") as daemon:
            assert not any("STOPPING=1" in message for message in until("READY=1"))
            until("STATUS=poll")
            until("WATCHDOG=1")
            daemon.polled()
            daemon.signal(signal.SIGHUP)
            stamp = until("RELOADING=1")[-1].partition("MONOTONIC_USEC=")[2]
            assert 0 <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000 - int(stamp) < 20_000_000
            until("READY=1")
            daemon.signal(signal.SIGTERM)
            until("STOPPING=1")
            assert daemon.ends() == 0


def test_figures_are_answered_for_where_the_settings_say_also_after_they_changed(world: World) -> None:
    first, second = free_port(), free_port()
    world.write(metrics=f"127.0.0.1:{first}")
    with world.daemon() as daemon:
        daemon.polled()
        assert "dandi_mirror_rounds_total" in requests.get(f"http://127.0.0.1:{first}/metrics").text
        assert requests.get(f"http://127.0.0.1:{first}/healthz").status_code == 200
        world.write(metrics=f"127.0.0.1:{second}")
        daemon.signal(signal.SIGHUP)
        daemon.says("read again: changed: metrics")
        assert requests.get(f"http://127.0.0.1:{second}/healthz").status_code == 200
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{first}/healthz")
        with socket.create_server(("127.0.0.1", first)):
            world.write(metrics=f"127.0.0.1:{first}")
            daemon.signal(signal.SIGHUP)
            daemon.says("stay as they were: metrics cannot be served")
        assert requests.get(f"http://127.0.0.1:{second}/healthz").status_code == 200
        daemon.polled()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
