"""`.gitmodules`, as git itself reads it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.dataset.names import check_conflicts
from mirror.dataset.submodules import dataset_ids, gitmodules, places, submodule_path
from mirror.errors import PathRefused
from mirror.git.objects import BLOB, COMMIT, MODE_FILE, MODE_GITLINK, Commit, Entry, Signature
from mirror.git.repository import Repository
from mirror.git.trees import edit_tree
from tests.conftest import examples

WHO = Signature("The Mirror", "mirror@example.org", 1_700_000_000)
ZARR_ID = "2c57d0e2-3cf4-4be9-8c36-0dc2f1e6c5a1"


def git(repository: Path, *args: str, stdin: bytes = b"") -> bytes:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", "-C", str(repository), *args], input=stdin, capture_output=True, env=environment)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def can_be_held(path: str) -> bool:
    try:
        submodule_path(path)
    except PathRefused:
        return False
    return True


# Every ASCII letter that means something to git, to a shell or to a configuration file, and some beyond.
LETTERS = "".join(map(chr, range(1, 128))) + "éß日\U0001f9e0\u2028\u200d\ufeff"
PARTS = st.one_of(
    st.text(LETTERS, min_size=1, max_size=6),
    st.sampled_from(["-x", "--upload-pack=x", " a", "a ", '"', "\\", "a\\", "\\n", "#", ";", "a\nb", "\r", "a\r", "\t"])
    | st.sampled_from([".git", ".gitmodules", "..a", "a]", '"]', "[core]", "=", "%41", "~", ":", "\x7f", "\x08"]),
)
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join).filter(can_be_held)
IDS = st.uuids().map(str)


def without_conflicts(found: dict[str, str]) -> dict[str, str]:
    kept: dict[str, str] = {}
    for path, zarr_id in found.items():
        try:
            check_conflicts([*kept, path])
        except PathRefused:
            continue
        kept[path] = zarr_id
    return kept


@given(st.dictionaries(PATHS, IDS, min_size=1, max_size=5).map(without_conflicts))
@example({"-x.zarr": ZARR_ID, "a b.zarr": ZARR_ID, 'a"b\\c': ZARR_ID, "a\nb": ZARR_ID, "#;": ZARR_ID, "a ": ZARR_ID})
@example({"a\rb": ZARR_ID, "a\r": ZARR_ID, "\ta": ZARR_ID, "a\x08b": ZARR_ID, "a%0Ab": ZARR_ID})
@example({"..\\up.zarr": ZARR_ID, "a\\..\\b.zarr": ZARR_ID, "a\\..": ZARR_ID})
@examples(25)
def test_git_reads_back_what_was_written_and_finds_nothing_wrong(folder: Path, submodules: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        repository = Repository.create(Path(name, "dataset"), head="draft")
        held = {submodule_path(path): zarr_id for path, zarr_id in submodules.items()}
        assert len(held) == len(submodules)
        body = gitmodules(held)
        with repository.writer() as writer, repository.objects(writer) as objects:
            changes = [(path, Entry(MODE_GITLINK, bytes(range(20)))) for path in held]
            changes.append((b".gitmodules", Entry(MODE_FILE, writer.add(BLOB, body))))
            tree = edit_tree(objects, writer, None, sorted(changes))
            assert tree is not None
            commit = writer.add(COMMIT, Commit(tree, (), WHO, WHO, "x\n").encode())
            repository.publish(writer, {"refs/heads/draft": commit})

        told = git(repository.path, "config", "--blob", "draft:.gitmodules", "--list", "-z")
        sections: dict[bytes, dict[bytes, bytes]] = {}
        for line in told.split(b"\0")[:-1]:
            key, _, value = _split(line)
            section, _, variable = key.rpartition(b".")
            sections.setdefault(section, {})[variable] = value
        assert {section[b"path"]: section for section in sections.values()} == {
            path: {b"path": path, b"url": b"../" + zarr_id.encode(), b"datalad-id": zarr_id.encode()}
            for path, zarr_id in held.items()
        }
        git(repository.path, "fsck", "--strict", "--no-dangling")
        links = [line for line in git(repository.path, "ls-tree", "-rz", "draft").split(b"\0") if b" commit " in line]
        assert {line.partition(b"\t")[2] for line in links} == held.keys()


def _split(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Key and value of a line of `git config --list -z`; a key may have a newline, a variable's name none."""
    for variable in (b".path", b".url", b".datalad-id"):
        if variable + b"\n" in line:
            key, _, value = line.partition(variable + b"\n")
            return key + variable, b"\n", value
    raise AssertionError(line)


@given(st.dictionaries(PATHS, IDS, max_size=5).map(without_conflicts))
@example({"-x.zarr": ZARR_ID, "a b.zarr": ZARR_ID, 'a"b\\c': ZARR_ID, "a\nb": ZARR_ID, "#;": ZARR_ID, "a ": ZARR_ID})
@example({"a\rb": ZARR_ID, "a\r": ZARR_ID, "\ta": ZARR_ID, "a\x08b": ZARR_ID, "a\\nb": ZARR_ID})
def test_we_read_back_what_was_written(submodules: dict[str, str]) -> None:
    held = {submodule_path(path): zarr_id for path, zarr_id in submodules.items()}
    assert places(gitmodules(held)) == held
    assert dataset_ids(gitmodules(held)) == [held[path] for path in sorted(held)]


def test_it_is_the_same_text_whatever_the_order() -> None:
    one = {b"b.zarr": ZARR_ID, b"a.zarr": str(UUID(int=1))}
    assert gitmodules(one) == gitmodules(dict(reversed(one.items())))
    assert gitmodules(one).decode() == (
        '[submodule "a.zarr"]\n\tpath = a.zarr\n\turl = ../00000000-0000-0000-0000-000000000001\n'
        "\tdatalad-id = 00000000-0000-0000-0000-000000000001\n"
        f'[submodule "b.zarr"]\n\tpath = b.zarr\n\turl = ../{ZARR_ID}\n\tdatalad-id = {ZARR_ID}\n'
    )


def test_of_no_submodules_nothing_is_said() -> None:
    assert gitmodules({}) == b""


def test_a_path_that_looks_like_an_option_is_escaped() -> None:
    """Git ignores a submodule of such a path."""
    assert submodule_path("-x/y.zarr") == b"%2Dx/y.zarr"
    assert submodule_path("x/-y.zarr") == b"x/-y.zarr"
    assert submodule_path("%2Dx/y.zarr") == b"%252Dx/y.zarr"
