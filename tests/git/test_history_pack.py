"""A pack of a whole history: git takes it for its own, it has what it should, and little changes take little room."""

from __future__ import annotations

import io
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.git.large.closure import Closure
from mirror.git.large.history_pack import write_pack
from mirror.git.objects import BLOB, COMMIT, MODE_FILE, TAG, TREE, Commit, Entry, Oid, Signature, Tag, hash_object
from mirror.git.packs import pack_folder
from mirror.git.reader import Objects
from mirror.git.repository import Repository
from mirror.git.trees import edit_tree
from tests.conftest import examples

Git = Callable[..., str]
Files = Mapping[bytes, bytes]

WHO = Signature("The Mirror", "mirror@example.org", 1_700_000_000)
MIB = 1 << 20

_row = re.compile(r"([0-9a-f]{40}) (\w+) +\d+ (\d+) \d+(?: (\d+) [0-9a-f]{40})?").fullmatch


def write(repository: Repository, states: Iterable[Files]) -> Oid:
    """A commit of each of these, one after the other, of which a tag is the last. Returns the tag."""
    with repository.writer() as writer, repository.objects(writer) as objects:
        commit: Oid | None = None
        for number, files in enumerate(states):
            changes = [(path, Entry(MODE_FILE, writer.add_blob(body))) for path, body in sorted(files.items())]
            tree = edit_tree(objects, writer, None, changes)
            assert tree is not None
            message = f"The state of number {number}\n"
            commit = writer.add(COMMIT, Commit(tree, (commit,) if commit else (), WHO, WHO, message).encode())
        assert commit is not None
        tag = writer.add(TAG, Tag(commit, COMMIT, "last", WHO, "x\n").encode())
        repository.publish(writer, {"refs/heads/draft": commit, "refs/tags/last": tag})
    return tag


@contextmanager
def closure_of(repository: Repository, *tips: Oid) -> Iterator[tuple[Objects, Closure]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        repository.objects() as objects,
        Closure(Path(folder, "reached")) as closure,
    ):
        closure.fill(objects, tips)
        yield objects, closure


def packed(repository: Repository, *tips: Oid) -> bytes:
    out = io.BytesIO()
    with closure_of(repository, *tips) as (objects, closure):
        write_pack(out, objects, closure)
    return out.getvalue()


def in_full(repository: Repository, *tips: Oid) -> int:
    """Bytes of these objects when each is deflated by itself."""
    with closure_of(repository, *tips) as (objects, closure):
        return sum(len(zlib.compress(body)) for _, _, body in objects.read_many(one.oid for one in closure))


class Stored(NamedTuple):
    """How an object is in a pack."""

    kind: str
    size: int
    """bytes that it takes there"""
    depth: int
    """how many deltas are followed to read it; 0: it is there in full"""


class Taken(NamedTuple):
    """What git says of a pack that it took over."""

    objects: set[str]
    """name, kind and size of each"""
    stored: Mapping[str, Stored]

    def file(self, body: bytes) -> Stored:
        """How a file of this content is stored."""
        return self.stored[hash_object(BLOB, body).hex()]

    def depths(self, kind: str = "blob") -> list[int]:
        return [one.depth for one in self.stored.values() if one.kind == kind]


def taken_by_git(run: Git, pack: bytes, tip: Oid) -> Taken:
    """Have a new repository take the pack, and git look at everything in there."""
    with tempfile.TemporaryDirectory() as folder:
        run("init", "-q", "--bare", folder)
        name = run("-C", folder, "index-pack", "--strict", "--stdin", stdin=pack).split()[1]
        run("-C", folder, "update-ref", "refs/tags/last", tip.hex())
        assert run("-C", folder, "fsck", "--strict", "--no-progress") == ""
        told = run("-C", folder, "verify-pack", "-v", f"objects/pack/pack-{name}.pack")
        rows = [row.groups() for line in told.splitlines() if (row := _row(line))]
        stored = {name: Stored(kind, int(size), int(depth or 0)) for name, kind, size, depth in rows}
        return Taken(objects_of(run, Path(folder)), stored)


def objects_of(run: Git, repository: Path) -> set[str]:
    return set(run("-C", repository, "cat-file", "--batch-all-objects", "--batch-check").splitlines())


@pytest.fixture
def kept(repository: Repository, run: Git) -> Callable[[Iterable[Files]], Taken]:
    """What git takes of the pack of a history of these states."""

    def kept(states: Iterable[Files]) -> Taken:
        tip = write(repository, states)
        taken = taken_by_git(run, packed(repository, tip), tip)
        assert taken.objects == objects_of(run, repository.path)
        return taken

    return kept


