"""A bundle of ours is one that git takes; one that is unpacked is whole, whoever made it."""

from __future__ import annotations

import io
import os
import shutil
import tracemalloc
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import StoreError
from mirror.git.large.bundle import unpack_bundle, write_bundle
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
)
from mirror.git.pack import PackWriter
from mirror.git.pack_format import pack_header
from mirror.git.packs import pack_folder
from mirror.git.repository import Repository
from tests.conftest import examples

Git = Callable[..., str]

DRAFT, OTHER = "refs/heads/draft", "refs/heads/git-annex"
WHO = Signature("The Mirror", "mirror@example.org", 1_700_000_000)
MAGIC = b"# v2 git bundle\n"


def records(times: int) -> bytes:
    return b"".join(b"record %d %x\n" % (n, n * (7 if n < times * 9 else 11)) for n in range(300))


def add_state(writer: PackWriter, number: int) -> Oid:
    """A tree of everything that a dataset has."""
    blob = writer.add_blob
    annex = {b"%02d" % n: Entry(MODE_LINK, blob(b"../.git/annex/objects/%d" % n)) for n in range(number + 1)}
    entries = {
        b"empty": Entry(MODE_FILE, blob(b"")),
        b"large": Entry(MODE_FILE, blob(b"0123456789abcdef" * 100_000)),
        b"run": Entry(MODE_EXEC, blob(b"#!/bin/sh\n")),
        b"records": Entry(MODE_FILE, blob(records(number))),
        b"files": Entry(MODE_TREE, writer.add(TREE, encode_tree(annex))),
        b"zarr": Entry(MODE_GITLINK, bytes([number + 1]) * 20),
    }
    return writer.add(TREE, encode_tree(entries))


def fill(repository: Repository) -> Repository:
    """Two branches and two tags, one with a tag of it; the same content comes again later."""
    tips: dict[str, Oid] = {}
    with repository.writer() as writer:
        before: tuple[Oid, ...] = ()
        for number in (0, 1, 2, 3, 2, 5):
            tree = add_state(writer, number)
            before = (writer.add(COMMIT, Commit(tree, before, WHO, WHO, f"State {number}\n").encode()),)
        tips[DRAFT] = before[0]
        other = writer.add(TREE, encode_tree({b"log": Entry(MODE_FILE, writer.add_blob(b"1s 1 here\n"))}))
        tips[OTHER] = writer.add(COMMIT, Commit(other, (), WHO, WHO, "update\n").encode())
        tips["refs/tags/1.0"] = writer.add(TAG, Tag(tips[DRAFT], COMMIT, "1.0", WHO, "The first\n").encode())
        tips["refs/tags/of-it"] = writer.add(TAG, Tag(tips["refs/tags/1.0"], TAG, "of-it", WHO, "x\n").encode())
        tips["refs/tags/plain"] = tips[DRAFT]
        repository.publish(writer, tips)
    return repository


@pytest.fixture
def full(repository: Repository) -> Repository:
    return fill(repository)


def bundle_of(repository: Repository, head: str = DRAFT) -> bytes:
    out = io.BytesIO()
    with TemporaryDirectory() as scratch, repository.objects() as objects:
        write_bundle(out, objects, head, repository.refs(), Path(scratch))
        assert list(Path(scratch).iterdir()) == []
    return out.getvalue()


def unpacked(bundle: bytes, path: Path) -> Repository:
    repository = Repository.create(path / "unpacked", head="draft")
    scratch = path / "scratch"
    scratch.mkdir()
    unpack_bundle(io.BytesIO(bundle), repository, scratch)
    assert list(scratch.iterdir()) == []
    return repository


def refuse(bundle: bytes, because: str = "") -> None:
    with TemporaryDirectory() as folder, pytest.raises(StoreError, match=f"not a whole git bundle: .*{because}"):
        unpacked(bundle, Path(folder))


def saved(bundle: bytes, path: Path) -> Path:
    path.write_bytes(bundle)
    return path


def objects_of(run: Git, repository: Path) -> list[str]:
    return run("-C", repository, "rev-list", "--objects", "--all", "--no-object-names").splitlines()


def split(bundle: bytes) -> tuple[bytes, bytes]:
    """What stands before the pack, and the pack."""
    head, _, pack = bundle.partition(b"\n\n")
    return head + b"\n\n", pack


