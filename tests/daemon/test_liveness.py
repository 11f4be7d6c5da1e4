"""The watchdog is fed as long as something gets on, and no longer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

from mirror.daemon.doorbell import Doorbell
from mirror.daemon.liveness import PATIENCE, ClockWatch, Liveness
from mirror.daemon.notify import Notifier
from mirror.daemon.processes import descendants, kill_descendants, seconds_used_by_descendants
from mirror.daemon.pulse import Beats, Pulse


def test_work_that_tells_nothing_and_uses_no_processor_is_dead() -> None:
    liveness = Liveness(0)
    assert liveness.is_alive(PATIENCE - 1)
    assert not liveness.is_alive(PATIENCE)


def test_whatever_is_told_is_a_sign_of_life() -> None:
    liveness = Liveness(0)
    liveness.told(PATIENCE - 1)
    assert liveness.is_alive(2 * PATIENCE - 2)


def test_processor_time_is_a_sign_of_life_if_it_is_more_than_answering_takes() -> None:
    liveness = Liveness(0)
    for minute in range(30):
        liveness.used(minute * 60, 0.1 * minute)
    assert not liveness.is_alive(PATIENCE)
    for minute in range(30, 90):
        liveness.used(minute * 60, 6.0 * minute)
    assert liveness.is_alive(90 * 60)


def test_who_has_nothing_to_do_is_alive_for_years() -> None:
    liveness = Liveness(0)
    liveness.rests(10, resting=True)
    assert liveness.is_alive(1e9)
    liveness.rests(1e9, resting=False)
    assert liveness.is_alive(1e9 + 1)
    assert not liveness.is_alive(1e9 + PATIENCE)


def test_a_clock_that_was_set_back_is_noticed_once() -> None:
    watch = ClockWatch(1000, 0)
    assert not watch.went_back(1001, 1)
    assert not watch.went_back(5000, 2), "the machine slept, or was set forward"
    assert watch.went_back(1003, 3)
    assert not watch.went_back(1004, 4)


def test_descendants_and_their_time_are_known_and_they_can_be_ended() -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    grandchild = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", child, grandchild], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = descendants(os.getpid())
        assert process.pid in found
        assert len(descendants(process.pid)) == 1
        assert seconds_used_by_descendants(os.getpid()) >= 0.25
        kill_descendants(process.pid)
        assert process.wait(10) == 0
    assert process.pid not in descendants(os.getpid())


def test_the_pulse_beats_and_stops_feeding_a_dead_process() -> None:
    class Told(Notifier):
        def __init__(self) -> None:
            super().__init__()
            self.watchdog_seconds = 0.2
            self.times = 0

        def alive(self) -> None:
            self.times += 1

    notifier, liveness, ticks = Told(), Liveness(time.monotonic()), threading.Semaphore(0)
    with Pulse(notifier, liveness, Beats(ticks.release, lambda: None, lambda: None)):
        for _ in range(5):
            assert ticks.acquire(timeout=5)
        fed = notifier.times
        assert fed >= 1
        liveness.rests(time.monotonic() - 2 * PATIENCE, resting=False)
        ticks.acquire(timeout=5)
        fed = notifier.times
        time.sleep(0.4)
        assert notifier.times <= fed + 1
        liveness.told(time.monotonic())
        time.sleep(0.4)
        assert notifier.times > fed + 1


def test_whoever_waits_at_the_doorbell_is_woken_by_a_ring_also_by_one_before() -> None:
    with Doorbell() as bell:
        bell.ring()
        began = time.monotonic()
        bell.wait(30)
        threading.Timer(0.2, bell.ring).start()
        bell.wait(None)
        assert time.monotonic() - began < 10
        bell.wait(0.01)
        for _ in range(100_000):  # more than a pipe holds
            bell.ring()
        bell.wait(30)
        began = time.monotonic()
        bell.wait(0.2)
        assert time.monotonic() - began >= 0.15
    bell.ring()