def lines(seed: int, size: int) -> bytes:
    """So much text, that has most of its lines in common with that of another seed."""
    changed = Random(seed)
    text = (b"%d: %b\n" % (n, changed.randbytes(9) if changed.random() < 0.1 else b"as ever") for n in range(size))
    return b"".join(text)[:size]


def log(seed: int, size: int) -> bytes:
    """What git-annex's logs are alike: one line that names a place, and most of it the same."""
    return (b"1577836800s 1 https://api.example.org/assets/%d/download/?x=" % seed * 9)[:size]


def noise(seed: int, size: int) -> bytes:
    return Random(seed).randbytes(size)


# On both sides of where deltas begin, of where they are made of what stood there before, and of what zlib and git's
# instructions take at once.
sizes = st.sampled_from([0, 1, 15, 16, 199, 200, 201, 300, 511, 512, 513, 4096, 70_000])
bodies = st.builds(
    lambda kind, seed, size: kind(seed, size), st.sampled_from([lines, log, noise]), st.integers(0, 3), sizes
)
paths = st.sampled_from([b"a", b"b", b"c/a", b"c/d/a", *(b"e/%d" % number for number in range(20))])
histories = st.lists(st.dictionaries(paths, bodies, min_size=1, max_size=12), min_size=1, max_size=5)


