"""Two mirrors of one archive have equal hashes, whoever makes them, where, when and how."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mirror.demo import DemoArchive
from mirror.store.store import Store

if TYPE_CHECKING:
    from tests.sync.conftest import MirrorOnce, RefsOf

MOUSE = {
    "wasAttributedTo": [{"species": {"name": "Mus musculus", "identifier": "mouse"}, "sex": {"name": "Female"}}],
    "weights": {"é": 1.0, "b": 1e-7, "a": [1e22, 0.1, -0.0, 2**53]},
    "note": "😀\u2028 Zoë",
}


@pytest.fixture
def dandisets(archive: DemoArchive) -> list[str]:
    """Three Dandisets with something of everything."""
    found = []
    for number in range(3):
        identifier = archive.create_dandiset(f"Zoë's ripples 😀 {number}", contributors=["Buzsáki, György"])
        archive.add_assets(
            identifier,
            [
                *((f"sub-{subject}/é_{subject}.nwb", b"%d" % subject, MOUSE) for subject in range(12)),
                ("README.md", "Zoë\n".encode()),
                ("a.b/c.nwb", b"c"),
                ("a/c.nwb", b"c"),
                ("a-b.nwb", b""),
            ],
        )
        archive.publish(identifier, release_notes="Erste Fassung: ü")
        archive.clock.advance(3600)
        archive.replace_asset(identifier, "README.md", content=b"Again\n")
        archive.remove_asset(identifier, "sub-3/é_3.nwb")
        archive.publish(identifier)
        archive.add_asset(identifier, "unfinished.nwb", b"%d unfinished" % number, hashed=False)
        archive.add_zarr_asset(identifier, "image.zarr")
        archive.add_zarr(identifier, "real.zarr", {f"{at % 7}/{at}.é": b"%d" % (at % 9) for at in range(60)})
        found.append(identifier)
    return found


def run_command(archive: DemoArchive, store: Path, folder: Path, umask: int, **environment: str) -> None:
    """`dandi-mirror sync` in a process of its own."""
    folder.mkdir()
    settings = folder / "settings.yaml"
    settings.write_text(
        f"store: {store}\njobs: 1\narchive:\n  instance: demo-dandi\n  api_url: {archive.api_url}\n"
        f"  s3_endpoint: {archive.s3_endpoint}\n  settle_seconds: 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mirror", "sync", "-c", str(settings)],
        cwd=folder,
        env={**os.environ, **environment},
        umask=umask,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_time_place_user_and_locale_do_not_matter(
    archive: DemoArchive, dandisets: list[str], tmp_path: Path, refs_of: RefsOf
) -> None:
    one, other = tmp_path / "one", tmp_path / "a much longer folder" / "other"
    run_command(archive, one, tmp_path / "cwd 1", 0o022, TZ="UTC", LC_ALL="C.UTF-8", PYTHONHASHSEED="1")
    archive.clock.advance(days=400)
    run_command(
        archive,
        other,
        tmp_path / "cwd 2",
        0o077,
        TZ="Pacific/Kiritimati",
        LC_ALL="C",
        PYTHONHASHSEED="2",
        PYTHONUTF8="0",
        GIT_AUTHOR_NAME="Somebody Else",
        GIT_COMMITTER_DATE="2001-01-01T00:00:00Z",
        USER="somebody",
        HOSTNAME="elsewhere",
    )
    for identifier in dandisets:
        refs = refs_of(identifier, store=one)
        assert refs == refs_of(identifier, store=other)
        assert {"refs/heads/draft", "refs/heads/releases", "refs/heads/git-annex"} < refs.keys()
        assert sum(name.startswith("refs/tags/") for name in refs) == 4
    zarrs = Store.open(one).zarrs()
    assert zarrs == Store.open(other).zarrs()
    assert len(zarrs) == 3
    for zarr_id in zarrs:
        refs = refs_of(zarr_id, store=one)
        assert refs == refs_of(zarr_id, store=other)
        assert len(refs) == 4
    assert Store.open(one).facts.id != Store.open(other).facts.id


def test_one_process_or_two_do_not_matter(
    dandisets: list[str], tmp_path: Path, mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    mirror_once(store=one, jobs=1).check()
    mirror_once(store=two, jobs=2).check()
    for identifier in dandisets:
        assert refs_of(identifier, store=one) == refs_of(identifier, store=two)


def test_the_order_in_which_the_archive_lists_paths_does_not_matter(
    archive: DemoArchive, dandisets: list[str], tmp_path: Path, mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    mirror_once(store=one).check()
    archive.path_order = "bytes"
    for identifier in dandisets:
        for version in (archive.dandiset(identifier).draft, *archive.dandiset(identifier).published.values()):
            version.sorted_assets.clear()
    mirror_once(store=two).check()
    for identifier in dandisets:
        assert refs_of(identifier, store=one) == refs_of(identifier, store=two)


def test_releases_do_not_depend_on_when_the_mirror_began_nor_how_often_it_polled(
    archive: DemoArchive, tmp_path: Path, mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    from_the_start, seldom = tmp_path / "from the start", tmp_path / "seldom"
    identifier = archive.create_dandiset("Ripples")
    for step in range(6):
        archive.clock.advance(days=1)
        archive.add_asset(identifier, f"sub-{step}/a.nwb", b"%d" % step)
        mirror_once(store=from_the_start)
        archive.replace_asset(identifier, f"sub-{step}/a.nwb", metadata=MOUSE)
        mirror_once(store=from_the_start)
        if step % 2:
            archive.publish(identifier)
            mirror_once(store=from_the_start)
        if step == 3:
            mirror_once(store=seldom)
    mirror_once(store=seldom)
    made_now = tmp_path / "made now"
    mirror_once(store=made_now)
    published = [
        {name: oid for name, oid in refs_of(identifier, store=store).items() if "tags" in name or "releases" in name}
        for store in (from_the_start, seldom, made_now)
    ]
    assert published[0] == published[1] == published[2]
    assert len(published[0]) == 7


def test_what_is_only_added_is_said_alike_in_the_annex_branch_whenever_it_was_seen(
    archive: DemoArchive, tmp_path: Path, mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    followed, made_now = tmp_path / "followed", tmp_path / "made now"
    identifier = archive.create_dandiset("Ripples")
    for step in range(3):
        archive.clock.advance(days=1)
        archive.add_asset(identifier, f"sub-{step}/a.nwb", b"%d" % step, MOUSE)
        mirror_once(store=followed)
        # the same bytes once more: a second asset, whose address comes when it is published
        archive.add_asset(identifier, f"sub-{step}/copy.nwb", b"%d" % step, MOUSE)
        mirror_once(store=followed)
        archive.publish(identifier)
        mirror_once(store=followed)
    mirror_once(store=made_now)
    tree = "git-annex^{tree}"
    assert refs_of(identifier, store=followed)[tree] == refs_of(identifier, store=made_now)[tree]
