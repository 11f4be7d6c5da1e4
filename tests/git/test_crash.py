"""Killed at any instant, a repository holds the old state or the new; readers in between see one of them."""

from __future__ import annotations

import http.server
import os
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mirror.git.repository import Repository

Git = Callable[..., str]

BRANCHES = ("refs/heads/draft", "refs/heads/git-annex", "refs/heads/releases")
STEPS = ("fsync", "rename", "replace", "fchmod", "open", "unlink")


@contextmanager
def child(work: Callable[[], None]) -> Iterator[int]:
    """A process of its own doing this work; it is killed at the end of the block if it still runs."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def tip(repository: Repository) -> str:
    """The one commit all branches are at."""
    refs = repository.refs()
    assert set(refs) == set(BRANCHES)
    (oid,) = set(refs.values())
    return oid.hex()


def test_a_kill_at_a_random_instant(repository: Repository, author: Any, git: Git) -> None:
    author.publish({b"a": b"0"}, *BRANCHES)

    def publish_for_ever() -> None:
        for number in range(10**6):
            author.publish({b"dir/%d" % (number % 7): os.urandom(200)}, *BRANCHES)
            repository.repack(time.time(), keep_seconds=0, pack_limit=3)

    before = tip(repository)
    chance = random.Random(5)
    for _ in range(20):
        with child(publish_for_ever):
            time.sleep(chance.uniform(0.01, 0.15))
        git("merge-base", "--is-ancestor", before, tip(repository))
        before = tip(repository)
        repository.repair(grace=0.2)
        author.publish({b"a": os.urandom(10)}, *BRANCHES)
        assert git("fsck", "--strict", "--no-dangling") == ""
    assert int(git("rev-list", "--count", "draft")) > 40


def stopping_at(
    number: int, stop: Callable[[], None], patch: pytest.MonkeyPatch, steps: tuple[str, ...] = STEPS
) -> Callable[[], int]:
    """Let `stop` happen just before the so-many-th call that changes something on disk; tells how many there were."""
    calls = 0

    def counted(real: Callable[..., Any], *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            stop()
        return real(*args, **options)

    for name in steps:
        patch.setattr(os, name, partial(counted, getattr(os, name)))
    return lambda: calls


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def full_disk() -> None:
    raise OSError(28, "No space left on device")


def test_a_kill_between_any_two_steps(repository: Repository, author: Any, git: Git) -> None:
    old = author.publish({b"a": b"0"}, *BRANCHES).hex()
    outcomes = []
    for number in range(1, 200):
        git("update-ref", BRANCHES[1], git("commit-tree", f"{old}^{{tree}}", "-p", old, "-m", f"{number}"))
        annexed = git("rev-parse", BRANCHES[1])

        def work(number: int = number) -> None:
            with pytest.MonkeyPatch.context() as patch:
                stopping_at(number, die, patch)
                author.publish({b"a": b"%d" % number}, *BRANCHES)

        with child(work) as pid:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        found = [oid.hex() for _, oid in sorted(repository.refs().items())]
        outcomes.append("old" if found == [old, annexed, old] else "new")
        if outcomes[-1] == "new":
            assert len(set(found)) == 1
            assert found[0] not in (old, annexed)
        git("fsck", "--strict")
        survived = len(outcomes) > 10 and outcomes[-10:] == ["new"] * 10
        repository.repair(grace=0)
        assert repository.repair(grace=0) == []
        old = author.publish({b"b": b"%d" % number}, *BRANCHES).hex()
        if survived:
            break
    assert survived
    # Once the rename has come, every later death leaves the new state.
    assert outcomes == sorted(outcomes, reverse=True)
    assert outcomes.count("old") > 10


@pytest.mark.parametrize("number", range(1, 40, 3))
def test_an_error_at_any_step_leaves_a_repository_to_go_on_with(
    repository: Repository, author: Any, git: Git, number: int
) -> None:
    author.publish({b"a": b"0"}, *BRANCHES)
    with pytest.MonkeyPatch.context() as patch:
        calls = stopping_at(number, full_disk, patch, STEPS[:-1])  # deleting works on a full disk
        try:
            new = author.publish({b"a": b"1"}, *BRANCHES)
            assert calls() < number
            assert tip(repository) == new.hex()
        except OSError:
            assert calls() >= number
    before = tip(repository)
    assert [path for path in repository.path.rglob("*.lock") if path.name != "mirror.lock"] == []
    assert not list((repository.path / "objects/pack").glob("tmp_*"))
    repository.repair(grace=0)
    author.publish({b"a": b"2"}, *BRANCHES)
    assert git("rev-parse", "draft^") == before
    git("fsck", "--strict")


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address(repository: Repository) -> Iterator[str]:
    """The repository as a plain HTTP server shows it."""
    handler = partial(Quiet, directory=str(repository.path.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, child(server.serve_forever):
        yield f"http://127.0.0.1:{server.server_port}/{repository.path.name}"


def test_clones_over_plain_http_while_the_repository_changes(
    repository: Repository, author: Any, address: str, run: Git, tmp_path: Path
) -> None:
    author.publish({b"d%d/f" % number: b"%d" % number for number in range(50)}, *BRANCHES)

    def publish_for_ever() -> None:
        for number in range(10**6):
            author.publish({b"d%d/f" % (number % 50): os.urandom(100)}, *BRANCHES)
            repository.repack(time.time(), pack_limit=4)

    seen = set()
    with child(publish_for_ever):
        for number in range(8):
            clone = tmp_path / f"clone{number}"
            run("clone", "-q", "--no-checkout", address, clone)
            run("-C", clone, "fsck", "--strict")
            (commit,) = {run("-C", clone, "rev-parse", f"origin/{Path(name).name}") for name in BRANCHES}
            seen.add(commit)
    assert len(seen) > 3
