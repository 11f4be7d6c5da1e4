"""A pack we write is one git reads, and no trace stays of one we do not finish."""

from __future__ import annotations

import os
import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.git.objects import BLOB, COMMIT, MODE_FILE, TREE, Entry, encode_tree, hash_object
from mirror.git.pack import TEMPORARY_PREFIX, PackWriter
from mirror.git.packs import pack_folder
from mirror.git.repository import Repository

Git = Callable[..., str]

SIZES = (0, 1, 15, 16, 17, 200, 1023, 1024, 2047, 2048, 2049, 40_000, 1_500_000)


def body(size: int) -> bytes:
    """Text that compresses about as well as records do."""
    return b"".join(b"%d %x\n" % (n, n * 7919) for n in range(size // 4 + 1))[:size]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("deflate_small", [False, True])
def test_git_accepts_the_pack_and_reads_the_same_objects(
    repository: Repository, author: Any, git: Git, deflate_small: bool
) -> None:
    with PackWriter(pack_folder(repository.path), deflate_small=deflate_small) as writer:
        blobs = {writer.add_blob(body(size)): size for size in SIZES}
        blobs |= {writer.add_new(BLOB, b"\n" + body(size)[1:]): size for size in SIZES[1:]}
        commit = author.commit(writer, {b"a/b": b"text"})
        count = len(writer)
        name = writer.finish()
    path = pack_folder(repository.path) / f"{name}.pack"
    assert git("verify-pack", "-s", path) == f"non delta: {count} objects"
    assert git("cat-file", "-t", commit.hex()) == "commit"
    for oid, size in blobs.items():
        assert git("cat-file", "-s", oid.hex()) == str(size)
    assert {hash_object(BLOB, body(size)) for size in SIZES} < blobs.keys()
    git("fsck", "--strict", "--no-dangling")
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o444}


def test_the_index_is_the_one_git_would_make(repository: Repository, run: Git, tmp_path: Path) -> None:
    with repository.writer() as writer:
        for number in range(3000):
            writer.add_blob(b"%d" % number)
            writer.add_new(BLOB, b"new %d" % number)
        name = writer.finish()
    folder = pack_folder(repository.path)
    run("index-pack", "--strict", "--index-version=2", "-o", tmp_path / "git.idx", folder / f"{name}.pack")
    assert (folder / f"{name}.idx").read_bytes() == (tmp_path / "git.idx").read_bytes()
    assert name == f"pack-{(folder / f'{name}.pack').read_bytes()[-20:].hex()}"


def test_an_object_is_stored_once(repository: Repository) -> None:
    with repository.writer() as writer:
        first = writer.add_blob(b"same")
        size = writer.size
        assert writer.add(BLOB, b"same") == first
        assert (len(writer), writer.size) == (1, size)
        assert first in writer
        assert hash_object(BLOB, b"other") not in writer


def test_what_is_promised_to_be_new_is_in_the_pack_but_not_looked_for(repository: Repository, git: Git) -> None:
    with repository.writer() as writer:
        oid = writer.add_new(BLOB, b"new")
        assert oid == hash_object(BLOB, b"new")
        assert oid not in writer
        assert len(writer) == 1
        for look in (writer.read, writer.kind_of):
            with pytest.raises(KeyError):
                look(oid)
        writer.finish()
    assert git("cat-file", "blob", oid.hex()) == "new"


@pytest.mark.parametrize("ways", [("add", "add_new"), ("add_new", "add"), ("add_new", "add_new")])
def test_a_broken_promise_fails_before_anything_is_visible(repository: Repository, ways: tuple[str, str]) -> None:
    with repository.writer() as writer:
        for number in range(1000):
            writer.add_new(BLOB, b"%d" % number)
        for way in ways:
            getattr(writer, way)(BLOB, b"same")
        with pytest.raises(ValueError, match=f"{hash_object(BLOB, b'same').hex()} was put twice"):
            writer.finish()
        assert all(name.startswith(TEMPORARY_PREFIX) for name in names_in(pack_folder(repository.path)))
    assert names_in(pack_folder(repository.path)) == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([BLOB, COMMIT, TREE]), st.binary(max_size=6000)), max_size=30), st.booleans())
