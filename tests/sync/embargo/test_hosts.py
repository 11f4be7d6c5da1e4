"""What hosts get of a Dandiset under embargo."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from mirror.demo import DemoArchive
from mirror.publish.hosts.ria import Ria
from mirror.publish.hosts.target import Wanted
from mirror.publish.overview import hosts
from tests.sync.embargo.conftest import Mirror

pytestmark = pytest.mark.usefixtures("token", "closed")


def ria(folder: Path, *, private: bool) -> dict[str, Any]:
    return {"hosts": [{"name": "backup", "kind": "ria", "url": str(folder / "backup"), "private": private}]}


def mode(mirror: Mirror, folder: Path, name: str) -> int:
    """Of its repository on the host."""
    dataset_id = mirror.store.dataset_id(name) if name.isdecimal() else name
    return (folder / "backup" / dataset_id[:3] / dataset_id[3:]).stat().st_mode & 0o777


def test_a_host_that_takes_no_such_thing_gets_nothing(
    mirror: Mirror, closed: str, opened: str, zarr_id: str, tmp_path: Path
) -> None:
    _, published = mirror.publish(publish=ria(tmp_path, private=False))
    (outcome,) = published.hosts
    assert outcome.pushed == [opened, "dandisets"]
    assert set(outcome.embargoed) == {closed, zarr_id}
    assert not list((tmp_path / "backup").rglob(f"*{zarr_id[3:]}*"))


def test_one_that_does_keeps_it_from_others(
    mirror: Mirror, closed: str, opened: str, zarr_id: str, tmp_path: Path
) -> None:
    publish = ria(tmp_path, private=True)
    _, published = mirror.publish(publish=publish)
    assert published.hosts[0].pushed == [zarr_id, opened, closed, "dandisets"]
    assert (mode(mirror, tmp_path, closed), mode(mirror, tmp_path, zarr_id)) == (0o700, 0o700)
    assert mode(mirror, tmp_path, opened) == 0o755
    (row,) = hosts(mirror.settings(publish=publish), mirror.store)
    assert (row.repositories, row.behind) == (4, [])


def test_what_was_pushed_under_embargo_is_never_shown_but_made_anew_once_it_was_deleted(
    archive: DemoArchive, mirror: Mirror, closed: str, zarr_id: str, tmp_path: Path
) -> None:
    publish = ria(tmp_path, private=True)
    mirror.publish(publish=publish)
    archive.clock.advance(60)
    archive.unembargo(closed)
    for _ in range(2):
        _, published = mirror.publish(publish=publish)
        failures = published.hosts[0].failures
        assert failures.keys() == {closed, zarr_id}
        assert "holds what it was under embargo" in failures[closed]
        assert "delete it there, and the next run makes it anew for everybody" in failures[closed]
        assert (mode(mirror, tmp_path, closed), mode(mirror, tmp_path, zarr_id)) == (0o700, 0o700)
    for name in (mirror.store.dataset_id(closed), zarr_id):
        shutil.rmtree(tmp_path / "backup" / name[:3] / name[3:])
    _, published = mirror.publish(publish=publish)
    assert published.hosts[0].failures == {}
    assert {closed, zarr_id} <= set(published.hosts[0].pushed)
    assert (mode(mirror, tmp_path, closed), mode(mirror, tmp_path, zarr_id)) == (0o755, 0o755)
    _, published = mirror.publish(publish=publish)
    assert published.hosts[0].pushed == []


def test_a_push_that_was_broken_off_counts_as_one(
    archive: DemoArchive, mirror: Mirror, closed: str, zarr_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, push = ria(tmp_path, private=True), Ria.push

    def killed_after(target: Ria, wanted: Wanted) -> None:
        push(target, wanted)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ria, "push", killed_after)
        with pytest.raises(KeyboardInterrupt):
            mirror.publish(publish=publish)
    assert mode(mirror, tmp_path, zarr_id) == 0o700
    archive.clock.advance(60)
    archive.unembargo(closed)
    _, published = mirror.publish(publish=publish)
    assert "holds what it was under embargo" in published.hosts[0].failures[zarr_id]
    assert mode(mirror, tmp_path, zarr_id) == 0o700


def test_what_was_public_before_is_shown_again_where_nothing_was_pushed_meanwhile(
    archive: DemoArchive, mirror: Mirror, opened: str, tmp_path: Path
) -> None:
    publish = ria(tmp_path, private=False)
    mirror.publish(publish=publish)
    archive.embargo(opened)
    mirror.publish(publish=publish)
    archive.clock.advance(60)
    archive.add_asset(opened, "meanwhile.txt", b"meanwhile\n")
    mirror.publish(publish=publish)
    archive.unembargo(opened)
    _, published = mirror.publish(publish=publish)
    assert published.hosts[0].failures == {}
    assert mode(mirror, tmp_path, opened) == 0o755


def test_what_is_remembered_of_it_is_for_its_owner_only(mirror: Mirror, zarr_id: str, tmp_path: Path) -> None:
    mirror.publish(publish=ria(tmp_path, private=True))
    marks = mirror.store.host_marks / "backup.jsonl"
    assert zarr_id in marks.read_text()
    assert marks.stat().st_mode & 0o777 == 0o600
    mirror.publish(publish=ria(tmp_path, private=False))
    assert marks.stat().st_mode & 0o777 == 0o644


def test_what_had_been_pushed_is_hidden_when_it_is_withdrawn_and_where_that_was_is_told(
    archive: DemoArchive,
    mirror: Mirror,
    opened: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    publish = ria(tmp_path, private=False)
    mirror.publish(publish=publish)
    archive.embargo(opened)
    _, published = mirror.publish(publish=publish)
    assert published.hosts[0].hidden == [opened]
    assert mode(mirror, tmp_path, opened) == 0o700
    assert f"Dandiset {opened}, which came under embargo, had been pushed to backup" in caplog.text


def test_how_far_it_is_does_not_name_a_zarr_that_nobody_knows(
    mirror: Mirror, zarr_id: str, closed: str, tmp_path: Path
) -> None:
    from mirror.publish.publishing import Publisher
    from mirror.sync.dandiset import layout_of
    from mirror.sync.engine import sync

    told: list[str] = []

    class Watcher:
        def publishing(self, how_far: str) -> None:
            told.append(how_far)

        def superdataset(self, written: object) -> None: ...

        def host(self, outcome: object) -> None: ...

    settings = mirror.settings(publish=ria(tmp_path, private=True))
    with Publisher(settings, layout_of(settings), Watcher()) as publisher:
        sync(settings, follower=publisher)
    assert f"{closed} to backup" in told
    assert "a Zarr to backup" in told
    assert not any(zarr_id in one for one in told)
