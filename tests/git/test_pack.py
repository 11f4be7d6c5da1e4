"""A pack we write is one git reads, and no trace stays of one we do not finish."""

from __future__ import annotations

import os
import stat
import tracemalloc
from array import array
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.git.objects import BLOB, COMMIT, MODE_FILE, TREE, Entry, encode_tree, hash_object
from mirror.git.pack import PackWriter, index_parts
from mirror.git.packs import pack_folder
from mirror.git.repository import Repository

Git = Callable[..., str]

SIZES = (0, 1, 15, 16, 17, 200, 1023, 1024, 2047, 2048, 2049, 40_000, 1_500_000)


def body(size: int) -> bytes:
    """Text that compresses about as well as records do."""
    return b"".join(b"%d %x\n" % (n, n * 7919) for n in range(size // 4 + 1))[:size]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_git_accepts_the_pack_and_reads_the_same_objects(repository: Repository, author: Any, git: Git) -> None:
    with repository.writer() as writer:
        blobs = {writer.add_blob(body(size)): size for size in SIZES}
        commit = author.commit(writer, {b"a/b": b"text"})
        count = len(writer)
        name = writer.finish()
    path = pack_folder(repository.path) / f"{name}.pack"
    assert git("verify-pack", "-s", path) == f"non delta: {count} objects"
    assert git("cat-file", "-t", commit.hex()) == "commit"
    for oid, size in blobs.items():
        assert git("hash-object", "--stdin", stdin=body(size)) == oid.hex()
        assert git("cat-file", "-s", oid.hex()) == str(size)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o444}


def test_the_index_is_the_one_git_would_make(repository: Repository, run: Git, tmp_path: Path) -> None:
    with repository.writer() as writer:
        for number in range(3000):
            writer.add_blob(b"%d" % number)
        name = writer.finish()
    folder = pack_folder(repository.path)
    run("index-pack", "--strict", "--index-version=2", "-o", tmp_path / "git.idx", folder / f"{name}.pack")
    assert (folder / f"{name}.idx").read_bytes() == (tmp_path / "git.idx").read_bytes()
    assert name == f"pack-{(folder / f'{name}.pack').read_bytes()[-20:].hex()}"


def test_an_index_of_more_than_two_gigabytes(run: Git) -> None:
    oids = sorted(hash_object(BLOB, b"%d" % number) for number in range(50))
    offsets = [12 + number * (1 << 29) for number in range(50)]
    crcs = list(range(50))
    data = b"".join(index_parts(oids, array("I", crcs), array("Q", offsets), b"\7" * 20))
    shown = run("show-index", stdin=data)
    assert [line.split() for line in shown.splitlines()] == [
        [str(offset), oid.hex(), f"({crc:08x})"] for oid, offset, crc in zip(oids, offsets, crcs, strict=True)
    ]


def test_an_object_is_stored_once(repository: Repository) -> None:
    with repository.writer() as writer:
        first = writer.add_blob(b"same")
        size = writer.size
        assert writer.add(BLOB, b"same") == first
        assert (len(writer), writer.size) == (1, size)
        assert first in writer
        assert hash_object(BLOB, b"other") not in writer


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([BLOB, COMMIT, TREE]), st.binary(max_size=3000)), max_size=30))
def test_the_unfinished_pack_can_be_read(objects: list[tuple[bytes, bytes]]) -> None:
    with TemporaryDirectory() as folder, PackWriter(Path(folder)) as writer:
        oids = [writer.add(kind, content) for kind, content in objects]
        for oid, (kind, content) in zip(oids, objects, strict=True):
            assert writer.read(oid) == (kind, content)
            assert writer.kind_of(oid) == kind


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


def test_memory_per_object_is_bounded(repository: Repository) -> None:
    count = 50_000
    with repository.writer() as writer:
        tracemalloc.start()
        for number in range(count):
            writer.add_blob(b"%d" % number)
        held, peak = tracemalloc.get_traced_memory()
        writer.finish()
        finishing = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    buffers = 3 << 20
    assert held < count * 170 + buffers
    assert max(peak, finishing) < count * 230 + buffers


def test_a_tree_of_the_pack_is_known_to_git(repository: Repository, git: Git) -> None:
    with repository.writer() as writer:
        blob = writer.add_blob(b"x")
        tree = writer.add(TREE, encode_tree({b"f": Entry(MODE_FILE, blob)}))
        writer.finish()
    assert git("ls-tree", tree.hex()) == f"100644 blob {blob.hex()}\tf"
