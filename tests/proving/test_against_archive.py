"""What is here is what a mirror made today would have; what differs is named, version by version."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.archive import http
from mirror.config import Settings
from mirror.demo import DemoArchive
from mirror.demo.faults import Status
from mirror.errors import ArchiveDown, NoRoom
from mirror.proving.verify import Prover
from mirror.store.room import room_at
from mirror.store.store import Store
from mirror.sync.engine import sync
from tests.proving.conftest import Told


@pytest.fixture
def store(dandiset: str, settings: Settings) -> Store:
    """A mirror of this very archive."""
    assert dandiset
    sync(settings)
    return Store.open(settings.store)


def prove(settings: Settings, dandiset: str) -> Told:
    told = Told()
    store = Store.open(settings.store)
    with Prover(settings, store, ("names",), watcher=told) as prover:
        prover.run([dandiset])
    assert not [path for path in store.temporary.iterdir() if path.is_dir()]
    return told


def test_of_an_archive_that_stood_still_nothing_is_found(settings: Settings, store: Store, dandiset: str) -> None:
    assert store

    assert prove(settings, dandiset).findings == []


def test_a_zarr_in_a_repository_has_the_hashes_of_one_in_a_manifest(settings: Settings, with_zarr: str) -> None:
    sync(settings, [with_zarr])

    assert prove(settings, with_zarr).findings == []


def test_a_draft_that_went_on_is_behind_and_no_error(
    settings: Settings, store: Store, dandiset: str, archive: DemoArchive
) -> None:
    assert store
    archive.clock.advance(60)
    archive.add_asset(dandiset, "sub-4/sub-4_ecephys.nwb", b"spikes of four")

    told = prove(settings, dandiset)

    assert told.kinds == {"behind"}
    assert told.subjects[0].severe == 0


def test_a_version_that_the_archive_rewrote_differs(
    settings: Settings, store: Store, dandiset: str, archive: DemoArchive
) -> None:
    published = next(
        name.removeprefix("refs/tags/") for name in store.repository(dandiset).refs() if name[10].isdigit()
    )
    archive.edit_version(dandiset, published, description="Of three mice")

    told = prove(settings, dandiset)

    assert told.where("differs") == [published]
    assert "dandiset.yaml" in told.findings[0].message


def test_a_version_that_the_archive_withdrew_differs(
    settings: Settings, store: Store, dandiset: str, archive: DemoArchive
) -> None:
    published = next(
        name.removeprefix("refs/tags/") for name in store.repository(dandiset).refs() if name[10].isdigit()
    )
    archive.delete_version(dandiset, published)

    assert prove(settings, dandiset).where("differs") == [published]


def test_a_dandiset_that_the_archive_does_not_have_any_more_cannot_be_compared(
    settings: Settings, store: Store, dandiset: str, archive: DemoArchive
) -> None:
    assert store
    archive.delete_dandiset(dandiset)

    assert "the archive has no Dandiset" in prove(settings, dandiset).subjects[0].trouble


def test_a_dandiset_that_is_known_to_have_vanished_is_no_error(
    settings: Settings, store: Store, dandiset: str, archive: DemoArchive
) -> None:
    assert store
    archive.delete_dandiset(dandiset)
    sync(settings)

    told = prove(settings, dandiset)

    assert told.kinds == {"unknown"}
    assert told.subjects[0].trouble == ""


def test_an_archive_that_is_down_ends_the_run(
    settings: Settings, store: Store, dandiset: str, archive: DemoArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(http, "LONGEST_WAIT", 0.001)
    archive.api_faults.add(Status(503), times=None)

    with Prover(settings, store, ("names",)) as prover, pytest.raises(ArchiveDown):
        prover.run([dandiset])


def test_what_a_dead_run_left_is_cleared_away(settings: Settings, store: Store, dandiset: str) -> None:
    left: Path = store.temporary / "anew-dead"
    (left / "store").mkdir(parents=True)

    prove(settings, dandiset)

    assert not left.exists()


def test_a_disk_that_is_full_ends_the_run(
    settings: Settings, store: Store, dandiset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However much others delete meanwhile.
    monkeypatch.setattr("mirror.store.room.RESERVE_BYTES", room_at(store.root).bytes + 2**40)

    with Prover(settings, store, ("names",)) as prover, pytest.raises(NoRoom):
        prover.run([dandiset])
