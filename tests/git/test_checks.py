"""An object that `git fsck --strict` complains of is refused, and of a good one all is named that it needs."""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.git.large.checks import named_by, new_names
from mirror.git.large.unpacking import Packed
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
from mirror.git.repository import Repository
from tests.conftest import examples
from tests.git.conftest import ENVIRONMENT

Git = Callable[..., str]
Line = tuple[bytes, bytes]
"""Mode and name of an entry."""

TEXT, EMPTY = hash_object(BLOB, b"x"), hash_object(TREE, b"")
STATE = hash_object(COMMIT, b"of another repository")
WHO = Signature("The Mirror", "mirror@example.org", 1_700_000_000)
WHAT_STANDS_THERE = {MODE_TREE: EMPTY, MODE_GITLINK: STATE}


def put(repository: Path, kind: bytes, body: bytes) -> str:
    """Write an object as a file, good or bad; its name."""
    name = hash_object(kind, body).hex()
    path = repository / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(b"%b %d\0%b" % (kind, len(body), body)))
    return name


def fill(repository: Path) -> Path:
    """What the trees here name."""
    put(repository, BLOB, b"x")
    put(repository, TREE, b"")
    return repository


def lines(*entries: Line) -> bytes:
    """A tree of these, as they come."""
    return b"".join(b"%b %b\0%b" % (mode, name, WHAT_STANDS_THERE.get(mode, TEXT)) for mode, name in entries)


GOOD_TREE = lines((MODE_EXEC, b"a"), (MODE_FILE, b"b.c"), (MODE_TREE, b"b"), (MODE_LINK, b"b0"), (MODE_GITLINK, b"c"))

BAD_TREES = {
    "two in the wrong order": lines((MODE_FILE, b"b"), (MODE_FILE, b"a")),
    "a directory sorted as a file": lines((MODE_TREE, b"a"), (MODE_FILE, b"a.b")),
    "a file sorted as a directory": lines((MODE_FILE, b"a.b"), (MODE_FILE, b"a")),
    "a name twice": lines((MODE_FILE, b"a"), (MODE_FILE, b"a")),
    "a directory twice": lines((MODE_TREE, b"a"), (MODE_TREE, b"a")),
    "a file and a directory of one name": lines((MODE_FILE, b"a"), (MODE_TREE, b"a")),
    "the same with something between": lines((MODE_FILE, b"a"), (MODE_FILE, b"a.b"), (MODE_TREE, b"a")),
    "no name": lines((MODE_FILE, b"")),
    "no mode": lines((b"", b"a")),
    "a mode that is no number": lines((b"x", b"a")),
    "a mode with an 8": lines((b"100684", b"a")),
    "a directory's mode with a 0 before it": lines((b"0" + MODE_TREE, b"a")),
    "a file's mode with a 0 before it": lines((b"0" + MODE_FILE, b"a")),
    "a directory that may be written to": lines((b"40755", b"a")),
    "something behind it": GOOD_TREE + b"x",
    "no tree": b"hello",
} | {
    f"{kind} named {name.decode()}": lines((mode, name))
    for name in (b".", b"..", b".git", b".GIT", b".gIt", b"a/b", b"/", b"a/", b"/a")
    for kind, mode in (("a file", MODE_FILE), ("a directory", MODE_TREE))
}


def test_git_has_nothing_against_the_good_ones_here(repository: Repository, git: Git) -> None:
    put(fill(repository.path), TREE, GOOD_TREE)
    git("fsck", "--strict")
    assert list(named_by(TREE, GOOD_TREE)) == [(TEXT, BLOB), (TEXT, BLOB), (EMPTY, TREE), (TEXT, BLOB)]


@pytest.mark.parametrize("body", BAD_TREES.values(), ids=BAD_TREES)
def test_a_tree_that_git_complains_of_is_refused(repository: Repository, git: Git, body: bytes) -> None:
    name = put(fill(repository.path), TREE, body)
    assert name in git("fsck", "--strict", ok=False)
    with pytest.raises(ValueError, match=r"\w"):
        named_by(TREE, body)


