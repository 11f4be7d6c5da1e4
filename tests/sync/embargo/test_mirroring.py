"""A Dandiset under embargo, mirrored for those who may see it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mirror.archive.addresses import AssetAddress, ZarrFileAddress, addresses
from mirror.archive.client import ArchiveClient
from mirror.demo import DemoArchive
from mirror.demo.faults import Status
from mirror.errors import NotAllowed
from mirror.store.glance import Glances
from mirror.store.overview import overview
from mirror.sync.connection import Connection
from mirror.sync.zarr.materialize import materialize
from tests.sync.embargo.conftest import TOKEN_VARIABLE, Mirror, public_files

pytestmark = pytest.mark.usefixtures("token", "closed")

NOBODY = 65534


# --- which are mirrored -------------------------------------------------------------------------------------------


def test_without_the_setting_they_are_not_asked_for(archive: DemoArchive, mirror: Mirror, opened: str) -> None:
    assert mirror.results(embargoed=False) == {opened: "changed"}
    assert archive.count(path="embargoed=true") == 0
    assert not mirror.store.private.exists()


def test_without_a_token_they_are_not_asked_for_and_it_is_said_once(
    archive: DemoArchive,
    mirror: Mirror,
    opened: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from mirror.sync import poll

    poll._tell_of_missing_token.cache_clear()
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert mirror.results() == {opened: "changed"}
    assert mirror.run().still == 1
    assert [record.message for record in caplog.records if "no token" in record.message] == [
        "select.embargoed is on, but there is no token: embargoed Dandisets are not mirrored; set"
        f" {TOKEN_VARIABLE}, or give it to `git credential`"
    ]
    assert archive.count(path="embargoed") == 0


def test_those_that_somebody_else_owns_are_not(
    archive: DemoArchive, mirror: Mirror, opened: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, archive.other_token)
    assert mirror.results() == {opened: "changed"}


def test_a_poll_asks_for_the_list_once(archive: DemoArchive, mirror: Mirror) -> None:
    mirror.run().check()
    before = archive.count(server="api")
    assert (mirror.run().still, archive.count(server="api") - before) == (2, 2)


def test_one_that_is_named_is_mirrored_by_itself(mirror: Mirror, closed: str) -> None:
    assert mirror.results(closed) == {closed: "changed"}
    assert (mirror.store.dandisets(), mirror.store.embargoed()) == ([], [closed])


@pytest.mark.parametrize("finish", [True, False])
def test_what_is_about_to_be_opened_is_still_closed(
    archive: DemoArchive, mirror: Mirror, closed: str, finish: bool
) -> None:
    archive.unembargo(closed, finish=finish)
    mirror.run().check()
    assert mirror.store.embargoed() == ([] if finish else [closed])


# --- what is mirrored ---------------------------------------------------------------------------------------------


def test_it_can_be_cloned_by_its_owner_with_its_zarr(mirror: Mirror, closed: str, zarr_id: str, tmp_path: Path) -> None:
    mirror.run().check()
    for number, source in enumerate((str(mirror.store.alias(closed)), f"ria+file://{mirror.store.private}#~{closed}")):
        clone = tmp_path / f"clone-{number}"
        subprocess.run(["datalad", "clone", source, str(clone)], check=True, capture_output=True)
        assert (clone / "README.md").read_text().startswith("# Grid cells")
        assert (clone / "sub-G1").is_dir()
        subprocess.run(["datalad", "get", "-n", "sub-G1/sub-G1_SPIM.ome.zarr"], cwd=clone, check=True)
        found = subprocess.run(["git", "annex", "find", "--json", "--not", "--in=here"], cwd=clone, capture_output=True)
        assert len(found.stdout.splitlines()) == 2
        inner = clone / "sub-G1" / "sub-G1_SPIM.ome.zarr"
        whereis = subprocess.run(["git", "annex", "whereis", "--json"], cwd=inner, capture_output=True, check=True)
        urls = [
            url for line in whereis.stdout.splitlines() for one in json.loads(line)["whereis"] for url in one["urls"]
        ]
        assert urls
        assert all(f"/zarr/{zarr_id}/files/?prefix=" in url for url in urls)


def test_its_keys_have_addresses_at_the_api_only(
    archive: DemoArchive, mirror: Mirror, closed: str, zarr_id: str
) -> None:
    mirror.run().check()
    blobs, files = addresses(mirror.urls(closed)), addresses(mirror.urls(zarr_id))
    assets = archive.dandiset(closed).draft.assets
    recordings = {asset.asset_id for path, asset in assets.items() if path.endswith(".nwb")}
    assert {(one.api_url, one.asset_id) for one in blobs if isinstance(one, AssetAddress)} == {
        (archive.api_url, asset_id) for asset_id in recordings
    }
    assert {(one.zarr_id, one.path) for one in files if isinstance(one, ZarrFileAddress)} == {
        (zarr_id, key.partition(f"{zarr_id}/")[2]) for key in archive.objects.keys(f"zarr/{zarr_id}/")
    }
    assert len(blobs) == len(mirror.urls(closed))
    assert len(files) == len(mirror.urls(zarr_id))
    assert archive.count(server="s3", path=r"versions|zarr/") == 0


def test_nothing_of_it_is_asked_of_the_bucket_without_a_signature(archive: DemoArchive, mirror: Mirror) -> None:
    """The bucket would tell whoever watches it what is there."""
    mirror.run().check()
    refused = [exchange for exchange in archive.requests if exchange.server == "s3" and exchange.status == 403]
    assert refused == []


def test_its_draft_is_marked_and_so_is_its_state(mirror: Mirror, closed: str, opened: str) -> None:
    mirror.run().check()
    ask = ("config", "--blob", "draft:.datalad/config", "--get", "dandi.dandiset.embargo-status")
    assert mirror.git(closed, *ask) == "EMBARGOED"
    assert "embargo" not in mirror.git(opened, "show", "draft:.datalad/config")
    assert mirror.store.state(closed).embargoed is not None
    assert mirror.store.state(opened).embargoed is None


def test_its_trees_are_else_those_of_an_open_one(
    archive: DemoArchive, mirror: Mirror, another: Callable[[str], Mirror], closed: str
) -> None:
    mirror.run().check()
    archive.unembargo(closed)
    fresh = another("fresh")
    fresh.run().check()

    def listing(of: Mirror) -> list[str]:
        lines = of.git(closed, "ls-tree", "-r", "draft").splitlines()
        return [line for line in lines if line.partition("\t")[2] not in _OF_AN_EMBARGO]

    assert listing(mirror) == listing(fresh)


_OF_AN_EMBARGO = {".datalad/config", "dandiset.yaml", ".dandi/version.json"}
"""The first has the mark, the others what the archive says itself."""


def test_a_new_asset_replaces_the_address_that_went_with_the_old_one(
    archive: DemoArchive, mirror: Mirror, closed: str
) -> None:
    """Bytes stay, but an asset that was edited is another: nobody could get them by the address of the first."""
    mirror.run().check()
    path = next(path for path in archive.dandiset(closed).draft.assets if path.endswith(".nwb"))
    before = archive.dandiset(closed).draft.assets[path].asset_id
    archive.clock.advance(60)
    archive.replace_asset(closed, path, metadata={"keywords": ["edited"]})
    mirror.run().check()
    after = archive.dandiset(closed).draft.assets[path].asset_id
    assert before != after
    assert any(after in url for url in mirror.urls(closed))


def test_what_a_draft_lost_is_withdrawn_once_the_archive_has_it_no_more(
    archive: DemoArchive, mirror: Mirror, closed: str
) -> None:
    mirror.run().check()
    path = next(path for path in archive.dandiset(closed).draft.assets if path.endswith(".nwb"))
    asset_id = archive.dandiset(closed).draft.assets[path].asset_id
    archive.clock.advance(60)
    archive.remove_asset(closed, path)
    mirror.run().check()
    assert any(asset_id in url for url in mirror.store.state(closed).leaving)
    mirror.run(everything=True).check()
    assert not any(asset_id in url for url in mirror.urls(closed))
    assert mirror.store.state(closed).leaving == {}


def test_a_text_that_is_not_what_was_announced_is_refused(archive: DemoArchive, mirror: Mirror, closed: str) -> None:
    key = next(
        one.blob.key for one in archive.dandiset(closed).draft.assets.values() if one.blob and one.blob.size < 99
    )
    archive.objects.put(key, b"something else")
    archive.objects.set_private(key, True)
    assert mirror.results()[closed] == "failed"
    assert "is announced with SHA-256" in str(mirror.store.state(closed).failure)


def test_as_a_manifest_its_zarr_has_no_repository_until_it_is_wanted(mirror: Mirror, closed: str, zarr_id: str) -> None:
    mirror.run(zarr__hold="manifest").check()
    store = mirror.store
    assert not store.dataset(zarr_id).path.exists()
    assert store.zarr(zarr_id).path.is_relative_to(store.private)
    materialize(store, zarr_id)
    assert store.alias(zarr_id).parent == store.private / "alias"
    assert all("/files/?prefix=" in url for url in mirror.urls(zarr_id))
    assert mirror.git(closed, "rev-parse", "draft:sub-G1/sub-G1_SPIM.ome.zarr") == mirror.git(
        zarr_id, "rev-parse", "draft"
    )


@pytest.mark.parametrize("size", [1, 3])
def test_a_zarr_is_listed_page_by_page(
    archive: DemoArchive, mirror: Mirror, zarr_id: str, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    assert ArchiveClient.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(ArchiveClient.__init__.__kwdefaults__, "page_size", size)
    mirror.run().check()
    assert archive.count(server="api", path=rf"/zarr/{zarr_id}/files/") == -(-archive.zarrs[zarr_id].file_count // size)
    assert mirror.git(zarr_id, "log", "-1", "--format=%(trailers:key=Checksum,valueonly)", "draft").strip() == str(
        archive.zarrs[zarr_id].checksum
    )


# --- who sees it --------------------------------------------------------------------------------------------------


def test_nothing_public_tells_of_it_but_its_identifier(
    archive: DemoArchive, mirror: Mirror, closed: str, zarr_id: str
) -> None:
    mirror.run().check()
    assets = archive.dandiset(closed).draft.assets
    secrets = [zarr_id, "Grid cells", "sub-G1", *(asset.asset_id for asset in assets.values())]
    secrets += [asset.blob.blob_id for asset in assets.values() if asset.blob]
    secrets += [mirror.git(closed, "rev-parse", "draft"), mirror.store.dataset_id(closed)]
    for name, body in public_files(mirror.store).items():
        assert not [secret for secret in secrets if secret.encode() in body or secret in name], name
    assert not list(mirror.store.public.rglob(f"*{closed}*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as somebody else")
def test_nobody_else_can_read_anything_of_it(mirror: Mirror) -> None:
    mirror.run().check()
    script = (
        "import os, sys; paths = sys.stdin.read().split(chr(10)); os.setuid(int(sys.argv[1]))\n"
        "for path in paths: print(os.access(path, os.R_OK))"
    )
    paths = [str(path) for path in mirror.store.private.rglob("*")]
    assert len(paths) > 50
    command = [sys.executable, "-c", script, str(NOBODY)]
    done = subprocess.run(command, input="\n".join(paths), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["False"] * len(paths)


def test_the_folder_of_all_lets_nobody_in_whatever_the_umask(mirror: Mirror) -> None:
    before = os.umask(0)
    try:
        mirror.run().check()
    finally:
        os.umask(before)
    assert mirror.store.private.stat().st_mode & 0o777 == 0o700
    mirror.store.private.chmod(0o755)
    mirror.run().check()
    assert mirror.store.private.stat().st_mode & 0o777 == 0o700


def test_whoever_owns_the_store_sees_it_in_the_status(mirror: Mirror, closed: str) -> None:
    mirror.run().check()
    row = next(row for row in overview(mirror.store) if row.state.identifier == closed)
    assert (row.holding is not None and row.holding.assets, row.path) == (
        5,
        str(mirror.store.private / "alias" / closed),
    )
    assert Glances(mirror.store).look().totals.dandisets == 2


def test_why_it_failed_is_in_its_marks_alone(
    archive: DemoArchive, mirror: Mirror, closed: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    asset = archive.dandiset(closed).draft.assets["participants.tsv"]
    archive.api_faults.add(Status(404), path=f"/assets/{asset.asset_id}/download/", times=99)
    report = mirror.run()
    (outcome,) = [one for one in report.outcomes if one.identifier == closed]
    assert outcome.result == "failed"
    assert asset.path in str(mirror.store.state(closed).failure)
    assert asset.path not in str(outcome) + caplog.text
    assert not any(asset.path.encode() in body for body in public_files(mirror.store).values())
    assert not (mirror.store.root / "state" / "dandisets" / f"{closed}.json").exists()


# --- its contents -------------------------------------------------------------------------------------------------


def test_its_contents_can_be_looked_at_and_fetched_with_the_token(
    archive: DemoArchive, mirror: Mirror, closed: str, zarr_id: str, tmp_path: Path
) -> None:
    mirror.run().check()
    with closing(Connection.open(mirror.settings())) as connection:
        for number, one in enumerate(addresses(mirror.urls(closed) | mirror.urls(zarr_id))):
            seen = connection.content.look(one)
            assert seen is not None
            file = tmp_path / str(number)
            connection.content.fetch([one], file, seen.size)
            assert file.stat().st_size == seen.size
        elsewhere = AssetAddress("https://api.example.org/api", archive.assets[next(iter(archive.assets))].asset_id)
        with pytest.raises(NotAllowed, match="is not asked from here"):
            connection.content.look(elsewhere)


# --- elsewhere ----------------------------------------------------------------------------------------------------


def test_several_processes_write_what_one_writes(
    mirror: Mirror, another: Callable[[str], Mirror], closed: str, zarr_id: str
) -> None:
    mirror.run().check()
    several = another("several")
    several.run(jobs=2).check()
    for name in (closed, zarr_id):
        assert several.git(name, "for-each-ref") == mirror.git(name, "for-each-ref")
    assert several.store.embargoed() == [closed]


def test_of_dask_workers_each_needs_a_token_of_its_own(
    mirror: Mirror, closed: str, opened: str, archive: DemoArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1"
    ) as cluster:
        executor = cluster.scheduler_address.replace("tcp", "dask")
        assert mirror.results(executor=executor) == {closed: "changed", opened: "changed"}
        assert mirror.store.embargoed() == [closed]
    monkeypatch.delenv(TOKEN_VARIABLE)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1"
    ) as cluster:
        monkeypatch.setenv(TOKEN_VARIABLE, archive.token)
        executor = cluster.scheduler_address.replace("tcp", "dask")
        assert mirror.results(closed, everything=True, executor=executor) == {closed: "failed"}
    assert f"set {TOKEN_VARIABLE} to a token" in str(mirror.store.state(closed).failure)


def test_lost_marks_are_made_anew(mirror: Mirror, closed: str) -> None:
    mirror.run().check()
    before = mirror.git(closed, "for-each-ref")
    mirror.store.closed_side.marks(closed).unlink()
    mirror.run().check()
    assert (mirror.run().still, mirror.git(closed, "for-each-ref")) == (2, before)
    assert mirror.store.state(closed).embargoed is not None
