"""Bare repositories, and the real git to judge them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mirror.git.objects import COMMIT, MODE_FILE, Commit, Entry, Oid, Signature
from mirror.git.pack import PackWriter
from mirror.git.repository import Repository
from mirror.git.trees import edit_tree

Git = Callable[..., str]

ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A User",
    "GIT_AUTHOR_EMAIL": "user@example.org",
    "GIT_COMMITTER_NAME": "A User",
    "GIT_COMMITTER_EMAIL": "user@example.org",
    "LC_ALL": "C",
}

WHO = Signature("The Mirror", "mirror@example.org", 1_700_000_000)


def _run(*args: object, stdin: bytes = b"", ok: bool = True) -> str:
    """What `git ARGS` prints. It must succeed, or with `ok=False` fail: then what it complains of."""
    cmd = ["git", *map(str, args)]
    done = subprocess.run(cmd, input=stdin, capture_output=True, env=ENVIRONMENT, check=False)
    assert (done.returncode == 0) is ok, (cmd, done.stdout, done.stderr)
    return (done.stdout if ok else done.stderr).decode("utf-8", "surrogateescape").rstrip("\n")


@pytest.fixture
def git(repository: Repository) -> Git:
    """`git` on the repository of the test."""
    return lambda *args, **options: _run("-C", repository.path, *args, **options)


@pytest.fixture(scope="session")
def run() -> Git:
    """`git` anywhere."""
    return _run


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "dataset", head="draft", config={"annex.uuid": "u-1", "annex.version": "10"})


class Author:
    """Makes commits in a repository, in process."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def commit(
        self, writer: PackWriter, files: Mapping[bytes, bytes], parent: Oid | None = None, message: str = "x\n"
    ) -> Oid:
        """A commit, in this pack, of these files on top of those of its parent."""
        with self._repository.objects(writer) as objects:
            base = objects.commit(parent).tree if parent else None
            changes = [(path, Entry(MODE_FILE, writer.add_blob(body))) for path, body in sorted(files.items())]
            tree = edit_tree(objects, writer, base, changes)
        assert tree is not None
        return writer.add(COMMIT, Commit(tree, (parent,) if parent else (), WHO, WHO, message).encode())

    def publish(self, files: Mapping[bytes, bytes], *branches: str) -> Oid:
        """Commit these files on top of the first of these branches and move them all there."""
        moved = branches or ("refs/heads/draft",)
        with self._repository.writer() as writer:
            commit = self.commit(writer, files, self._repository.refs().get(moved[0]))
            self._repository.publish(writer, dict.fromkeys(moved, commit))
        return commit


@pytest.fixture
def author(repository: Repository) -> Author:
    return Author(repository)
