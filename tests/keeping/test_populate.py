"""`dandi-mirror populate`: content comes into the store, checked, once, as far as a budget goes."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from mirror.annex.keys import md5e_key
from mirror.demo.faults import Slow, Status
from mirror.store import contents, version_keys
from mirror.store.lock import exclusive
from mirror.sync.engine import sync


def test_a_dandiset_has_its_content_and_says_so(mirror: Any, key_of: Any, files: dict[str, bytes]) -> None:
    said = mirror.populate(mirror.one)
    assert said.code == 0
    assert mirror.held() == {key_of(path, body): len(body) for path, body in files.items()}
    assert [mirror.body(key_of(path, body)) for path, body in files.items()] == list(files.values())
    assert said.of(f"{mirror.one}/sub-1/a.nwb") == {
        "action": "populate",
        "path": f"{mirror.one}/sub-1/a.nwb",
        "status": "ok",
        "type": "file",
        "message": "fetched",
        "dandiset": mirror.one,
        "key": key_of("sub-1/a.nwb", b"one"),
        "bytes": 3,
        "zarr": None,
    }
    assert said.lines[0] == "4 files, 1.3 kB: fetched"


def test_what_is_here_is_not_fetched_again(mirror: Any) -> None:
    mirror.populate(mirror.one)
    asked = mirror.asked()
    refs = mirror.store.repository(mirror.one).refs()
    said = mirror.populate(mirror.one)
    assert (said.code, said.records) == (0, [])
    assert mirror.asked() == asked
    assert mirror.store.repository(mirror.one).refs() == refs


def test_everybody_may_read_it(mirror: Any) -> None:
    mirror.populate(mirror.one)
    objects = mirror.store.repository(mirror.one).path / "annex"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in objects.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in [objects, *objects.rglob("*")] if path.is_dir()}
    assert (modes, folders) == ({0o444}, {0o755})
    assert not list((mirror.store.temporary / "content").iterdir())


@pytest.mark.parametrize(
    ("what", "wanted"),
    [
        ("{}/sub-1", ["sub-1/a.nwb", "sub-1/b.nwb"]),
        ("{}/draft/sub-1/a.nwb", ["sub-1/a.nwb"]),
        ("{}/draft/*/?.nwb", ["sub-1/a.nwb", "sub-1/b.nwb"]),
        ("{}/draft/**.nwb", ["sub-1/a.nwb", "sub-1/b.nwb", "sub-2/ses-1/c.nwb"]),
        ("{}/draft/**/c.*", ["sub-2/ses-1/c.nwb"]),
    ],
)
def test_paths_say_which_files(mirror: Any, what: str, wanted: list[str]) -> None:
    said = mirror.populate(what.format(mirror.one))
    assert said.code == 0
    assert {one["path"] for one in said.records} == {f"{mirror.one}/{path}" for path in wanted}
    assert len(mirror.held()) == len(wanted)


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("{}/draft/README.md", "nothing is annexed at"),
        ("{}/draft/sub-9", "nothing is annexed at"),
        ("000999", "no Dandiset 000999"),
        ("{}/0.1.2", "no version 0.1.2"),
        ("10.80507/dandi.000001/0.1.2", "no version with the DOI"),
        ("SHA256E-s1--" + "0" * 64, "neither a Dandiset nor a path"),
        ("sub-1/a.nwb", "neither a Dandiset nor a path"),
    ],
)
def test_what_is_not_here_is_the_users_mistake(mirror: Any, what: str, why: str) -> None:
    said = mirror.populate(what.format(mirror.one))
    assert said.code == 2
    assert why in str(said.error)
    assert mirror.held() == {}


def test_without_anything_to_fetch_it_asks(mirror: Any) -> None:
    said = mirror.populate()
    assert said.code == 2
    assert "what is to be fetched" in str(said.error)


def test_versions_are_meant_by_name_doi_or_option(mirror: Any) -> None:
    version = mirror.archive.publish(mirror.one)
    mirror.archive.remove_asset(mirror.one, "sub-1/a.nwb")
    mirror.archive.add_assets(mirror.one, [("sub-3/e.nwb", b"later")])
    mirror.sync()
    drafts = {one["path"] for one in mirror.populate(mirror.one, "--dry-run").records}
    released = {one["path"] for one in mirror.populate(mirror.one, "--from-releases", "--dry-run").records}
    assert drafts - released == {f"{mirror.one}/sub-3/e.nwb"}
    assert released - drafts == {f"{mirror.one}/sub-1/a.nwb"}
    (doi,) = [
        name.removeprefix("refs/tags/doi/")
        for name in mirror.store.repository(mirror.one).refs()
        if name.startswith("refs/tags/doi/")
    ]
    for given in (f"{mirror.one}/{version}", f"{mirror.one}@{version}", f"DANDI:{mirror.one}/{version}", doi):
        assert {one["path"] for one in mirror.populate(given, "--dry-run").records} == released


def test_a_query_says_which_dandisets(mirror: Any) -> None:
    other = mirror.archive.create_dandiset("Sleep")
    mirror.archive.add_assets(other, [("sub-5/z.nwb", b"of another")])
    mirror.sync()
    said = mirror.populate("--where", "name ~ sleep")
    assert [one["path"] for one in said.records] == [f"{other}/sub-5/z.nwb"]
    assert mirror.populate(mirror.one, "--where", "name ~ sleep").records == []
    assert mirror.held() == {}


def test_a_budget_goes_to_the_small_ones_and_counts_what_is_here(mirror: Any, key_of: Any) -> None:
    said = mirror.populate(mirror.one, "--budget", "25B")
    assert said.code == 0
    small = {key_of("sub-1/a.nwb", b"one"): 3, key_of("sub-1/b.nwb", b"three"): 5}
    assert mirror.held() == small | {key_of("c.nwb", b"seven of them"): 13}
    assert "1 file, 1.3 kB: beyond the budget" in said.lines
    assert mirror.populate(mirror.one, "--budget", "25B").records == []
    assert len(mirror.held()) == 3
    assert mirror.populate(mirror.one, "--budget", "2 kB").code == 0
    assert len(mirror.held()) == 4


def test_a_budget_that_is_none_is_refused(mirror: Any) -> None:
    assert mirror.populate(mirror.one, "--budget", "much").code == 2


def test_a_dry_run_tells_and_fetches_nothing(mirror: Any) -> None:
    mirror.populate(f"{mirror.one}/sub-1")
    asked, refs = mirror.asked(), mirror.store.repository(mirror.one).refs()
    said = mirror.populate(mirror.one, "--dry-run")
    assert [(one["path"], one["message"]) for one in said.records] == [
        (f"{mirror.one}/sub-2/ses-1/c.nwb", "would be fetched"),
        (f"{mirror.one}/sub-2/d.dat", "would be fetched"),
    ]
    assert said.lines == ["2 files, 1.3 kB: would be fetched", "2 files, 8 B: here already"]
    assert (mirror.asked(), mirror.store.repository(mirror.one).refs()) == (asked, refs)


def test_a_dry_run_needs_not_be_allowed_to_write_there(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda _, mode, **__: mode != os.W_OK)
    assert mirror.populate(mirror.one, "--dry-run").lines == ["4 files, 1.3 kB: would be fetched"]
    assert not (Path(mirror.folder) / "state" / "tmp" / "content").exists()


def test_the_same_bytes_are_fetched_and_stored_once(mirror: Any, key_of: Any, files: dict[str, bytes]) -> None:
    other = mirror.archive.create_dandiset("Ripples again")
    body = files["sub-2/d.dat"]
    mirror.archive.add_assets(other, [("sub-7/same.dat", body), ("sub-7/same.mp4", body)])
    mirror.sync()
    said = mirror.populate(mirror.one, other)
    assert said.code == 0
    ours = mirror.store.dataset_id(other)
    assert set(mirror.held(ours)) == {key_of("same.dat", body), key_of("same.mp4", body)}
    places = [contents.found(mirror.store.repository(mirror.one).path, key_of("d.dat", body))]
    places += [contents.found(mirror.store.repository(other).path, key) for key in mirror.held(ours)]
    assert len({place.stat().st_ino for place in places if place is not None}) == 1
    assert mirror.archive.count(server="s3", method="GET", path="/blobs/") <= len(files) + 1
    assert "2 files, 2.6 kB: held already, and shared" in said.lines


def test_files_of_a_zarr_come_into_its_own_dataset(mirror: Any) -> None:
    files = {"0/0.0": b"chunk", "0/0.1": b"chunk", "0/1.0": b"another", ".zattrs": b"{}"}
    zarr_id = mirror.archive.add_zarr(mirror.one, "sub-1/image.zarr", files)
    mirror.sync()
    said = mirror.populate(f"{mirror.one}/sub-1/image.zarr")
    assert said.code == 0
    keys = {md5e_key(name, len(body), md5(body).hexdigest()) for name, body in files.items()}
    assert set(mirror.held(zarr_id)) == keys
    assert mirror.held() == {}
    mirror.archive.change_zarr(mirror.one, "sub-1/image.zarr", {"0/1.1": b"a fourth"}, [])
    mirror.sync()
    assert set(mirror.held(zarr_id)) == keys
    assert len(mirror.populate(mirror.one).records) == 1 + 4


def test_zarrs_without_what_is_meant_are_not_looked_into(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr_id = mirror.archive.add_zarr(mirror.one, "sub-1/image.zarr", {"0/0.0": b"chunk", ".zattrs": b"{}"})
    mirror.sync()
    looked_into: list[str] = []
    zarr_keys = version_keys._zarr_keys

    def watched(store: Any, path: str, zarr_id: str, *more: Any) -> Any:
        looked_into.append(zarr_id)
        return zarr_keys(store, path, zarr_id, *more)

    monkeypatch.setattr(version_keys, "_zarr_keys", watched)
    assert len(mirror.populate(f"{mirror.one}/draft/sub-2", "-n").records) == 2
    assert looked_into == []
    assert len(mirror.populate(f"{mirror.one}/draft/**/.zattrs", "-n").records) == 1
    assert looked_into == [zarr_id]


def test_zarrs_held_as_manifests_are_told_of(mirror_with: Callable[..., Any]) -> None:
    mirror = mirror_with(zarr={"hold": "manifest"})
    zarr_id = mirror.archive.add_zarr(mirror.one, "sub-1/image.zarr", {"0/0": b"chunk"})
    mirror.sync()
    said = mirror.populate(mirror.one)
    assert said.code == 0
    assert len(mirror.held()) == 4
    told = said.of(f"{mirror.one}/sub-1/image.zarr")
    assert told["status"] == "impossible"
    assert f"dandi-mirror materialize {zarr_id}" in told["message"]
    assert mirror.populate(f"{mirror.one}/draft/sub-1/image.zarr/0").records == [told]


def test_only_one_works_on_the_content_at_a_time_and_syncs_go_on(mirror: Any) -> None:
    with exclusive(mirror.store.root / "state" / "content.lock", "somebody else"):
        mirror.archive.add_assets(mirror.one, [("sub-3/e.nwb", b"later")])
        mirror.sync()
        said = mirror.populate(mirror.one)
    assert said.code == 11
    assert "somebody else" in str(said.error)
    with mirror.store.lock("a sync"):
        assert mirror.populate(mirror.one).code == 0
    assert len(mirror.held()) == 5


def test_what_cannot_be_had_fails_and_the_rest_comes(mirror: Any, key_of: Any) -> None:
    lost = mirror.archive.asset(mirror.one, "sub-1/b.nwb").blob
    mirror.archive.objects.delete_version(lost.key, mirror.archive.objects.latest(lost.key).version_id)
    said = mirror.populate(mirror.one)
    assert said.code == 3
    assert said.of(f"{mirror.one}/sub-1/b.nwb")["status"] == "error"
    assert len(mirror.held()) == 3
    assert key_of("b.nwb", b"three") not in mirror.held()


def test_a_disk_without_room_ends_it_and_what_came_is_noted(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mirror.keeping import populating
    from mirror.store.room import Room

    monkeypatch.setattr(populating, "_LEFT_FREE", 0)
    monkeypatch.setattr(populating, "room_at", lambda _: Room(100, None))
    said = mirror.populate(mirror.one)
    assert said.code == 1
    assert "the disk has 100 bytes left" in str(said.error)
    assert len(mirror.held()) == 3


def test_however_often_it_is_noted_the_packs_stay_few(mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.archive.add_assets(mirror.one, [(f"sub-8/{number}.dat", b"%d" % number) for number in range(60)])
    mirror.sync()
    monkeypatch.setattr("mirror.keeping.populating._NOTE_KEYS", 1)
    assert mirror.populate(mirror.one).code == 0
    assert len(mirror.held()) == 64
    assert len(mirror.store.repository(mirror.one).packs()) <= 21


def test_syncs_and_a_populate_may_write_to_one_dandiset_at_once(mirror: Any) -> None:
    mirror.archive.add_assets(mirror.one, [(f"sub-8/{number}.dat", b"%d" % number) for number in range(30)])
    mirror.sync()
    mirror.archive.s3_faults.add(Slow(0.3), path="/blobs/", times=None)
    changes = 0
    with mirror.populating(mirror.one) as process:
        while process.poll() is None:
            mirror.archive.add_assets(mirror.one, [(f"sub-9/{changes}.dat", b"later %d" % changes)])
            sync(mirror.settings(), [mirror.one]).check()
            changes += 1
    assert process.returncode == 0
    assert changes > 1
    assert len(mirror.held()) >= 34


def test_a_book_that_was_lost_is_made_anew(mirror: Any) -> None:
    mirror.populate(mirror.one)
    asked = mirror.asked()
    for path in (mirror.store.root / "state").glob("contents.sqlite*"):
        path.unlink()
    said = mirror.populate(mirror.one)
    assert (said.records, mirror.asked()) == ([], asked)
    assert said.lines[-1] == "4 files, 1.3 kB: held in all"


def test_content_that_was_taken_away_is_no_longer_said_to_be_here(mirror: Any, key_of: Any) -> None:
    mirror.populate(mirror.one)
    key = key_of("a.nwb", b"one")
    contents.drop(mirror.store.repository(mirror.one).path, key)
    mirror.archive.s3_faults.add(Status(404), path="/blobs/")
    mirror.archive.api_faults.add(Status(404), path="/assets/")
    assert mirror.populate(mirror.one).code == 3
    assert key not in mirror.held()


def test_a_token_is_not_needed_and_what_is_asked_for_is_remembered(mirror: Any) -> None:
    mirror.populate(f"{mirror.one}/sub-1")
    pins = json.loads((Path(mirror.folder) / "state" / "pins.json").read_text())
    draft = mirror.store.repository(mirror.one).refs()["refs/heads/draft"].hex()
    assert pins == [{"identifier": mirror.one, "version": "draft", "commit": draft, "paths": ["sub-1"]}]
