"""What is whole is found whole however it is packed, and what `git fsck --strict` complains of is found."""

from __future__ import annotations

import os
import shutil
import tracemalloc
import zlib
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.git.large.looking_through import count_packed, look_through
from mirror.git.objects import (
    BLOB,
    COMMIT,
    MODE_FILE,
    MODE_GITLINK,
    MODE_TREE,
    TREE,
    Commit,
    Entry,
    Oid,
    Signature,
    encode_tree,
    hash_object,
)
from mirror.git.packs import loose_objects, pack_folder
from mirror.git.repository import Repository
from tests.conftest import examples

Git = Callable[..., str]

WHO = Signature("The Mirror", "mirror@example.org", 1_700_000_000)
DRAFT = "refs/heads/draft"
TEXT = b"".join(b"line %d %x\n" % (n, n * 7919) for n in range(300))


def found_in(path: Path) -> list[str]:
    """What is said of it. Nothing of it is changed, and nothing stays in the scratch folder."""
    with TemporaryDirectory() as scratch:
        found = list(look_through(Repository(path), Path(scratch), lambda: None))
        assert list(Path(scratch).iterdir()) == []
    return found


def all_in(path: Path) -> list[Path]:
    """The packs, their indexes and the loose objects."""
    return sorted([*pack_folder(path).glob("pack-*"), *loose_objects(path)])


