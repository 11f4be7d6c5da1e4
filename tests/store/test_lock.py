"""One writer at a time, and whoever comes second is told about the first."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mirror.errors import Locked
from mirror.store.lock import exclusive
from mirror.store.store import Store

HOLD = """
import sys
from pathlib import Path
from mirror.store.store import Store
with Store.open(Path(sys.argv[1])).lock("dandi-mirror sync 000027"):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(store: Store) -> subprocess.Popen[str]:
    """Another process that holds the lock until its stdin ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_by_whom_and_since_when(store: Store) -> None:
    with hold(store) as process:
        with pytest.raises(Locked) as caught, store.lock("another"):
            pass
        process.communicate()
    assert caught.value.exit_code == 11
    assert re.fullmatch(
        rf"the store is in use by `dandi-mirror sync 000027`, process {process.pid} on .+,"
        r" since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 \(wait for it to end, or stop it\)",
        str(caught.value),
    )


def test_a_holder_that_is_killed_lets_go(store: Store) -> None:
    with hold(store) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with store.lock("another"):
        pass


def test_the_lock_is_free_again_after_an_error(store: Store) -> None:
    with pytest.raises(ValueError, match="trouble"), store.lock("one"):
        raise ValueError("trouble")
    with store.lock("another"):
        pass


def test_what_a_dead_holder_wrote_misleads_nobody(store: Store) -> None:
    file = Path(store.root, "state", "lock")
    file.write_bytes(b"\xff not JSON")
    with store.lock("one"), pytest.raises(Locked, match="`one`"), store.lock("another"):
        pass


def test_looking_at_a_store_needs_no_lock(store: Store) -> None:
    with store.lock("one"):
        assert list(Store.open(store.root).states()) == []


def test_the_lock_is_for_everybody_to_read_unless_its_mode_was_changed(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    umask = os.umask(0o077)
    try:
        with exclusive(file, "one"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o644
    finally:
        os.umask(umask)
    file.chmod(0o660)
    with exclusive(file, "another"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o660


def test_a_process_that_was_forked_meanwhile_does_not_go_on_holding_it(tmp_path: Path) -> None:
    read, write = os.pipe()
    with exclusive(tmp_path / "lock", "the parent"):
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
    try:
        with exclusive(tmp_path / "lock", "the next"):
            pass
    finally:
        os.close(write)
        os.waitpid(child, 0)
        os.close(read)
