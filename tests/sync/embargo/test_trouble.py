"""When something was left over, is lost, or is damaged while a Dandiset changes sides."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from mirror.dataset.zarr.checksum import Checksum
from mirror.demo import DemoArchive
from mirror.demo.faults import Status
from mirror.store import contents
from mirror.store.content_book import ContentBook, HeldContent, book_path
from mirror.sync.zarr.ahead import Wanted, record_ahead
from mirror.sync.zarr.subject import Subject
from tests.sync.embargo.conftest import Mirror, found_in_public, populate

pytestmark = pytest.mark.usefixtures("token", "closed")

ZARR = "sub-G1/sub-G1_SPIM.ome.zarr"


@pytest.mark.parametrize("hold", ["repository", "manifest"])
def test_a_zarr_that_was_recorded_but_never_named_is_withdrawn_as_well(
    archive: DemoArchive, mirror: Mirror, closed: str, zarr_id: str, hold: str
) -> None:
    archive.unembargo(closed)
    readme = archive.dandiset(closed).draft.assets["README.md"].blob
    assert readme is not None
    archive.s3_faults.add(Status(404), path=readme.blob_id, times=None)
    assert mirror.results(zarr__hold=hold)[closed] == "failed"
    assert mirror.store.open_side.holds(zarr_id)
    archive.s3_faults.clear()
    archive.clock.advance(60)
    archive.embargo(closed)
    archive.change_zarr(closed, ZARR, {"0/secret-chunk": b"a secret chunk"})
    mirror.run(zarr__hold=hold).check()
    store = mirror.store
    assert (store.is_private(zarr_id), store.open_side.holds(zarr_id)) == (True, False)
    assert not store.open_side.alias(zarr_id).is_symlink()
    assert found_in_public(store, "secret-chunk") == []
    archive.clock.advance(60)
    archive.unembargo(closed)
    mirror.run(zarr__hold=hold).check()
    assert not mirror.store.is_private(zarr_id)
    assert mirror.run(zarr__hold=hold).still == 2


def test_a_zarr_that_could_not_be_opened_and_is_deleted_under_another_embargo_leaves_nothing(
    archive: DemoArchive, mirror: Mirror, closed: str, zarr_id: str
) -> None:
    mirror.run().check()
    archive.unembargo(closed)
    archive.s3_faults.add(Status(404), path=rf"versions.*{zarr_id}", times=None)
    assert mirror.results() == {closed: "failed"}
    assert mirror.store.state(closed).zarrs_closed == (zarr_id,)
    archive.clock.advance(60)
    archive.embargo(closed)
    mirror.run(embargoed=False).check()
    assert mirror.store.is_private(zarr_id)
    archive.remove_asset(closed, ZARR)
    archive.unembargo(closed)
    mirror.run().check()
    assert mirror.store.embargoed() == []
    assert not mirror.store.closed_side.holds(zarr_id)


def test_one_that_was_never_read_under_embargo_is_opened(archive: DemoArchive, mirror: Mirror, closed: str) -> None:
    archive.api_faults.add(Status(404), path=f"/dandisets/{closed}/versions/draft/info/", times=1)
    assert mirror.results()[closed] == "failed"
    assert mirror.store.embargoed() == [closed]
    archive.unembargo(closed)
    mirror.run().check()
    assert (mirror.store.embargoed(), closed in mirror.store.dandisets()) == ([], True)
    mirror.run().check()
    assert not mirror.store.opening_side.data.exists()


def test_damaged_caches_keep_nothing_public(archive: DemoArchive, mirror: Mirror, closed: str, zarr_id: str) -> None:
    archive.unembargo(closed)
    mirror.run().check()
    archive.clock.advance(60)
    archive.embargo(closed)
    for cache in ("catalogue", "index", "contents"):
        (mirror.root / "state" / f"{cache}.sqlite").write_bytes(b"nonsense" * 1000)
    mirror.run().check()
    assert mirror.store.embargoed() == [closed]
    assert mirror.store.is_private(zarr_id)


def test_nor_do_they_keep_anything_closed(archive: DemoArchive, mirror: Mirror, closed: str, zarr_id: str) -> None:
    mirror.run().check()
    populate(mirror.store, closed)
    archive.clock.advance(60)
    archive.unembargo(closed)
    for cache in ("index", "contents"):
        (mirror.store.private / "state" / f"{cache}.sqlite").write_bytes(b"nonsense" * 1000)
    mirror.run().check()
    assert mirror.store.embargoed() == []
    assert not mirror.store.is_private(zarr_id)


def test_nor_does_a_book_that_is_damaged_further_inside(archive: DemoArchive, mirror: Mirror, closed: str) -> None:
    mirror.run().check()
    store = mirror.store
    dataset_id, path = store.dataset_id(closed), book_path(store.closed_side)
    keys = populate(store, closed)
    others = [f"SHA256E-s1--{number:064x}.nwb" for number in range(2000)]
    with ContentBook(path) as book:
        book.add(HeldContent(dataset_id, key, 1, False) for key in (*keys, *others))
    body = path.read_bytes()
    path.write_bytes(body[:8192] + b"\xff" * (len(body) - 8192))
    archive.unembargo(closed)
    mirror.run().check()
    assert mirror.store.embargoed() == []
    assert {key for key, _ in contents.held(mirror.store.alias(closed).resolve())} == set(keys)


def test_what_nobody_foresaw_when_one_is_opened_stops_no_other(
    archive: DemoArchive, mirror: Mirror, closed: str, opened: str
) -> None:
    mirror.run().check()
    populate(mirror.store, closed)
    archive.clock.advance(60)
    archive.unembargo(closed)
    archive.add_asset(opened, "later.nwb", b"later")
    book = book_path(mirror.store.closed_side)
    book.mkdir()
    assert mirror.results() == {closed: "failed", opened: "changed"}
    assert mirror.store.embargoed() == [closed]
    book.rmdir()
    assert mirror.results() == {closed: "changed"}


@pytest.mark.parametrize("embargoed", [False, True])
def test_what_nobody_foresaw_of_a_zarr_is_logged_unless_nobody_is_to_know_of_it(
    mirror: Mirror, zarr_id: str, caplog: pytest.LogCaptureFixture, embargoed: bool
) -> None:
    mirror.run().check()
    wanted = Wanted(Subject(zarr_id, "", "", b"", embargoed), Checksum("0" * 32, 1, 1))
    no_connection = cast("Any", None)
    done = record_ahead(mirror.settings(), mirror.store, no_connection, wanted, everything=False, tell=None)
    assert "unexpected AttributeError" in str(done.error)
    (record,) = (one for one in caplog.records if one.levelno == logging.ERROR)
    assert (zarr_id in record.getMessage(), bool(record.exc_info)) == (not embargoed, not embargoed)