def change(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def flip(path: Path, at: int, by: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= by
    change(path, bytes(data))


def versions(author: Any) -> None:
    """A few commits, each a pack."""
    author.publish({b"empty": b"", b"large": os.urandom(1_200_000), b"a/log": TEXT})
    for number in range(4):
        author.publish({b"a/log": TEXT[number * 20 :], b"a/b/%d" % number: b"%d" % number})


# What is whole


def as_they_come(_: Git) -> None:
    """A pack for each commit."""


def all_loose(git: Git) -> None:
    for path in sorted(Path(git("rev-parse", "--absolute-git-dir"), "objects/pack").glob("*.pack")):
        pack = path.read_bytes()
        path.with_suffix(".idx").unlink()
        path.unlink()
        git("unpack-objects", "-q", stdin=pack)


def all_in_one_pack(git: Git) -> None:
    git("repack", "-adfq", "--depth=50", "--window=50")


def loose_and_packed(git: Git) -> None:
    all_in_one_pack(git)
    all_loose(git)
    git("repack", "-aq")


def twice_and_with_deltas_by_name(git: Git) -> None:
    folder = git("rev-parse", "--absolute-git-dir") + "/objects/pack/pack"
    names = git("rev-list", "--objects", "--all", "--no-object-names").encode()
    git("pack-objects", "-q", "--no-reuse-delta", folder, stdin=names)
    git("pack-objects", "-q", "--no-reuse-delta", folder, stdin=names[: len(names) // 2 // 41 * 41])


WAYS = [as_they_come, all_loose, all_in_one_pack, loose_and_packed, twice_and_with_deltas_by_name]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_found_in_what_is_whole(
    repository: Repository, author: Any, git: Git, way: Callable[[Git], None]
) -> None:
    versions(author)
    git("tag", "-a", "-m", "The first", "1.0", "draft~2")
    git("tag", "-a", "-m", "A tag of it", "of-it", "1.0")
    git("tag", "plain", "draft")
    way(git)
    git("fsck", "--strict")
    assert found_in(repository.path) == []


def test_nothing_is_found_where_a_repack_replaced_packs_that_are_still_there(
    repository: Repository, author: Any
) -> None:
    versions(author)
    assert repository.repack(1_700_000_000, pack_limit=1)
    assert len(list(pack_folder(repository.path).glob("*.pack"))) == 6
    assert found_in(repository.path) == []


def test_nothing_is_found_in_an_empty_one(repository: Repository) -> None:
    assert found_in(repository.path) == []


def test_what_a_submodule_is_at_is_not_missed(repository: Repository, git: Git) -> None:
    with repository.writer() as writer:
        tree = writer.add(TREE, encode_tree({b"zarr": Entry(MODE_GITLINK, b"\1" * 20)}))
        repository.publish(writer, {DRAFT: writer.add(COMMIT, Commit(tree, (), WHO, WHO, "x\n").encode())})
    git("fsck", "--strict")
    assert found_in(repository.path) == []


def test_what_is_half_written_is_not_looked_at(repository: Repository, author: Any) -> None:
    versions(author)
    with repository.writer() as writer:
        writer.add_blob(b"x" * 100_000)
        (repository.path / "objects/aa").mkdir(exist_ok=True)
        (repository.path / "objects/aa/tmp_obj_x").write_bytes(b"half")
        assert found_in(repository.path) == []


def test_the_objects_of_all_packs_are_counted(repository: Repository, author: Any, git: Git) -> None:
    assert count_packed(repository.path) == 0
    versions(author)
    git("repack", "-adq")
    count = count_packed(repository.path)
    assert count == len(git("cat-file", "--batch-all-objects", "--batch-check").splitlines())
    author.publish({b"a/log": b"of a pack of four: with the tree and the commit"})
    assert count_packed(repository.path) == count + 4
    for path in pack_folder(repository.path).glob("*.idx"):
        change(path, b"damaged")
    assert count_packed(repository.path) == 0


def test_whoever_watches_may_end_it(repository: Repository, author: Any, tmp_path: Path) -> None:
    class EnoughError(Exception):
        pass

    def enough() -> None:
        raise EnoughError

    versions(author)
    with pytest.raises(EnoughError):
        list(look_through(repository, tmp_path, enough))
    assert [path for path in tmp_path.iterdir() if path != repository.path] == []


# Damage


def test_a_pack_with_a_flipped_byte_is_found(repository: Repository, author: Any, git: Git) -> None:
    versions(author)
    path = all_in(repository.path)[-1]
    flip(path, 200)
    git("fsck", "--strict", ok=False)
    assert f"{path.name}: not as its checksum says, or cut short" in found_in(repository.path)


def test_a_pack_cut_short_is_found(repository: Repository, author: Any, git: Git) -> None:
    versions(author)
    path = all_in(repository.path)[-1]
    change(path, path.read_bytes()[:-30])
    git("fsck", "--strict", ok=False)
    assert f"{path.name}: not as its checksum says, or cut short" in found_in(repository.path)


@pytest.mark.parametrize("at", [0, 5, 8, 500, 1031, 1040, -60, -30, -1])
def test_an_index_with_a_flipped_byte_is_found(repository: Repository, author: Any, git: Git, at: int) -> None:
    author.publish({b"a": b"1", b"b/c": b"2"})
    (path,) = pack_folder(repository.path).glob("*.idx")
    flip(path, at)
    git("fsck", "--strict", ok=False)
    assert f"{path.name}: not the index of its pack" in found_in(repository.path)


def test_an_index_that_git_stumbles_over_is_found_in_spite_of_deltas_by_name(
    repository: Repository, author: Any, git: Git
) -> None:
    versions(author)
    names = git("rev-list", "--objects", "--all", "--no-object-names").encode()
    folder = pack_folder(repository.path)
    name = git("pack-objects", "-q", "--no-reuse-delta", folder / "of-all", stdin=names)
    for path in folder.glob("pack-*"):
        path.unlink()
    for path in folder.glob("of-all-*"):
        path.rename(folder / path.name.replace("of-all", "pack"))
    assert found_in(repository.path) == []
    count = len(names.splitlines())
    for row in range(count):
        flip(folder / f"pack-{name}.idx", 1032 + 24 * count + 4 * row, 0x40)
    assert any(line.startswith(f"pack-{name}.") for line in found_in(repository.path))


def test_an_index_cut_short_is_found(repository: Repository, author: Any) -> None:
    author.publish({b"a": b"1"})
    (path,) = pack_folder(repository.path).glob("*.idx")
    change(path, path.read_bytes()[:-1])
    assert found_in(repository.path) == [f"{path.name}: not the index of its pack"]


def test_the_index_of_another_pack_is_found(repository: Repository, author: Any, git: Git) -> None:
    versions(author)
    one, other = sorted(pack_folder(repository.path).glob("*.idx"))[:2]
    change(one, other.read_bytes())
    git("fsck", "--strict", ok=False)
    assert found_in(repository.path) == [f"{one.name}: not the index of its pack"]


@pytest.mark.parametrize("what", ["draft:a/log", "draft:a", "draft", "1.0"])
def test_a_loose_object_with_a_flipped_byte_is_found_and_missed(
    repository: Repository, author: Any, git: Git, what: str
) -> None:
    versions(author)
    git("tag", "-a", "-m", "x", "1.0", "draft")
    all_loose(git)
    name = git("rev-parse", what)
    flip(repository.path / "objects" / name[:2] / name[2:], 20, 0x55)
    git("fsck", "--strict", ok=False)
    found = found_in(repository.path)
    assert any(line.startswith(f"loose object {name}: ") for line in found)
    assert any(line.startswith("missing ") and line.endswith(name) for line in found)


def test_a_loose_object_with_something_behind_it_is_found(repository: Repository, author: Any, git: Git) -> None:
    author.publish({b"a": b"1"})
    all_loose(git)
    path = repository.path / "objects" / git_name(b"1")[:2] / git_name(b"1")[2:]
    change(path, path.read_bytes() + b"x")
    git("fsck", "--strict", ok=False)
    assert found_in(repository.path) != []


def test_an_object_under_the_name_of_another_one_is_found(repository: Repository, author: Any, git: Git) -> None:
    author.publish({b"a": b"1", b"b": b"2"})
    all_loose(git)
    one, other = (repository.path / "objects" / name[:2] / name[2:] for name in map(git_name, (b"1", b"2")))
    change(one, other.read_bytes())
    git("fsck", "--strict", ok=False)
    name = one.parent.name + one.name
    assert found_in(repository.path) == [
        f"loose object {name}: not the object that its name says",
        f"missing blob {name}",
    ]


def git_name(content: bytes) -> str:
    return hash_object(BLOB, content).hex()


@pytest.mark.parametrize(
    ("what", "kind"), [("draft:a/b/0", "blob"), ("draft:a/b", "tree"), ("draft~2", "commit"), ("1.0~0", "commit")]
)
@pytest.mark.parametrize("packed", [False, True])
def test_an_object_that_is_missing_is_found(
    repository: Repository, author: Any, git: Git, what: str, kind: str, packed: bool
) -> None:
    versions(author)
    git("tag", "-a", "-m", "x", "1.0", "draft~1")
    lost = git("rev-parse", what)
    all_loose(git)
    (repository.path / "objects" / lost[:2] / lost[2:]).unlink()
    if packed:
        names = "\n".join(path.parent.name + path.name for path in loose_objects(repository.path))
        git("pack-objects", "-q", pack_folder(repository.path) / "pack", stdin=names.encode())
        git("prune-packed")
    git("fsck", "--strict", ok=False)
    assert found_in(repository.path) == [f"missing {kind} {lost}"]


def test_a_pack_that_is_gone_is_found(repository: Repository, author: Any) -> None:
    author.publish({b"a": b"1"})
    (pack,) = pack_folder(repository.path).glob("*.pack")
    pack.unlink()
    assert found_in(repository.path) == [f"missing commit {repository.refs()[DRAFT].hex()}"]


def test_a_ref_of_nothing_is_found(repository: Repository, author: Any, git: Git) -> None:
    author.publish({b"a": b"1"})
    (repository.path / "refs/heads/other").write_text("12" * 20 + "\n")
    git("fsck", "--strict", ok=False)
    assert found_in(repository.path) == ["missing commit " + "12" * 20]


def test_what_is_not_of_the_kind_that_is_needed_is_missed(repository: Repository, git: Git) -> None:
    with repository.writer() as writer:
        blob = writer.add_blob(b"x")
        tree = writer.add(TREE, encode_tree({b"a": Entry(MODE_TREE, blob)}))
        repository.publish(writer, {DRAFT: writer.add(COMMIT, Commit(tree, (), WHO, WHO, "x\n").encode())})
    git("fsck", "--strict", ok=False)
    assert found_in(repository.path) == [f"missing tree {blob.hex()}"]


@pytest.mark.parametrize("loose", [False, True])
def test_a_tree_that_git_complains_of_is_found(repository: Repository, git: Git, loose: bool) -> None:
    with repository.writer() as writer:
        tree = writer.add(TREE, encode_tree({b"..": Entry(MODE_FILE, writer.add_blob(b"x"))}))
        repository.publish(writer, {DRAFT: writer.add(COMMIT, Commit(tree, (), WHO, WHO, "x\n").encode())})
    if loose:
        all_loose(git)
    git("fsck", "--strict", ok=False)
    assert any(f"{tree.hex()}: it has an entry with a name" in line for line in found_in(repository.path))


def test_an_object_that_is_twice_in_a_pack_is_found(repository: Repository, run: Git) -> None:
    pack = b"PACK\0\0\0\2\0\0\0\2" + (b"\x31" + zlib.compress(b"1")) * 2
    pack += sha1(pack).digest()
    path = pack_folder(repository.path) / f"pack-{pack[-20:].hex()}.pack"
    path.write_bytes(pack)
    run("index-pack", "-o", path.with_suffix(".idx"), path)
    assert found_in(repository.path) == [f"{path.name}: an object is in it twice"]


@pytest.fixture(scope="module")
def some(run: Git, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Small repositories: one of two packs and loose objects, and one whose deltas name their bases."""
    made = tmp_path_factory.mktemp("some")
    for name, option in (("plain", "--delta-base-offset"), ("by name", "--no-reuse-delta")):
        path = made / name
        run("init", "-q", path)
        for number in range(5):
            (path / "log").write_bytes(TEXT[number * 20 : 2500])
            (path / "short").write_text(f"{number}")
            run("-C", path, "add", ".")
            run("-C", path, "commit", "-qm", f"The state {number}")
            if number < 4:
                reached = run("-C", path, "rev-list", "--objects", "--no-object-names", "HEAD", "--not", "--tags")
                run("-C", path, "pack-objects", "-q", option, ".git/objects/pack/pack", stdin=reached.encode())
                run("-C", path, "prune-packed")
            if number == 1:
                run("-C", path, "tag", "-a", "-m", "A tag", "1.0")
        run("clone", "-q", "--bare", path, made / f"{name}.git")
        shutil.rmtree(made / f"{name}.git/objects")
        shutil.copytree(path / ".git/objects", made / f"{name}.git/objects")
    return lambda name: made / f"{name}.git"


@examples(30)
@given(st.sampled_from(["plain", "by name"]), st.integers(0, 2**20), st.integers(0, 2**20), st.integers(1, 255))
def test_wherever_a_byte_is_flipped_something_is_found_when_git_finds_something(
    run: Git, some: Callable[[str], Path], name: str, which: int, at: int, by: int
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(shutil.copytree(some(name), Path(folder, "dataset")))
        assert found_in(path) == []
        files = all_in(path)
        flip(files[which % len(files)], at, by)
        if found_in(path) == []:
            run("-C", path, "fsck", "--strict")


# Memory


def fill(path: Path, count: int) -> Repository:
    """So many small objects, in folders of a hundred."""
    repository = Repository.create(path, head="draft")
    with repository.writer() as writer:
        folders: dict[bytes, Entry] = {}
        for first in range(0, count, 100):
            files = {b"%03d" % n: Entry(MODE_FILE, writer.add_new(BLOB, b"%0600d" % (first + n))) for n in range(99)}
            folders[b"%06d" % first] = Entry(MODE_TREE, writer.add_new(TREE, encode_tree(files)))
        tree: Oid = writer.add(TREE, encode_tree(folders))
        repository.publish(writer, {DRAFT: writer.add(COMMIT, Commit(tree, (), WHO, WHO, "x\n").encode())})
    return repository


def test_looking_through_four_times_as_much_takes_no_more_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the objects kept to make others out of: of these there is a fixed amount, here a smaller one."""
    monkeypatch.setattr("mirror.git.large.unpacking._MOST_KEPT", 1 << 20)
    peaks = []
    for count in (3_000, 12_000):
        path = fill(tmp_path / str(count), count).path
        tracemalloc.start()
        assert found_in(path) == []
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_branch_at_what_is_no_commit_is_found(repository: Repository, author: Any, git: Git) -> None:
    author.publish({b"a": b"1"})
    blob = git("rev-parse", "draft:a")
    (repository.path / "refs/heads/other").write_text(f"{blob}\n")
    git("fsck", "--strict", ok=False)
    assert found_in(repository.path) == [f"missing commit {blob}"]


def test_a_ref_that_cannot_be_read_is_found(repository: Repository, author: Any) -> None:
    author.publish({b"a": b"1"})
    (repository.path / "refs/heads/other").write_text("what is this\n")
    (line,) = found_in(repository.path)
    assert "refs/heads/other" in line


def test_a_loose_object_of_an_unknown_kind_is_found(repository: Repository, git: Git) -> None:
    name = sha1(b"thing 3\0abc").hexdigest()
    place = repository.path / "objects" / name[:2] / name[2:]
    place.parent.mkdir()
    place.write_bytes(zlib.compress(b"thing 3\0abc"))
    git("fsck", "--strict", ok=False)
    (line,) = found_in(repository.path)
    assert name in line


def test_a_stray_file_among_the_objects_is_nobodys_business(repository: Repository, author: Any, git: Git) -> None:
    author.publish({b"a": b"1"})
    (repository.path / "objects/ab").mkdir()
    (repository.path / "objects/ab/x").write_text("x")
    git("fsck", "--strict")
    assert found_in(repository.path) == []


def test_one_bad_object_hides_nothing_of_its_pack(repository: Repository, git: Git) -> None:
    with repository.writer() as writer:
        blob = writer.add_blob(b"x")
        bad = writer.add(TREE, b"100644 .git\0" + blob)  # and nothing names it
        tree = writer.add(TREE, encode_tree({b"a": Entry(MODE_FILE, writer.add_blob(b"behind"))}))
        repository.publish(writer, {DRAFT: writer.add(COMMIT, Commit(tree, (), WHO, WHO, "x\n").encode())})
    git("fsck", "--strict", ok=False)
    (line,) = found_in(repository.path)
    assert bad.hex() in line


def test_what_comes_while_others_are_looked_at_is_not_missing(repository: Repository, author: Any) -> None:
    author.publish({b"a": b"1"})
    came: list[Oid] = []

    def tick() -> None:
        if not came:
            came.append(author.publish({b"b": b"2"}))
            author.publish({b"c": b"3"})
            # An object that is a file of its own, and names what is in a pack that came too late to be listed.
            commit = Commit(repository.objects().commit(came[0]).tree, (came[0],), WHO, WHO, "late\n").encode()
            name = hash_object(COMMIT, commit).hex()
            place = repository.path / "objects" / name[:2] / name[2:]
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(zlib.compress(b"commit %d\0" % len(commit) + commit))

    assert list(look_through(repository, repository.path, tick)) == []
    assert came


def test_there_may_be_more_packs_than_a_question_to_a_database_can_name(repository: Repository) -> None:
    with repository.writer() as writer:
        writer.add_blob(b"0")
        name = writer.finish()
    folder = pack_folder(repository.path)
    for number in range(1100):
        for suffix in (".pack", ".idx"):
            (folder / f"pack-{number:040x}{suffix}").hardlink_to(folder / f"{name}{suffix}")
    assert found_in(repository.path) == []
