"""Looking after a store: what piles up is joined, what the dead left goes, what is damaged is found and told."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.errors import Stopped
from mirror.git.repository import KEEP_SECONDS, PACK_LIMIT, Repository
from mirror.store.content_book import ContentBook, book_path
from mirror.store.files import bytes_on_disk
from mirror.store.frontier import PublishedMark
from mirror.store.index import Index
from mirror.store.maintenance import Maintained, maintain
from mirror.store.room import RESERVE_BYTES
from mirror.store.store import Store

ZARR = "6f4ab3b4-1a3c-4d5e-8f60-718293a4b5c6"
HOURS = 3600.0


def _go_on() -> bool:
    return False


def _maintained(
    store: Store, stop: Callable[[], bool] = _go_on, tell: Callable[[str], None] = lambda _: None
) -> Maintained:
    with store.lock("a test"):
        return maintain(store, stop=stop, tell=tell)


def _dandiset(store: Store, identifier: str, packs: int = 1) -> Repository:
    repository = store.create_repository(identifier)
    for number in range(packs):
        with repository.writer() as writer:
            blob = writer.add_blob(f"{identifier} {number}".encode() * 20)
            repository.publish(writer, {f"refs/tags/{number}": blob})
    store.publish_alias(identifier)
    return repository


def _make_old(path: Path, seconds: float = 2 * HOURS) -> None:
    when = time.time() - seconds
    os.utime(path, (when, when), follow_symlinks=False)


def _fsck(repository: Repository) -> None:
    done = subprocess.run(["git", "fsck", "--strict"], cwd=repository.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_store_in_order_is_left_as_it_is(store: Store) -> None:
    repository = _dandiset(store, "000027", PACK_LIMIT)
    before = sorted(repository.path.rglob("*"))
    told = _maintained(store)
    assert (told.repositories, told.repacked, told.repaired, told.pruned) == (1, 0, 0, 0)
    assert (told.index, told.catalogue, told.problems) == ("ok", "ok", ())
    assert sorted(repository.path.rglob("*")) == before


def test_too_many_packs_become_one_and_leave_a_day_later(store: Store) -> None:
    many, few = _dandiset(store, "000027", PACK_LIMIT + 1), _dandiset(store, "000028", 2)
    assert _maintained(store).repacked == 1
    assert (len(many.packs()), len(few.packs())) == (1, 2)
    replaced = many.path / "objects/info/replaced-packs"
    assert len(list(many.path.glob("objects/pack/*.pack"))) == PACK_LIMIT + 2
    lines = [line.split(" ", 1)[1] for line in replaced.read_text().splitlines()]
    replaced.write_text("".join(f"{int(time.time() - KEEP_SECONDS - 60)} {name}\n" for name in lines))
    assert _maintained(store).repacked == 0
    assert len(list(many.path.glob("objects/pack/*.pack"))) == 1
    _fsck(many)


def test_loose_objects_are_packed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """git-annex makes some when it works in a repository."""
    repository = _dandiset(store, "000027")
    monkeypatch.setattr("mirror.git.repository.LOOSE_LIMIT", 3)
    for number in range(5):
        command = ["git", "hash-object", "-w", "--stdin"]
        subprocess.run(command, cwd=repository.path, input=b"%d" % number, check=True, capture_output=True)
    assert repository.wants_repack(time.time())


def test_what_a_dead_sync_left_in_a_repository_is_mended(store: Store) -> None:
    repository = _dandiset(store, "000027")
    (repository.path / "objects/pack/tmp_pack_mirror_dead").write_bytes(b"half")
    (repository.path / "info/refs").write_bytes(b"stale")
    assert _maintained(store).repaired == 1
    assert not (repository.path / "objects/pack/tmp_pack_mirror_dead").exists()
    assert not repository.looks_unfinished()
    assert _maintained(store).repaired == 0


def test_what_the_dead_left_beside_repositories_goes(store: Store) -> None:
    repository = _dandiset(store, "000027")
    left = [
        store.temporary / "left",
        store.root / "state" / ".jobs.json.a1b2c3",
        store.root / "state" / "dandisets" / ".000027.json.a1b2c3",
    ]
    for path in left:
        path.write_bytes(b"half")
        _make_old(path)
    site = repository.path.with_name(f".{repository.path.name}.new-dead")
    site.mkdir()
    folder = store.zarr(ZARR)
    with folder.lock():
        (folder.path / ".new.manifest.123").write_bytes(b"half")
    assert _maintained(store).pruned == 5
    assert not any(path.exists() for path in (*left, site))
    assert [path.name for path in folder.path.iterdir()] == ["lock"]


def test_what_cannot_be_pruned_keeps_nothing_else_from_it(store: Store) -> None:
    """A disk of its own for temporary files has a folder that is not ours; an NFS shows what is open elsewhere."""
    strange = store.temporary / "lost+found", store.temporary / ".nfs0000000000000001"
    strange[0].mkdir()
    strange[1].touch()
    (store.root / "state/zarrs/.snapshot/daily").mkdir(parents=True)
    left = store.temporary / "left"
    left.touch()
    for path in (*strange, left):
        _make_old(path)
    told = _maintained(store)
    assert (told.pruned, told.problems) == (1, ())
    assert [path.exists() for path in (*strange, left)] == [True, True, False]


def test_hidden_files_of_others_stay(store: Store) -> None:
    for folder in ("state", "state/dandisets"):
        (store.root / folder / ".nobackup").touch()
        _make_old(store.root / folder / ".nobackup")
    assert _maintained(store).pruned == 0


def test_what_somebody_is_writing_stays(store: Store) -> None:
    young = store.temporary / "young"
    young.write_bytes(b"half")
    folder = store.zarr(ZARR)
    site = store.public / "abc" / ".def.new-alive"
    site.mkdir(parents=True)
    descriptor = os.open(site, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with folder.lock(), folder.writer("manifest") as writer:
            writer.write(b"a")
            assert _maintained(store).pruned == 0
            assert len(list(folder.path.iterdir())) == 2
    finally:
        os.close(descriptor)
    assert young.exists()
    assert site.exists()


def test_a_repository_that_somebody_works_on_is_left_for_later(store: Store) -> None:
    repository = _dandiset(store, "000027", PACK_LIMIT + 1)
    with store.repository("000027").lock():
        told = _maintained(store)
    assert told.repacked == 0
    assert len(told.problems) == 1
    assert told.problems[0].startswith("000027: another process is working on")
    assert _maintained(store).repacked == 1
    _fsck(repository)


def test_one_repositorys_trouble_does_not_stop_the_others(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    repositories = {name: _dandiset(store, name, PACK_LIMIT + 1) for name in ("000001", "000002", "000003")}
    order = [repository.path for repository in store.repositories()]
    first = next(name for name, repository in repositories.items() if repository.path == order[0])
    pack = next(repositories[first].path.glob("objects/pack/*.pack"))
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:40])
    told = _maintained(store)
    assert (told.repositories, told.repacked) == (3, 2)
    assert [problem.split(":")[0] for problem in told.problems] == [first]
    assert first in caplog.text


def test_a_repository_whose_refs_make_no_sense_is_a_problem_too(store: Store) -> None:
    repository = _dandiset(store, "000027")
    (repository.path / "packed-refs").write_text("yesterday refs/heads/draft\n")
    told = _maintained(store)
    assert [problem.split(":")[0] for problem in told.problems] == ["000027"]


def test_without_room_what_needs_some_waits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = _dandiset(store, "000027", PACK_LIMIT + 1)
    stale = store.temporary / "left"
    stale.write_bytes(b"half")
    _make_old(stale)
    honest = os.statvfs

    def nearly_full(path: Path) -> os.statvfs_result:
        found = [*honest(path), 0]
        found[1], found[4] = 1, RESERVE_BYTES + 100
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", nearly_full)
    told = _maintained(store)
    assert (told.repacked, told.pruned) == (0, 1)
    assert "one pack made of many needs about" in told.problems[0]
    assert len(repository.packs()) == PACK_LIMIT + 1


def test_it_stops_between_two_repositories(store: Store) -> None:
    for identifier in ("000001", "000002", "000003"):
        _dandiset(store, identifier, PACK_LIMIT + 1)
    told: list[str] = []

    with pytest.raises(Stopped, match="1 repositories had been looked at"):
        _maintained(store, lambda: any("one pack" in said for said in told), told.append)
    assert sum(len(repository.packs()) == 1 for repository in store.repositories()) == 1


def _spoil(path: Path) -> None:
    """Damage the pages behind the first."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def test_a_damaged_index_is_thrown_away(store: Store) -> None:
    with store.index() as index:
        index.remember_version_ids((f"bucket/{number}", "1") for number in range(1_000))
    _spoil(store.index_path)
    assert _maintained(store).index == "made anew"
    with Index(store.index_path) as index:
        assert index.version_ids(["bucket/1"]) == {}
    assert _maintained(store).index == "ok"


