"""A delta we write makes the object it should, by the words of git's documentation and by git's own doing."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.git import delta as deltas
from mirror.git.delta import Copy, Template, between, encode
from mirror.git.objects import (
    BLOB,
    COMMIT,
    MODE_FILE,
    MODE_TREE,
    TREE,
    Commit,
    Entry,
    Oid,
    Signature,
    decode_tree,
    encode_tree,
    hash_object,
)
from mirror.git.pack import PackWriter
from mirror.git.packs import pack_folder
from mirror.git.repository import Repository

Git = Callable[..., str]

WHO = Signature("The Mirror", "mirror@example.org", 1_700_000_000)
BASE = os.urandom(300_000)


def apply(base: bytes, delta: bytes) -> bytes:
    """What git's documentation of packs says that a delta does."""
    source = iter(delta)

    def size() -> int:
        value = shift = 0
        while True:
            byte = next(source)
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def number(flags: int, count: int) -> int:
        return sum(next(source) << 8 * place for place in range(count) if flags >> place & 1)

    base_size, body_size = size(), size()
    assert base_size == len(base)
    body = bytearray()
    for instruction in source:
        assert instruction, "a 0 is reserved"
        if instruction & 0x80:
            start, count = number(instruction, 4), number(instruction >> 4, 3) or 0x10000
            assert start + count <= base_size
            body += base[start : start + count]
        else:
            body += bytes(next(source) for _ in range(instruction))
    assert len(body) == body_size
    return bytes(body)


def copies() -> st.SearchStrategy[Copy]:
    """Pieces of `BASE`, many of them with a 0 somewhere in the bytes of offset or size."""
    numbers = st.one_of(
        st.integers(0, 300), st.sampled_from([0xFF00, 0x10000, 0x10001, 0x20000]), st.integers(0, 2**17)
    )
    return st.builds(Copy, numbers, numbers)


@given(st.lists(st.one_of(copies(), st.binary(max_size=400)), max_size=12))
def test_the_delta_of_pieces_makes_these_pieces(parts: list[Copy | bytes]) -> None:
    body = b"".join(BASE[p.offset : p.offset + p.size] if isinstance(p, Copy) else p for p in parts)
    assert apply(BASE, encode(len(BASE), parts)) == body


@pytest.mark.parametrize(
    ("part", "instructions"),
    [
        (Copy(0, 0x10000), b"\x80"),
        (Copy(0, 0x10001), b"\x80\x94\x01\x01"),
        (Copy(0x0100_0001, 0x0100), b"\xa9\x01\x01\x01"),
        (Copy(5, 0), b""),
        (b"", b""),
        (b"x" * 127, b"\x7f" + b"x" * 127),
        (b"x" * 128, b"\x7f" + b"x" * 127 + b"\x01x"),
    ],
)
def test_instructions_as_git_writes_them(part: Copy | bytes, instructions: bytes) -> None:
    size = part.size if isinstance(part, Copy) else len(part)
    assert encode(127, [part])[0] == 127
    assert encode(127, [part]).endswith(instructions)
    assert len(encode(127, [part])) == 1 + (1 if size < 0x80 else 2 if size < 0x4000 else 3) + len(instructions)


values = st.lists(st.one_of(st.binary(max_size=20), st.binary(min_size=120, max_size=300)), max_size=5)


@given(values, st.data())
def test_a_filled_template_is_the_text_with_these_values_and_a_delta_that_makes_it(
    first: list[bytes], data: st.DataObject
) -> None:
    count = len(first)
    texts = data.draw(st.lists(st.binary(max_size=300), min_size=count + 1, max_size=count + 1))
    template = Template(texts, first)
    for filling in (first, data.draw(st.lists(st.binary(max_size=300), min_size=count, max_size=count)), first):
        body, delta = template.fill(filling)
        assert body == b"".join(part for pair in zip(texts, [*filling, b""], strict=True) for part in pair)
        assert apply(template.base, delta) == body
    assert body == template.base