@pytest.mark.parametrize("cut", [1, 19, 20, 21, 22, 23, 30])
def test_a_tree_cut_short_is_refused(repository: Repository, git: Git, cut: int) -> None:
    name = put(fill(repository.path), TREE, GOOD_TREE[:-cut])
    assert name in git("fsck", "--strict", ok=False)
    with pytest.raises(ValueError, match="cut short"):
        named_by(TREE, GOOD_TREE[:-cut])


NAMES = st.one_of(st.sampled_from([b"a", b"a.b", b"a0", b"a-b", b"ab"]), st.binary(min_size=1, max_size=6)).filter(
    lambda name: not {b"\0"[0], b"/"[0]} & set(name) and not name.lstrip(b".").lower().startswith(b"git")
)
MODES = st.sampled_from([MODE_FILE, MODE_EXEC, MODE_LINK, MODE_TREE, MODE_GITLINK])


@examples(25)
@given(st.dictionaries(NAMES.filter(lambda name: name.strip(b".") != b""), MODES, max_size=30))
def test_of_a_good_tree_everything_is_named_that_git_lists_but_for_submodules(
    run: Git, entries: dict[bytes, bytes]
) -> None:
    body = encode_tree({name: Entry(mode, WHAT_STANDS_THERE.get(mode, TEXT)) for name, mode in entries.items()})
    with TemporaryDirectory() as folder:
        path = fill(Repository.create(Path(folder, "dataset"), head="draft").path)
        tree = put(path, TREE, body)
        run("-C", path, "fsck", "--strict")
        listed = run("-C", path, "ls-tree", "--format=%(objectname) %(objecttype)", tree).splitlines()
    named = [f"{oid.hex()} {kind.decode()}" for oid, kind in named_by(TREE, body) if kind is not None]
    assert named == [line for line in listed if not line.endswith(" commit")]


@examples(25)
@given(st.lists(st.tuples(MODES, st.sampled_from([b"a", b"a.b", b"a0", b"a-b", b"ab", b"b"])), max_size=4))
def test_a_tree_in_any_order_is_refused_when_git_does(run: Git, entries: Sequence[Line]) -> None:
    body = lines(*entries)
    with TemporaryDirectory() as folder:
        path = fill(Repository.create(Path(folder, "dataset"), head="draft").path)
        put(path, TREE, body)
        try:
            named_by(TREE, body)
        except ValueError:
            run("-C", path, "fsck", "--strict", ok=False)
        else:
            run("-C", path, "fsck", "--strict")


# What is no tree


def commit(tree: Oid, *parents: Oid) -> bytes:
    return Commit(tree, parents, WHO, WHO, "A message\n").encode()


def test_a_commit_names_its_tree_and_its_parents() -> None:
    first, second = b"\1" * 20, b"\2" * 20
    assert list(named_by(COMMIT, commit(EMPTY))) == [(EMPTY, TREE)]
    assert list(named_by(COMMIT, commit(EMPTY, first, second))) == [(EMPTY, TREE), (first, COMMIT), (second, COMMIT)]


@pytest.mark.parametrize("kind", [COMMIT, TREE, BLOB, TAG])
def test_a_tag_names_what_it_is_of(kind: bytes) -> None:
    assert list(named_by(TAG, Tag(TEXT, kind, "1.0", WHO, "A tag\n").encode())) == [(TEXT, kind)]


@pytest.mark.parametrize("body", [b"", b"x", lines((MODE_FILE, b"a"))])
def test_a_blob_names_nothing_whatever_is_in_it(body: bytes) -> None:
    assert list(named_by(BLOB, body)) == []


@pytest.mark.parametrize("missing", [b"tree", b"author", b"committer"])
def test_a_commit_without_one_of_its_lines_is_refused(repository: Repository, git: Git, missing: bytes) -> None:
    whole = commit(EMPTY).splitlines(keepends=True)
    body = b"".join(line for line in whole if not line.startswith(missing + b" "))
    name = put(fill(repository.path), COMMIT, body)
    assert name in git("fsck", "--strict", ok=False)
    with pytest.raises(ValueError, match="head is not one that git would write"):
        named_by(COMMIT, body)


