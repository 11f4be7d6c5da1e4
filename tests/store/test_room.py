"""Room on the disk: what is known not to fit is not begun, and whatever runs into its end is told in one way."""

from __future__ import annotations

import errno
import json
import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirror.errors import GitError, MirrorError, NoRoom, NotFound, StoreError
from mirror.git.repository import Repository
from mirror.publish.hosts.marks import Mark, Marks
from mirror.store.cache import Format, open_cache
from mirror.store.files import write_file
from mirror.store.index import Index
from mirror.store.lock import exclusive
from mirror.store.packing import join_packs, repack
from mirror.store.room import (
    RESERVE_BYTES,
    RESERVE_FILES,
    check_room,
    no_room_of,
    room_at,
    told_size,
)
from mirror.store.state import DandisetState
from mirror.store.store import Store
from mirror.store.zarrs import ZarrFolder


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes and the files that any disk says it has room for: the system's answer is made up."""
    said = [1 << 40, 1 << 20]
    honest = os.statvfs

    def statvfs(path: Path) -> os.statvfs_result:
        found = [*honest(path), 0]
        found[1], found[4], found[5], found[7] = 1, said[0], 1 << 30, said[1]
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", statvfs)
    return said


def test_the_reserve_is_no_room(tmp_path: Path, free: list[int]) -> None:
    free[:] = [RESERVE_BYTES + 1_000, RESERVE_FILES + 5]
    room = room_at(tmp_path / "not" / "there" / "yet")
    assert (room.bytes, room.files) == (1_000, 5)
    check_room(tmp_path, 1_000, "a pack", files=5)
    free[:] = [RESERVE_BYTES - 1, RESERVE_FILES - 1]
    room = room_at(tmp_path)
    assert (room.bytes, room.files) == (0, 0)


def test_what_does_not_fit_is_refused_with_all_one_needs_to_know(tmp_path: Path, free: list[int]) -> None:
    free[0] = RESERVE_BYTES + 2_340_000
    with pytest.raises(NoRoom) as refused:
        check_room(tmp_path / "there", 5_000_000_000, "Dandiset 000027")
    said = str(refused.value)
    assert said.startswith("Dandiset 000027 needs about 5 GB: the disk at /")
    assert "has 2.34 MB free, besides 67.1 MB kept in reserve" in said
    assert "make room" in said


def test_nothing_fits_once_the_reserve_is_touched(tmp_path: Path, free: list[int]) -> None:
    free[0] = RESERVE_BYTES
    with pytest.raises(NoRoom, match="needs more than there is"):
        check_room(tmp_path, 0, "a listing")


def test_neither_do_more_files_than_the_disk_can_have(tmp_path: Path, free: list[int]) -> None:
    free[1] = RESERVE_FILES + 10
    with pytest.raises(NoRoom, match=r"a Zarr needs 32 files: .* can take 10 more, besides 1,000"):
        check_room(tmp_path, 0, "a Zarr", files=32)


def test_the_disk_is_named_by_its_mount(free: list[int]) -> None:
    free[0] = 0
    with pytest.raises(NoRoom, match="the disk at /proc has"):
        check_room(Path("/proc/self/not/there"), 1, "something")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_the_systems_words_for_it_are_understood(code: int) -> None:
    full = no_room_of(OSError(code, os.strerror(code), "/data/x"))
    assert isinstance(full, NoRoom)
    assert str(full).startswith("there is no room left on the disk for /data/x (make room")
    git = no_room_of(GitError(["git", "pack-objects"], 128, f"fatal: write error: {os.strerror(code)}", "/data"))
    assert isinstance(git, NoRoom)
    assert os.strerror(code) in str(git)


def test_it_is_found_behind_what_it_caused() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    middle = StoreError("the catalogue cannot be written")
    middle.__cause__ = full
    last = MirrorError("Dandiset 000027 cannot be catalogued")
    last.__cause__ = middle
    assert isinstance(no_room_of(last), NoRoom)
    told = NoRoom("no room for it")
    assert no_room_of(told) is told


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EIO, "Input/output error"),
        sqlite3.OperationalError("database is locked"),
        GitError(["git", "fsck"], 1, "missing blob", "/data"),
        NotFound("No space left on device, says the archive"),
        ValueError(),
    ],
)
def test_nothing_else_is_taken_for_it(error: Exception) -> None:
    error.__cause__ = error
    assert no_room_of(error) is None


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """A limit of this process, at which writing fails half-way, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_small_file_that_does_not_fit_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_file(path, b"before")
    with no_file_larger_than(100), pytest.raises(OSError, match="File too large"):
        write_file(path, bytes(10_000))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_manifest_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    folder = ZarrFolder(tmp_path, "6f4ab3b4-1a3c-4d5e-8f60-718293a4b5c6")
    with folder.lock(), no_file_larger_than(1_000), folder.writer("manifest") as writer:
        writer.write(os.urandom(100_000))
        with pytest.raises(OSError, match="File too large"):
            writer.keep(folder.path / "manifest-x.gz")
    assert [path.name for path in folder.path.iterdir()] == ["lock"]


def test_a_mark_that_does_not_fit_does_not_spoil_the_next(tmp_path: Path) -> None:
    with Marks(tmp_path, "host", "there") as marks:
        marks.note(Mark(name="000001", pushed="before"))
        with (
            no_file_larger_than((tmp_path / "host.jsonl").stat().st_size + 20),
            pytest.raises(OSError, match="too large"),
        ):
            marks.note(Mark(name="000002", pushed="x" * 1_000))
        marks.note(Mark(name="000003", pushed="after"))
        lines = (tmp_path / "host.jsonl").read_bytes().splitlines()
    assert [json.loads(line).get("name") for line in lines] == [None, "000001", "000003"]


class TestAnSqliteFileThatCannotGrow:
    """`max_page_count` is SQLite's own way to a full disk."""

    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[Index]:
        with Index(tmp_path / "index.sqlite") as index:
            index.remember_version_ids([("bucket/a", "1")])
            pages = index._db.execute("PRAGMA page_count").fetchone()[0]
            index._db.execute(f"PRAGMA max_page_count = {pages}")
            yield index

    def test_tells_of_it_and_holds_what_it_held(self, index: Index) -> None:
        with pytest.raises(NoRoom, match=r"index\.sqlite: database or disk is full"):
            index.remember_version_ids((f"bucket/{number}", "x" * 100) for number in range(1_000))
        assert index.version_ids(["bucket/a", "bucket/1"]) == {"bucket/a": "1"}

    def test_goes_on_when_there_is_room(self, index: Index) -> None:
        many = [(f"bucket/{number}", "x" * 100) for number in range(1_000)]
        with pytest.raises(NoRoom):
            index.remember_version_ids(many)
        index._db.execute("PRAGMA max_page_count = 1000000")
        index.remember_version_ids(many)
        assert len(index.version_ids(name for name, _ in many)) == 1_000


