"""The launcher scripts, as far as that can be tried in seconds: real shells, and a stand-in for the installer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("sh", "bash", "cat", "chmod", "date", "dirname", "git", "mkdir", "mv", "readlink", "rm")

# A stand-in for `uv`: notes what it was asked for, and instead of installing writes a program that tells its arguments.
UV = """#!/bin/sh
echo "$@" >>"$UV_LOG"
if [ -e "$UV_LOG.fail" ]; then exit 9; fi
if [ -e "$UV_LOG.slow" ]; then sleep 1; fi
for last; do :; done
bin=${last%\\[*}/.venv/bin
for name in dandi-mirror pytest; do
    printf '#!/bin/sh\\necho "%s" "$PWD" "$@"\\n' "$name" >"$bin/$name"
    chmod +x "$bin/$name"
done
"""


class Clone:
    """The scripts in a folder of their own, with a PATH that holds only what is put on it."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self.root = folder
        self.tools = tools
        self.log = tools.parent / "uv.log"
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        (folder / "pyproject.toml").write_text("[project]\n")
        tools.mkdir()
        for name in (*TOOLS, "sleep"):
            found = shutil.which(name)
            assert found, f"{name} is needed for this test"
            (tools / name).symlink_to(found)

    def add_tool(self, name: str, text: str) -> None:
        (self.tools / name).write_text(text)
        (self.tools / name).chmod(0o755)

    def environment(self) -> dict[str, str]:
        return {"PATH": str(self.tools), "UV_LOG": str(self.log), "HOME": os.environ["HOME"], "PYTHONPATH": "/nowhere"}

    def run(self, *command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd or self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
        )

    @property
    def installs(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


@pytest.fixture
def bare(tmp_path: Path) -> Clone:
    """Without Python, without uv."""
    return Clone(tmp_path / "a clone", tmp_path / "tools")


@pytest.fixture
def clone(bare: Clone) -> Clone:
    """With both."""
    bare.add_tool("uv", UV)
    bare.add_tool("python3", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    return bare


@pytest.mark.parametrize("name", ["scripts/setup", "scripts/dandi-mirror", "scripts/test", ".ci/run"])
def test_scripts_are_executable_and_their_shell_understands_them(name: str) -> None:
    path = ROOT / name
    assert os.access(path, os.X_OK)
    shell = path.read_text().split("\n", 1)[0].removeprefix("#!").split("/")[-1].split()[-1]
    subprocess.run([shell, "-n", path], check=True)


def test_the_first_start_sets_up_and_later_ones_only_start(clone: Clone) -> None:
    first = clone.run("scripts/dandi-mirror", "status", "a b")
    assert first.stdout == f"dandi-mirror {clone.root} status a b\n"
    assert "dandi-mirror: set up in" in first.stderr
    again = clone.run("scripts/dandi-mirror", "--version")
    assert (again.returncode, again.stderr) == (0, "")
    assert clone.installs == 1


def test_it_may_be_linked_to_and_keeps_the_current_folder(clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "dm").symlink_to("../a clone/scripts/dandi-mirror")
    (tmp_path / "dm").symlink_to(tmp_path / "bin" / "dm")
    assert clone.run("./dm", "x", cwd=tmp_path).stdout == f"dandi-mirror {tmp_path} x\n"


def test_what_the_tests_need_serves_the_program_as_well_but_not_the_other_way(clone: Clone) -> None:
    clone.run("scripts/dandi-mirror")
    assert clone.run("scripts/test", "-k", "x").stdout == f"pytest {clone.root} -n 3 --dist worksteal -k x\n"
    assert clone.log.read_text().splitlines()[-1].endswith("[test]")
    clone.run("scripts/dandi-mirror")
    assert clone.installs == 2


def test_a_changed_pyproject_is_installed_again_into_the_same_environment(clone: Clone) -> None:
    clone.run("scripts/dandi-mirror")
    (clone.root / ".venv" / "kept").touch()
    (clone.root / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert clone.run("scripts/dandi-mirror").returncode == 0
    assert clone.installs == 2
    assert (clone.root / ".venv" / "kept").exists()


def test_an_interrupted_set_up_is_begun_anew(clone: Clone) -> None:
    failing = clone.log.with_name("uv.log.fail")
    failing.touch()
    assert clone.run("scripts/dandi-mirror").returncode == 9
    (clone.root / ".venv" / "half").touch()
    failing.unlink()
    done = clone.run("scripts/dandi-mirror")
    assert done.returncode == 0
    assert "interrupted" in done.stderr
    assert not (clone.root / ".venv" / "half").exists()


def test_a_folder_that_was_moved_is_set_up_anew(clone: Clone, tmp_path: Path) -> None:
    clone.run("scripts/dandi-mirror")
    moved = clone.root.rename(tmp_path / "moved")
    assert clone.run("scripts/dandi-mirror", cwd=moved).stdout == f"dandi-mirror {moved}\n"
    assert clone.installs == 2


def test_of_two_at_once_one_waits_for_the_other(clone: Clone) -> None:
    clone.log.with_name("uv.log.slow").touch()
    both = [
        subprocess.Popen(
            [clone.root / "scripts" / "dandi-mirror", "x"],
            cwd=clone.root,
            env=clone.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60) for process in both]
    assert [out for out, _ in said] == [f"dandi-mirror {clone.root} x\n"] * 2
    assert sum("another set-up is at work" in err for _, err in said) == 1
    assert clone.installs == 1


def test_an_environment_that_somebody_else_made_is_used_not_removed(clone: Clone) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone.root / ".venv"], check=True)
    (clone.root / ".venv" / "precious").touch()
    assert clone.run("scripts/dandi-mirror").returncode == 0
    assert (clone.root / ".venv" / "precious").exists()


def test_a_missing_or_old_python_is_told(bare: Clone) -> None:
    missing = bare.run("scripts/dandi-mirror")
    assert missing.returncode == 1
    assert "Python 3.11 or newer is needed and was not found" in missing.stderr
    bare.add_tool("python3", '#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 || exit 1\n')
    assert "What python3 is here: Python 3.9.2" in bare.run("scripts/dandi-mirror").stderr


def test_a_python_without_venv_is_told_with_the_package_to_install(bare: Clone) -> None:
    bare.add_tool("python3", f'#!/bin/sh\ncase $2 in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"\n')
    done = bare.run("scripts/dandi-mirror")
    assert done.returncode == 1
    assert "apt install python3-venv" in done.stderr


def test_a_missing_git_is_told(clone: Clone) -> None:
    (clone.tools / "git").unlink()
    done = clone.run("scripts/dandi-mirror")
    assert done.returncode == 1
    assert "git is needed" in done.stderr