def test_the_unfinished_pack_can_be_read(objects: list[tuple[bytes, bytes]], deflate_small: bool) -> None:
    with TemporaryDirectory() as folder, PackWriter(Path(folder), deflate_small=deflate_small) as writer:
        oids = []
        for number, (kind, content) in enumerate(objects):
            oids.append(writer.add(kind, content))
            writer.add_new(BLOB, b"between %d" % number)
        for oid, (kind, content) in zip(oids, objects, strict=True):
            assert writer.read(oid) == (kind, content)
            assert writer.kind_of(oid) == kind


@pytest.mark.parametrize("kind", [BLOB, TREE])
@pytest.mark.parametrize("size", [0, 30, 160, 500])
def test_what_is_small_takes_its_size_and_a_few_bytes(repository: Repository, kind: bytes, size: int) -> None:
    with repository.writer() as writer:
        before = writer.size
        writer.add(kind, os.urandom(size))
        assert writer.size - before <= size + 13


def test_what_is_small_can_be_deflated(repository: Repository) -> None:
    link = b"../../.git/annex/objects/Zz/01/MD5E-s5--%b/MD5E-s5--%b" % ((os.urandom(16).hex().encode(),) * 2)
    with repository.writer() as plain, PackWriter(pack_folder(repository.path), deflate_small=True) as deflated:
        assert plain.add_blob(link) == deflated.add_blob(link)
        assert deflated.size < plain.size - 30


def test_reading_from_what_went_to_disk_already(repository: Repository) -> None:
    with repository.writer() as writer:
        bodies = [os.urandom(300_000) for _ in range(12)]
        oids = [writer.add_blob(content) for content in bodies]
        assert [writer.read(oid) for oid in oids] == [(BLOB, content) for content in bodies]
        with pytest.raises(KeyError):
            writer.read(b"\0" * 20)


def test_an_empty_pack_is_none(repository: Repository) -> None:
    with repository.writer() as writer:
        assert writer.finish() is None
    assert names_in(pack_folder(repository.path)) == []


def test_nothing_stays_of_an_unfinished_pack(repository: Repository) -> None:
    folder = pack_folder(repository.path)
    with pytest.raises(RuntimeError), repository.writer() as writer:  # noqa: PT012
        writer.add_blob(os.urandom(2_000_000))
        assert len(names_in(folder)) == 1
        raise RuntimeError
    assert names_in(folder) == []


def test_a_finished_pack_takes_no_more(repository: Repository) -> None:
    with repository.writer() as writer:
        writer.add_blob(b"1")
        writer.finish()
        with pytest.raises(ValueError, match="finished"):
            writer.add_blob(b"2")


def test_a_full_disk_leaves_nothing_behind(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with repository.writer() as writer:
        writer.add_blob(b"1")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            writer.finish()
    assert names_in(pack_folder(repository.path)) == []


@pytest.mark.parametrize(("way", "held_each", "peak_each"), [("add", 180, 230), ("add_new", 38, 60)])
def test_memory_per_object_is_bounded(repository: Repository, way: str, held_each: int, peak_each: int) -> None:
    count = 50_000
    with repository.writer() as writer:
        add = getattr(writer, way)
        tracemalloc.start()
        for number in range(count):
            add(BLOB, b"%d" % number)
        held, peak = tracemalloc.get_traced_memory()
        writer.finish()
        finishing = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    buffers = 3 << 20
    assert held < count * held_each + buffers
    assert max(peak, finishing) < count * peak_each + buffers


def test_a_tree_of_the_pack_is_known_to_git(repository: Repository, git: Git) -> None:
    with repository.writer() as writer:
        blob = writer.add_blob(b"x")
        tree = writer.add(TREE, encode_tree({b"f": Entry(MODE_FILE, blob)}))
        writer.finish()
    assert git("ls-tree", tree.hex()) == f"100644 blob {blob.hex()}\tf"