def test_a_template_needs_a_text_on_both_sides_of_each_value() -> None:
    with pytest.raises(ValueError, match="2 values stand between 3 texts"):
        Template([b"a", b"b"], [b"1", b"2"])
    template = Template([b"a", b"b"], [b"1"])
    with pytest.raises(ValueError, match="size"):
        template.fill([b"1", b"2"])


def address_log(path: bytes, version: bytes) -> bytes:
    api, bucket = b"https://api.example.org/%b?download" % path, b"https://s3.example.org/%b?v=%b" % (path, version)
    return b"1577836800s 1 %b\n1577836800s 1 %b\n" % (api, bucket)


LOGS = Template(address_log(b"@", b"@").split(b"@"), (b"0/0", b"0/0", b"x"))
TREES = Template(
    [b"100644 ", b".log\0" + hash_object(BLOB, b"") + b"100644 ", b".log.web\0", b""],
    (b"key", b"key", hash_object(BLOB, LOGS.base)),
)


def logs_and_trees(writer: PackWriter) -> dict[Oid, Entry]:
    """Put 1000 logs, and 1000 trees that hold one each, into the pack; the entries to have them by."""
    log_base, tree_base = writer.add(BLOB, LOGS.base), writer.add(TREE, TREES.base)
    found = {writer.add(BLOB, b""): MODE_FILE, log_base: MODE_FILE, tree_base: MODE_TREE}
    for number in range(1, 1000):
        path, key = b"%d/%d" % (number % 10, number), b"MD5E-s%d" % number
        body, delta = LOGS.fill((path, path, b"v" * (number % 300)))
        log = writer.add_new_delta(log_base, delta, body)
        assert log == hash_object(BLOB, address_log(path, b"v" * (number % 300)))
        body, delta = TREES.fill((key, key, log))
        tree = writer.add_new_delta(tree_base, delta, body)
        assert decode_tree(body)[key + b".log.web"].oid == log
        found |= {log: MODE_FILE, tree: MODE_TREE}
    return {oid: Entry(mode, oid) for oid, mode in found.items()}


def commit_of(writer: PackWriter, entries: dict[Oid, Entry]) -> Oid:
    tree = writer.add(TREE, encode_tree({oid.hex().encode(): entry for oid, entry in entries.items()}))
    return writer.add(COMMIT, Commit(tree, (), WHO, WHO, "x\n").encode())


def listed(git: Git) -> set[str]:
    """Name and kind of each object there is."""
    return set(git("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)").splitlines())


@pytest.mark.parametrize("deflate_small", [False, True])
def test_git_accepts_deltas_and_makes_the_same_objects_of_them(
    repository: Repository, git: Git, run: Git, tmp_path: Path, deflate_small: bool
) -> None:
    folder = pack_folder(repository.path)
    with PackWriter(folder, deflate_small=deflate_small) as writer:
        entries = logs_and_trees(writer)
        long = os.urandom(200_000)
        parts: list[Copy | bytes] = [Copy(100, 0x10000), b"new", Copy(0x10001, 0x11111)]
        body = long[100:0x10064] + b"new" + long[0x10001:0x21112]
        oid = writer.add_new_delta(writer.add(BLOB, long), encode(len(long), parts), body)
        commit = commit_of(writer, entries | {oid: Entry(MODE_FILE, oid)})
        name = writer.finish()
    git("update-ref", "refs/heads/draft", commit.hex())

    run("index-pack", "--strict", "--index-version=2", "-o", tmp_path / "git.idx", folder / f"{name}.pack")
    assert (folder / f"{name}.idx").read_bytes() == (tmp_path / "git.idx").read_bytes()
    assert "chain length = 1: 1999 objects" in git("verify-pack", "-v", folder / f"{name}.pack")
    git("fsck", "--strict", "--no-dangling")
    before = listed(git)
    assert {f"{oid.hex()} {'tree' if entry.mode == MODE_TREE else 'blob'}" for oid, entry in entries.items()} < before
    assert git("cat-file", "-s", oid.hex()) == str(len(body))

    git("repack", "-adf")
    assert not (folder / f"{name}.pack").exists()
    git("fsck", "--strict", "--no-dangling")
    assert listed(git) >= before - {f"{hash_object(BLOB, long).hex()} blob"}


