"""With what `dandi-mirror clone-config` prints, the archive's own names are cloned from the mirror."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirror.store.chronicle import Chronicle
from mirror.store.store import Store

USER = (
    '[user]\n\tname = A Reader\n\temail = reader@example.org\n[annex "security"]\n\tallowed-ip-addresses = 127.0.0.1\n'
)


@pytest.fixture(scope="module")
def catalogued(scene: Any) -> Any:
    with Chronicle(Store.open(scene.mirror.store)) as chronicle:
        chronicle.begin()
        chronicle.catch_up()
        chronicle.finish()
    return scene


def printed(store: Path, *args: str) -> str:
    command = [sys.executable, "-m", "mirror", "clone-config", "--store", str(store), *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Reader:
    """Somebody with a home folder of his own, who was given the configuration and did as it says."""

    home: Path
    config: str
    run: Callable[..., str]

    def does(self, command: str, **more: Any) -> str:
        said = self.run(*shlex.split(command), cwd=self.home, env={"HOME": str(self.home)}, **more)
        return str(said)

    def follows_the_instructions(self) -> None:
        """What the comments say for using it."""
        (file,) = re.findall(r"keep this as ~/(\S+) and", self.config)
        (self.home / file).write_text(self.config)
        self.does(self.said("include.path '"))

    def said(self, what: str) -> str:
        """The command in the comments that has this in it."""
        (command,) = (command for command in self.commands() if what in command)
        return command

    def commands(self) -> list[str]:
        return re.findall(r"^#     (.*)$", self.config, re.MULTILINE)


@pytest.fixture(params=["path", "http"])
def reader(catalogued: Any, run: Callable[..., str], tmp_path: Path, request: pytest.FixtureRequest) -> Reader:
    """A reader for whom the mirror is at a path, or at a static web server."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(USER)
    url = ["--url", catalogued.url] if request.param == "http" else []
    reader = Reader(home, printed(catalogued.mirror.store, *url), run)
    reader.follows_the_instructions()
    return reader


def test_every_command_in_its_comments_clones_what_it_says(reader: Reader, catalogued: Any) -> None:
    commands = [command for command in reader.commands() if " clone " in command]
    assert len(commands) == 8
    for command in commands:
        said = [*shlex.split(command)]
        version = next((v for v in catalogued.versions if v in command), None)
        folder = reader.home / Path(said[-1].rpartition(":")[2]).name
        reader.does(command)
        at = ["git", "-C", str(folder)]
        described = reader.run(*at, "describe", "--tags", "--exclude", "doi/*")
        assert (described == version) is (version is not None), command
        assert (folder / "README.md").read_text().startswith("# Ripples\n")
        reader.does(f"rm -rf {folder}")


@pytest.mark.parametrize("form", ["doi:{dandiset}", "https://identifiers.org/DEMO-DANDI:000001", "demo-dandi:000001"])
def test_further_names_are_cloned_by_datalad(reader: Reader, catalogued: Any, form: str) -> None:
    dandiset_doi = catalogued.mirror.doi("").rstrip("/")
    reader.does(f"datalad clone {form.format(dandiset=dandiset_doi)} clone")
    assert reader.run("git", "-C", reader.home / "clone", "symbolic-ref", "--short", "HEAD") == "draft"


@pytest.mark.parametrize(
    "way",
    [
        "datalad clone DEMO-DANDI:000001 clone",
        "git clone -q dandi://demo-dandi/000001 clone",
        "git clone -q https://demo-dandi.example.org/dandiset/000001 clone",
    ],
)
def test_such_a_clone_is_as_good_as_any_and_can_be_updated(reader: Reader, way: str) -> None:
    reader.does(way)
    env = {"HOME": str(reader.home)}
    reader.run("datalad", "get", "sub-M1", cwd=reader.home / "clone", env=env)
    assert (reader.home / "clone/sub-M1/sub-M1_ecephys.nwb").read_bytes() == b"a recording of a mouse"
    reader.run("datalad", "update", "--how", "ff-only", cwd=reader.home / "clone", env=env)
    assert reader.run("git", "status", "--porcelain", cwd=reader.home / "clone", env=env) == ""