def test_a_cache_is_not_thrown_away_for_lack_of_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form = Format(1, "CREATE TABLE line(text TEXT);")
    path = tmp_path / "cache.sqlite"
    db = open_cache(path, form)
    db.execute("INSERT INTO line VALUES ('kept')")
    db.close()

    def full(*_: object, **__: object) -> sqlite3.Connection:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", full)
        with pytest.raises(NoRoom):
            open_cache(path, form)
    db = open_cache(path, form)
    assert db.execute("SELECT text FROM line").fetchall() == [("kept",)]
    db.close()


def test_the_lock_can_be_had_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wants to make room there needs it."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with exclusive(tmp_path / "lock", "dandi-mirror sync"):
        assert (tmp_path / "lock").read_bytes() == b""


def test_marks_that_cannot_be_written_are_as_they_were(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save_state(DandisetState(identifier="000027", synced="before"))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(NoRoom):
            store.save_state(DandisetState(identifier="000027", synced="after"))
    assert store.state("000027").synced == "before"
    assert [path.name for path in (store.root / "state" / "dandisets").iterdir()] == ["000027.json"]


class TestOnePackOfMany:
    @pytest.fixture
    def scattered(self, tmp_path: Path) -> Repository:
        repository = Repository.create(tmp_path / "repository", head="draft")
        for number in range(22):
            with repository.writer() as writer:
                blob = writer.add_blob(b"%d" % number * 500)
                repository.publish(writer, {f"refs/tags/{number}": blob})
        return repository

    def test_waits_until_there_is_room_for_both(
        self, scattered: Repository, free: list[int], caplog: pytest.LogCaptureFixture
    ) -> None:
        free[0] = RESERVE_BYTES + 1_000
        with pytest.raises(NoRoom, match="one pack made of many"):
            repack(scattered, "Dandiset 000027")
        join_packs(scattered, "Dandiset 000027")
        assert "left for later" in caplog.text
        assert len(scattered.packs()) == 22
        free[0] = 1 << 40
        join_packs(scattered, "Dandiset 000027")
        assert len(scattered.packs()) == 1

    def test_leaves_nothing_where_git_finds_no_room(self, scattered: Repository) -> None:
        packs = sorted(path.name for path in scattered.path.glob("objects/pack/*"))
        with no_file_larger_than(200), pytest.raises(GitError):
            repack(scattered, "Dandiset 000027")
        assert sorted(path.name for path in scattered.path.glob("objects/pack/*")) == packs


def test_a_pack_that_no_ref_came_to_need_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pack is there, and the disk is full before the refs are: what had no room leaves it."""
    repository = Repository.create(tmp_path / "repository", head="draft")
    with repository.writer() as writer:
        repository.publish(writer, {"refs/tags/one": writer.add_blob(b"one")})
    refs, packs = repository.refs(), repository.packs()
    announced = (repository.path / "objects/info/packs").read_bytes()
    with repository.writer() as writer:
        blob = writer.add_blob(os.urandom(5_000))
        finish = writer.finish

        def finish_and_fill() -> str | None:
            name = finish()
            monkeypatch.setattr(os, "fsync", full)
            return name

        def full(_: int) -> None:
            monkeypatch.undo()
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(writer, "finish", finish_and_fill)
        with pytest.raises(OSError, match="No space left"):
            repository.publish(writer, {"refs/tags/two": blob})
    assert (repository.refs(), repository.packs()) == (refs, packs)
    assert (repository.path / "objects/info/packs").read_bytes() == announced
    assert repository.repair() == []


@pytest.mark.parametrize(
    ("size", "told"),
    [(0, "0 bytes"), (999, "999 bytes"), (1_000, "1 kB"), (999_499, "999 kB"), (999_500, "1 MB"), (1 << 50, "1.13 PB")],
)
def test_sizes_are_told_to_three_digits(size: int, told: str) -> None:
    assert told_size(size) == told