def test_a_damaged_catalogue_is_and_superdatasets_are_looked_at_again(store: Store) -> None:
    with store.catalogue() as catalogue, catalogue.writing():
        rows = ((f"{number:06}", "x" * 100) for number in range(1_000))
        catalogue.db.executemany("INSERT INTO behind VALUES (?, ?)", rows)
    store.save_published(PublishedMark("settings", 0))
    _spoil(store.catalogue_path)
    assert _maintained(store).catalogue == "made anew"
    assert store.published() is None
    assert not store.catalogue_path.exists()
    assert _maintained(store).catalogue == "ok"


def test_a_damaged_book_of_contents_is_thrown_away_on_either_side(store: Store) -> None:
    store.closed_side.state.mkdir(parents=True, exist_ok=True)
    for side in store.sides():
        with ContentBook(book_path(side)):
            pass
        (book_path(side)).write_bytes(b"garbage" * 1000)
    assert len(list(store.sides())) == 2
    maintained = _maintained(store)
    assert maintained.problems == ()
    assert [book_path(side).exists() for side in store.sides()] == [False, False]


def test_what_is_no_sqlite_file_is_thrown_away(store: Store) -> None:
    store.index_path.write_bytes(b"garbage" * 1000)
    assert _maintained(store).index == "made anew"


