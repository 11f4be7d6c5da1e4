"""Comparing two trees tells what `git diff-tree` tells, and reads no more than it must."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.git.compare import Difference, compare
from mirror.git.objects import MODE_EXEC, MODE_FILE, MODE_GITLINK, MODE_LINK, Entry, Oid
from mirror.git.reader import ObjectReader, Objects
from mirror.git.repository import Repository
from mirror.git.trees import edit_tree
from tests.conftest import examples

Git = Callable[..., str]
Files = Mapping[bytes, Entry]

# Few and short, with characters on both sides of the slash in byte order, so that files and directories collide.
paths = st.lists(st.sampled_from([b"a", b"a.", b"a-", b"a0", b"b"]), min_size=1, max_size=3).map(b"/".join)
ids = st.sampled_from([b"\1" * 20, b"\2" * 20])
entries = st.builds(Entry, st.sampled_from([MODE_FILE, MODE_EXEC, MODE_LINK, MODE_GITLINK]), ids)


def possible(files: Files) -> bool:
    return not any(below.startswith(above + b"/") for above in files for below in files)


trees = st.dictionaries(paths, entries, max_size=12).filter(possible)
ONE, OTHER = Entry(MODE_FILE, b"\1" * 20), Entry(MODE_FILE, b"\2" * 20)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository.create(tmp_path_factory.mktemp("compare") / "r", head="draft")


def written(repository: Repository, *contents: Files) -> list[Oid | None]:
    """The trees with these files."""
    with repository.writer() as writer, repository.objects(writer) as objects:
        oids = [edit_tree(objects, writer, None, sorted(files.items())) for files in contents]
        if any(oids):
            repository.publish(writer, {})
        return oids


def told_by_git(run: Git, repository: Repository, before: Oid, after: Oid) -> list[Difference]:
    told = run("-C", repository.path, "diff-tree", "-r", "-z", "--no-renames", before.hex(), after.hex())
    fields = told.encode().split(b"\0")[:-1]
    return [(path, *_entries(facts)) for facts, path in zip(fields[::2], fields[1::2], strict=True)]


def _entries(facts: bytes) -> tuple[Entry | None, Entry | None]:
    modes, oids = (facts[1:].split(b" ")[at : at + 2] for at in (0, 2))
    old, new = (
        None if int(mode) == 0 else Entry(mode, bytes.fromhex(oid.decode()))
        for mode, oid in zip(modes, oids, strict=True)
    )
    return old, new


@examples(50)
@given(before=trees, after=trees)
@example(before={b"a": ONE}, after={b"a.": ONE, b"a/b": ONE})
@example(before={b"a": ONE, b"a-": ONE}, after={b"a-": OTHER, b"a/b": ONE, b"a0": ONE})
@example(before={b"a/b": ONE, b"a/c/d": ONE}, after={b"a/b": ONE, b"a/c/d": OTHER})
@example(before={b"a/a/a": ONE, b"b/a": ONE}, after={b"a/a/a": OTHER, b"b": ONE})
def test_it_tells_what_git_tells(store: Repository, run: Git, before: Files, after: Files) -> None:
    one, other = written(store, before, after)
    with store.objects() as objects:
        found = list(compare(objects, one, other))
    assert found == [
        (path, before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if before.get(path) != after.get(path)
    ]
    if one is not None and other is not None:
        assert found == told_by_git(run, store, one, other)


def test_a_prefix_stands_before_each_path(store: Repository) -> None:
    before, after = written(store, {b"a/b": ONE, b"c": ONE}, {b"a/b": OTHER})
    with store.objects() as objects:
        assert [path for path, _, _ in compare(objects, before, after, b"x/")] == [b"x/a/b", b"x/c"]
        assert [path for path, _, _ in compare(objects, None, after, b"x/")] == [b"x/a/b"]


class Watched(Objects):
    """Notes which objects are read."""

    def __init__(self, repository: Repository) -> None:
        super().__init__(ObjectReader(repository.path))
        self.questions: list[list[Oid]] = []

    def read_many(self, oids):  # type: ignore[no-untyped-def]
        self.questions.append(list(oids))
        return super().read_many(self.questions[-1])


def test_directories_that_do_not_differ_are_not_read(store: Repository) -> None:
    files = {b"%02d/%02d/f" % (outer, inner): ONE for outer in range(20) for inner in range(20)}
    before, after = written(store, files, {**files, b"07/03/f": OTHER})
    with Watched(store) as objects:
        assert list(compare(objects, before, after)) == [(b"07/03/f", ONE, OTHER)]
        assert sum(map(len, objects.questions)) == 6


def test_those_that_do_are_read_many_at_a_time(store: Repository) -> None:
    files = {b"%03d/f" % number: Entry(MODE_FILE, number.to_bytes(20, "big")) for number in range(200)}
    changed = {path: Entry(MODE_EXEC, entry.oid) for path, entry in files.items()}
    before, after = written(store, files, changed)
    with Watched(store) as objects:
        assert len(list(compare(objects, before, after))) == 200
        assert len(objects.questions) < 20
