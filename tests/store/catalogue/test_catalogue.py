"""The catalogue: what there is and where everything was, the same however it came to be, and no loss when lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mirror.demo.zarr_files import sample_image, zarr_files
from mirror.errors import StoreError
from mirror.store.catalogue import Catalogue, Occurrence
from mirror.store.store import Store


def catalogue_file(store: Store) -> Path:
    return store.root / "state" / "catalogue.sqlite"


def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the catalogue has of repositories, whatever the order it came to know it in."""
    spans = "release_from, release_to, draft_from, draft_to"
    key = "identifier, path, asset_id, content, sha256, is_zarr, size"
    with store.catalogue() as catalogue:
        db = catalogue.db
        found = {
            "dandiset": db.execute("SELECT identifier, draft, releases, annex FROM dandiset ORDER BY 1").fetchall(),
            "state": db.execute(
                "SELECT identifier, line, state.number, oid, version, modified, assets, bytes, doi, facts FROM state "
                "JOIN dandiset ON dandiset.number = dandiset ORDER BY 1, 2, 3"
            ).fetchall(),
        }
        rows = db.execute(
            f"SELECT {key}, {spans} FROM asset JOIN dandiset ON dandiset.number = dandiset ORDER BY {key}"
        ).fetchall()
    # Which of an asset's rows has which of its intervals is not said.
    for line, columns in (("release", (7, 8)), ("draft", (9, 10))):
        intervals = [(*row[:7], *(row[column] for column in columns)) for row in rows]
        found[line] = sorted((row for row in intervals if row[7] is not None), key=repr)
    return found


def rebuilt(mirror: Any) -> dict[str, list[tuple[Any, ...]]]:
    catalogue_file(mirror.store).unlink()
    assert mirror.follow() == []
    return contents(mirror.store)


def assets(mirror: Any, **asked: Any) -> list[Occurrence]:
    with mirror.store.catalogue() as catalogue:
        return list(catalogue.assets(**asked))


def only(found: list[Occurrence]) -> Occurrence:
    (one,) = found
    return one


# --- versions ------------------------------------------------------------------------------------------------------


def test_versions_stand_by_dandiset_in_the_order_of_their_history_the_draft_last(mirror: Any) -> None:
    first = mirror.archive.publish(mirror.one)
    other = mirror.archive.create_dandiset("Another")
    mirror.archive.add_asset(other, "x.nwb", b"x")
    mirror.archive.clock.advance(days=1)
    second = mirror.archive.publish(mirror.one)
    mirror.sync_and_follow()
    with mirror.store.catalogue() as catalogue:
        standings = list(catalogue.standings())
        draft = catalogue.standing(mirror.one)
        release = catalogue.standing(mirror.one, first)
        assert catalogue.standing(mirror.one, "0.1.2") is None
        assert catalogue.standing("000999") is None
    named = [(standing.facts.identifier, standing.facts.version) for standing in standings]
    assert named == [(mirror.one, first), (mirror.one, second), (mirror.one, "draft"), (other, "draft")]
    assert draft is not None
    assert release is not None
    assert draft.commit == mirror.draft
    assert release.commit == mirror.refs()[f"refs/tags/{first}"]
    assert (release.facts.name, release.facts.assets) == ("Ripples", 3)


def test_a_version_is_found_by_its_doi_in_any_case(mirror: Any) -> None:
    version = mirror.archive.publish(mirror.one)
    mirror.sync_and_follow()
    with mirror.store.catalogue() as catalogue:
        doi = catalogue.standing(mirror.one, version).facts.doi  # type: ignore[union-attr]
        assert doi is not None
        assert catalogue.by_doi(doi.upper()) == catalogue.standing(mirror.one, version)
        assert catalogue.by_doi("10.1/nothing") is None


def test_of_drafts_only_the_present_one_has_its_facts(mirror: Any) -> None:
    mirror.follow()
    mirror.archive.edit_dandiset(mirror.one, name="Ripples and more")
    mirror.sync_and_follow()
    with mirror.store.catalogue() as catalogue:
        (standing,) = catalogue.standings()
    assert standing.facts.name == "Ripples and more"
    assert standing.commit == mirror.draft


# --- assets --------------------------------------------------------------------------------------------------------