def test_a_file_that_is_mostly_empty_gives_its_room_back(store: Store) -> None:
    with store.index():
        pass
    db = sqlite3.connect(store.index_path, isolation_level=None)
    db.execute("CREATE TABLE ballast(body)")
    db.execute("INSERT INTO ballast VALUES (zeroblob(70000000))")
    db.execute("DROP TABLE ballast")
    db.close()
    assert store.index_path.stat().st_size > 70_000_000
    told = _maintained(store)
    assert told.problems == ()
    assert store.index_path.stat().st_size < 1_000_000


def test_the_stores_size_is_what_du_says(store: Store) -> None:
    _dandiset(store, "000027", 3)
    (store.temporary / "sparse").touch()
    os.truncate(store.temporary / "sparse", 1 << 30)
    du = subprocess.run(["du", "-s", "--block-size=1", store.root], capture_output=True, text=True, check=True)
    assert bytes_on_disk(store.root) == int(du.stdout.split()[0])
    # The file of the lock is not empty while the lock is held.
    assert 0 <= _maintained(store).store_bytes - bytes_on_disk(store.root) <= 8192


def test_it_tells_what_it_is_at(store: Store) -> None:
    _dandiset(store, "000027", PACK_LIMIT + 1)
    told: list[str] = []
    _maintained(store, tell=told.append)
    assert "000027: one pack of many" in told
    assert "index.sqlite" in told
