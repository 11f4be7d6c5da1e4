"""What happened under embargo stays there: of a Dandiset that is opened, everybody sees what a mirror has that never
saw it closed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.demo import DemoArchive
from mirror.demo.faults import Status
from mirror.keeping.books import Books
from mirror.store import contents
from mirror.store.content_book import ContentBook, HeldContent, book_path
from tests.sync.embargo.conftest import SECRETS, Mirror, all_objects, found_in_public, live_under_embargo, populate

pytestmark = pytest.mark.usefixtures("token")

ZARR = "sub-G1/sub-G1_SPIM.ome.zarr"


def refs(mirror: Mirror, name: str) -> str:
    return mirror.git(name, "for-each-ref", "--format=%(objectname) %(refname)")


@pytest.fixture
def lived(archive: DemoArchive, mirror: Mirror, closed: str) -> tuple[str, list[str]]:
    """A Dandiset that lived under embargo, and is open by now; what nobody is to know of."""
    mirror.run().check()
    digests = live_under_embargo(archive, mirror, closed, ZARR)
    archive.unembargo(closed)
    return closed, [*SECRETS, *digests]


def test_it_has_the_hashes_of_a_mirror_that_never_saw_it_closed(
    mirror: Mirror, another: Callable[[str], Mirror], lived: tuple[str, list[str]], zarr_id: str
) -> None:
    mirror.run().check()
    fresh = another("fresh")
    fresh.run(embargoed=False).check()
    for name in (lived[0], zarr_id):
        assert refs(mirror, name) == refs(fresh, name)
        of_each = [one.git(name, "cat-file", "--batch-all-objects", "--batch-check") for one in (mirror, fresh)]
        assert of_each[0] == of_each[1]
    assert mirror.git("dandisets", "rev-parse", "draft^{tree}") == fresh.git("dandisets", "rev-parse", "draft^{tree}")


def test_nothing_public_tells_of_what_was_deleted(mirror: Mirror, lived: tuple[str, list[str]], zarr_id: str) -> None:
    closed, secrets = lived
    # It is no wonder that nothing is found, if nothing could be:
    said = b"".join(all_objects(mirror.store.alias(name)) for name in (closed, zarr_id))
    assert all(secret.encode() in said for secret in secrets)
    mirror.run().check()
    assert closed in mirror.store.dandisets()
    assert found_in_public(mirror.store, *secrets) == []
    mirror.run().check()
    assert [path.name for path in mirror.store.private.rglob("*") if zarr_id[3:] in path.name] == []
    assert not mirror.store.opening_side.data.exists()


def test_a_zarr_that_was_only_in_it_under_embargo_is_gone(
    archive: DemoArchive, mirror: Mirror, closed: str, zarr_id: str
) -> None:
    mirror.run().check()
    archive.clock.advance(60)
    archive.remove_asset(closed, ZARR)
    mirror.run().check()
    archive.unembargo(closed)
    mirror.run().check()
    assert not mirror.store.open_side.holds(zarr_id)
    assert not mirror.store.is_private(zarr_id)
    assert found_in_public(mirror.store, zarr_id) == []


def test_of_a_zarr_without_a_repository_the_manifest_is_that_of_a_fresh_mirror(
    archive: DemoArchive, mirror: Mirror, another: Callable[[str], Mirror], closed: str, zarr_id: str
) -> None:
    mirror.run(zarr__hold="manifest").check()
    archive.clock.advance(60)
    archive.change_zarr(closed, ZARR, {"0/secret-chunk": b"a secret chunk"})
    mirror.run(zarr__hold="manifest").check()
    archive.clock.advance(60)
    archive.change_zarr(closed, ZARR, remove=["0/secret-chunk"])
    archive.unembargo(closed)
    mirror.run(zarr__hold="manifest").check()
    fresh = another("fresh")
    fresh.run(zarr__hold="manifest").check()
    of_each = [one.store.zarr(zarr_id) for one in (mirror, fresh)]
    assert of_each[0].commits() == of_each[1].commits()
    names = [sorted(path.name for path in one.path.iterdir()) for one in of_each]
    assert names[0] == names[1]
    assert refs(mirror, closed) == refs(fresh, closed)


# --- one that was public before -------------------------------------------------------------------------------------


@pytest.fixture
def returned(archive: DemoArchive, mirror: Mirror, opened: str, tmp_path: Path) -> tuple[str, str, list[str]]:
    """A Dandiset that was public with a version and a Zarr, was cloned, lived under embargo, and is open again."""
    archive.add_zarr(opened, ZARR, {".zgroup": b"{}", "0/0": b"chunk"})
    archive.publish(opened, allow_zarrs=True)
    archive.clock.advance(3600)
    archive.add_asset(opened, "draft.txt", b"a draft\n")
    mirror.run().check()
    zarr = archive.dandiset(opened).draft.assets[ZARR].zarr
    assert zarr is not None
    for name in (opened, zarr.zarr_id):
        subprocess.run(
            ["git", "clone", "--quiet", "--mirror", str(mirror.store.alias(name)), str(tmp_path / name)], check=True
        )
    archive.clock.advance(60)
    archive.embargo(opened)
    mirror.run().check()
    digests = live_under_embargo(archive, mirror, opened, ZARR)
    archive.unembargo(opened)
    return opened, zarr.zarr_id, [*SECRETS, *digests]


def follow(clone: Path, source: Path) -> None:
    """Update a clone, all branches and tags, refusing whatever is no fast forward."""
    refspecs = ["refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*"]
    subprocess.run(["git", "-C", str(clone), "fetch", "--quiet", str(source), *refspecs], check=True)


def test_clones_made_before_can_follow(
    mirror: Mirror, returned: tuple[str, str, list[str]], tmp_path: Path, another: Callable[[str], Mirror]
) -> None:
    identifier, zarr_id, secrets = returned
    before = mirror.git(identifier, "rev-parse", "releases")
    mirror.run().check()
    for name in (identifier, zarr_id):
        follow(tmp_path / name, mirror.store.alias(name))
    assert mirror.git(identifier, "rev-parse", "releases") == before
    assert found_in_public(mirror.store, *secrets) == []
    fresh = another("fresh")
    fresh.run(embargoed=False).check()
    for name in (identifier, zarr_id):
        assert mirror.git(name, "rev-parse", "draft^{tree}") == fresh.git(name, "rev-parse", "draft^{tree}")
    assert mirror.git(zarr_id, "rev-parse", "draft") == fresh.git(zarr_id, "rev-parse", "draft")


def test_so_can_they_where_all_marks_were_lost(
    mirror: Mirror, returned: tuple[str, str, list[str]], tmp_path: Path
) -> None:
    identifier, zarr_id, secrets = returned
    mirror.store.closed_side.marks(identifier).unlink()
    mirror.run().check()
    for name in (identifier, zarr_id):
        follow(tmp_path / name, mirror.store.alias(name))
    assert found_in_public(mirror.store, *secrets) == []


def test_a_zarr_that_it_lost_meanwhile_is_public_again_as_it_was(
    archive: DemoArchive, mirror: Mirror, returned: tuple[str, str, list[str]], tmp_path: Path
) -> None:
    identifier, zarr_id, secrets = returned
    archive.remove_asset(identifier, ZARR)
    mirror.run().check()
    of_clone = subprocess.run(
        ["git", "-C", str(tmp_path / zarr_id), "rev-parse", "draft"], capture_output=True, text=True, check=True
    )
    assert mirror.git(zarr_id, "rev-parse", "draft") == of_clone.stdout.strip()
    assert mirror.store.alias(zarr_id).parent == mirror.store.public / "alias"
    assert found_in_public(mirror.store, *secrets) == []


def test_closed_and_opened_twice_it_can_still_be_followed(
    archive: DemoArchive, mirror: Mirror, returned: tuple[str, str, list[str]], tmp_path: Path
) -> None:
    identifier, zarr_id, secrets = returned
    mirror.run().check()
    archive.clock.advance(60)
    archive.embargo(identifier)
    mirror.run().check()
    archive.clock.advance(60)
    archive.unembargo(identifier)
    mirror.run().check()
    for name in (identifier, zarr_id):
        follow(tmp_path / name, mirror.store.alias(name))
    assert found_in_public(mirror.store, *secrets) == []


# --- content --------------------------------------------------------------------------------------------------------


def test_content_goes_over_as_far_as_it_is_named(
    archive: DemoArchive, mirror: Mirror, closed: str, zarr_id: str
) -> None:
    mirror.run().check()
    digests = live_under_embargo(archive, mirror, closed, ZARR)
    held = {name: populate(mirror.store, name) for name in (closed, zarr_id)}
    assert any(digests[0] in key for key in held[closed])
    ids = {closed: mirror.store.dataset_id(closed), zarr_id: zarr_id}
    with ContentBook(book_path(mirror.store.closed_side)) as book:
        book.add(HeldContent(ids[name], key, len(keys[key]), False) for name, keys in held.items() for key in keys)
        book.completed()
    archive.unembargo(closed)
    mirror.run().check()
    with Books(mirror.store) as books:
        books.bring_up_to_date()
        assert books.holding().keys == sum(map(len, held.values())) - 2
    for name, keys in held.items():
        repository = mirror.store.alias(name).resolve()
        now = {key: contents.place_of(repository, key).read_bytes() for key, _ in contents.held(repository)}
        assert now == {key: keys[key] for key in now}
        assert len(keys) - len(now) == 1
        uuid = mirror.git(name, "config", "annex.uuid")
        logs = mirror.git(name, "grep", "-l", f"1 {uuid}$", "git-annex").splitlines()
        assert {Path(log).name.removesuffix(".log") for log in logs} == set(now)
    assert found_in_public(mirror.store, *SECRETS, *digests) == []


def test_what_was_said_to_be_here_and_is_not_is_taken_back(
    archive: DemoArchive, mirror: Mirror, opened: str, zarr_id: str
) -> None:
    assert zarr_id
    mirror.run().check()
    (key,) = populate(mirror.store, opened)
    archive.embargo(opened)
    mirror.run().check()
    contents.drop(mirror.store.alias(opened).resolve(), key)
    archive.clock.advance(60)
    archive.unembargo(opened)
    mirror.run().check()
    uuid = mirror.git(opened, "config", "annex.uuid")
    assert mirror.git(opened, "grep", "-l", f"0 {uuid}$", "git-annex").endswith(f"/{key}.log")


# --- when it does not go well ---------------------------------------------------------------------------------------


def test_as_long_as_it_cannot_be_read_again_it_is_usable_as_it_was(
    archive: DemoArchive, mirror: Mirror, lived: tuple[str, list[str]], zarr_id: str, tmp_path: Path
) -> None:
    closed, _ = lived
    held = populate(mirror.store, closed)
    before = {name: refs(mirror, name) for name in (closed, zarr_id)}
    text = archive.dandiset(closed).draft.assets["kept.txt"].asset_id
    blob = archive.dandiset(closed).draft.assets["kept.txt"].blob
    assert blob is not None
    archive.s3_faults.add(Status(404), path=blob.blob_id, times=None)
    archive.api_faults.add(Status(404), path=f"/assets/{text}/download/", times=None)
    for count in (1, 2):
        assert mirror.results() == {closed: "failed"}
        failure = mirror.store.state(closed).failure
        assert failure is not None
        assert (failure.count, mirror.store.embargoed()) == (count, [closed])
    assert {name: refs(mirror, name) for name in (closed, zarr_id)} == before
    assert mirror.store.alias(closed).parent == mirror.store.private / "alias"
    assert {key for key, _ in contents.held(mirror.store.alias(closed))} == set(held)
    subprocess.run(["git", "clone", "--quiet", str(mirror.store.alias(closed)), str(tmp_path / "clone")], check=True)
    archive.s3_faults.clear()
    archive.api_faults.clear()
    mirror.run().check()
    assert closed in mirror.store.dandisets()


def test_closed_again_before_it_was_opened_it_is_kept_as_it_was(
    archive: DemoArchive, mirror: Mirror, lived: tuple[str, list[str]], zarr_id: str
) -> None:
    closed, _ = lived
    before = {name: refs(mirror, name) for name in (closed, zarr_id)}
    archive.api_faults.add(Status(404), path=f"/dandisets/{closed}/versions/draft/info/", times=1)
    assert mirror.results() == {closed: "failed"}
    archive.embargo(closed)
    mirror.run().check()
    assert mirror.store.embargoed() == [closed]
    assert {name: refs(mirror, name) for name in (closed, zarr_id)} == before
    mirror.run().check()
    assert not mirror.store.opening_side.data.exists()


def test_a_zarr_that_fails_is_opened_later(
    archive: DemoArchive, mirror: Mirror, lived: tuple[str, list[str]], zarr_id: str, another: Callable[[str], Mirror]
) -> None:
    closed, secrets = lived
    held = populate(mirror.store, zarr_id)
    archive.s3_faults.add(Status(404), path=rf"versions.*{zarr_id}", times=None)
    for _ in range(2):
        assert mirror.results() == {closed: "failed"}
        store = mirror.store
        assert (store.is_embargoed(closed), store.is_private(zarr_id)) == (False, True)
        assert {key for key, _ in contents.held(store.alias(zarr_id))} == set(held)
    archive.s3_faults.clear()
    mirror.run().check()
    assert not mirror.store.is_private(zarr_id)
    assert mirror.store.state(closed).zarrs_closed == ()
    fresh = another("fresh")
    fresh.run(embargoed=False).check()
    assert mirror.git(zarr_id, "rev-parse", "draft") == fresh.git(zarr_id, "rev-parse", "draft")
    assert len(held) - len(list(contents.held(mirror.store.alias(zarr_id)))) == 1
    assert found_in_public(mirror.store, *secrets) == []
    shutil.rmtree(fresh.root)