# Writing


@pytest.mark.parametrize("head", [DRAFT, OTHER])
def test_git_takes_it(full: Repository, run: Git, tmp_path: Path, head: str) -> None:
    file = saved(bundle_of(full, head), tmp_path / "some.bundle")
    assert "records a complete history" in run("-C", full.path, "bundle", "verify", file)
    refs = {name: oid.hex() for name, oid in full.refs().items()}
    assert run("bundle", "list-heads", file).splitlines() == [
        f"{refs[head]} HEAD",
        *(f"{refs[name]} {name}" for name in sorted(refs)),
    ]


def test_a_clone_of_it_is_a_clone_of_the_repository(full: Repository, run: Git, tmp_path: Path) -> None:
    file = saved(bundle_of(full), tmp_path / "some.bundle")
    clone = tmp_path / "clone"
    run("clone", "-q", "--mirror", file, clone)
    run("-C", clone, "fsck", "--strict")
    assert Repository(clone).refs() == full.refs()
    assert run("-C", clone, "symbolic-ref", "HEAD") == DRAFT
    assert sorted(objects_of(run, clone)) == sorted(objects_of(run, full.path))


def test_whoever_clones_it_is_on_the_branch_of_its_head(full: Repository, run: Git, tmp_path: Path) -> None:
    file = saved(bundle_of(full, OTHER), tmp_path / "some.bundle")
    run("clone", "-q", file, tmp_path / "clone")
    assert run("-C", tmp_path / "clone", "branch", "--show-current") == "git-annex"
    assert (tmp_path / "clone" / "log").read_bytes() == b"1s 1 here\n"


def test_its_bytes_do_not_depend_on_how_the_repository_is_packed(
    full: Repository, git: Git, run: Git, tmp_path: Path
) -> None:
    bundle = bundle_of(full)
    git("repack", "-adfq", "--depth=4")
    assert bundle_of(full) == bundle
    packs = pack_folder(full.path)
    (moved,) = packs.glob("*.pack")
    moved = moved.rename(tmp_path / "moved.pack")
    for file in packs.iterdir():
        file.unlink()
    git("unpack-objects", "-q", stdin=moved.read_bytes())
    assert bundle_of(full) == bundle
    run("clone", "-q", "--mirror", full.path, tmp_path / "clone")
    assert bundle_of(Repository(tmp_path / "clone")) == bundle


def test_what_no_ref_reaches_is_not_in_it(full: Repository) -> None:
    bundle = bundle_of(full)
    with full.writer() as writer:
        writer.add_blob(b"left by somebody")
        writer.finish()
    assert bundle_of(full) == bundle


# Unpacking


@pytest.mark.parametrize("who", ["we", "git", "git, with deltas"])
def test_what_is_unpacked_is_the_repository_it_was_made_of(
    full: Repository, git: Git, run: Git, tmp_path: Path, who: str
) -> None:
    file = tmp_path / "some.bundle"
    if who == "git, with deltas":
        git("repack", "-adfq")
    if who == "we":
        saved(bundle_of(full), file)
    else:
        git("bundle", "create", "-q", file, "--all")
    made = unpacked(file.read_bytes(), tmp_path)
    run("-C", made.path, "fsck", "--strict", "--no-dangling")
    assert made.refs() == full.refs()
    assert sorted(objects_of(run, made.path)) == sorted(objects_of(run, full.path))
    (pack,) = pack_folder(made.path).glob("*.pack")
    run("index-pack", "--index-version=2", "-o", tmp_path / "git.idx", pack)
    assert pack.with_suffix(".idx").read_bytes() == (tmp_path / "git.idx").read_bytes()
    assert sorted(path.name for path in pack.parent.iterdir()) == [f"{pack.stem}.idx", pack.name]
    assert not made.looks_unfinished()


def test_a_bundle_made_of_what_was_unpacked_is_the_same(full: Repository, tmp_path: Path) -> None:
    bundle = bundle_of(full)
    assert bundle_of(unpacked(bundle, tmp_path)) == bundle


