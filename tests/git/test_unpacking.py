"""A pack is read without git as git reads it, and what is not whole is refused."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.git import delta
from mirror.git.large.closure import Closure
from mirror.git.large.history_pack import write_pack
from mirror.git.large.unpacking import PackFile, unpack_loose
from mirror.git.objects import BLOB, COMMIT, TAG, TREE, hash_object
from mirror.git.pack_format import OFS_DELTA, encode_distance, entry_header, pack_header
from mirror.git.packs import loose_objects, pack_folder
from mirror.git.repository import Repository
from tests.conftest import examples

Git = Callable[..., str]

LOG = b"".join(b"line %d %x\n" % (n, n * 7919) for n in range(400))


def edited(times: int) -> bytes:
    """The log with one line after the other become another one: each version is most like the one before."""
    lines = LOG.splitlines(keepends=True)
    for number in range(times):
        lines[number * 5] = b"edited %x\n" % (number * 104_729)
    return b"".join(lines)


def only_pack(repository: Repository) -> Path:
    (path,) = pack_folder(repository.path).glob("*.pack")
    return path


def rows_of(path: Path) -> list[str]:
    """What the index of this pack is to say, as `git show-index` shows it."""
    with PackFile(path) as pack:
        pack.checksum()
        rows = sorted((found.oid, found.offset, found.crc) for found in pack)
    return [f"{offset} {oid.hex()} ({crc:08x})" for oid, offset, crc in rows]


def longest_chain(run: Git, pack: Path) -> int:
    lengths = re.findall(r"^chain length = (\d+):", run("verify-pack", "-v", pack), re.MULTILINE)
    return max(map(int, lengths), default=0)


def with_sum(pack: bytes) -> bytes:
    return pack + sha1(pack).digest()


@pytest.fixture
def history(repository: Repository, author: Any, git: Git) -> Repository:
    """Sixty versions of a file, below folders; an annotated tag; what is large, and what is empty."""
    large = b"".join(b"%d\n" % (n * n) for n in range(200_000))
    with repository.writer() as writer:
        tip = author.commit(writer, {b"large": large, b"noise": os.urandom(1_500_000), b"empty": b"", b"a/b/log": LOG})
        for number in range(60):
            tip = author.commit(writer, {b"a/b/log": edited(number), b"a/%d" % (number % 3): b"%d" % number}, tip)
        repository.publish(writer, {"refs/heads/draft": tip})
    git("tag", "-a", "-m", "The first", "1.0", "refs/heads/draft~3")
    return repository


@pytest.mark.parametrize("depth", [0, 1, 50])
def test_the_objects_of_a_pack_of_git_are_read_as_its_index_says(
    history: Repository, git: Git, run: Git, depth: int
) -> None:
    git("repack", "-adfq", f"--depth={depth}", "--window=60")
    path = only_pack(history)
    assert depth >= longest_chain(run, path) >= depth // 2
    assert rows_of(path) == run("show-index", stdin=path.with_suffix(".idx").read_bytes()).splitlines()
    listed = git("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype) %(objectsize)")
    with PackFile(path) as pack:
        found = {f"{one.oid.hex()} {one.kind.decode()} {len(one.body)}" for one in pack}
    assert found == set(listed.splitlines())
    assert {line.split()[1] for line in found} == {"blob", "tree", "commit", "tag"}


def test_it_is_told_what_an_object_was_made_out_of(history: Repository, git: Git) -> None:
    git("repack", "-adfq")
    seen = set()
    with PackFile(only_pack(history)) as pack:
        made = 0
        for found in pack:
            seen.add(found.oid)
            if found.base is not None:
                made += 1
                assert hash_object(found.kind, found.base) in seen
    assert made > 50


def test_deltas_by_name_are_read_where_they_may_be_and_refused_elsewhere(
    history: Repository, git: Git, run: Git, tmp_path: Path
) -> None:
    names = git("rev-list", "--objects", "--all", "--no-object-names")
    checksum = git("pack-objects", "-q", "--no-reuse-delta", tmp_path / "by-name", stdin=names.encode())
    path = tmp_path / f"by-name-{checksum}.pack"
    assert longest_chain(run, path) > 20
    with PackFile(path) as pack, pytest.raises(ValueError, match="names its base"):
        list(pack)
    with history.objects() as objects, PackFile(path, objects.read) as pack:
        assert {found.oid.hex() for found in pack} == set(names.splitlines())


def test_a_pack_of_the_writer_is_read_as_its_index_says(repository: Repository, run: Git) -> None:
    with repository.writer() as writer:
        last = base = writer.add_blob(LOG)
        for number in range(50):
            writer.add_new(BLOB, b"%d" % number)
            made = delta.encode(len(LOG) + number, [delta.Copy(0, len(LOG) + number), b"."])
            last = writer.add_delta(last, made, LOG + b"." * (number + 1))
        writer.add_new_delta(base, delta.encode(len(LOG), [b"new", delta.Copy(5, 70)]), b"new" + LOG[5:75])
        for content in (b"", os.urandom(2_000_000), b"0" * 3_000_000):
            writer.add_blob(content)
        writer.add(TREE, b"")
        writer.finish()
    path = only_pack(repository)
    assert longest_chain(run, path) == 50
    assert rows_of(path) == run("show-index", stdin=path.with_suffix(".idx").read_bytes()).splitlines()


def test_a_pack_of_a_history_is_read_as_git_reads_it(history: Repository, git: Git, run: Git, tmp_path: Path) -> None:
    path = tmp_path / "some.pack"
    with history.objects() as objects, Closure(tmp_path / "reached") as closure, path.open("wb") as out:
        closure.fill(objects, history.refs().values())
        write_pack(out, objects, closure)
    run("index-pack", "--strict", path)
    assert longest_chain(run, path) > 5
    assert rows_of(path) == run("show-index", stdin=path.with_suffix(".idx").read_bytes()).splitlines()
    reached = git("rev-list", "--objects", "--all", "--no-object-names").splitlines()
    assert sorted(row.split()[1] for row in rows_of(path)) == sorted(reached)


def test_what_others_are_made_out_of_may_stand_far_before_them(repository: Repository, run: Git) -> None:
    def longer(number: int) -> tuple[bytes, bytes]:
        return delta.encode(len(LOG), [delta.Copy(0, len(LOG)), b"%d" % number]), LOG + b"%d" % number

    with repository.writer() as writer:
        base = writer.add_blob(LOG)
        first = writer.add_delta(base, *longer(1))
        for number in range(10):  # more than is kept
            writer.add_new(BLOB, bytes([number]) * 2_000_000)
        size = len(LOG) + 1
        writer.add_new_delta(first, delta.encode(size, [delta.Copy(0, size), b"!"]), LOG + b"1!")
        writer.add_new_delta(base, *longer(2))
        writer.finish()
    path = only_pack(repository)
    assert rows_of(path) == run("show-index", stdin=path.with_suffix(".idx").read_bytes()).splitlines()


@pytest.fixture(scope="module")
def small_pack(run: Git, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A pack of git, of every kind of object, with deltas."""
    folder = tmp_path_factory.mktemp("small")
    run("init", "-q", folder)
    for number in range(5):
        (folder / "log").write_bytes(edited(number)[:900])
        (folder / "short").write_text(f"{number}")
        run("-C", folder, "add", ".")
        run("-C", folder, "commit", "-qm", f"The state {number}", "--date=1700000000 +0000")
    run("-C", folder, "tag", "-a", "-m", "A tag", "1.0")
    run("-C", folder, "repack", "-adfq")
    (path,) = (folder / ".git/objects/pack").glob("*.pack")
    assert longest_chain(run, path) > 1
    return path.read_bytes()