def test_an_asset_is_found_by_its_id_its_content_its_digest_and_its_path(mirror: Any) -> None:
    mirror.follow()
    asset = mirror.archive.asset(mirror.one, "sub-1/a.nwb")
    found = only(assets(mirror, path="sub-1/a.nwb"))
    assert found == Occurrence(
        identifier=mirror.one,
        path="sub-1/a.nwb",
        asset_id=asset.asset_id,
        content=asset.blob.blob_id,
        is_zarr=False,
        sha256=asset.blob.sha256,
        size=3,
        versions=(),
        draft=mirror.draft,
        last_draft=None,
    )
    assert assets(mirror, asset_id=found.asset_id.upper()) == [found]
    assert assets(mirror, content=found.content) == [found]
    assert assets(mirror, sha256=found.sha256) == [found]
    assert assets(mirror, path="sub-1/a.nwb", identifier=mirror.one) == [found]
    assert assets(mirror, path="sub-1/a.nwb", identifier="000999") == []
    assert assets(mirror, path="sub-1") == assets(mirror, asset_id="nothing") == assets(mirror, sha256="0" * 64) == []


@pytest.mark.parametrize("asked", [{}, {"path": "a", "sha256": "0" * 64}])
def test_it_is_asked_for_by_exactly_one_of_them(mirror: Any, asked: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="values to unpack"):
        assets(mirror, **asked)


def test_one_content_may_be_in_many_places(mirror: Any) -> None:
    other = mirror.archive.create_dandiset("Another")
    mirror.archive.add_assets(other, [("copy.nwb", b"one"), ("second/copy.nwb", b"one")])
    mirror.sync_and_follow()
    sha256 = only(assets(mirror, path="sub-1/a.nwb")).sha256
    found = [(one.identifier, one.path) for one in assets(mirror, sha256=sha256)]
    assert found == [(mirror.one, "sub-1/a.nwb"), (other, "copy.nwb"), (other, "second/copy.nwb")]


def test_what_no_version_holds_any_more_is_still_found(mirror: Any) -> None:
    mirror.follow()
    held_last = mirror.draft
    mirror.archive.remove_asset(mirror.one, "sub-1/a.nwb")
    mirror.sync_and_follow()
    gone = only(assets(mirror, path="sub-1/a.nwb"))
    assert (gone.versions, gone.draft) == ((), None)
    assert gone.last_draft is not None
    commit, modified = gone.last_draft
    assert commit == held_last
    assert modified.startswith("2026-11-20T15:34:")


def test_published_versions_that_hold_an_asset_are_told_oldest_first(mirror: Any) -> None:
    versions = []
    for number in range(3):
        if number == 2:
            mirror.archive.remove_asset(mirror.one, "sub-1/b.nwb")
        versions.append(mirror.archive.publish(mirror.one))
        mirror.archive.clock.advance(days=1)
    mirror.sync_and_follow()
    commits = [(version, mirror.refs()[f"refs/tags/{version}"]) for version in versions]
    assert only(assets(mirror, path="sub-1/a.nwb")).versions == tuple(commits)
    gone = only(assets(mirror, path="sub-1/b.nwb"))
    assert gone.versions == tuple(commits[:2])
    assert (gone.draft, gone.last_draft is not None) == (None, True)


def test_at_a_path_the_draft_comes_first_and_then_what_was_there_last(mirror: Any) -> None:
    for content in (b"the second", b"the third", b"the latest"):
        mirror.archive.replace_asset(mirror.one, "sub-1/a.nwb", content=content)
        mirror.sync_and_follow()
    found = assets(mirror, path="sub-1/a.nwb")
    assert [one.sha256 for one in found] == [
        sha256(content).hexdigest() for content in (b"the latest", b"the third", b"the second", b"one")
    ]
    assert [one.draft is not None for one in found] == [True, False, False, False]


def test_an_asset_that_left_and_came_back_is_one(mirror: Any) -> None:
    archive, one = mirror.archive, mirror.one
    removed = archive.dandiset(one).draft.assets["sub-1/a.nwb"]
    mirror.follow()
    for _ in range(2):
        archive.remove_asset(one, "sub-1/a.nwb")
        mirror.sync_and_follow()
        archive.dandiset(one).draft.assets["sub-1/a.nwb"] = removed
        archive.assets[removed.asset_id] = removed
        archive.dandiset(one).draft.assets_changed()
        archive.touch_draft(one)
        mirror.sync_and_follow()
    found = only(assets(mirror, path="sub-1/a.nwb"))
    assert found.draft == mirror.draft
    assert contents(mirror.store) == rebuilt(mirror)


