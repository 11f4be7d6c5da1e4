"""What a hard look at the engine found: answers that do not fit together, and what must not be made of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mirror.archive.records import Instance
from mirror.dataset.commits import trailers
from mirror.demo import DemoArchive
from mirror.demo.clock import record_time
from mirror.demo.faults import Fault, Status
from mirror.demo.web import Answer, Request, Response, Server
from mirror.errors import ArchiveError, Locked
from mirror.store.state import StoreFacts, write_facts
from mirror.store.store import Store

if TYPE_CHECKING:
    from tests.sync.conftest import Git, MirrorOnce, RefsOf, RepositoryOf

Document = dict[str, Any]
NWB = "sub-M1/sub-M1_ecephys.nwb"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes no sense is asked for again; here, at once."""
    monkeypatch.setattr("mirror.archive.http.FIRST_WAIT", 0.0)


@pytest.fixture
def dandiset(archive: DemoArchive) -> str:
    identifier = archive.create_dandiset("Ripples")
    archive.add_asset(identifier, NWB, b"a recording")
    return identifier


@dataclass(frozen=True)
class Altered(Fault):
    """The honest answer with something done to its JSON."""

    alter: Callable[[Document], object]

    def apply(self, request: Request, answer: Answer) -> Response:
        response = answer(Request(request.method, request.path, request.query))
        document = json.loads(response.body)
        self.alter(document)
        return Response(200, json.dumps(document).encode(), {**response.headers})


def alter_each_asset(archive: DemoArchive, alter: Callable[[Document], object]) -> None:
    """Do something to every record of an asset with its metadata."""

    def each(document: Document) -> None:
        for record in document.get("results", [document]):
            alter(record)

    archive.api_faults.add(Altered(each), path=r"/assets/.*metadata=true|/assets/[^/?]+/info/", times=None)


def addresses(git: Git, repository: Path) -> str:
    return git(repository, "grep", "-h", "-e", "http", "-e", "file:", "git-annex", "--", "*.web")


# --- addresses -----------------------------------------------------------------------------------------------------


class Canary(Server):
    """A server that nobody has any business with."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(self._answer)

    def _answer(self, request: Request) -> Response:
        self.asked.append(f"{request.method} {request.target}")
        return Response(404, b"", {})


@pytest.fixture
def canary() -> Iterator[Canary]:
    server = Canary()
    server.start()
    yield server
    server.close()


@pytest.mark.parametrize(
    "address",
    [
        "http://evil.example/assets/{asset_id}/download/",
        "http://169.254.169.254/assets/{asset_id}/download/",
        "http://{api}@evil.example/assets/{asset_id}/download/",
        "http://user:secret@{api}/api/assets/{asset_id}/download/",
        "http://{api}/api/assets/{asset_id}/download/?token=secret",
        "file:///etc/passwd?/assets/{asset_id}/",
    ],
)
def test_a_download_address_that_is_not_the_apis_is_not_recorded(
    address: str, archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path, git: Git
) -> None:
    """Every clone would send its users there."""
    api = archive.api_url.removeprefix("http://").removesuffix("/api")
    told: list[str] = []

    def point(record: Document) -> None:
        told.append(address.format(api=api, asset_id=record["asset_id"]))
        record["metadata"]["contentUrl"][0] = told[-1]

    alter_each_asset(archive, point)
    mirror_once()
    repository = Store.open(store).alias(dandiset)
    recorded = addresses(git, repository) if repository.is_symlink() else ""
    assert told
    assert told[-1] not in recorded


def test_no_other_host_is_asked_whether_bytes_are_gone(
    archive: DemoArchive, dandiset: str, canary: Canary, mirror_once: MirrorOnce
) -> None:
    def point(record: Document) -> None:
        there = f"http://localhost:{canary.port}/assets/{record['asset_id']}/?b={record['blob']}"
        record["metadata"]["contentUrl"][0] = there

    alter_each_asset(archive, point)
    mirror_once()
    archive.clock.advance(60)
    archive.remove_asset(dandiset, NWB)
    mirror_once()
    mirror_once(everything=True)
    assert canary.asked == []


@pytest.mark.parametrize("query", ["?X-Amz-Signature=secret&X-Amz-Credential=key", "?versionId=older", "#part", "?"])
def test_an_s3_address_with_a_query_is_not_recorded(
    query: str, archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path, git: Git
) -> None:
    """It may be signed, which is a secret; and with our version id behind it, it leads nowhere."""

    def point(record: Document) -> None:
        record["metadata"]["contentUrl"][1] += query

    alter_each_asset(archive, point)
    mirror_once()
    repository = Store.open(store).alias(dandiset)
    if repository.is_symlink():
        in_the_bucket = [line for line in addresses(git, repository).splitlines() if "/blobs/" in line]
        assert [line for line in in_the_bucket if not re.fullmatch(r"[0-9]+s 1 [^?#]+\?versionId=[^?&#]+", line)] == []


def test_how_the_api_is_spelled_in_the_settings_changes_no_hash(
    archive: DemoArchive, dandiset: str, tmp_path: Path, mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    """As through a proxy, or with the port written out: what is recorded is the archive's own word."""
    one, other = tmp_path / "one", tmp_path / "other"
    mirror_once(store=one).check()
    mirror_once(store=other, archive__api_url=archive.api_url.replace("127.0.0.1", "localhost")).check()
    assert refs_of(dandiset, store=one) == refs_of(dandiset, store=other)


