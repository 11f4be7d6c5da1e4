"""Editing a tree gives what making the changes one by one would give, and what git's own index makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.git.objects import MODE_EXEC, MODE_FILE, MODE_GITLINK, MODE_LINK, MODE_TREE, Entry, Oid, hash_object
from mirror.git.pack import PackWriter
from mirror.git.reader import ObjectReader, Objects
from mirror.git.repository import Repository
from mirror.git.trees import edit_tree
from tests.conftest import examples

Git = Callable[..., str]
Files = dict[bytes, Entry]

# Few and short, with characters on both sides of the slash in byte order, so that files and directories collide.
paths = st.lists(st.sampled_from([b"a", b"a.", b"a-", b"a0", b"b"]), min_size=1, max_size=3).map(b"/".join)
files = st.builds(Entry, st.sampled_from([MODE_FILE, MODE_EXEC, MODE_LINK, MODE_GITLINK]), st.just(b"\1" * 20))
changes = st.dictionaries(paths, st.none() | files).map(lambda change: sorted(change.items()))


def without_contradictions(change: list[tuple[bytes, Entry | None]]) -> bool:
    puts = [path for path, entry in change if entry]
    return not any(below.startswith(above + b"/") for above in puts for below in puts)


def model(base: Files, change: list[tuple[bytes, Entry | None]]) -> Files:
    """The changes made one after another on a plain list of files."""
    now = dict(base)
    for path, entry in change:
        if entry is None or path not in now:
            now = {old: kept for old, kept in now.items() if old != path and not old.startswith(path + b"/")}
        if entry is not None:
            parents = {path[:at] for at, char in enumerate(path) if char == ord("/")}
            now = {old: kept for old, kept in now.items() if old not in parents}
            now[path] = entry
    return now


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository.create(tmp_path_factory.mktemp("trees") / "r", head="draft")


def edited(repository: Repository, base: Files, change: list[tuple[bytes, Entry | None]]) -> tuple[Files, Files]:
    """The files after editing, and the same tree made from nothing."""
    with repository.writer() as writer, repository.objects(writer) as objects:
        before = edit_tree(objects, writer, None, sorted(base.items()))
        after = edit_tree(objects, writer, before, iter(change))
        expected = model(base, change)
        assert after == edit_tree(objects, writer, None, sorted(expected.items()))
        return (dict(objects.list_tree(after)) if after else {}), expected


FILE = Entry(MODE_FILE, b"\1" * 20)


@examples(100)
@given(base=changes.filter(without_contradictions), change=changes.filter(without_contradictions))
@example(base=[(b"a", FILE)], change=[(b"a", None), (b"a.", FILE), (b"a/b", FILE)])
@example(base=[(b"a", FILE)], change=[(b"a.", FILE), (b"a/b", FILE)])
@example(base=[(b"a", FILE)], change=[(b"a/b", None)])
@example(base=[(b"a/a", FILE), (b"a/b", FILE)], change=[(b"a", FILE), (b"a/a", None), (b"a/b", None)])
@example(base=[(b"a/a", FILE), (b"a/b", FILE)], change=[(b"a", None), (b"a/b", FILE)])
@example(base=[(b"a/a/a", FILE)], change=[(b"a/a/a", None)])
def test_it_is_the_same_as_one_change_after_another(
    store: Repository, base: list[tuple[bytes, Entry | None]], change: list[tuple[bytes, Entry | None]]
) -> None:
    start = {path: entry for path, entry in base if entry}
    after, expected = edited(store, start, change)
    assert after == expected
    assert list(after) == sorted(after)


@examples(40)
@given(changes.filter(lambda change: not without_contradictions(change)))
def test_a_file_where_the_same_changes_need_a_directory_is_refused(
    store: Repository, change: list[tuple[bytes, Entry | None]]
) -> None:
    with (
        store.writer() as writer,
        store.objects(writer) as objects,
        pytest.raises(ValueError, match="are put"),
    ):
        edit_tree(objects, writer, None, change)


def listing(files: Files) -> bytes:
    return b"".join(b"%b %b 0\t%b\0" % (mode, oid.hex().encode(), path) for path, (mode, oid) in files.items())


@examples(15)
@given(change=changes.filter(without_contradictions))
def test_git_writes_the_same_tree(store: Repository, run: Git, change: list[tuple[bytes, Entry | None]]) -> None:
    with store.writer() as writer, store.objects(writer) as objects:
        blob = writer.add_blob(b"content")
        wanted = {path: Entry(entry.mode, blob) for path, entry in change if entry and entry.mode != MODE_GITLINK}
        tree = edit_tree(objects, writer, None, sorted(wanted.items()))
        writer.finish()
    index = store.path / "index"
    index.unlink(missing_ok=True)
    run("-C", store.path, "update-index", "-z", "--index-info", stdin=listing(wanted))
    told = run("-C", store.path, "write-tree")
    assert (tree.hex() if tree else run("-C", store.path, "mktree")) == told
    shown = run("-C", store.path, "ls-tree", "-r", "--name-only", "-z", told)
    assert shown.encode() == b"".join(path + b"\0" for path in sorted(wanted))
    run("-C", store.path, "fsck", "--strict")


class Watched(Objects):
    """Remembers which trees were read."""

    def __init__(self, reader: ObjectReader, writer: PackWriter) -> None:
        super().__init__(reader, writer)
        self.seen: set[Oid] = set()

    def read_many(self, oids: Iterable[Oid]) -> Iterator[tuple[Oid, bytes, bytes]]:
        for answer in super().read_many(oids):
            self.seen.add(answer[0])
            yield answer


@pytest.fixture
def watched(repository: Repository) -> Iterator[tuple[Watched, PackWriter, Oid]]:
    """A tree of 10 by 10 directories, of which no two are the same, its readers watched."""
    start = [(b"%d/%d/%d%d" % (a, b, a, b), FILE) for a in range(10) for b in range(10)]
    with repository.writer() as writer, repository.objects(writer) as objects:
        base = edit_tree(objects, writer, None, start)
        writer.finish()
    assert base is not None
    with repository.writer() as writer, Watched(ObjectReader(repository.path), writer) as objects:
        yield objects, writer, base


def test_only_directories_on_the_way_are_read_and_written(watched: tuple[Watched, PackWriter, Oid]) -> None:
    objects, writer, base = watched
    edit_tree(objects, writer, base, [(b"3/5/g", FILE)])
    assert len(objects.seen) == len(writer) == 3


def test_far_apart_changes_read_nothing_else(watched: tuple[Watched, PackWriter, Oid]) -> None:
    objects, writer, base = watched
    edit_tree(objects, writer, base, [(b"0/5/g", FILE), (b"8/2/g", FILE), (b"8/9/g", FILE)])
    assert len(objects.seen) == len(writer) == 6


def test_directories_changed_in_a_row_are_read_ahead(watched: tuple[Watched, PackWriter, Oid]) -> None:
    objects, writer, base = watched
    changes = [(b"4/%d/g" % number, FILE) for number in range(6)]
    edit_tree(objects, writer, base, changes)
    assert len(writer) == 8
    assert 8 < len(objects.seen) <= 12


def test_changes_that_change_nothing_write_nothing(repository: Repository) -> None:
    with repository.writer() as writer, repository.objects(writer) as objects:
        base = edit_tree(objects, writer, None, [(b"a/b/c", FILE), (b"d", FILE)])
        count = len(writer)
        assert edit_tree(objects, writer, base, [(b"a/b/c", FILE), (b"d/x", None), (b"e/f/g", None)]) == base
        assert len(writer) == count


def test_a_whole_tree_can_be_hung_in_and_edited(repository: Repository) -> None:
    with repository.writer() as writer, repository.objects(writer) as objects:
        hung = edit_tree(objects, writer, None, [(b"x", FILE), (b"y", FILE)])
        assert hung is not None
        tree = edit_tree(objects, writer, None, [(b"a", Entry(MODE_TREE, hung)), (b"a/x", None), (b"a/z", FILE)])
        assert tree is not None
        assert [path for path, _ in objects.list_tree(tree)] == [b"a/y", b"a/z"]


def test_nothing_left_is_none(repository: Repository) -> None:
    with repository.writer() as writer, repository.objects(writer) as objects:
        assert edit_tree(objects, writer, None, []) is None
        base = edit_tree(objects, writer, None, [(b"a/b/c", FILE)])
        assert edit_tree(objects, writer, base, [(b"a/b/c", None)]) is None


@pytest.mark.parametrize(
    "wrong",
    [
        [(b"b", FILE), (b"a", FILE)],
        [(b"a", FILE), (b"a", None)],
        *[
            [(path, FILE)]
            for path in (b"", b"/a", b"a/", b"a//b", b"../a", b"a/.", b"a/../b", b"a\0b", b"a\0/b", b"//")
        ],
    ],
)
def test_wrong_order_and_impossible_paths_are_refused(repository: Repository, wrong: list[tuple[bytes, Entry]]) -> None:
    with (
        repository.writer() as writer,
        repository.objects(writer) as objects,
        pytest.raises(ValueError, match=r"out of order|no tree can hold"),
    ):
        edit_tree(objects, writer, None, wrong)


def test_changes_are_consumed_as_they_come(repository: Repository) -> None:
    """Closed directories are in the pack before the last change was asked for."""
    written = []

    def stream() -> Iterator[tuple[bytes, Entry]]:
        for number in range(100):
            written.append(len(writer))
            yield b"%03d/f" % number, Entry(MODE_FILE, writer.add_blob(b"%d" % number))

    with repository.writer() as writer, repository.objects(writer) as objects:
        edit_tree(objects, writer, None, stream())
    assert written[-1] == 98 + 99  # the trees of all directories closed, the blobs of all but the last


def test_git_agrees_on_a_large_annex_branch(repository: Repository, git: Git) -> None:
    keys = sorted(hash_object(b"blob", b"%d" % number).hex().encode() for number in range(500))
    with repository.writer() as writer, repository.objects(writer) as objects:
        wanted = {}
        for key in keys:
            for ending in (b".log", b".log.met", b".log.web"):
                path = b"%b/%b/SHA256E-s1--%b%b" % (key[:3], key[3:6], key, ending)
                wanted[path] = Entry(MODE_FILE, writer.add_blob(key + ending))
        tree = edit_tree(objects, writer, None, sorted(wanted.items()))
        assert tree is not None
        writer.finish()
    git("update-index", "-z", "--index-info", stdin=listing(wanted))
    assert git("write-tree") == tree.hex()