def test_an_asset_not_hashed_yet_is_there_without_its_digest(mirror: Any) -> None:
    asset_id = mirror.archive.add_asset(mirror.one, "sub-2/new.nwb", b"new", hashed=False)
    (first,) = mirror.sync_and_follow()[-1:]
    waiting = only(assets(mirror, asset_id=asset_id))
    assert (waiting.sha256, waiting.size, waiting.draft) == (None, 3, mirror.draft)
    mirror.archive.hash_now()
    mirror.sync(everything=True)
    (second,) = mirror.follow()
    assert (first.assets, second.assets, second.modified, second.added) == (4, 4, 1, 0)
    now, before = assets(mirror, asset_id=asset_id)
    assert now.sha256 is not None
    assert (now.draft, before.draft) == (mirror.draft, None)
    assert contents(mirror.store) == rebuilt(mirror)


def test_zarrs_of_the_draft_and_of_published_versions_are_named(mirror: Any) -> None:
    archive, image = mirror.archive, sample_image(32)
    kept, published, dropped = (
        archive.add_zarr(mirror.one, f"{name}.zarr", zarr_files(image + number, chunks=(16, 16)))
        for number, name in enumerate(("kept", "published", "dropped"))
    )
    mirror.sync_and_follow()
    archive.remove_asset(mirror.one, "dropped.zarr")
    archive.publish(mirror.one, allow_zarrs=True)
    archive.remove_asset(mirror.one, "published.zarr")
    mirror.sync_and_follow()
    with mirror.store.catalogue() as catalogue:
        assert catalogue.zarr_ids(mirror.one) == {kept, published}
        assert catalogue.zarr_ids("000999") == set()
    assert only(assets(mirror, content=dropped)).is_zarr


def test_a_zarr_that_changed_is_one_asset_of_its_latest_size(mirror: Any) -> None:
    archive, files = mirror.archive, zarr_files(sample_image(32), chunks=(16, 16))
    zarr = archive.add_zarr(mirror.one, "image.zarr", files)
    first = mirror.sync_and_follow()[-1]
    archive.change_zarr(mirror.one, "image.zarr", {"0.0": b"other bytes"})
    (second,) = mirror.sync_and_follow()
    assert (second.modified, second.added, second.removed) == (1, 0, 0)
    size = only(assets(mirror, content=zarr)).size
    assert size == archive.asset(mirror.one, "image.zarr").size
    assert second.bytes_changed == second.bytes - first.bytes != 0
    assert contents(mirror.store) == rebuilt(mirror)


# --- however it came to be -----------------------------------------------------------------------------------------


def edit_title(mirror: Any) -> None:
    mirror.archive.edit_dandiset(mirror.one, name="Another title")


def rename(mirror: Any) -> None:
    mirror.archive.rename_asset(mirror.one, "sub-1/a.nwb", "sub-9/a.nwb")


def replace(mirror: Any) -> None:
    mirror.archive.replace_asset(mirror.one, "README.md", content=b"# Read me\n")


def publish(mirror: Any) -> None:
    mirror.archive.clock.advance(days=1)
    mirror.archive.publish(mirror.one)


def grow(mirror: Any) -> None:
    """So much that the folder's records are spread over several files."""
    mirror.archive.add_assets(mirror.one, [(f"sub-1/{number:04}.dat", b"%d" % number) for number in range(1001)])


def shrink(mirror: Any) -> None:
    for number in range(0, 1000, 3):
        mirror.archive.remove_asset(mirror.one, f"sub-1/{number:04}.dat")


def add_another(mirror: Any) -> None:
    other = mirror.archive.create_dandiset("Another")
    mirror.archive.add_asset(other, "x.nwb", b"x")
    mirror.archive.publish(other)


