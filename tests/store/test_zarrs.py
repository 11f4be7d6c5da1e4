"""What is kept of a Zarr besides its repository: written whole or not at all, and read back as it was."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mirror.dataset.zarr.checksum import Checksum
from mirror.dataset.zarr.folders import Folder
from mirror.dataset.zarr.manifest import HeldFolder, Origin, block
from mirror.errors import StoreError
from mirror.store.store import Store
from mirror.store.zarrs import ZarrFolder, read_text

ZARR_ID = "2c57d0e2-3cf4-4be9-8c36-0dc2f1e6c5a1"
COMMIT, OTHER = "1" * 40, "2" * 40
ORIGIN = Origin(2, "https://bucket.example.org/zarr/1/", "https://api.example.org/api")
FACTS = b"0cc175b9c0f1b6a831c399e269772661\t1\tv.1\t2026-11-20T15:34:17.000Z"
LINES = b"\n".join(b"%06d\t%b" % (at, FACTS) for at in range(50_000))


@pytest.fixture
def folder(store: Store) -> ZarrFolder:
    folder = store.zarr(ZARR_ID)
    folder.path.mkdir(parents=True)
    return folder


def keep_manifest(folder: ZarrFolder, commit: str) -> None:
    with folder.writer("manifest") as writer:
        writer.write(ORIGIN.head())
        for piece in block(Folder(b"", LINES), Checksum("0" * 32, 50_000, 50_000), bytes(20), b"2026"):
            writer.write(piece)
        writer.keep(folder.manifest_path(commit))


def test_a_manifest_is_read_back_as_it_was_written(folder: ZarrFolder) -> None:
    keep_manifest(folder, COMMIT)
    expected = HeldFolder(Folder(b"", LINES), b"%b-50000--50000" % (b"0" * 32), b"0" * 40, b"2026")
    assert list(folder.manifest(COMMIT)) == [expected]
    assert folder.origin(COMMIT) == ORIGIN
    assert folder.origin(OTHER) is None


def test_anybody_can_read_it_with_gzip(folder: ZarrFolder) -> None:
    keep_manifest(folder, COMMIT)
    body = folder.manifest_path(COMMIT).read_bytes()
    assert gzip.decompress(body).endswith(LINES)
    assert len(body) < len(LINES) / 5


def test_what_is_not_kept_leaves_nothing_behind(folder: ZarrFolder) -> None:
    def interrupted() -> None:
        with folder.writer("undo") as writer:
            writer.write(LINES)
            raise KeyboardInterrupt

    with folder.writer("manifest") as writer:
        writer.write(LINES)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(folder.path.iterdir()) == []


def test_what_is_finished_can_be_read_before_it_is_kept(folder: ZarrFolder) -> None:
    with folder.writer("undo") as writer:
        writer.write(b"a")
        assert b"".join(read_text(writer.finish())) == b"a"
        writer.keep(folder.undo_path(3))
    assert folder.undo(3) == b"a"


@pytest.mark.parametrize("keep", [0, 1, 10, 100, -1, -8])
def test_one_that_is_cut_short_is_told(folder: ZarrFolder, keep: int) -> None:
    keep_manifest(folder, COMMIT)
    path = folder.manifest_path(COMMIT)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError):
        list(folder.manifest(COMMIT))


def test_one_with_a_bit_the_wrong_way_round_is_told(folder: ZarrFolder) -> None:
    keep_manifest(folder, COMMIT)
    path = folder.manifest_path(COMMIT)
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 4
    path.write_bytes(body)
    with pytest.raises(StoreError):
        list(folder.manifest(COMMIT))


def test_one_that_is_not_there_is_told(folder: ZarrFolder) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        list(folder.manifest(COMMIT))
    with pytest.raises(StoreError, match="cannot be read"):
        folder.undo(1)


def test_manifests_of_other_states_are_forgotten(folder: ZarrFolder) -> None:
    for commit in (COMMIT, OTHER):
        keep_manifest(folder, commit)
    folder.forget_manifests(but=OTHER)
    assert [path.name for path in folder.path.iterdir()] == [f"manifest-{OTHER}.gz"]
    folder.forget_manifests(but=None)
    assert list(folder.path.iterdir()) == []


def test_commits_are_read_back_until_they_are_forgotten(folder: ZarrFolder) -> None:
    assert folder.commits() == ()
    folder.save_commits(["tree 1\n\nünï\n", "tree 2\n"])
    assert folder.commits() == ("tree 1\n\nünï\n", "tree 2\n")
    with folder.writer("undo") as writer:
        writer.keep(folder.undo_path(1))
    folder.forget_commits()
    assert folder.commits() == ()
    assert list(folder.path.iterdir()) == []


def test_damaged_commits_are_told(folder: ZarrFolder) -> None:
    (folder.path / "commits.json").write_bytes(b'["tree')
    with pytest.raises(StoreError, match=r"commits\.json cannot be read"):
        folder.commits()


def test_the_next_who_works_on_a_zarr_clears_away_what_a_dead_one_left(folder: ZarrFolder) -> None:
    program = (
        "import os, sys; from pathlib import Path; from mirror.store.zarrs import ZarrFolder\n"
        f"folder = ZarrFolder(Path(sys.argv[1]), {ZARR_ID!r})\n"
        "with folder.lock(), folder.writer('manifest') as writer: writer.finish(); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder.path.parent.parent)])
    assert done.returncode == 9
    assert len(list(folder.path.iterdir())) == 2
    with folder.lock():
        assert [path.name for path in folder.path.iterdir()] == ["lock"]


def test_two_do_not_work_on_one_zarr_at_once(folder: ZarrFolder) -> None:
    told: list[str] = []

    def second() -> None:
        with folder.lock():
            told.append("second")

    thread = threading.Thread(target=second)
    with folder.lock():
        thread.start()
        time.sleep(0.2)
        told.append("first")
    thread.join()
    assert told == ["first", "second"]


def test_the_folder_of_a_zarr_is_named_as_its_dataset_is(store: Store) -> None:
    assert store.zarr(ZARR_ID).path.parts[-3:] == ("zarrs", ZARR_ID[:3], ZARR_ID[3:])
    assert store.dataset(ZARR_ID).path.parts[-2:] == (ZARR_ID[:3], ZARR_ID[3:])
    assert Path(store.alias(ZARR_ID)).name == ZARR_ID