@pytest.mark.parametrize("bytes_between", [0, 100, 20_000, 3_000_000, 20_000_000])
def test_the_base_may_be_anywhere_before(repository: Repository, git: Git, bytes_between: int) -> None:
    with repository.writer() as writer:
        base = writer.add(BLOB, LOGS.base)
        writer.add(BLOB, os.urandom(bytes_between))
        body, delta = LOGS.fill((b"1/2", b"1/2", b"xyz"))
        oid = writer.add_new_delta(base, delta, body)
        writer.finish()
    assert git("cat-file", "blob", oid.hex()) == body.decode().rstrip("\n")


def test_the_base_must_have_been_put_into_the_same_pack_to_be_found(repository: Repository) -> None:
    body, delta = LOGS.fill((b"1", b"1", b"2"))
    with repository.writer() as writer:
        base = writer.add_new(BLOB, LOGS.base)
        with pytest.raises(KeyError):
            writer.add_new_delta(base, delta, body)


# Some alike and some contained in others, on both sides of what is long enough to be looked for, and of what one
# instruction copies or inserts.
known_pieces = st.sampled_from(
    [b"", b"a", b"ab\n", b"1234567", b"12345678", b"1234567890\n", b"a line\n", b"another line\n", b"x" * 130, BASE]
)
pieces = st.lists(st.one_of(known_pieces, st.binary(max_size=20)), max_size=12)


@given(old=pieces, data=st.data())
def test_what_is_between_two_objects_makes_the_one_out_of_the_other(old: list[bytes], data: st.DataObject) -> None:
    base = b"".join(old)
    new = data.draw(
        st.lists(st.one_of(st.sampled_from(old or [b""]), known_pieces, st.binary(max_size=20)), max_size=12)
    )
    delta = encode(len(base), between(base, old, new))
    assert apply(base, delta) == b"".join(new)
    assert deltas.apply(base, delta) == b"".join(new)


ONE, TWO, THREE, FOUR = b"the first\n", b"the second\n", b"the third\n", b"the fourth\n"


@pytest.mark.parametrize(
    ("new", "parts"),
    [
        ([ONE, TWO, THREE], [Copy(0, 31)]),
        ([ONE, TWO, THREE, FOUR], [Copy(0, 31), FOUR]),
        ([FOUR, ONE, TWO, THREE], [FOUR, Copy(0, 31)]),
        ([ONE, FOUR, b"4\n", THREE], [Copy(0, 10), FOUR + b"4\n", Copy(21, 10)]),
        ([ONE, THREE], [Copy(0, 10), Copy(21, 10)]),
        ([THREE, ONE, TWO], [Copy(21, 10), Copy(0, 21)]),
        ([ONE, ONE], [Copy(0, 10), Copy(0, 10)]),
        ([FOUR], [FOUR]),
        ([], [b""]),
    ],
)
def test_what_is_common_is_copied_in_as_few_pieces_as_it_stands_in(new: list[bytes], parts: list[Copy | bytes]) -> None:
    assert between(ONE + TWO + THREE, [ONE, TWO, THREE], new) == parts


def test_what_is_shorter_than_the_instructions_that_copy_it_is_copied_only_where_it_goes_on() -> None:
    base = b"1\n" + ONE + b"2\n"
    lines = base.splitlines(keepends=True)
    assert between(base, lines, lines) == [Copy(0, len(base))]
    assert between(base, lines, [b"2\n", ONE, b"1\n"]) == [b"2\n", Copy(2, 10), b"1\n"]


@given(st.lists(st.one_of(copies(), st.binary(max_size=400)), max_size=12), st.data())
def test_a_delta_is_applied_as_git_documents_it_and_one_that_is_cut_short_refused(
    parts: list[Copy | bytes], data: st.DataObject
) -> None:
    delta = encode(len(BASE), parts)
    assert deltas.apply(BASE, delta) == apply(BASE, delta)
    with pytest.raises(ValueError, match=r"cut short|another size"):
        deltas.apply(BASE, delta[: data.draw(st.integers(0, len(delta) - 1))])