Step = Callable[[Any], None]
STORIES: dict[str, list[Step]] = {
    "published before it was mirrored": [publish, rename, replace, publish],
    "published late": [rename, replace, publish, edit_title, publish],
    "grown and shrunk": [grow, publish, shrink, publish],
    "another": [add_another, replace, publish],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_made_anew_it_has_the_same_in_it_as_when_it_followed(mirror: Any, story: list[Step]) -> None:
    if story[0] is not publish:
        mirror.follow()
    for step in story:
        step(mirror)
        mirror.sync_and_follow()
        assert contents(mirror.store) == rebuilt(mirror)


def test_several_steps_at_once_come_to_the_same_as_one_by_one(mirror: Any) -> None:
    mirror.follow()
    for step in (rename, publish, replace, edit_title, publish):
        step(mirror)
        mirror.sync()
    mirror.follow()
    assert contents(mirror.store) == rebuilt(mirror)


def test_history_that_was_rewritten_is_read_anew(mirror: Any) -> None:
    mirror.archive.publish(mirror.one)
    mirror.sync_and_follow()
    repository = mirror.store.repository(mirror.one)
    refs = repository.refs()
    with repository.objects() as objects:
        (before, _) = objects.commit(refs["refs/heads/draft"]).parents
    gone = {name: None for name in refs if name.startswith("refs/tags/") or name == "refs/heads/releases"}
    repository.publish(None, {"refs/heads/draft": before, **gone})
    with mirror.chronicle() as chronicle:
        chronicle.follow(mirror.one)
    with mirror.store.catalogue() as catalogue:
        (draft,) = catalogue.standings()
    assert draft.commit == before.hex()
    assert contents(mirror.store) == rebuilt(mirror)


def test_a_dandiset_that_is_not_in_the_store_any_more_leaves_the_catalogue(mirror: Any) -> None:
    add_another(mirror)
    mirror.sync_and_follow()
    mirror.store.alias("000002").unlink()
    repository = mirror.store.repository("000002").path
    repository.rename(repository.with_name("gone"))
    assert mirror.follow() == []
    with mirror.store.catalogue() as catalogue:
        assert {standing.facts.identifier for standing in catalogue.standings()} == {mirror.one}
    assert assets(mirror, path="x.nwb") == []


# --- the file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000, b"x"])
def test_a_damaged_catalogue_is_thrown_away_and_made_anew(mirror: Any, body: bytes) -> None:
    mirror.follow()
    before = contents(mirror.store)
    catalogue_file(mirror.store).write_bytes(body)
    assert mirror.follow() == []
    assert contents(mirror.store) == before


def test_so_is_one_of_another_format(mirror: Any) -> None:
    mirror.follow()
    before = contents(mirror.store)
    db = sqlite3.connect(catalogue_file(mirror.store))
    db.execute("PRAGMA user_version = 99")
    db.close()
    assert mirror.follow() == []
    assert contents(mirror.store) == before


def test_it_tells_whether_all_of_the_store_is_in_it(mirror: Any) -> None:
    with mirror.store.catalogue() as catalogue:
        assert not catalogue.is_complete
        assert list(catalogue.standings()) == []
    mirror.follow()
    with mirror.store.catalogue() as catalogue:
        assert catalogue.is_complete
        with mirror.chronicle() as chronicle:
            chronicle.begin()
            assert not catalogue.is_complete


def test_reading_goes_on_while_it_is_written(mirror: Any) -> None:
    mirror.follow()
    with mirror.store.catalogue() as catalogue, Catalogue(catalogue_file(mirror.store)) as writing:
        with writing.writing():
            writing.db.execute("DELETE FROM state")
            assert len(list(catalogue.standings())) == 1
        assert list(catalogue.standings()) == []


STRANGER = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def said_by_stranger(say: Callable[[], str]) -> str:
    """What somebody says who owns nothing here."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
            said = say()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def public(mirror: Any) -> Iterator[Any]:
    """The mirror, in a folder that others can look into; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="mirror-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(mirror.store.root, Path(folder, "store"), symlinks=True)
        mirror.store = Store.open(Path(folder, "store"))
        yield mirror


@needs_root
def test_who_may_only_read_the_store_asks_it_all_the_same(public: Any) -> None:
    store = public.store

    def say() -> str:
        with store.catalogue() as catalogue:
            (found,) = catalogue.assets(path="README.md")
            return f"{found.draft} {len(list(catalogue.standings()))}"

    before = os.umask(0o077)
    try:
        assert "cannot be read" in said_by_stranger(say)
        public.follow()
        assert said_by_stranger(say) == f"{public.draft} 1"
        with public.chronicle() as chronicle:
            chronicle.begin()
            assert said_by_stranger(say) == f"{public.draft} 1"
    finally:
        os.umask(before)


def test_answers_are_of_one_moment(mirror: Any) -> None:
    """Between two questions that one answer takes, another process may rewrite everything."""
    mirror.follow()
    with mirror.store.catalogue() as catalogue:
        found = catalogue.assets(path="README.md")
        lose = Catalogue(catalogue_file(mirror.store))
        with lose, lose.writing():
            lose.db.execute("DELETE FROM state")
        assert only(list(found)).draft == mirror.draft


def test_what_is_no_text_is_nowhere(mirror: Any) -> None:
    mirror.follow()
    assert assets(mirror, path="sub-1/\udcff") == assets(mirror, content="\udcff") == []


def test_damage_that_shows_late_is_told_with_what_to_do(mirror: Any) -> None:
    mirror.follow()
    path = catalogue_file(mirror.store)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StoreError, match=r"catalogue\.sqlite cannot be read: .*if it is damaged, delete it"):
        assets(mirror, path="README.md")
