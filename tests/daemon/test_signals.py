"""Told to stop, a process does: in good order, or by force."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import is_there, wait_until

from mirror.daemon.agenda import Agenda
from mirror.daemon.service import _Stop
from mirror.daemon.signals import Dropped, Signals


@pytest.fixture
def signals() -> Iterator[Signals]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    with Signals(lambda: 0.5, end_hard=time.sleep) as signals:
        yield signals
    for number, handler in before.items():
        signal.signal(number, handler)


def tell(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def test_told_to_stop_what_is_in_hand_goes_on_until_the_time_is_nearly_up(signals: Signals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.stopping is signal.SIGTERM
    began = time.monotonic()
    with pytest.raises(Dropped), signals.may_drop():
        time.sleep(20)
    assert 0.2 < time.monotonic() - began < 0.5


def test_told_twice_it_is_dropped_at_once(signals: Signals) -> None:
    with pytest.raises(Dropped), signals.may_drop():
        tell(signal.SIGTERM, signal.SIGTERM)


def test_told_twice_no_time_is_left(signals: Signals) -> None:
    assert signals.seconds_left is None
    tell(signal.SIGTERM)
    assert signals.seconds_left is not None
    assert signals.seconds_left > 0
    tell(signal.SIGTERM)
    assert signals.seconds_left <= 0


def test_ctrl_c_is_a_signal_to_stop_like_any_other(signals: Signals) -> None:
    tell(signal.SIGINT)
    wait_until(lambda: signals.stopping is signal.SIGINT, "Ctrl-C was heard")

    def work() -> None:
        tell(signal.SIGINT)
        time.sleep(20)

    began = time.monotonic()
    with pytest.raises(Dropped), signals.may_drop():
        work()
    assert time.monotonic() - began < 5


def test_nothing_is_dropped_where_it_would_do_harm(signals: Signals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.6)
    assert signals.stopping is signal.SIGTERM


def test_whoever_tidies_up_after_a_drop_is_not_interrupted(signals: Signals) -> None:
    tidied = False

    def work() -> None:
        nonlocal tidied
        try:
            tell(signal.SIGTERM, signal.SIGTERM)
        finally:
            tell(signal.SIGTERM)
            time.sleep(1.3)
            tidied = True

    with pytest.raises(Dropped), signals.may_drop():
        work()
    assert tidied


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_drop_that_was_lost_in_a_finalizer_comes_again(signals: Signals) -> None:
    class Finalized:
        def __del__(self) -> None:
            tell(signal.SIGTERM, signal.SIGTERM)

    def work() -> None:
        Finalized()
        time.sleep(20)

    began = time.monotonic()
    with pytest.raises(Dropped), signals.may_drop():
        work()
    assert time.monotonic() - began < 5


def test_sighup_is_asked_for_once_each_time(signals: Signals) -> None:
    assert not signals.take_reload()
    os.kill(os.getpid(), signal.SIGHUP)
    assert signals.take_reload()
    assert not signals.take_reload()
    assert signals.stopping is None


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals(lambda: 1):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_told_again_on_the_way_out_it_is_not_killed() -> None:
    ending = """
import os, signal
from mirror.daemon.signals import Signals
with Signals(lambda: 1):
    os.kill(os.getpid(), signal.SIGTERM)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    os.kill(os.getpid(), number)
"""
    assert subprocess.run([sys.executable, "-c", ending], timeout=60).returncode == 0


CHILDREN = """
import multiprocessing, os, subprocess, sys, threading, time
from pathlib import Path
from mirror.daemon.processes import descendants
from mirror.daemon.signals import Signals

def hears_ctrl_c(pid):
    status = dict(line.split(":\\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return not (int(status["SigBlk"], 16) | int(status["SigIgn"], 16)) & 0b10

if __name__ == "__main__":
    with Signals(lambda: 1):
        child = subprocess.Popen(["sleep", "60"])
        process = multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(60,), daemon=True)
        started = threading.Thread(target=process.start)
        started.start()
        started.join()
        found = descendants(os.getpid())
        print(len(found), [pid for pid in found if hears_ctrl_c(pid)])
        child.kill()
"""


def test_ctrl_c_is_heard_by_no_process_that_is_started_later(tmp_path: Path) -> None:
    script = tmp_path / "children.py"
    script.write_text(CHILDREN)
    said = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True).stdout
    # sleep, Python's two servants, and the process itself
    assert said == "4 []\n"


HANGS = """
import subprocess, sys, time
import mirror.daemon.signals as signals
signals.HARD_END_AFTER = 0.5
child = subprocess.Popen(["sleep", "60"])
with signals.Signals(lambda: 0.2) as told:
    print(child.pid, flush=True)
    while True:
        try:
            with told.may_drop():
                time.sleep(0.1)  # of one that is long, Python hears only afterwards what came as it began
        except signals.Dropped:
            pass
"""


def test_a_process_that_hangs_all_the_same_is_ended_and_leaves_nobody_behind() -> None:
    with subprocess.Popen([sys.executable, "-c", HANGS], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.terminate()
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert b"the process is ended as it is" in process.stderr.read()
    wait_until(lambda: not is_there(child), "its child is ended")


def test_a_recheck_makes_room_for_a_poll_that_is_due_once_its_slice_is_over(signals: Signals) -> None:
    agenda, now = Agenda(), time.monotonic()
    agenda.due("poll")
    assert not _Stop(signals, agenda, "recheck", now + 60)()
    over = _Stop(signals, agenda, "recheck", now)
    assert over()
    assert over.made_room
    assert not _Stop(signals, agenda, "poll", now)()
    agenda.take()
    agenda.due("maintain")
    assert not _Stop(signals, agenda, "recheck", now)()
    assert over(), "what was told to stop stays told"