def test_a_bundle_of_git_with_its_head_is_unpacked(full: Repository, git: Git, tmp_path: Path) -> None:
    file = tmp_path / "some.bundle"
    git("bundle", "create", "-q", file, "HEAD", "draft")
    assert unpacked(file.read_bytes(), tmp_path).refs() == {DRAFT: full.refs()[DRAFT]}


# What is not whole


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return bundle_of(fill(Repository.create(tmp_path_factory.mktemp("a") / "dataset", head="draft")))


@examples(60)
@given(st.integers(0, 2**20))
def test_one_cut_short_anywhere_is_refused(bundle: bytes, at: int) -> None:
    refuse(bundle[: at % len(bundle)])


@examples(60)
@given(st.integers(0, 2**20), st.integers(1, 255))
def test_a_flipped_byte_anywhere_in_the_pack_is_refused(bundle: bytes, at: int, flip: int) -> None:
    head, pack = split(bundle)
    at %= len(pack)
    refuse(head + pack[:at] + bytes([pack[at] ^ flip]) + pack[at + 1 :])


@examples(40)
@given(st.integers(0, 2**20), st.integers(1, 255))
def test_a_flipped_byte_before_the_pack_is_refused_or_changes_the_name_of_a_ref(
    bundle: bytes, at: int, flip: int
) -> None:
    head, pack = split(bundle)
    at %= len(head)
    with TemporaryDirectory() as folder:
        try:
            refs = unpacked(head[:at] + bytes([head[at] ^ flip]) + head[at + 1 :] + pack, Path(folder)).refs()
        except StoreError:
            pass
        else:
            whole = Repository.create(Path(folder, "whole"), head="draft")
            unpack_bundle(io.BytesIO(bundle), whole, Path(folder))
            assert set(refs.values()) <= set(whole.refs().values())


@pytest.mark.parametrize("noise", [b"", b"\n", b"\n\n", MAGIC, MAGIC + b"\n", b"PACK", os.urandom(300), b"x" * 10_000])
def test_what_is_no_bundle_is_refused(noise: bytes) -> None:
    refuse(noise)


@pytest.mark.usefixtures("full")
def test_one_of_git_s_version_3_is_refused(git: Git, tmp_path: Path) -> None:
    git("bundle", "create", "-q", "--version=3", tmp_path / "some.bundle", "--all")
    refuse((tmp_path / "some.bundle").read_bytes(), "does not begin as one of git's version 2")


@pytest.mark.usefixtures("full")
def test_one_that_needs_what_is_not_in_it_is_refused(git: Git, tmp_path: Path) -> None:
    git("bundle", "create", "-q", tmp_path / "some.bundle", "draft~2..draft")
    refuse((tmp_path / "some.bundle").read_bytes(), f"it needs {git('rev-parse', 'draft~2')}")


def test_more_behind_it_is_refused(bundle: bytes) -> None:
    refuse(bundle + b"x", "checksum")


@pytest.mark.parametrize("what", ["blob", "tree", "commit", "tag"])
def test_one_that_lacks_an_object_is_refused_and_the_object_named(
    full: Repository, git: Git, tmp_path: Path, what: str
) -> None:
    lost = git("rev-parse", {"blob": "draft:run", "tree": "draft:files", "commit": "draft~3", "tag": "1.0"}[what])
    names = [name for name in objects_of(git, full.path) if name != lost]
    checksum = git("pack-objects", "-q", "--delta-base-offset", tmp_path / "p", stdin="\n".join(names).encode())
    head, _ = split(bundle_of(full))
    refuse(head + (tmp_path / f"p-{checksum}.pack").read_bytes(), lost)


def test_one_of_a_ref_that_it_does_not_have_is_refused(bundle: bytes) -> None:
    head, pack = split(bundle)
    refuse(head[:-1] + b"12" * 20 + b" refs/tags/2.0\n\n" + pack, "12" * 20)


@pytest.mark.parametrize(
    "line",
    [b"", b"refs/tags/2.0", b"12" * 20, b"12" * 19 + b" refs/tags/2.0", b"zz" * 20 + b" refs/tags/2.0", b"\xff \xff"],
)
def test_one_with_a_line_that_is_no_ref_is_refused(bundle: bytes, line: bytes) -> None:
    head, pack = split(bundle)
    refuse(head[:-1] + line + b"\n\n" + pack)


