"""`dandi-mirror demo`: the first five minutes, as a newcomer sees them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.demo.story import MARKER
from mirror.store.store import Store

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `python -m mirror demo ARGS` in an empty folder, without activating the environment it is installed in."""

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        path = os.environ["PATH"].removeprefix(f"{Path(sys.executable).parent}{os.pathsep}")
        return subprocess.run(
            [sys.executable, "-m", "mirror", "demo", *args],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, "DANDI_MIRROR_JOBS": "nonsense"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def after(text: str, command: str) -> str:
    """What stands between a command and whatever is typed next."""
    _, _, rest = text.partition(f"\n$ {command}")
    assert rest, f"{command} was not run"
    return rest.partition("\n$ ")[0]


def test_the_whole_story_is_told_with_real_output(run: Run, tmp_path: Path) -> None:
    """It works without a git identity, whatever settings the user has, and replaces what an earlier demo left."""
    folder = tmp_path / "a demo"
    content = folder / "ripples/.git/annex/objects/key"
    content.parent.mkdir(parents=True)
    content.touch()
    content.parent.chmod(0o555)  # as git-annex protects it
    (folder / MARKER).touch()
    done = run("--folder", "a demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert not content.exists()

    said = done.stdout
    assert f"$ cd '{folder}'\n" in said
    assert "3 changed, 0 unchanged" in after(said, "dandi-mirror sync -c demo.yaml")
    assert "3 Dandisets, 3 versions, 12 assets" in after(said, "dandi-mirror status -c demo.yaml")
    assert "install(ok): " in after(said, "datalad clone mirror/public/alias/000001 ripples")
    _, second = re.findall(r"^(0\.\d{6}\.\d{4}) ", after(said, "git -C ripples tag"), re.MULTILINE)
    assert "+Two mice, recorded while asleep. A fourth session was added." in said
    assert "get(ok): " in after(said, "datalad -C ripples get ")
    assert "\nM541 2024-01-03 " in after(said, 'python -c "')  # what is in the file that was got
    assert "get(ok): sub-R12/sub-R12_SPIM.ome.zarr/2 (directory)" in after(said, "datalad -C places get sub-R12")
    assert "\n(24, 24) of mean brightness 82.4\n" in said
    assert "1 changed, 2 unchanged" in said
    assert "update(ok): " in after(said, "datalad -C ripples update")
    released = after(said, "git -C dandisets log").splitlines()[1:5]
    assert [line.split()[2] for line in released] == ["000001", "000003", "000001", "000001"]
    assert f"$ git -C dandisets checkout -q doi/10.80507/demo-dandi.000001/{second}\n" in said
    assert "install(ok): " in after(said, "datalad -C dandisets get -n 000001")
    assert after(said, "git -C dandisets/000001 describe").splitlines()[1] == second
    assert f"#~000001@{second}'\n" in after(said, f"dandi-mirror resolve 10.80507/demo-dandi.000001/{second}")
    assert re.findall(r"^ +(\d+) ", after(said, "dandi-mirror changes --since 6"), re.MULTILINE) == ["7", "8"]
    assert "held in all" in after(said, "dandi-mirror populate 000001 -c demo.yaml")
    assert ", nothing is wrong in " in after(said, "dandi-mirror verify --level bytes -c demo.yaml")
    assert "[from origin" in after(said, "datalad -C years-later get ")  # nobody else was there any more
    assert said.count("\nM541 2024-01-03 ") == 2
    assert 'dandi-mirror sync 000027\n    datalad clone "$PWD/dandi-mirror/public/alias/000027"\n' in said
    assert f"{folder / 'mirror'}\n" in said

    assert Store.open(folder / "mirror").dandisets() == ["000001", "000002", "000003"]
    assert (folder / "ripples/sub-M541/sub-M541_ses-20240102_ecephys.nwb").stat().st_size > 100_000
    assert not (folder / "ripples/sub-M677/sub-M677_ses-20240104_ecephys.nwb").exists()  # was not asked for
    # Lines with the folders of this test and of its programs apart, all of it fits a terminal of 100 columns.
    ours = [line for line in said.splitlines() if str(tmp_path) not in line and sys.prefix not in line]
    assert max(map(len, ours)) <= 100


@pytest.mark.parametrize("content", ["a file", "a folder with a file"])
def test_a_folder_of_somebody_else_is_refused_and_left_alone(run: Run, tmp_path: Path, content: str) -> None:
    mine = tmp_path / "mine"
    if content == "a file":
        mine.write_text("mine")
    else:
        mine.mkdir()
        (mine / "thesis.tex").write_text("mine")
    done = run("--folder", "mine")
    assert done.returncode == 2
    assert done.stdout == ""
    kept = mine if content == "a file" else mine / "thesis.tex"
    assert kept.read_text() == "mine"


def test_without_what_it_needs_it_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import importlib.util, sys; honest = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'pynwb' else honest(name, *rest)\n"
        "from mirror.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program, "demo"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the demo needs pynwb\n  install it with its demo extra: `pip install '.[demo]'`" in done.stderr
    assert not (tmp_path / "dandi-mirror-demo").exists()
