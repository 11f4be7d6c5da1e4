"""The small disk that is full for a while."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import errno, sys
from pathlib import Path
from simulation.disk import SmallDisk, enter_own_mounts

enter_own_mounts("simulation_of_disk", sys.argv[1:])
folder = Path(sys.argv[1])
disk = SmallDisk(folder, 4 << 20)
(folder / "before").write_bytes(b"x")
disk.fill()
try:
    (folder / "during").write_bytes(b"x" * (1 << 20))
except OSError as error:
    assert error.errno == errno.ENOSPC, error
    print("full")
(folder / "during").unlink()
disk.free()
(folder / "after").write_bytes(b"x" * (1 << 20))
disk.close(keep="keep" in sys.argv)
print(sorted(path.name for path in folder.iterdir()))
"""


def _may_mount() -> bool:
    unshare = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    return (
        shutil.which("unshare") is not None and not subprocess.run([*unshare, "true"], capture_output=True).returncode
    )


@pytest.mark.skipif(not _may_mount(), reason="nothing can be mounted here")
@pytest.mark.parametrize(("how", "left"), [("keep", ["after", "before"]), ("away", [])])
def test_it_is_full_until_it_is_freed_and_then_kept_or_taken_away(tmp_path: Path, how: str, left: list[str]) -> None:
    (tmp_path / "simulation_of_disk.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "simulation_of_disk", str(tmp_path / "disk"), how]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["full", str(left)]
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == left