@pytest.mark.parametrize("missing", [b"object", b"type", b"tag"])
def test_a_tag_without_one_of_its_lines_is_refused(repository: Repository, git: Git, missing: bytes) -> None:
    whole = Tag(EMPTY, TREE, "1.0", WHO, "A tag\n").encode().splitlines(keepends=True)
    body = b"".join(line for line in whole if not line.startswith(missing + b" "))
    name = put(fill(repository.path), TAG, body)
    assert name in git("fsck", "--strict", ok=False)
    with pytest.raises(ValueError, match="head is not one that git would write"):
        named_by(TAG, body)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (EMPTY.hex().encode(), b"abcd"),
        (EMPTY.hex().encode(), b"z" * 40),
        (EMPTY.hex().encode(), b"\xff" * 40),
        (b"<mirror@example.org>", b"mirror"),
    ],
)
def test_a_commit_with_a_line_that_makes_no_sense_is_refused(
    repository: Repository, git: Git, was: bytes, becomes: bytes
) -> None:
    body = commit(EMPTY).replace(was, becomes)
    name = put(fill(repository.path), COMMIT, body)
    assert name in git("fsck", "--strict", ok=False)
    with pytest.raises(ValueError, match=r"\w"):
        named_by(COMMIT, body)


# What is in a pack


def packed(kind: bytes, body: bytes, base: bytes | None = None) -> Packed:
    return Packed(hash_object(kind, body), kind, body, base, 12, 0)


def test_of_what_is_made_out_of_another_one_only_what_is_new_is_named() -> None:
    other = b"\1" * 20
    before = encode_tree({b"a": Entry(MODE_FILE, TEXT), b"b": Entry(MODE_TREE, EMPTY)})
    after = encode_tree({b"a": Entry(MODE_FILE, other), b"b": Entry(MODE_TREE, EMPTY), b"c": Entry(MODE_EXEC, TEXT)})
    assert set(new_names(packed(TREE, after))) == {(TEXT, BLOB), (other, BLOB), (EMPTY, TREE)}
    assert set(new_names(packed(TREE, after, before))) == {(other, BLOB)}
    assert set(new_names(packed(TREE, before, after))) == set()


def test_the_same_object_as_something_else_is_new() -> None:
    before = encode_tree({b"a": Entry(MODE_FILE, TEXT)})
    after = encode_tree({b"a": Entry(MODE_TREE, TEXT)})
    assert set(new_names(packed(TREE, after, before))) == {(TEXT, TREE)}


def test_what_is_refused_is_named() -> None:
    body = BAD_TREES["a name twice"]
    with pytest.raises(ValueError, match=f"^tree {hash_object(TREE, body).hex()}: .*names something twice"):
        new_names(packed(TREE, body))


AUTHOR = b"A User <a@b> 1700000000 +0000"


def head(*rows: bytes, message: bytes = b"\nm\n") -> bytes:
    return b"".join(row + b"\n" for row in rows) + message


def commit_by(author: bytes) -> bytes:
    return head(b"tree " + EMPTY.hex().encode(), b"author " + author, b"committer " + AUTHOR)


