"""The simulation of the whole in its short form: a week in a quarter of a minute."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_two_mirrors_follow_an_archive_for_a_week_in_bad_weather(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "simulation", "--minutes", "0.5", "--seed", "5", "--keep", str(tmp_path / "week")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^  wrong +nothing$", done.stdout, re.MULTILINE)
    assert re.search(r"^  faults struck +\d+ ", done.stdout, re.MULTILINE)
    assert re.search(r"^  the daemon +\d+ rounds, \d+ of them troubled, [2-9] kills$", done.stdout, re.MULTILINE)
    assert re.search(r"^  compared +\d+ Dandisets, 12 versions", done.stdout, re.MULTILINE)