@examples(15)
@given(states=histories)
def test_git_finds_in_the_pack_what_it_found_in_the_repository(run: Git, states: list[Files]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        repository = Repository.create(Path(folder, "r"), head="draft")
        tip = write(repository, states)
        assert taken_by_git(run, packed(repository, tip), tip).objects == objects_of(run, repository.path)


def test_only_what_is_reached_is_in_the_pack(repository: Repository, run: Git) -> None:
    states = [{b"a": lines(number, 2000), b"b": noise(number, 100)} for number in range(3)]
    first = write(repository, states[:1])
    before = objects_of(run, repository.path)
    write(repository, states)
    assert taken_by_git(run, packed(repository, first), first).objects == before


def unpack_loose(run: Git, repository: Repository, aside: Path) -> None:
    """Every object a file of its own."""
    shutil.copytree(pack_folder(repository.path), aside)
    for path in pack_folder(repository.path).iterdir():
        path.unlink()
    for pack in aside.glob("*.pack"):
        run("-C", repository.path, "unpack-objects", "-q", stdin=pack.read_bytes())


def test_it_is_the_same_pack_however_the_repository_is_packed(repository: Repository, run: Git, tmp_path: Path) -> None:
    some = [{b"t/%d" % n: lines(seed * n, 300 * n) for n in range(15)} | {b"l": log(seed, 300)} for seed in range(6)]
    write(repository, some[:5])
    tip = write(repository, some)
    pack = packed(repository, tip)
    for options in (["--depth=5"], ["--depth=0"], ["--depth=200", "--window=50"]):
        run("-C", repository.path, "repack", "-adfq", *options)
        assert packed(repository, tip) == pack
    unpack_loose(run, repository, tmp_path / "aside")
    assert not repository.packs()
    assert packed(repository, tip) == pack


def test_it_is_the_same_pack_when_made_of_itself(repository: Repository, run: Git, tmp_path: Path) -> None:
    tip = write(repository, ({b"a": lines(seed, 9000)} for seed in range(60)))
    pack = packed(repository, tip)
    copy = Repository.create(tmp_path / "copy", head="draft")
    run("-C", copy.path, "index-pack", "--strict", "--stdin", stdin=pack)
    assert packed(copy, tip) == pack


def growing(count: int) -> list[Files]:
    """A table that gets a line each time, and a folder that gets a file."""
    random = Random(1)
    rows = [b"%d\t%b\n" % (number, random.randbytes(30).hex().encode()) for number in range(400 + count)]
    files = {b"many/%04d" % number: b"%d" % number for number in range(400 + count)}
    some = list(files.items())
    return [{b"table": b"".join(rows[: 400 + n]), **dict(some[: 400 + n])} for n in range(count)]


def test_what_grows_by_a_little_is_stored_as_what_is_new(repository: Repository, run: Git) -> None:
    tip = write(repository, growing(130))
    pack = packed(repository, tip)
    taken = taken_by_git(run, pack, tip)
    assert taken.objects == objects_of(run, repository.path)
    # Of 130 states each 51st is there in full, and the next 50 are made one out of the other.
    table = [taken.file(state[b"table"]).depth for state in growing(130)]
    assert table == [number % 51 for number in range(130)]
    assert max(taken.depths("tree")) == 50
    assert len(pack) < in_full(repository, tip) / 15


def test_what_is_changed_back_is_there_once(kept: Callable[[Iterable[Files]], Taken]) -> None:
    taken = kept([{b"a": lines(1 + number % 2, 5000)} for number in range(10)])
    assert sorted(taken.depths()) == [0, 1]


@pytest.mark.parametrize(("size", "is_delta"), [(511, False), (512, True), (513, True)])
def test_of_what_stood_there_before_are_made_those_that_are_not_small(
    kept: Callable[[Iterable[Files]], Taken], size: int, is_delta: bool
) -> None:
    # The front differs, so nothing small is alike.
    before, after = (b"%d\n" % seed + lines(0, size)[2:] for seed in (1, 2))
    taken = kept([{b"a": before}, {b"a": after}])
    assert (taken.file(before).depth, taken.file(after).depth) == (0, int(is_delta))


@pytest.mark.parametrize(("size", "deltas"), [(199, 0), (200, 4), (511, 4), (512, 0)])
def test_small_ones_are_made_of_their_like_wherever_these_stand(
    kept: Callable[[Iterable[Files]], Taken], size: int, deltas: int
) -> None:
    taken = kept([{b"%d/x" % seed: log(seed, size) for seed in range(5)}])
    assert sorted(taken.depths()) == [0] * (5 - deltas) + [1] * deltas


def test_what_is_not_alike_is_stored_in_full(kept: Callable[[Iterable[Files]], Taken]) -> None:
    versions = [noise(seed, size) for seed, size in enumerate([300, 300, 600, 600, 80_000, 80_000, MIB])]
    taken = kept([{b"a": body} for body in versions])
    assert not any(taken.depths())
    assert all(len(body) < taken.file(body).size < len(body) * 1.001 + 20 for body in versions)


def long_lines(size: int) -> bytes:
    """So much text of which little is in memory for long."""
    return b"".join(b"%d%b\n" % (n, b" " * 1000) for n in range(size // 1000 + 1))[:size]


@pytest.mark.parametrize(("size", "is_base"), [(4 * MIB - 1, True), (4 * MIB, True), (4 * MIB + 1, False)])
@pytest.mark.parametrize("grows", [True, False])
def test_nothing_is_made_of_what_is_too_large_to_be_kept_in_memory(
    kept: Callable[[Iterable[Files]], Taken], size: int, is_base: bool, grows: bool
) -> None:
    small, large = long_lines(size - 6), b"first\n" + long_lines(size - 6)
    before, after = (small, large) if grows else (large, small)
    taken = kept([{b"a": before}, {b"a": after}])
    assert taken.file(before).depth == 0
    assert (taken.file(after).depth == 1) is (taken.file(after).size < 1000) is is_base


@pytest.mark.parametrize(("count", "bases"), [(4, 4), (5, 0)])
def test_nothing_is_made_of_what_was_written_too_many_megabytes_ago(
    kept: Callable[[Iterable[Files]], Taken], count: int, bases: int
) -> None:
    text = long_lines(4 * MIB - 1000)
    first = {b"%d" % number: b"%d\n" % number + text for number in range(count)}
    taken = kept([first, {path: body[:-100] + b"\nlast" for path, body in first.items()}])
    # Each that is written takes the place of the one that the next would be made of.
    assert sum(taken.depths()) == bases


def test_commits_and_tags_of_any_length_come_through(repository: Repository, run: Git) -> None:
    messages = [noise(length, length // 2).hex() + "\n" for length in (0, 100, 300, 500, 5000, 100_000)]
    with repository.writer() as writer:
        tree, oid, kind = writer.add(TREE, b""), Oid(), COMMIT
        for message in messages:
            oid = writer.add(COMMIT, Commit(tree, (oid,) if oid else (), WHO, WHO, message).encode())
        for number, message in enumerate(messages):
            oid, kind = writer.add(TAG, Tag(oid, kind, f"t{number}", WHO, message).encode()), TAG
        repository.publish(writer, {})
    assert taken_by_git(run, packed(repository, oid), oid).objects == objects_of(run, repository.path)


def test_a_pack_of_nothing_is_a_pack(repository: Repository, run: Git, tmp_path: Path) -> None:
    (tmp_path / "empty.pack").write_bytes(packed(repository))
    run("index-pack", "--strict", tmp_path / "empty.pack")
    assert objects_of(run, repository.path) == set()