@given(base=st.binary(max_size=200), other=st.binary(max_size=200), new=st.binary(max_size=50))
def test_a_delta_is_not_applied_to_a_base_of_another_size(base: bytes, other: bytes, new: bytes) -> None:
    delta = encode(len(base), [new])
    if len(base) == len(other):
        assert deltas.apply(other, delta) == new
    else:
        with pytest.raises(ValueError, match="does not fit its base"):
            deltas.apply(other, delta)


@pytest.mark.parametrize("part", [Copy(0, 11), Copy(10, 1), Copy(11, 1), Copy(3, 8), Copy(0, 0x10000), Copy(2**31, 5)])
def test_nothing_beyond_the_base_is_copied(part: Copy) -> None:
    with pytest.raises(ValueError, match="copies what its base does not have"):
        deltas.apply(b"0123456789", encode(10, [part]))


@pytest.mark.parametrize(
    ("delta", "complaint"),
    [
        (b"\x0a\x01\x00", "reserves"),
        (b"\x0a\x01\x01x\x00", "reserves"),
        (b"\x0a\x00\x00", "reserves"),
        (b"\x0a\x00\x01x", "another size"),
        (b"\x0a\x02\x01x", "another size"),
        (b"\x0a\x01\x02x", "cut short"),
        (b"", "cut short"),
        (b"\x8a", "cut short"),
        (b"\x0a\x80", "cut short"),
        (b"\x0a\x05\x91\x00", "cut short"),
    ],
)
def test_what_is_no_delta_is_refused(delta: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        deltas.apply(b"0123456789", delta)


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(b"\x0a\x05".__add__)))
def test_whatever_a_delta_says_it_makes_an_object_or_is_refused(delta: bytes) -> None:
    try:
        body = deltas.apply(b"0123456789", delta)
    except ValueError:
        return
    assert body == apply(b"0123456789", delta)


def states(count: int) -> list[list[bytes]]:
    """A text, line by line, as it grows, is put into another order, and loses lines; of several copied pieces each."""
    lines = [b"line %d of %b\n" % (number, BASE[number : number + 9].hex().encode() * 40) for number in range(300)]
    found = [lines]
    for number in range(1, count):
        last = found[-1]
        cut = 37 * number % len(last)
        found.append([*last[cut:], b"grown %d\n" % number, *last[: max(0, cut - number % 3)]])
    return found


def test_git_makes_the_same_objects_of_what_is_between_them(
    repository: Repository, git: Git, run: Git, tmp_path: Path
) -> None:
    first, *further = states(20)
    folder = pack_folder(repository.path)
    with repository.writer() as writer:
        oids, last = [writer.add(BLOB, b"".join(first))], first
        for lines in further:
            body, base = b"".join(lines), b"".join(last)
            oids.append(writer.add_delta(oids[-1], encode(len(base), between(base, last, lines)), body))
            last = lines
        name = writer.finish()
    run("index-pack", "--strict", "-o", tmp_path / "git.idx", folder / f"{name}.pack")
    assert (folder / f"{name}.idx").read_bytes() == (tmp_path / "git.idx").read_bytes()
    assert "chain length = 19: 1 object" in git("verify-pack", "-v", folder / f"{name}.pack")
    for oid, lines in zip(oids, states(20), strict=True):
        assert oid == hash_object(BLOB, b"".join(lines))
        assert git("cat-file", "blob", oid.hex()).encode() + b"\n" == b"".join(lines)


def test_a_delta_that_asks_for_more_than_it_says_is_refused_before_it_is_put_together() -> None:
    base = bytes(1 << 16)
    delta = b"\x80\x80\x04\x01" + b"\x80" * 20_000  # each copies 64 KiB
    tracemalloc.start()
    with pytest.raises(ValueError, match="another size"):
        deltas.apply(base, delta)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