def test_git_alone_takes_the_identifier_too(reader: Reader) -> None:
    reader.does("git clone -q DEMO-DANDI:000001 clone")
    env = {"HOME": str(reader.home)}
    reader.run("git", "pull", "-q", cwd=reader.home / "clone", env=env)
    reader.run("git", "annex", "get", "sub-M1", cwd=reader.home / "clone", env=env)
    assert (reader.home / "clone/sub-M1/sub-M1_ecephys.nwb").read_bytes() == b"a recording of a mouse"


def test_zarrs_within_are_found_beside_the_dandiset(zarr_scene: Any, run: Callable[..., str], tmp_path: Path) -> None:
    """Their addresses are relative, and git resolves them against the name that was cloned."""
    (tmp_path / ".gitconfig").write_text(USER)
    reader = Reader(tmp_path, printed(zarr_scene.mirror.store, "--url", zarr_scene.url), run)
    reader.follows_the_instructions()
    page = "https://demo-dandi.example.org/dandiset/000001"
    env = {"HOME": str(tmp_path)}
    for number, name in enumerate(("DEMO-DANDI:000001", "dandi://demo-dandi/000001", page)):
        reader.does(f"git clone -q {name} by-git-{number}")
        run("git", "submodule", "--quiet", "update", "--init", "even.zarr", cwd=tmp_path / f"by-git-{number}", env=env)
        assert (tmp_path / f"by-git-{number}/even.zarr/.zarray").is_symlink()
        reader.does(f"datalad clone {name} by-datalad-{number}")
        run("datalad", "get", "-n", "even.zarr", cwd=tmp_path / f"by-datalad-{number}", env=env)
        assert (tmp_path / f"by-datalad-{number}/even.zarr/.zarray").is_symlink()
    reader.does(f"datalad clone DEMO-DANDI:{zarr_scene.ids['even.zarr']} zarr")
    assert (tmp_path / "zarr/.zarray").is_symlink()


def test_undone_as_it_says_the_names_lead_nowhere_again(reader: Reader) -> None:
    before = (reader.home / ".gitconfig").read_text()
    assert "include" in before
    reader.does(reader.said("--unset-all"))
    assert reader.run("git", "config", "--global", "--list", env={"HOME": str(reader.home)}).count("include") == 0
    reader.does("git -c core.sshCommand=false clone DEMO-DANDI:000001 clone", ok=False)


def test_appended_to_the_readers_own_configuration_it_works_too(
    catalogued: Any, run: Callable[..., str], tmp_path: Path
) -> None:
    config = printed(catalogued.mirror.store)
    (tmp_path / ".gitconfig").write_text(USER + config)
    reader = Reader(tmp_path, config, run)
    reader.does("datalad clone DEMO-DANDI:000001")
    assert (tmp_path / "000001/README.md").is_file()
    first, *_, last = config.splitlines()
    assert first.startswith("# Names of DEMO-DANDI")
    assert last == "# The end of what leads from DEMO-DANDI to the mirror."


def test_a_store_whose_path_has_odd_characters_is_reached(
    catalogued: Any, run: Callable[..., str], tmp_path: Path
) -> None:
    odd = tmp_path / 'a, b\'s "ü" #1 \\2'
    odd.symlink_to(catalogued.mirror.store)
    (tmp_path / ".gitconfig").write_text(USER)
    reader = Reader(tmp_path, printed(odd), run)
    reader.follows_the_instructions()
    reader.does("datalad clone DEMO-DANDI:000001")
    reader.does("git clone -q DEMO-DANDI:000001 by-git")
    assert {(tmp_path / name / "README.md").is_file() for name in ("000001", "by-git")} == {True}