# --- tags ----------------------------------------------------------------------------------------------------------


def tags(refs: dict[str, str]) -> dict[str, str]:
    return {name: oid for name, oid in refs.items() if name.startswith("refs/tags/")}


def test_the_record_of_another_version_moves_no_tag(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    """A cache between the archive and us gives the record of an earlier version in place of a new one's."""
    first = archive.publish(dandiset)
    mirror_once().check()
    before = tags(refs_of(dandiset))
    archive.clock.advance(3600)
    archive.add_asset(dandiset, "more.nwb", b"more")
    second = archive.publish(dandiset)

    def confuse(document: Document) -> None:
        document["version"] = first

    archive.api_faults.add(Altered(confuse), path=rf"/versions/{second}/info/", times=None)
    report = mirror_once()
    assert [outcome.result for outcome in report.outcomes] == ["failed"]
    assert tags(refs_of(dandiset)) == before


def test_a_doi_that_a_version_has_already_moves_no_tag(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    first = archive.publish(dandiset)
    mirror_once().check()
    before = tags(refs_of(dandiset))
    doi = next(name for name in before if "/doi/" in name).removeprefix("refs/tags/doi/")
    archive.clock.advance(3600)
    archive.add_asset(dandiset, "more.nwb", b"more")
    second = archive.publish(dandiset)
    archive.edit_version(dandiset, second, doi=doi)
    report = mirror_once()
    after = tags(refs_of(dandiset))
    assert {name: after[name] for name in before} == before
    assert doi.endswith(first)
    if report.count("changed"):
        assert any("DOI" in warning for warning in report.outcomes[0].warnings)


@pytest.mark.parametrize("together", [True, False], ids=["together", "one after the other"])
def test_a_doi_that_is_the_beginning_of_another_does_not_stop_the_mirror(
    together: bool, archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, refs_of: RefsOf
) -> None:
    """A Dandiset's own DOI is the beginning of its versions' DOIs."""
    first = archive.publish(dandiset)
    archive.edit_version(dandiset, first, doi="10.48324/dandi.000001")
    if not together:
        mirror_once().check()
    archive.clock.advance(3600)
    archive.add_asset(dandiset, "more.nwb", b"more")
    second = archive.publish(dandiset)
    archive.edit_version(dandiset, second, doi=f"10.48324/dandi.000001/{second}")
    mirror_once().check()
    assert {f"refs/tags/{first}", f"refs/tags/{second}"} < refs_of(dandiset).keys()


def test_a_version_that_is_listed_twice_is_one_release(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, git: Git, repository_of: RepositoryOf
) -> None:
    archive.publish(dandiset)

    def twice(document: Document) -> None:
        document["results"] = [*document["results"], *document["results"]]

    archive.api_faults.add(Altered(twice), path=r"/versions/\?", times=None)
    if mirror_once().count("changed"):
        assert git(repository_of(dandiset), "rev-list", "--count", "releases") == "1"


def test_releases_are_in_the_order_of_time_however_it_is_written(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, git: Git, repository_of: RepositoryOf
) -> None:
    """The server leaves the fraction out where it is zero."""
    for minute, created in enumerate(
        ["2026-11-20T10:00:00.500000Z", "2026-11-20T10:00:00Z", "2026-11-20T09:30:00-01:00"]
    ):
        archive.add_asset(dandiset, f"{minute}.nwb", b"%d" % minute)
        version = archive.publish(dandiset, version=f"0.261120.100{minute}")
        archive.dandiset(dandiset).published[version].created = created
    mirror_once().check()
    subjects = git(repository_of(dandiset), "log", "--reverse", "--format=%s", "releases").splitlines()
    assert [subject.partition(":")[0] for subject in subjects] == [f"0.261120.100{n}" for n in (1, 0, 2)]


# --- what is said in commits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("doi", ["10.1/x\nVersion: 9.9", "10.1/x\n\nno: trailers", "10.1/x\0y", "10.1/x\rVersion: 9.9"])
def test_a_doi_adds_nothing_else_to_the_trailers(
    doi: str, archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path, git: Git
) -> None:
    version = archive.publish(dandiset)
    archive.edit_version(dandiset, version, doi=doi)
    outcome = mirror_once().outcomes[0]
    assert not outcome.message.startswith("unexpected")
    if outcome.result == "failed":
        return
    message = git(Store.open(store).alias(dandiset), "log", "-1", "--format=%B", "releases")
    found = trailers(message)
    assert found["Version"] == version
    assert set(found) <= {"Dandiset", "Version", "DOI", "Assets", "Bytes", "Layout"}
    assert found["Dandiset"] == dandiset
    assert "\r" not in message


def test_a_time_adds_nothing_else_to_the_trailers(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path, git: Git
) -> None:
    """Python takes any character between a date and a time."""

    def alter(document: Document) -> None:
        document["modified"] = "2026-11-20\n15:34:17+00:00"

    archive.api_faults.add(Altered(alter), path=r"/versions/draft/info/", times=None)
    if mirror_once().count("changed"):
        message = git(Store.open(store).alias(dandiset), "log", "-1", "--format=%B", "draft")
        assert set(trailers(message)) == {"Dandiset", "Version", "Archive-Modified", "Assets", "Bytes", "Layout"}


# --- what an asset is now ------------------------------------------------------------------------------------------


def test_a_text_is_what_its_digest_says_though_its_blob_has_the_same_id(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, git: Git, repository_of: RepositoryOf
) -> None:
    archive.add_asset(dandiset, "README.md", b"old")
    mirror_once().check()
    blob = archive.asset(dandiset, "README.md").blob
    assert blob is not None
    archive.replace_asset(dandiset, "README.md", content=b"new")

    def alter(record: Document) -> None:
        if record["path"] == "README.md":
            record["blob"] = blob.blob_id

    alter_each_asset(archive, alter)
    if mirror_once().count("changed"):
        assert git(repository_of(dandiset), "show", "draft:README.md") == "new"


def edit_in_place(archive: DemoArchive, identifier: str, path: str) -> None:
    """The archive's staff change a published asset's metadata: its id stays, its `modified` moves."""
    asset = archive.asset(identifier, path)
    archive.clock.advance(3600)
    asset.stored = {**asset.stored, "keywords": ["migrated"]}
    asset.modified = record_time(archive.clock.stamp())
    asset.forget_json()
    archive.touch_draft(identifier)


def test_a_published_asset_that_was_edited_in_place_is_as_it_is_now_in_the_draft(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, git: Git, repository_of: RepositoryOf
) -> None:
    archive.publish(dandiset)
    mirror_once().check()
    edit_in_place(archive, dandiset, NWB)
    mirror_once().check()
    assert "migrated" in git(repository_of(dandiset), "show", "draft:.dandi/assets/sub-M1/assets.jsonl")


def test_a_new_version_holds_what_the_archive_says_of_it_not_what_it_said_of_an_earlier_one(
    archive: DemoArchive, dandiset: str, tmp_path: Path, mirror_once: MirrorOnce, git: Git, repository_of: RepositoryOf
) -> None:
    """A version's identity is its tree: the same in a mirror that followed and in one made now."""
    followed, made_now = tmp_path / "followed", tmp_path / "made now"
    archive.publish(dandiset)
    mirror_once(store=followed).check()
    edit_in_place(archive, dandiset, NWB)
    second = archive.publish(dandiset)
    mirror_once(store=followed).check()
    mirror_once(store=made_now).check()
    one, other = (
        git(repository_of(dandiset, store=at), "rev-parse", f"{second}^{{tree}}") for at in (followed, made_now)
    )
    assert one == other


def test_an_empty_date_of_publication_does_not_make_an_asset_published(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, git: Git, repository_of: RepositoryOf
) -> None:
    def alter(record: Document) -> None:
        record["metadata"]["datePublished"] = None

    archive.add_zarr(dandiset, "x.zarr", {"0": b"zero"})
    alter_each_asset(archive, alter)
    mirror_once().check()
    archive.clock.advance(60)
    archive.change_zarr(dandiset, "x.zarr", {"0": b"another"})
    mirror_once().check()
    (zarr,) = archive.zarrs.values()
    assert f'"{zarr.checksum}"' in git(repository_of(dandiset), "show", "draft:.dandi/assets/assets.jsonl")


def test_other_settings_are_no_drift_of_the_archives(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path
) -> None:
    """A tag is held against the archive as seen through the layout it was written in."""
    archive.add_asset(dandiset, "notes.bin", b"notes")
    archive.publish(dandiset)
    mirror_once().check()
    mirror_once(everything=True, select__assets=r"\.nwb$").check()
    assert Store.open(store).state(dandiset).drift == ()


# --- the list of Dandisets -----------------------------------------------------------------------------------------


def test_an_empty_list_is_not_believed(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path
) -> None:
    """That all are gone at once is a fault of the server's. One that is missing can be asked for by its name."""
    mirror_once().check()

    def empty(document: Document) -> None:
        document.update(count=0, next=None, results=[])

    archive.api_faults.add(Altered(empty), path=r"/dandisets/\?", times=1)
    try:
        report = mirror_once()
    except ArchiveError:
        return
    assert report.count("vanished") == 0
    assert Store.open(store).state(dandiset).vanished is None


@pytest.mark.usefixtures("dandiset")
def test_one_bad_entry_in_the_list_stops_no_other_dandiset(archive: DemoArchive, mirror_once: MirrorOnce) -> None:
    other = archive.create_dandiset("Another")
    archive.add_asset(other, "x.nwb", b"x")

    def spoil(document: Document) -> None:
        document["results"][0]["draft_version"]["name"] = None

    archive.api_faults.add(Altered(spoil), path=r"/dandisets/\?", times=None)
    results = {outcome.identifier: outcome.result for outcome in mirror_once().outcomes}
    assert results[other] == "changed"


@pytest.mark.usefixtures("dandiset")
def test_pages_that_take_turns_come_to_an_end(archive: DemoArchive, mirror_once: MirrorOnce) -> None:
    """A page that repeats the last but one: the listing has no end."""
    archive.create_dandiset("Another")
    asked = 0

    class Turns(Fault):
        def apply(self, request: Request, answer: Answer) -> Response:
            nonlocal asked
            asked += 1
            if asked > 40:
                return Response(404, b'{"detail":"Invalid page."}', {"Content-Type": "application/json"})
            response = answer(Request(request.method, request.path, "page_size=1000"))
            document = json.loads(response.body)
            document["next"] = archive.api_url
            document["results"] = [document["results"][asked % 2]]
            return Response(200, json.dumps(document).encode(), {**response.headers})

    archive.api_faults.add(Turns(), path=r"/dandisets/\?", times=None)
    with pytest.raises(ArchiveError):
        mirror_once()
    assert asked < 40


# --- the store -----------------------------------------------------------------------------------------------------


def config_file(archive: DemoArchive, store: Path, at: Path) -> Path:
    at.write_text(
        f"store: {store}\njobs: 1\narchive:\n  instance: demo-dandi\n  api_url: {archive.api_url}\n"
        f"  s3_endpoint: {archive.s3_endpoint}\n  settle_seconds: 0\n"
    )
    return at


def start(config: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mirror", "sync", "-c", str(config)]
    return subprocess.Popen(command, cwd=config.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_of_two_that_make_a_store_at_once_one_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository's annex uuid follows from the id of the store, which must not be written twice."""
    both = threading.Barrier(2, timeout=0.5)

    def write(path: Path, facts: StoreFacts) -> None:
        with suppress(threading.BrokenBarrierError):  # where one waits for the other
            if both.wait():
                time.sleep(0.2)
        write_facts(path, facts)

    monkeypatch.setattr("mirror.store.store.write_facts", write)
    instance = Instance("DEMO-DANDI", "https://demo-dandi.example.org")
    with ThreadPoolExecutor(2) as threads:
        making = [threads.submit(Store.open_or_create, tmp_path / "mirror", instance) for _ in range(2)]
    made = [one.result() for one in making if not isinstance(one.exception(), Locked)]
    assert {store.facts.id for store in made} == {Store.open(tmp_path / "mirror").facts.id}


def test_an_interrupt_does_not_wait_for_retries(archive: DemoArchive, dandiset: str, tmp_path: Path) -> None:
    archive.add_assets(dandiset, [(f"{number}.txt", b"%d" % number) for number in range(20)])
    rule = archive.s3_faults.add(Status(503, retry_after=60), path="blobs", method="GET", times=None)
    process = start(config_file(archive, tmp_path / "mirror", tmp_path / "settings.yaml"))
    deadline = time.monotonic() + 20
    while not rule.struck and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=5)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130


def test_what_a_dead_sync_left_is_repaired_though_nothing_moved(
    dandiset: str, mirror_once: MirrorOnce, store: Path
) -> None:
    """`sync --full` dies between its refs and `info/refs`; what the archive says then never moves again."""
    mirror_once().check()
    repository = Store.open(store).repository(dandiset).path
    told = (repository / "info" / "refs").read_bytes()
    # As a kill leaves it: the new refs are there, readers of plain HTTP are told the old ones, and nobody made a note.
    (repository / "info" / "refs").write_bytes(b"")
    (repository / "packed-refs.lock").touch()
    os.utime(repository / "packed-refs.lock", (0, 0))
    mirror_once().check()
    assert (repository / "info" / "refs").read_bytes() == told
    assert not (repository / "packed-refs.lock").exists()


@pytest.mark.usefixtures("dandiset")
def test_a_store_that_cannot_be_written_is_told_in_plain_words(archive: DemoArchive, tmp_path: Path) -> None:
    """A disk that is full or read-only is no bug of ours."""
    store = tmp_path / "mirror"
    config = config_file(archive, store, tmp_path / "settings.yaml")
    first = start(config)
    first.communicate()
    assert first.returncode == 0
    (store / "state" / "lock").unlink()
    (store / "state" / "lock").mkdir()  # a place that cannot be written, for root as well
    second = start(config)
    told = second.communicate()[1].decode()
    assert second.returncode == 1
    assert "this is a bug" not in told
    assert str(store) in told


# --- the terminal --------------------------------------------------------------------------------------------------


def test_an_error_in_the_archives_words_cannot_steer_the_terminal(archive: DemoArchive, tmp_path: Path) -> None:
    class Refusal(Fault):
        def apply(self, request: Request, answer: Answer) -> Response:
            headers = {**answer(request).headers}
            headers.pop("Content-Encoding", None)
            return Response(400, json.dumps({"detail": "\x1b]0;pwned\x07"}).encode(), headers)

    archive.api_faults.add(Refusal(), path=r"/info/", times=None)
    process = start(config_file(archive, tmp_path / "mirror", tmp_path / "settings.yaml"))
    told = process.communicate()[1]
    assert process.returncode == 1
    assert b"pwned" in told
    assert b"\x1b" not in told
    assert b"\x07" not in told


# --- over the years ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("dandiset")
def test_one_that_never_could_be_mirrored_and_is_gone_does_not_fail_every_sync(
    archive: DemoArchive, mirror_once: MirrorOnce
) -> None:
    other = archive.create_dandiset("Refused")
    archive.add_asset(other, "a", b"a file")
    archive.add_asset(other, "a/b.nwb", b"that needs a folder")
    assert mirror_once().count("failed") == 1
    archive.delete_dandiset(other)
    mirror_once()
    mirror_once().check()


def test_one_pending_asset_does_not_cost_the_listing_of_all(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce
) -> None:
    """Some are never hashed. Where no time moved, the pending ones can be asked for alone."""
    archive.add_assets(dandiset, [(f"many/{number}.nwb", b"%d" % number) for number in range(3000)])
    archive.add_asset(dandiset, "never.nwb", b"never hashed", hashed=False)
    mirror_once().check()
    archive.requests.clear()
    mirror_once().check()
    assert archive.count(path=r"/versions/draft/assets/") <= 1


def test_bytes_that_left_are_withdrawn_though_the_marks_were_lost(
    archive: DemoArchive, dandiset: str, mirror_once: MirrorOnce, store: Path, git: Git, repository_of: RepositoryOf
) -> None:
    """A lost state file costs a second look, never more."""
    blob = archive.asset(dandiset, NWB).blob
    assert blob is not None
    mirror_once().check()
    archive.clock.advance(60)
    archive.remove_asset(dandiset, NWB)
    mirror_once().check()
    (store / "state" / "dandisets" / f"{dandiset}.json").unlink()
    latest = archive.objects.latest(blob.key)
    assert latest is not None
    archive.objects.delete_version(blob.key, latest.version_id)
    mirror_once(everything=True).check()
    assert "s 1 " not in addresses(git, repository_of(dandiset))