@pytest.mark.parametrize("name", ["draft", "refs/heads/a..b", "refs/../../x", "refs/heads/draft/below", "../x"])
def test_one_with_a_name_that_git_does_not_take_is_refused(bundle: bytes, name: str) -> None:
    head, pack = split(bundle)
    refuse(head[:-1] + head.split()[4] + b" " + name.encode() + b"\n\n" + pack)


def test_one_with_a_tree_that_git_complains_of_is_refused(repository: Repository) -> None:
    with repository.writer() as writer:
        blob = writer.add_blob(b"x")
        tree = writer.add(TREE, encode_tree({b".git": Entry(MODE_FILE, blob)}))
        repository.publish(writer, {DRAFT: writer.add(COMMIT, Commit(tree, (), WHO, WHO, "x\n").encode())})
    refuse(bundle_of(repository), f"tree {tree.hex()}: it has an entry with a name that git refuses")


def test_one_with_an_object_twice_is_refused(repository: Repository) -> None:
    with repository.writer() as writer:
        tree = writer.add(TREE, b"")
        repository.publish(writer, {DRAFT: writer.add(COMMIT, Commit(tree, (), WHO, WHO, "x\n").encode())})
    head, pack = split(bundle_of(repository))
    twice = pack_header(4) + pack[12:-20] * 2
    refuse(head + twice + sha1(twice).digest(), "twice")


def test_one_with_deltas_by_name_is_refused(full: Repository, git: Git, tmp_path: Path) -> None:
    names = "\n".join(objects_of(git, full.path)).encode()
    checksum = git("pack-objects", "-q", "--no-reuse-delta", tmp_path / "p", stdin=names)
    head, _ = split(bundle_of(full))
    refuse(head + (tmp_path / f"p-{checksum}.pack").read_bytes(), "names its base")


# Memory


def many(folder: Path, count: int) -> bytes:
    """A bundle of so many small objects, in folders of a hundred."""
    repository = Repository.create(folder / "dataset", head="draft")
    with repository.writer() as writer:
        folders = {}
        for first in range(0, count, 100):
            files = {b"%03d" % n: Entry(MODE_FILE, writer.add_new(BLOB, b"%0600d" % (first + n))) for n in range(99)}
            folders[b"%06d" % first] = Entry(MODE_TREE, writer.add_new(TREE, encode_tree(files)))
        tree = writer.add(TREE, encode_tree(folders))
        tip = writer.add(COMMIT, Commit(tree, (), WHO, WHO, "x\n").encode())
        name = writer.finish()
    pack = (pack_folder(repository.path) / f"{name}.pack").read_bytes()
    shutil.rmtree(repository.path)
    return b"%b%b %b\n\n%b" % (MAGIC, tip.hex().encode(), DRAFT.encode(), pack)


def peak_of_unpacking(folder: Path, count: int) -> int:
    folder.mkdir()
    with saved(many(folder, count), folder / "some.bundle").open("rb") as source:
        repository = Repository.create(folder / "dataset", head="draft")
        tracemalloc.start()
        unpack_bundle(source, repository, folder)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def test_unpacking_four_times_as_much_takes_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the objects kept to make others out of: of these there is a fixed amount, here a smaller one."""
    monkeypatch.setattr("mirror.git.large.unpacking._MOST_KEPT", 1 << 20)
    few, most = (peak_of_unpacking(tmp_path / str(count), count) for count in (3_000, 12_000))
    assert most < 1.2 * few


def test_a_bundle_that_is_refused_leaves_nothing(repository: Repository, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    with whole.open("wb") as out, fill(repository).objects() as objects:
        write_bundle(out, objects, DRAFT, repository.refs(), tmp_path)
    other = Repository.create(tmp_path / "other", head="draft")
    with pytest.raises(StoreError):
        unpack_bundle(io.BytesIO(whole.read_bytes()[:-1]), other, tmp_path)
    assert list(pack_folder(other.path).iterdir()) == []


def test_a_repository_without_the_branch_that_a_clone_is_to_be_on_is_an_error_of_the_store(
    repository: Repository, tmp_path: Path
) -> None:
    with fill(repository).objects() as objects, pytest.raises(StoreError, match="has no refs/heads/none"):
        write_bundle(io.BytesIO(), objects, "refs/heads/none", repository.refs(), tmp_path)
