"""The two sides of a store, and the way from one to the other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mirror.archive.records import Instance
from mirror.errors import StoreError
from mirror.store.maintenance import maintain
from mirror.store.moving import close_dataset, open_dataset
from mirror.store.state import DandisetState, write_state
from mirror.store.store import Store

IDENTIFIER = "000027"
ZARR = "5a4d0ee2-0a4f-4d3c-9f1c-1f6b7a0f3b11"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open_or_create(tmp_path / "store", Instance("DEMO-DANDI", "https://demo-dandi.example.org"))


@pytest.fixture
def dataset_id(store: Store) -> str:
    """A public Dandiset, with its marks."""
    store.create_repository(IDENTIFIER)
    store.publish_alias(IDENTIFIER)
    store.save_state(DandisetState(identifier=IDENTIFIER, synced="2026-11-21T00:00:00+00:00"))
    return store.dataset_id(IDENTIFIER)


def test_there_is_no_closed_side_until_it_is_needed(store: Store, dataset_id: str) -> None:
    with store.lock("a test"):
        store.clear_away()
        store.prune()
    assert not store.private.exists()
    assert (store.embargoed(), store.is_private(dataset_id), store.is_embargoed(IDENTIFIER)) == ([], False, False)


def test_a_dataset_is_found_wherever_it_is(store: Store, dataset_id: str) -> None:
    before = store.dataset(dataset_id).path
    close_dataset(store, dataset_id, IDENTIFIER)
    closed = store.dataset(dataset_id).path
    assert (closed.is_dir(), before.exists(), closed.is_relative_to(store.private)) == (True, False, True)
    assert store.alias(IDENTIFIER).resolve() == closed
    assert store.repository(IDENTIFIER).path == store.create_dataset(dataset_id).path == closed
    with pytest.raises(StoreError, match="was not made anew"):
        open_dataset(store, dataset_id, IDENTIFIER)
    assert closed.is_dir()
    opening = store.opening()
    opening.make_private()
    assert opening.create_dataset(dataset_id).path.is_relative_to(store.private / "opening")
    assert store.dataset(dataset_id).path == closed
    open_dataset(store, dataset_id, IDENTIFIER)
    assert store.dataset(dataset_id).path == before
    assert store.alias(IDENTIFIER).resolve() == before
    assert not (store.private / "alias" / IDENTIFIER).is_symlink()


def test_lists_have_what_is_public_but_for_marks_and_repositories(store: Store, dataset_id: str) -> None:
    close_dataset(store, dataset_id, IDENTIFIER)
    assert (store.dandisets(), store.embargoed(), store.known()) == ([], [IDENTIFIER], [IDENTIFIER])
    assert [repository.path for repository in store.repositories()] == [store.dataset(dataset_id).path]


def test_marks_are_kept_where_the_dandiset_is(store: Store) -> None:
    side = store.make_private()
    write_state(side.marks(IDENTIFIER), DandisetState(identifier=IDENTIFIER, embargoed="now"))
    store.save_state(DandisetState(identifier=IDENTIFIER, embargoed="now", warnings=("secret",)))
    assert store.state(IDENTIFIER).warnings == ("secret",)
    assert [state.identifier for state in store.states()] == [IDENTIFIER]
    assert not list((store.root / "state" / "dandisets").iterdir())
    assert store.create_repository(IDENTIFIER).path.is_relative_to(store.private)
    store.forget_state(IDENTIFIER)
    assert not side.marks(IDENTIFIER).exists()


def test_lost_marks_do_not_make_it_public(store: Store, dataset_id: str) -> None:
    close_dataset(store, dataset_id, IDENTIFIER)
    store.save_state(DandisetState(identifier=IDENTIFIER, warnings=("secret",)))
    assert store.closed_side.marks(IDENTIFIER).exists()


def test_the_manifest_of_a_zarr_goes_with_it(store: Store) -> None:
    folder = store.zarr(ZARR, private=True)
    with folder.lock():
        folder.save_commits(("a commit",))
    assert folder.path.is_relative_to(store.private)
    assert store.zarr(ZARR).path == folder.path
    assert (store.zarrs(), [one.zarr_id for one in store.zarr_folders()]) == ([], [ZARR])
    opening = store.opening()
    opening.make_private()
    made = opening.zarr(ZARR)
    with made.lock():
        made.save_commits(("a commit of what is open",))
    assert store.zarr(ZARR).commits() == ("a commit",)
    open_dataset(store, ZARR, ZARR)
    assert store.zarr(ZARR).commits() == ("a commit of what is open",)
    assert store.zarr(ZARR, private=True).path.is_relative_to(store.root / "state")
    assert store.zarrs() == [ZARR]


def test_what_is_on_both_sides_is_left_alone(store: Store, dataset_id: str, tmp_path: Path) -> None:
    public = store.dataset(dataset_id).path
    public.rename(tmp_path / "kept")
    store.create_dataset(dataset_id, private=True)
    (tmp_path / "kept").rename(public)
    with pytest.raises(StoreError, match="are the same dataset"):
        close_dataset(store, dataset_id, IDENTIFIER)
    assert public.is_dir()


def test_maintenance_looks_after_both(store: Store, dataset_id: str) -> None:
    close_dataset(store, dataset_id, IDENTIFIER)
    with store.index(private=True):
        pass
    (store.private / "state" / "index.sqlite").write_bytes(b"damaged" * 1000)
    with store.lock("a test"):
        done = maintain(store, stop=lambda: False, tell=lambda _: None)
    assert (done.repositories, done.index, done.problems) == (1, "made anew", ())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as somebody else")
def test_to_others_there_is_no_closed_side(store: Store, dataset_id: str) -> None:
    close_dataset(store, dataset_id, IDENTIFIER)
    for folder in (store.root, *store.root.parents):
        if folder.stat().st_uid == 0 and "pytest" in str(folder):
            folder.chmod(0o755)
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from mirror.store.overview import overview\n"
        "from mirror.store.glance import Glances\n"
        "from mirror.store.store import Store\n"
        "os.setuid(65534)\n"
        "store = Store.open(Path(sys.argv[1]))\n"
        "print(store.known(), store.embargoed(), list(overview(store)), Glances(store).look().totals.dandisets,\n"
        "      store.is_embargoed(sys.argv[2]), list(store.repositories()), store.state(sys.argv[2]).synced)\n"
    )
    command = [sys.executable, "-c", script, str(store.root), IDENTIFIER]
    # The marks of before it was closed are not this test's to take away.
    store.open_side.marks(IDENTIFIER).unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "[] [] [] 0 False [] None\n", done.stderr