def read_all(pack: bytes) -> list[tuple[bytes, int, int]]:
    """Name, CRC and place of each, or `ValueError`."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "some.pack")
        path.write_bytes(pack)
        with PackFile(path) as file:
            file.checksum()
            return [(found.oid, found.crc, found.offset) for found in file]


def flipped(data: bytes, at: int, flip: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]


ANYWHERE = st.integers(0, 2**20)
FLIPS = st.one_of(st.sampled_from([1 << bit for bit in range(8)]), st.integers(1, 255))


@given(ANYWHERE, FLIPS)
def test_a_flipped_byte_anywhere_is_told_by_the_checksum(small_pack: bytes, at: int, flip: int) -> None:
    with pytest.raises(ValueError, match="not as its checksum says"):
        read_all(flipped(small_pack, at, flip))


@given(ANYWHERE)
def test_a_pack_cut_short_anywhere_is_told_by_the_checksum(small_pack: bytes, at: int) -> None:
    with pytest.raises(ValueError, match="cut short"):
        read_all(small_pack[: at % len(small_pack)])


@given(ANYWHERE)
def test_a_pack_cut_short_on_purpose_is_refused(small_pack: bytes, at: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_all(with_sum(small_pack[: at % (len(small_pack) - 20)]))


@examples(200)
@given(ANYWHERE, FLIPS)
def test_a_byte_flipped_on_purpose_is_refused_or_makes_another_pack(small_pack: bytes, at: int, flip: int) -> None:
    try:
        rows = read_all(with_sum(flipped(small_pack[:-20], at, flip)))
    except ValueError:
        return
    assert rows != read_all(small_pack)


@examples(40)
@given(ANYWHERE, FLIPS)
def test_what_git_takes_is_taken_with_the_same_index_and_nothing_else(
    run: Git, small_pack: bytes, at: int, flip: int
) -> None:
    """The byte is one of the first few of an object: flips elsewhere hardly ever make anything."""
    places = [place + more for _, _, place in read_all(small_pack) for more in range(5)]
    changed = with_sum(flipped(small_pack[:-20], places[at % len(places)], flip))
    with TemporaryDirectory() as folder:
        path = Path(folder, "some.pack")
        path.write_bytes(changed)
        try:
            rows = rows_of(path)
        except ValueError:
            run("index-pack", path, ok=False)
        else:
            run("index-pack", path)
            assert rows == run("show-index", stdin=path.with_suffix(".idx").read_bytes()).splitlines()


@given(st.binary(max_size=200), st.integers(0, 3))
def test_what_is_no_pack_is_refused(noise: bytes, count: int) -> None:
    for data in (noise, with_sum(noise), with_sum(pack_header(count + 1) + noise)):
        with pytest.raises(ValueError, match=r"\w"):
            read_all(data)


def entry(kind: bytes, body: bytes, *, size: int | None = None) -> bytes:
    return entry_header(kind, len(body) if size is None else size) + zlib.compress(body)


def test_the_smallest_packs_are_read() -> None:
    assert read_all(with_sum(pack_header(0))) == []
    packed = entry(BLOB, b"")
    assert read_all(with_sum(pack_header(1) + packed)) == [(hash_object(BLOB, b""), zlib.crc32(packed), 12)]


@pytest.mark.parametrize("size", [0, 99, 101, 5_000_000, 1 << 40])
def test_an_object_of_another_size_than_it_says_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="another size"):
        read_all(with_sum(pack_header(1) + entry(BLOB, b"x" * 100, size=size)))


@pytest.mark.parametrize("count", [0, 1, 3, 1 << 31])
def test_another_number_of_objects_than_it_says_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_all(with_sum(pack_header(count) + entry(BLOB, b"1") + entry(BLOB, b"2")))


@pytest.mark.parametrize("distance", [0, 1, 12, 13, 2000])
def test_a_delta_of_what_is_not_an_object_before_it_is_refused(distance: int) -> None:
    blob = entry(BLOB, os.urandom(300))
    assert len(blob) not in (1, 12, 13)
    made = delta.encode(300, [delta.Copy(0, 300), b"."])
    packed = entry_header(OFS_DELTA, len(made)) + encode_distance(distance) + zlib.compress(made)
    with pytest.raises(ValueError, match=r"\w"):
        read_all(with_sum(pack_header(2) + blob + packed))


def test_a_small_object_in_a_long_stream_is_read() -> None:
    """Whoever deflates may flush as often as they like: nothing says how long that gets."""
    stream = zlib.compressobj()
    packed = entry_header(BLOB, 2) + stream.compress(b"ab")
    packed += b"".join(stream.flush(zlib.Z_FULL_FLUSH) + stream.compress(b"") for _ in range(3))
    packed += b"\0\0\0\xff\xff" * 500_000 + stream.flush()
    assert read_all(with_sum(pack_header(1) + packed)) == [(hash_object(BLOB, b"ab"), zlib.crc32(packed), 12)]


# Objects that are files of their own


@pytest.fixture(scope="module")
def loose(run: Git, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("loose")
    run("init", "-q", folder)
    oid = run("-C", folder, "hash-object", "-w", "--stdin", stdin=LOG[:500])
    return (folder / ".git/objects" / oid[:2] / oid[2:]).read_bytes()


def test_what_git_wrote_loose_is_read(repository: Repository, git: Git) -> None:
    for content in (b"", b"x", LOG, b"1" * 1_500_000, os.urandom(1_500_000)):
        git("hash-object", "-w", "--stdin", stdin=content)
    tree = git("mktree", stdin=b"")
    git("tag", "-a", "-m", "x", "1.0", git("commit-tree", "-m", "x", tree))
    kinds = set()
    for path in loose_objects(repository.path):
        oid, kind, body = unpack_loose(path.read_bytes())
        kinds.add(kind)
        assert oid.hex() == path.parent.name + path.name
        assert (git("cat-file", "-t", oid.hex()), git("cat-file", "-s", oid.hex())) == (kind.decode(), str(len(body)))
    assert kinds == {BLOB, TREE, COMMIT, TAG}


@given(ANYWHERE, FLIPS)
def test_a_flipped_byte_of_a_loose_object_makes_no_other_object(loose: bytes, at: int, flip: int) -> None:
    """A bit behind the last one that says something may be flipped; git does not see it either."""
    try:
        _, kind, body = unpack_loose(flipped(loose, at, flip))
    except ValueError:
        return
    assert (kind, body) == (BLOB, LOG[:500])


@given(ANYWHERE)
def test_a_loose_object_cut_short_is_refused(loose: bytes, at: int) -> None:
    with pytest.raises(ValueError, match="inflated"):
        unpack_loose(loose[: at % len(loose)])


@pytest.mark.parametrize("head", [b"blob 4\0", b"blob 2\0", b"blob 03\0", b"blob\0", b"blob -3\0", b"blob 3", b""])
def test_a_loose_object_of_another_size_than_it_says_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError, match="another size"):
        unpack_loose(zlib.compress(head + b"abc"))
