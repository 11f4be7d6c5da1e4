"""Objects are read as git has them, whoever owns the repository and whatever our environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import GitError, StoreError
from mirror.git.objects import BLOB, MODE_FILE, MODE_GITLINK, MODE_TREE, Entry, Oid, hash_object
from mirror.git.reader import MissingObject, ObjectReader
from mirror.git.repository import Repository
from mirror.git.trees import edit_tree

Git = Callable[..., str]
NOWHERE = b"\xab" * 20


@pytest.fixture
def blobs(repository: Repository) -> dict[Oid, bytes]:
    with repository.writer() as writer:
        bodies = [b"%d\n" % number * (number % 50) for number in range(3000)] + [b"\0" * 3_000_000]
        oids = {writer.add_blob(body): body for body in bodies}
        repository.publish(writer, {})
    return oids


def test_one_and_many(repository: Repository, blobs: dict[Oid, bytes]) -> None:
    with ObjectReader(repository.path) as reader:
        assert list(reader.read_many(blobs)) == [(oid, BLOB, body) for oid, body in blobs.items()]
        assert reader.read(next(iter(blobs))) == (BLOB, b"")
        assert list(reader.read_many([])) == []


def test_reading_more_while_a_stream_is_half_read(repository: Repository, blobs: dict[Oid, bytes]) -> None:
    oids = list(blobs)
    with ObjectReader(repository.path) as reader:
        for oid, _, body in reader.read_many(oids):
            assert blobs[oid] == body
            assert reader.read(oids[0]) == (BLOB, b"")
        stream = reader.read_many(oids)
        next(stream)
        stream.close()
        assert reader.read(oids[5])[1] == blobs[oids[5]]


def test_nothing_runs_on_after_a_stream_that_outlives_its_reader(
    repository: Repository, blobs: dict[Oid, bytes]
) -> None:
    oid, other = list(blobs)[:2]
    with ObjectReader(repository.path) as reader:
        stream = reader.read_many([oid, other])
        assert [next(stream)[2], next(stream)[2]] == [blobs[oid], blobs[other]]
    assert next(stream, None) is None
    assert reader._idle == []
    assert reader.read(oid)[1] == blobs[oid]  # it starts a new one
    reader.close()


def test_questions_are_asked_as_answers_are_taken(repository: Repository, blobs: dict[Oid, bytes]) -> None:
    asked = 0

    def questions() -> Iterator[Oid]:
        nonlocal asked
        for oid in blobs:
            asked += 1
            yield oid

    with ObjectReader(repository.path) as reader:
        stream = reader.read_many(questions())
        next(stream)
        assert asked < 200
        stream.close()


def test_a_missing_object_is_named_and_the_reader_lives_on(repository: Repository, blobs: dict[Oid, bytes]) -> None:
    known = next(iter(blobs))
    with ObjectReader(repository.path) as reader:
        with pytest.raises(MissingObject, match=NOWHERE.hex()):
            reader.read(NOWHERE)
        with pytest.raises(MissingObject):
            list(reader.read_many([known, NOWHERE, known, known]))
        assert reader.read(known)[0] == BLOB


def test_packs_that_come_later_are_seen(repository: Repository, author: Any) -> None:
    with repository.objects() as objects:
        first = author.publish({b"a": b"1"})
        assert objects.blob(hash_object(BLOB, b"1")) == b"1"
        second = author.publish({b"a": b"2"})
        assert objects.commit(second).parents == (first,)


def test_no_repository_is_an_error_that_says_so(tmp_path: Path) -> None:
    with ObjectReader(tmp_path) as reader, pytest.raises(GitError, match="not a git repository") as caught:
        reader.read(NOWHERE)
    assert caught.value.returncode == 128
    assert caught.value.cwd == str(tmp_path)


def test_a_damaged_object_is_an_error(repository: Repository, git: Git) -> None:
    oid = git("hash-object", "-w", "--stdin", stdin=b"text")
    path = repository.path / "objects" / oid[:2] / oid[2:]
    path.chmod(0o644)
    path.write_bytes(b"garbage")
    with ObjectReader(repository.path) as reader, pytest.raises((GitError, MissingObject)):
        reader.read(bytes.fromhex(oid))


def test_the_environment_does_not_mislead(
    repository: Repository, author: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = author.publish({b"a": b"1"})
    other = Repository.create(tmp_path / "other", head="draft")
    monkeypatch.setenv("GIT_DIR", str(other.path))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other.path / "objects"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "nonsense")
    with repository.objects() as objects:
        assert objects.commit(commit).message == "x\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository to somebody else")
def test_a_repository_of_another_user(repository: Repository, author: Any, git: Git) -> None:
    author.publish({b"a": b"1"})
    for folder, _, names in os.walk(repository.path):
        for name in ("", *names):
            os.chown(Path(folder, name), 4711, 4711)
    assert "dubious ownership" in git("cat-file", "-p", "draft", ok=False)
    with repository.objects() as objects:
        assert objects.blob(hash_object(BLOB, b"1")) == b"1"
    author.publish({b"a": b"2"})
    assert repository.repack(0, pack_limit=1)


def test_the_unfinished_pack_comes_first(repository: Repository, author: Any) -> None:
    stored = author.publish({b"a/b": b"stored"})
    with repository.writer() as writer, repository.objects(writer) as objects:
        new = author.commit(writer, {b"a/c": b"new"}, stored)
        tree = objects.commit(new).tree
        assert [path for path, _ in objects.list_tree(tree, b"sub/")] == [b"sub/a/b", b"sub/a/c"]
        oids = [hash_object(BLOB, body) for body in (b"new", b"stored", b"new", b"stored")]
        assert [body for _, _, body in objects.read_many(oids)] == [b"new", b"stored", b"new", b"stored"]
        with pytest.raises(StoreError, match="is a commit where a tree is needed"):
            objects.tree(new)


def test_looking_up_paths(repository: Repository) -> None:
    link = Entry(MODE_GITLINK, NOWHERE)
    with repository.writer() as writer, repository.objects(writer) as objects:
        blob = Entry(MODE_FILE, writer.add_blob(b"1"))
        tree = edit_tree(objects, writer, None, [(b"a/b/c", blob), (b"a/sub", link), (b"d", blob)])
        assert tree is not None
        assert objects.lookup(tree, b"a/b/c") == objects.lookup(tree, b"d") == blob
        below = objects.lookup(tree, b"a/b")
        assert below is not None
        assert below.mode == MODE_TREE
        assert [objects.lookup(tree, path) for path in (b"x", b"a/x", b"d/x", b"a/sub/x", b"a/b/c/d")] == [None] * 5
        assert list(objects.list_tree(tree)) == [(b"a/b/c", blob), (b"a/sub", link), (b"d", blob)]


def test_memory_of_trees_is_bounded(repository: Repository) -> None:
    def unique(number: int) -> Entry:
        return Entry(MODE_FILE, number.to_bytes(20, "big"))

    with repository.writer() as writer, repository.objects(writer) as objects:
        start = ((b"%04d/%03d" % (number // 200, number % 200), unique(number)) for number in range(80_000))
        tree = edit_tree(objects, writer, None, start)
        assert tree is not None
        assert sum(1 for _ in objects.list_tree(tree)) == 80_000
        assert objects.remembered_entries <= 30_000
        assert objects.remembered_entries > 20_000
