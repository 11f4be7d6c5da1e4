"""The end of an embargo."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.archive.addresses import ObjectAddress, address
from mirror.demo import DemoArchive
from mirror.demo.faults import Status
from mirror.store.feed import read_changes
from tests.sync.embargo.conftest import TOKEN_VARIABLE, Mirror

pytestmark = pytest.mark.usefixtures("token", "closed")


@pytest.fixture
def ended(archive: DemoArchive, mirror: Mirror, closed: str) -> str:
    """A Dandiset that was mirrored under embargo, and is open by now."""
    mirror.run().check()
    archive.clock.advance(3600)
    archive.unembargo(closed)
    return closed


def test_the_next_poll_makes_it_public(mirror: Mirror, ended: str, zarr_id: str) -> None:
    (outcome,) = mirror.run().outcomes
    assert (outcome.identifier, outcome.result) == (ended, "changed")
    assert outcome.message.startswith("under embargo no more")
    store = mirror.store
    assert outcome.path == str(store.public / "alias" / ended)
    assert (store.embargoed(), ended in store.dandisets(), store.state(ended).embargoed) == ([], True, None)
    for name in (ended, zarr_id):
        assert store.alias(name).parent == store.public / "alias"
        assert not store.is_private(name)
    assert mirror.git("dandisets", "rev-parse", f"draft:{ended}") == mirror.git(ended, "rev-parse", "draft")
    assert ended in {change.dandiset for _, change in read_changes(store.changes)}
    assert mirror.run().still == 2


def test_its_contents_can_be_had_by_everybody(
    mirror: Mirror, ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.run().check()
    monkeypatch.delenv(TOKEN_VARIABLE)
    clone = tmp_path / "clone"
    subprocess.run(["datalad", "clone", f"ria+file://{mirror.store.public}#~{ended}", clone], check=True)
    subprocess.run(["datalad", "get", "-r", "."], cwd=clone, check=True, capture_output=True)
    assert (clone / "sub-G1" / "sub-G1_SPIM.ome.zarr" / ".zgroup").exists()
    assert "embargo" not in (clone / ".datalad" / "config").read_text()


def test_its_addresses_in_the_bucket_are_recorded_with_their_versions(mirror: Mirror, ended: str, zarr_id: str) -> None:
    mirror.run().check()
    for name in (ended, zarr_id):
        objects = {url for url in mirror.urls(name) if isinstance(address(url), ObjectAddress)}
        assert len(objects) * 2 == len(mirror.urls(name))
        assert all("?versionId=" in url for url in objects)


def test_then_it_is_what_a_mirror_has_that_never_saw_it_closed(
    mirror: Mirror, another: Callable[[str], Mirror], ended: str, zarr_id: str
) -> None:
    mirror.run().check()
    fresh = another("fresh")
    fresh.run().check()
    for name in (ended, zarr_id):
        assert mirror.git(name, "for-each-ref") == fresh.git(name, "for-each-ref")


def test_published_from_then_on_it_has_the_hashes_that_it_has_everywhere(
    archive: DemoArchive, mirror: Mirror, another: Callable[[str], Mirror], ended: str
) -> None:
    mirror.run().check()
    archive.clock.advance(3600)
    archive.publish(ended, allow_zarrs=True)
    archive.clock.advance(3600)
    mirror.run().check()
    fresh = another("fresh")
    fresh.run().check()
    assert mirror.git(ended, "rev-parse", "releases") == fresh.git(ended, "rev-parse", "releases")
    assert mirror.git("dandisets", "rev-parse", "releases") == fresh.git("dandisets", "rev-parse", "releases")


def test_it_is_opened_without_the_setting_and_without_a_token(
    mirror: Mirror, ended: str, zarr_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert mirror.results(embargoed=False) == {ended: "changed"}
    assert mirror.store.embargoed() == []
    assert any("versionId=" in url for url in mirror.urls(zarr_id))


def test_with_several_processes_as_with_one(mirror: Mirror, ended: str, zarr_id: str) -> None:
    mirror.run(jobs=2).check()
    assert ended in mirror.store.dandisets()
    assert mirror.store.embargoed() == []
    assert mirror.store.alias(zarr_id).parent == mirror.store.public / "alias"


def test_a_zarr_that_was_kept_as_a_manifest_is_opened_with_it(
    archive: DemoArchive, mirror: Mirror, closed: str, zarr_id: str
) -> None:
    mirror.run(zarr__hold="manifest").check()
    archive.unembargo(closed)
    mirror.run(zarr__hold="manifest").check()
    store = mirror.store
    assert zarr_id in store.zarrs()
    origin = store.zarr(zarr_id).origin(mirror.git(closed, "rev-parse", "draft:sub-G1/sub-G1_SPIM.ome.zarr"))
    assert origin is not None
    assert not origin.embargoed


def test_if_it_cannot_be_read_again_it_stays_closed(archive: DemoArchive, mirror: Mirror, ended: str) -> None:
    archive.api_faults.add(Status(404), path=f"/dandisets/{ended}/versions/draft/info/", times=1)
    assert mirror.results() == {ended: "failed"}
    store = mirror.store
    assert (store.embargoed(), store.is_private(store.dataset_id(ended))) == ([ended], True)
    assert mirror.results() == {ended: "changed"}
    assert mirror.store.embargoed() == []


def test_a_zarr_that_fails_does_not_keep_the_rest_closed(
    archive: DemoArchive, mirror: Mirror, ended: str, zarr_id: str
) -> None:
    """It follows."""
    archive.s3_faults.add(Status(404), path=rf"versions.*{zarr_id}", times=None)
    assert mirror.results() == {ended: "failed"}
    assert not mirror.store.is_embargoed(ended)
    assert mirror.store.is_private(zarr_id)
    assert not any("versionId=" in url for url in mirror.urls(zarr_id))
    archive.s3_faults.clear()
    mirror.run().check()
    assert not mirror.store.is_private(zarr_id)
    assert any("versionId=" in url for url in mirror.urls(zarr_id))


def test_closed_again_before_it_was_read_it_stays_closed(archive: DemoArchive, mirror: Mirror, ended: str) -> None:
    archive.embargo(ended)
    mirror.run().check()
    assert mirror.store.embargoed() == [ended]


def test_with_its_marks_lost_it_is_opened_all_the_same(mirror: Mirror, ended: str) -> None:
    mirror.store.closed_side.marks(ended).unlink()
    mirror.run().check()
    assert ended in mirror.store.dandisets()
    assert sum("versionId=" in url for url in mirror.urls(ended)) == 2
