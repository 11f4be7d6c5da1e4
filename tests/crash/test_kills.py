"""A killed sync leaves the old state or the new one: the crash test in its short form."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from crashtest.killing import run_sync
from crashtest.looking import Loss, check_same_store, clone, refs
from crashtest.rounds import CrashTest
from crashtest.steps import CHANGE
from crashtest.victim import Aim
from mirror.demo import DemoProcess

ROOT = Path(__file__).parents[2]


def test_nothing_is_lost_in_a_few_rounds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crashtest", "8", "--seed", "11", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^8 rounds, [12] with a repack due", done.stdout, re.MULTILINE)
    assert "0 losses" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_loss_is_seen_and_told(tmp_path: Path) -> None:
    """The crash test itself: what it is to find, it finds."""
    with DemoProcess("empty", start="2026-01-01T00:00:00+00:00", seed=5) as archive:
        test = CrashTest(tmp_path, archive, seed=5)
        test.measure()
        test.round()
        store, twin = tmp_path / "store", tmp_path / "twin"
        check_same_store(store, twin)
        left = store / "state" / "tmp" / "left"
        left.touch()
        with pytest.raises(Loss, match="left over: state/tmp/left"):
            check_same_store(store, twin)
        left.unlink()
        repository = next(path for path in store.glob("public/alias/*") if refs(path)).resolve()
        pack = next(repository.glob("objects/pack/*.pack"))
        pack.chmod(0o644)
        with pytest.raises(Loss, match="644"):
            check_same_store(store, twin)
        pack.unlink()
        with pytest.raises(Loss, match="half a pack"):
            check_same_store(store, twin)
        with pytest.raises(Loss, match="ended with"):
            clone(repository, tmp_path / "a-clone")


def test_a_victim_dies_at_the_step_it_is_told(tmp_path: Path) -> None:
    """With what it had started; and a step later, one change more has happened."""
    made = []
    with DemoProcess("empty") as archive:
        config = tmp_path / "mirror.yaml"
        config.write_text(f"archive: {{instance: demo-dandi, api_url: {archive.api_url}}}\n")
        for number in range(1, 4):
            store = tmp_path / f"store-{number}"
            arguments = ["sync", "-c", str(config), "--store", str(store)]
            ending = run_sync(arguments, {"HOME": str(tmp_path)}, tmp_path / "log", Aim(str(store), CHANGE, number))
            assert ending.killed, ending.said
            made.append(len(list(store.rglob("*"))))
    assert made == sorted(made)
    assert made[0] < made[-1]
