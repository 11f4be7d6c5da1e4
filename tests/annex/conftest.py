"""The real git-annex, to ask what it makes of what we write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mirror.annex.hashdirs import link_target, lower


@dataclass
class Annex:
    """A repository, and git and git-annex to be run in it."""

    path: Path
    env: dict[str, str]

    def git(self, *args: str, stdin: bytes | None = None) -> bytes:
        done = subprocess.run(
            ["git", *args], cwd=self.path, env=self.env, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0 or args[0] == "annex", done.stderr.decode()
        return done.stdout

    def annex(self, *args: str, stdin: bytes | None = None) -> bytes:
        return self.git("annex", *args, stdin=stdin)

    def answers(self, *args: str) -> dict[str, Any]:
        """What a command with `--json` says of each file."""
        return {answer["file"]: answer for answer in map(json.loads, self.annex(*args, "--json").splitlines())}

    def holding(self, logs: Mapping[str, Mapping[str, bytes]], others: Mapping[str, bytes] | None = None) -> None:
        """Make it hold annexed files with these logs (by suffix), and further files on the git-annex branch."""
        tree: list[bytes] = []
        branch = [_put("100644", path, body) for path, body in (others or {}).items()]
        for name, bodies in logs.items():
            key = key_of(name)
            tree.append(_put("120000", name, link_target(name.encode(), key)))
            branch += [_put("100644", f"{lower(key).decode()}/{key}{end}", body) for end, body in bodies.items()]
        stream = _commit("refs/heads/main", tree) + _commit("refs/heads/git-annex", branch)
        self.git("fast-import", "--quiet", stdin=stream)
        self.git("reset", "-q", "--hard", "main")
        self.annex("init", "--quiet", "test")


def key_of(name: str) -> str:
    return f"SHA256E-s{len(name)}--{sha256(name.encode()).hexdigest()}"


def _data(body: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(body), body)


def _put(mode: str, path: str, body: bytes) -> bytes:
    return f"M {mode} inline {path}\n".encode() + _data(body)


def _commit(ref: str, files: Iterable[bytes]) -> bytes:
    return f"commit {ref}\ncommitter a <a@b> 1577836800 +0000\n".encode() + _data(b"test") + b"".join(files)


@pytest.fixture
def annex(tmp_path: Path) -> Annex:
    """An empty repository."""
    env = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    env |= {f"GIT_{who}_{what}": f"a@{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    repository = Annex(tmp_path / "repository", env)
    repository.path.mkdir()
    repository.git("init", "-q", "-b", "main")
    return repository
