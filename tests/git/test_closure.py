"""The closure of some refs is what `git rev-list --objects` lists, in an order that depends on the objects alone."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.errors import StoreError
from mirror.git.large.closure import Closure, Reached
from mirror.git.objects import (
    BLOB,
    COMMIT,
    MODE_EXEC,
    MODE_FILE,
    MODE_GITLINK,
    MODE_LINK,
    MODE_TREE,
    TAG,
    TREE,
    Commit,
    Entry,
    Oid,
    Signature,
    Tag,
    encode_tree,
    hash_object,
)
from mirror.git.pack import PackWriter
from mirror.git.packs import pack_folder
from mirror.git.reader import MissingObject, ObjectReader, Objects
from mirror.git.repository import Repository
from mirror.git.trees import edit_tree
from tests.conftest import examples

Git = Callable[..., str]
Files = Mapping[bytes, Entry]

WHO = Signature("The Mirror", "mirror@example.org", 1_700_000_000)
NOWHERE = b"\1" * 20

BODIES = (b"one", b"two", b"three")
ONE, TWO, THREE = (Entry(MODE_FILE, hash_object(BLOB, body)) for body in BODIES)
ELSEWHERE = Entry(MODE_GITLINK, NOWHERE)

# So few that commits have much in common: the same directory in two places, a file where a directory was, another mode.
paths = st.lists(st.sampled_from([b"a", b"a.", b"b"]), min_size=1, max_size=3).map(b"/".join)
modes = st.sampled_from([MODE_FILE, MODE_EXEC, MODE_LINK])
entries = st.one_of(st.builds(Entry, modes, st.sampled_from([ONE.oid, TWO.oid, THREE.oid])), st.just(ELSEWHERE))
trees = st.dictionaries(paths, entries, max_size=6).filter(
    lambda files: not any(below.startswith(above + b"/") for above in files for below in files)
)


class History(NamedTuple):
    """Commits, tags, and where to begin from. All are numbered, one after the other, and name those before them."""

    commits: Sequence[tuple[Files, Sequence[int]]]
    """what is in each, and how many commits back its parents are; those before the first are none"""
    tags: Sequence[int]
    tips: Sequence[int]


@st.composite
def histories(draw: st.DrawFn) -> History:
    states = st.sampled_from(draw(st.lists(trees, min_size=1, max_size=5)))
    parents = st.lists(st.integers(1, 4), max_size=3, unique=True)
    commits = draw(st.lists(st.tuples(states, parents), min_size=1, max_size=8))
    tags = draw(st.lists(st.integers(0, len(commits)), max_size=3))
    tags = [min(tag, len(commits) + number - 1) for number, tag in enumerate(tags)]
    tips = st.lists(st.integers(0, len(commits) + len(tags) - 1), max_size=4, unique=True)
    return History(commits, tags, draw(tips) or [len(commits) - 1])


def linear(*states: Files) -> History:
    """Each the only parent of the next."""
    return History([(files, [1]) for files in states], [], [len(states) - 1])


def write(repository: Repository, history: History) -> list[Oid]:
    """Make these commits and tags. Returns the tips."""
    oids: list[Oid] = []
    with repository.writer() as writer, repository.objects(writer) as objects:
        for body in BODIES:
            writer.add_blob(body)
        for number, (files, back) in enumerate(history.commits):
            tree = edit_tree(objects, writer, None, sorted(files.items())) or writer.add(TREE, b"")
            parents = tuple(oids[number - steps] for steps in back if steps <= number)
            oids.append(writer.add(COMMIT, Commit(tree, parents, WHO, WHO, f"{number}\n").encode()))
        for number, target in enumerate(history.tags):
            kind = COMMIT if target < len(history.commits) else TAG
            oids.append(writer.add(TAG, Tag(oids[target], kind, f"t{number}", WHO, "x\n").encode()))
        repository.publish(writer, {f"refs/tags/{number}": oid for number, oid in enumerate(oids)})
    return [oids[tip] for tip in history.tips]


def reached_from(objects: Objects, tips: Iterable[Oid]) -> list[Reached]:
    with tempfile.TemporaryDirectory() as folder, Closure(Path(folder, "reached")) as closure:
        closure.fill(objects, tips)
        found = list(closure)
        assert len(closure) == len(found)
        return found


def reached(repository: Repository, tips: Iterable[Oid]) -> list[Reached]:
    with repository.objects() as objects:
        return reached_from(objects, tips)


def listed_by_git(run: Git, repository: Repository, tips: Iterable[Oid]) -> dict[str, int]:
    """Each object once."""
    asked = "".join(f"{tip.hex()}\n" for tip in tips).encode()
    told = run("-C", repository.path, "rev-list", "--objects", "--stdin", stdin=asked)
    return Counter({line.split(" ")[0] for line in told.splitlines()})


def names(found: Iterable[Reached]) -> dict[str, int]:
    return Counter(one.oid.hex() for one in found)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository.create(tmp_path_factory.mktemp("closure") / "r", head="draft")


@pytest.fixture
def objects(repository: Repository) -> Iterator[Objects]:
    with repository.objects() as objects:
        yield objects


@examples(60)
@given(history=histories())
@example(history=linear({b"a": ONE}, {b"a": TWO}, {b"a": ONE}))
@example(history=linear({b"a/b": ONE}, {b"b/b": ONE}, {b"b/b": TWO, b"a/b": ONE}))
@example(history=linear({b"a": ONE}, {b"a/b/a": ONE}, {b"a/b": TWO}, {b"a": ONE}))
@example(history=linear({b"a": ELSEWHERE}, {b"a": ONE}, {b"a/b": TWO}, {b"a": ELSEWHERE}))
@example(history=linear({b"a": ONE}, {b"a": Entry(MODE_EXEC, ONE.oid)}, {b"a": Entry(MODE_LINK, ONE.oid)}))
@example(history=linear({}, {b"a": ONE}, {}))
@example(history=History([({b"a": ONE}, []), ({b"a": ONE}, []), ({b"a": TWO}, [1, 2])], [2, 3], [1, 4]))
@example(history=History([({b"a": ONE}, []), ({b"b": TWO}, []), ({b"a": ONE}, []), ({b"c": TWO}, [1])], [], [1, 0, 3]))
def test_it_lists_each_object_that_git_lists_once(store: Repository, run: Git, history: History) -> None:
    tips = write(store, history)
    assert names(reached(store, tips)) == listed_by_git(run, store, tips)


@examples(60)
@given(history=histories())
def test_what_stood_there_before_is_of_the_same_kind_and_comes_first(store: Repository, history: History) -> None:
    tips = write(store, history)
    with store.objects() as objects:
        found = reached_from(objects, tips)
        kinds = {oid: kind for oid, kind, _ in objects.read_many([one.oid for one in found])}
    seen = set[Oid]()
    for one in found:
        assert one.kind == kinds[one.oid]
        assert one.before is None or (one.before in seen and kinds[one.before] == one.kind)
        seen.add(one.oid)


@examples(40)
@given(history=histories())
def test_a_commit_comes_after_its_parents(store: Repository, history: History) -> None:
    tips = write(store, history)
    with store.objects() as objects:
        seen = set[Oid]()
        for oid in [one.oid for one in reached_from(objects, tips) if one.kind == COMMIT]:
            assert seen.issuperset(objects.commit(oid).parents)
            seen.add(oid)


def test_what_changed_is_told_with_what_stood_there_before(repository: Repository, objects: Objects) -> None:
    (tip,) = write(repository, linear({b"a": ONE, b"b/a": ONE}, {b"a": TWO, b"b/a": ONE, b"b/c": THREE}))
    commit = objects.commit(tip)
    old, new = (objects.tree(objects.commit(oid).tree) for oid in (*commit.parents, tip))
    (before,) = commit.parents
    assert reached_from(objects, [tip]) == [
        Reached(before, COMMIT, None),
        Reached(objects.commit(before).tree, TREE, None),
        Reached(ONE.oid, BLOB, None),
        Reached(old[b"b"].oid, TREE, None),
        Reached(tip, COMMIT, None),
        Reached(commit.tree, TREE, objects.commit(before).tree),
        Reached(TWO.oid, BLOB, ONE.oid),
        Reached(new[b"b"].oid, TREE, old[b"b"].oid),
        Reached(THREE.oid, BLOB, None),
    ]


def test_what_was_the_name_of_a_submodule_may_be_that_of_a_file(repository: Repository, run: Git) -> None:
    tips = write(repository, linear({b"a": Entry(MODE_GITLINK, ONE.oid)}, {b"a": ONE}))
    assert names(reached(repository, tips)) == listed_by_git(run, repository, tips)


def unpack_loose(run: Git, repository: Repository, aside: Path) -> None:
    """Every object a file of its own."""
    shutil.copytree(pack_folder(repository.path), aside)
    for path in pack_folder(repository.path).iterdir():
        path.unlink()
    for pack in aside.glob("*.pack"):
        run("-C", repository.path, "unpack-objects", "-q", stdin=pack.read_bytes())


@examples(8)
@given(history=histories())
def test_the_order_does_not_depend_on_how_the_repository_is_packed(run: Git, history: History) -> None:
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository.create(Path(folder, "r"), head="draft")
        tips = write(repository, history)
        found = reached(repository, tips)
        run("-C", repository.path, "repack", "-adfq", "--depth=5")
        assert reached(repository, tips) == found
        unpack_loose(run, repository, Path(folder, "aside"))
        assert not repository.packs()
        assert reached(repository, tips) == found


def tree_of(writer: PackWriter, found: Mapping[bytes, Entry]) -> Entry:
    return Entry(MODE_TREE, writer.add(TREE, encode_tree(found)))


def commit_of(writer: PackWriter, tree: Oid, *parents: Oid) -> Oid:
    return writer.add(COMMIT, Commit(tree, parents, WHO, WHO, "x\n").encode())


def wide(writer: PackWriter, number: int) -> Oid:
    """More directories, and more entries in them, than are read at once; a file of each differs by the number."""
    here = Entry(MODE_FILE, writer.add_blob(b"%d" % number))
    below = {b"%d" % name: Entry(MODE_FILE, writer.add_blob(b"in %d" % name)) for name in range(30)}
    folders = {b"%d" % name: tree_of(writer, {**below, b"%d" % name: here}) for name in range(700)}
    return tree_of(writer, {b"few": tree_of(writer, {b"x": here}), b"many": tree_of(writer, folders)}).oid


def deep(writer: PackWriter, number: int) -> Oid:
    entry = Entry(MODE_FILE, writer.add_blob(b"%d" % number))
    for level in range(1500):
        entry = tree_of(writer, {b"%d" % level: entry})
    return entry.oid


@pytest.mark.parametrize("tree", [wide, deep])
def test_directories_may_be_many_or_deep(
    repository: Repository, run: Git, tree: Callable[[PackWriter, int], Oid]
) -> None:
    with repository.writer() as writer:
        first = commit_of(writer, tree(writer, 1))
        second = commit_of(writer, tree(writer, 2), first)
        repository.publish(writer, {})
    assert names(reached(repository, [second])) == listed_by_git(run, repository, [second])


def test_a_history_may_be_long_and_branch_everywhere(repository: Repository, run: Git) -> None:
    """Each commit has the three before it as parents: there are more ways through it than could be walked."""
    history = History([({b"a": ONE}, [1, 2, 3])] * 1500, [], [1499])
    tips = write(repository, history)
    assert names(reached(repository, tips)) == listed_by_git(run, repository, tips)


class Watched(Objects):
    """Notes what is read."""

    def __init__(self, repository: Repository) -> None:
        super().__init__(ObjectReader(repository.path))
        self.trees: list[Oid] = []

    def read_many(self, oids: Iterable[Oid]) -> Iterator[tuple[Oid, bytes, bytes]]:
        for oid, kind, body in super().read_many(oids):
            assert kind == TREE, "what is in files is not looked at"
            self.trees.append(oid)
            yield oid, kind, body


def test_of_a_later_commit_only_those_directories_are_read_that_it_changes(repository: Repository) -> None:
    files = {b"%02d/%02d/f" % (outer, inner): ONE for outer in range(20) for inner in range(20)}
    (before,) = write(repository, linear(files))
    with Watched(repository) as objects:
        reached_from(objects, [before])
        read_for_the_first = len(objects.trees)
    (after,) = write(repository, linear(files, {**files, b"07/03/f": TWO}))
    with Watched(repository) as objects:
        reached_from(objects, [after])
        assert len(objects.trees) == read_for_the_first + 6


def test_of_a_commit_that_has_the_tree_of_an_earlier_one_nothing_is_read(repository: Repository) -> None:
    files, changed = {b"a/b": ONE, b"c/d": ONE}, {b"a/b": TWO, b"c/d": TWO}
    counts = []
    for states in ([files, changed], [files, changed, files, changed, files]):
        tips = write(repository, linear(*states))
        with Watched(repository) as objects:
            reached_from(objects, tips)
            counts.append(len(objects.trees))
    assert counts[0] == counts[1]


def published(repository: Repository, commits: Callable[[PackWriter], Oid]) -> Oid:
    with repository.writer() as writer:
        tip = commits(writer)
        repository.publish(writer, {})
    return tip


def with_missing_tree(writer: PackWriter) -> Oid:
    return commit_of(writer, NOWHERE)


def with_missing_directory(writer: PackWriter) -> Oid:
    return commit_of(writer, tree_of(writer, {b"a": Entry(MODE_TREE, NOWHERE)}).oid)


def with_missing_directory_later_on(writer: PackWriter) -> Oid:
    first = commit_of(writer, tree_of(writer, {b"a": tree_of(writer, {})}).oid)
    return commit_of(writer, tree_of(writer, {b"a": Entry(MODE_TREE, NOWHERE)}).oid, first)


def with_missing_parent(writer: PackWriter) -> Oid:
    return commit_of(writer, writer.add(TREE, b""), NOWHERE)


def tag_of_nothing(writer: PackWriter) -> Oid:
    return writer.add(TAG, Tag(NOWHERE, COMMIT, "t", WHO, "x\n").encode())


@pytest.mark.parametrize(
    "commits",
    [
        with_missing_tree,
        with_missing_directory,
        with_missing_directory_later_on,
        with_missing_parent,
        tag_of_nothing,
        lambda _: NOWHERE,
    ],
)
def test_a_missing_object_is_named(
    repository: Repository, objects: Objects, commits: Callable[[PackWriter], Oid]
) -> None:
    tip = published(repository, commits)
    with pytest.raises(MissingObject) as raised:
        reached_from(objects, [tip])
    assert raised.value.oid == NOWHERE


def test_what_is_in_files_need_not_be_there(repository: Repository, objects: Objects) -> None:
    tip = published(
        repository, lambda writer: commit_of(writer, tree_of(writer, {b"a": Entry(MODE_FILE, NOWHERE)}).oid)
    )
    assert Reached(NOWHERE, BLOB, None) in reached_from(objects, [tip])


def file_as_tree(writer: PackWriter) -> Oid:
    return commit_of(writer, writer.add_blob(b"x"))


def file_as_directory(writer: PackWriter) -> Oid:
    return commit_of(writer, tree_of(writer, {b"a": Entry(MODE_TREE, writer.add_blob(b"x"))}).oid)


def file_become_directory(writer: PackWriter) -> Oid:
    file = Entry(MODE_FILE, writer.add_blob(b"x"))
    first = commit_of(writer, tree_of(writer, {b"a": file}).oid)
    return commit_of(writer, tree_of(writer, {b"a": file._replace(mode=MODE_TREE)}).oid, first)


@pytest.mark.parametrize("commits", [file_as_tree, file_as_directory, file_become_directory])
def test_a_file_where_a_tree_is_needed_is_refused(
    repository: Repository, objects: Objects, commits: Callable[[PackWriter], Oid]
) -> None:
    tip = published(repository, commits)
    blob = hash_object(BLOB, b"x").hex()
    with pytest.raises(StoreError, match=f"{blob} is a blob where a tree is needed"):
        reached_from(objects, [tip])


def test_a_tag_of_what_is_no_commit_is_refused(repository: Repository, objects: Objects) -> None:
    tip = published(
        repository, lambda writer: writer.add(TAG, Tag(writer.add(TREE, b""), TREE, "t", WHO, "x\n").encode())
    )
    with pytest.raises(StoreError, match="is a tree where a commit is needed"):
        reached_from(objects, [tip])


def test_nothing_is_reached_from_nothing(objects: Objects) -> None:
    assert reached_from(objects, []) == []
