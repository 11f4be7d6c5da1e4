"""Objects have the names and the bytes git gives them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    Signature,
    Tag,
    decode_tree,
    encode_tree,
    hash_object,
)
from mirror.git.repository import Repository

Git = Callable[..., str]

oids = st.binary(min_size=20, max_size=20)
names = st.binary(min_size=1, max_size=8).filter(lambda name: b"\0" not in name and b"/" not in name)
entries = st.builds(Entry, st.sampled_from([MODE_FILE, MODE_EXEC, MODE_LINK, MODE_TREE, MODE_GITLINK]), oids)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
people = st.text(st.characters(exclude_characters="\0\n<>", exclude_categories=["Cs"])).filter(
    lambda name: not name.endswith(" ")
)
signatures = st.builds(
    Signature,
    people,
    people,
    st.integers(0, 2**40),
    st.from_regex(r"[+-]\d{4}", fullmatch=True, alphabet="+-0123456789"),
)


@given(st.dictionaries(names, entries))
def test_a_tree_survives_the_round_trip(tree: dict[bytes, Entry]) -> None:
    body = encode_tree(tree)
    assert decode_tree(body) == tree
    assert encode_tree(decode_tree(body)) == body


@given(st.builds(Commit, oids, st.lists(oids, max_size=3).map(tuple), signatures, signatures, texts))
def test_a_commit_survives_the_round_trip(commit: Commit) -> None:
    assert Commit.decode(commit.encode()) == commit


@given(st.builds(Tag, oids, st.just(COMMIT), st.text("abc0.", min_size=1), signatures, texts))
def test_a_tag_survives_the_round_trip(tag: Tag) -> None:
    assert Tag.decode(tag.encode()) == tag


def test_names_are_those_of_git_hash_object(git: Git) -> None:
    blob = b"some text\n"
    for kind, body in [
        (BLOB, blob),
        (BLOB, b""),
        (TREE, encode_tree({b"a": Entry(MODE_FILE, hash_object(BLOB, blob))})),
        (COMMIT, Commit(b"\1" * 20, (), Signature("é", "e", 5), Signature("c", "c", 7, "-0130"), "m").encode()),
        (TAG, Tag(b"\2" * 20, COMMIT, "0.1", Signature("é", "e", 5), "m").encode()),
    ]:
        told = git("hash-object", "-t", kind.decode(), "--stdin", stdin=body)
        assert hash_object(kind, body).hex() == told


def test_directories_sort_as_git_sorts_them(git: Git) -> None:
    blob = bytes.fromhex(git("hash-object", "-w", "--stdin", stdin=b""))
    empty = bytes.fromhex(git("mktree"))
    tree = {
        b"a.b": Entry(MODE_FILE, blob),
        b"a": Entry(MODE_TREE, empty),
        b"a-": Entry(MODE_LINK, blob),
        b"a0": Entry(MODE_EXEC, blob),
    }
    lines = [
        b"%b %b %b\t%b" % (e.mode, b"tree" if e.mode == MODE_TREE else b"blob", e.oid.hex().encode(), n)
        for n, e in tree.items()
    ]
    assert hash_object(TREE, encode_tree(tree)).hex() == git("mktree", stdin=b"\n".join(lines) + b"\n")


def test_a_tree_cut_short_is_refused() -> None:
    with pytest.raises(ValueError, match="cut short"):
        decode_tree(encode_tree({b"a": Entry(MODE_FILE, b"\1" * 20)})[:-1])


def test_commits_and_tags_of_others_are_read(repository: Repository, git: Git) -> None:
    tree = git("mktree")
    body = (
        f"tree {tree}\nauthor A <> 5 +0000\ncommitter <x@y> 6 +0100\nencoding latin-1\n"
        "gpgsig -----BEGIN\n \n parent deadbeef\n -----END\n\nsubject\n\nbody"
    ).encode() + b"\xe9\n"
    oid = git("hash-object", "-w", "-t", "commit", "--literally", "--stdin", stdin=body)
    with repository.objects() as objects:
        commit = objects.commit(bytes.fromhex(oid))
    assert commit.tree.hex() == tree
    assert commit.parents == ()
    assert commit.author == Signature("A", "", 5)
    assert commit.committer == Signature("", "x@y", 6, "+0100")
    assert commit.message == "subject\n\nbody\udce9\n"
    assert Commit.decode(commit.encode()) == commit


def test_what_git_writes_is_read_the_same(repository: Repository, git: Git) -> None:
    tree = git("mktree")
    commit = git("commit-tree", tree, "-m", "hello")
    git("tag", "-a", "-m", "release", "1.0", commit)
    tag = git("rev-parse", "refs/tags/1.0")
    with repository.objects() as objects:
        for oid, kind in ((commit, Commit), (tag, Tag)):
            body = objects.read(bytes.fromhex(oid))[1]
            assert kind.decode(body).encode() == body


@pytest.mark.parametrize(
    "make",
    [
        lambda: Signature("a\nb", "", 0).encode(),
        lambda: Signature("a", "<", 0).encode(),
        lambda: Signature("a", "b", 0, "UTC").encode(),
        lambda: Commit(b"\1" * 20, (), Signature("a", "b", 0), Signature("a", "b", 0), "a\0").encode(),
        lambda: Commit.decode(b"author a <b> 0 +0000\n\n"),
        lambda: Tag.decode(b"object 12\n\n"),
    ],
)
def test_what_git_could_not_read_back_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=r"."):
        make()
