"""A push killed at any instant, and the next run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

# Pushes some repositories; its standard input stays open as long as it may go on.
_PUSHER = """
import sys
from pathlib import Path
from mirror.config import Host
from mirror.publish.hosts import push_all
from mirror.publish.publication import Publication, Rank

root = Path(sys.argv[1])
publications = [
    Publication(
        name=name, rank=Rank.SUPERDATASET if name == "dandisets" else Rank.DANDISET, dataset_id=name,
        repository=root / "store" / name, description=f"Recordings of {name}",
        homepage=f"https://example.org/dandiset/{name}", private=False,
        needs=frozenset(sys.argv[3:]) if name == "dandisets" else frozenset(),
    )
    for name in [*sys.argv[3:], "dandisets"]
]
push_all([Host.model_validate_json(sys.argv[2])], publications, root / "state/hosts")
"""

NAMES = [f"00000{number}" for number in range(6)]


@pytest.fixture
def slow(world):
    """Repositories for a host that takes its time over each push."""
    for name in NAMES:
        world.add(name).change(releases=tuple)
    world.add("dandisets", *NAMES).change(releases=tuple)
    hook = world.root / "template" / "hooks" / "pre-receive"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\nsleep 0.15\n")
    hook.chmod(0o755)
    return world.plain(create=f"git init -q --bare --template={world.root}/template {world.root}/host/{{name}}.git")


def pushed(world):
    """What the host has, according to the marks."""
    marks = world.marks / "shelf.jsonl"
    lines = marks.read_text().splitlines() if marks.exists() else []
    return {line.split('"')[7] for line in lines if '"pushed"' in line}


@pytest.mark.parametrize("seen", [1, 3, 5])
def test_the_next_run_pushes_what_is_missing_and_nothing_else(world, slow, seen):
    pusher = subprocess.Popen([sys.executable, "-c", _PUSHER, str(world.root), slow.model_dump_json(), *NAMES])
    while len(pushed(world)) < seen:
        assert pusher.poll() is None
        time.sleep(0.01)
    os.kill(pusher.pid, signal.SIGKILL)
    pusher.wait()
    known = pushed(world)
    time.sleep(0.4)  # the git that it had started comes to its end without it
    late = [*world.behind(slow)]
    outcome = world.push(slow)

    assert outcome.ok, outcome
    assert late == outcome.pushed, "what was behind, and nothing else"
    assert outcome.pushed == [name for name in [*NAMES, "dandisets"] if name not in known]
    world.assert_there(*NAMES, "dandisets")
    assert world.push(slow).up_to_date == 7