TREE_ROW, AUTHOR_ROW, COMMITTER_ROW = b"tree " + EMPTY.hex().encode(), b"author " + AUTHOR, b"committer " + AUTHOR
COMMITS = {
    **{
        f"by {author!r}": commit_by(author)
        for author in (AUTHOR, b" <a@b> 1 +0000", b"A <> 0 -0930", "Ä <ö@ü> 1 +0000".encode())
    },
    **{
        f"by {author!r}": commit_by(author)
        for author in (
            *(b"A U", b"A U <a@b>", b"A U 1 +0000", b"<a@b> 1 +0000", b"A <a@b> 01 +0000", b"A <a@b> 1 0000"),
            *(b"A <a@b> 1 +00000", b"A <a@b> -1 +0000", b"A <a@b> %d +0000" % 10**23, b"A < <a@b> 1 +0000"),
            *(b"A <a>@b> 1 +0000", b"A\0 <a@b> 1 +0000", b"A<a@b> 1 +0000"),
        )
    },
    "with further lines": head(TREE_ROW, AUTHOR_ROW, COMMITTER_ROW, b"encoding latin1", b"gpgsig x", b" y"),
    "without a message": head(TREE_ROW, AUTHOR_ROW, COMMITTER_ROW, message=b"\n"),
    "with nothing behind its head": head(TREE_ROW, AUTHOR_ROW, COMMITTER_ROW, message=b""),
    "with a NUL": head(TREE_ROW, AUTHOR_ROW, COMMITTER_ROW, message=b"\na\0b"),
    "of two authors": head(TREE_ROW, AUTHOR_ROW, AUTHOR_ROW, COMMITTER_ROW),
    "of two trees": head(TREE_ROW, TREE_ROW, AUTHOR_ROW, COMMITTER_ROW),
    "in another order": head(TREE_ROW, COMMITTER_ROW, AUTHOR_ROW),
    "with its tree last": head(AUTHOR_ROW, COMMITTER_ROW, TREE_ROW),
    "with a tree that is cut short": head(TREE_ROW[:20], AUTHOR_ROW, COMMITTER_ROW),
    "cut short": head(TREE_ROW, AUTHOR_ROW, COMMITTER_ROW)[:-20],
    "empty": b"",
}


@pytest.mark.parametrize("body", COMMITS.values(), ids=COMMITS.keys())
def test_a_commit_is_refused_if_git_refuses_it(repository: Repository, body: bytes) -> None:
    assert is_refused(COMMIT, body) is is_refused_by_git(repository, COMMIT, body)


TAG_ROWS = (b"object " + EMPTY.hex().encode(), b"type tree", b"tag 1.0", b"tagger " + AUTHOR)
TAGS = {
    "a tag": head(*TAG_ROWS),
    "an old one, of nobody": head(*TAG_ROWS[:3]),
    "one with nothing behind its head": head(*TAG_ROWS, message=b""),
    "of a strange kind": head(TAG_ROWS[0], b"type thing", *TAG_ROWS[2:]),
    "in another order": head(TAG_ROWS[1], TAG_ROWS[0], *TAG_ROWS[2:]),
    "without a date": head(*TAG_ROWS[:3], b"tagger A User <a@b>"),
    "empty": b"",
}


@pytest.mark.parametrize("body", TAGS.values(), ids=TAGS.keys())
def test_a_tag_is_refused_if_git_refuses_it(repository: Repository, body: bytes) -> None:
    assert is_refused(TAG, body) is is_refused_by_git(repository, TAG, body)


NAMES = (
    *(
        b".",
        b"..",
        b"...",
        b".git",
        b".GIT",
        b".gIt",
        b"a/b",
        b"git~1",
        b"GIT~1",
        b"git~2",
        b".git ",
        b".git.",
        b".git. .",
    ),
    *(
        b".git::$INDEX_ALLOCATION",
        ".g\u200cit".encode(),
        b"a\\.git",
        b".git\\x",
        b".gitx",
        b"x.git",
        b"\xff",
        b"\n",
        b" ",
    ),
    *(b".gitmodules", b".gitattributes", b".gitignore"),
)


@pytest.mark.parametrize("mode", [MODE_FILE, MODE_TREE, MODE_LINK])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_refused_if_git_refuses_it(repository: Repository, name: bytes, mode: bytes) -> None:
    body = lines((mode, name))
    assert is_refused(TREE, body) is is_refused_by_git(repository, TREE, body)


@pytest.mark.parametrize("mode", [MODE_FILE, MODE_GITLINK, MODE_TREE])
def test_an_entry_without_an_object_is_refused(repository: Repository, mode: bytes) -> None:
    body = b"%b a\0%b" % (mode, bytes(20))
    assert is_refused(TREE, body) is is_refused_by_git(repository, TREE, body) is True


def is_refused(kind: bytes, body: bytes) -> bool:
    try:
        named_by(kind, body)
    except ValueError:
        return True
    return False


def is_refused_by_git(repository: Repository, kind: bytes, body: bytes) -> bool:
    put(fill(repository.path), kind, body)
    command = ["git", f"--git-dir={repository.path}", "fsck", "--strict", "--no-dangling"]
    done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, check=False)
    return done.returncode != 0
