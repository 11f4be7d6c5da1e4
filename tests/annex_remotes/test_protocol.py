"""What the program says to each line of git-annex's protocol."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirror.annex_remotes import named_files
from mirror.annex_remotes.named_files import NamedFile
from mirror.archive.client import ArchiveClient
from mirror.demo import DemoArchive
from mirror.demo.faults import Beyond, OtherETag, Slow, Status, Truncated
from mirror.errors import BadAnswer

from .conftest import Conversation, Noted, Started, programs, run

CONTENT = bytes(range(256)) * (24 << 10)  # 6 MiB


@dataclass
class Stored:
    """A file in the archive, and what a clone has of it."""

    archive: DemoArchive
    identifier: str
    asset_id: str
    object_key: str
    key: str

    @property
    def at_bucket(self) -> str:
        latest = self.archive.objects.latest(self.object_key)
        assert latest is not None
        return f"{self.archive.addresses.bucket_url}/{self.object_key}?versionId={latest.version_id}"

    @property
    def at_api(self) -> str:
        return f"{self.archive.api_url}/assets/{self.asset_id}/download/"

    @property
    def urls(self) -> list[str]:
        return [self.at_api, self.at_bucket]


@pytest.fixture(scope="module")
def running() -> Iterator[DemoArchive]:
    with DemoArchive() as archive:
        yield archive


@pytest.fixture
def archive(running: DemoArchive) -> Iterator[DemoArchive]:
    """One archive for all tests here; how it misbehaves is over with each."""
    running.requests.clear()
    yield running
    running.s3_faults.clear()
    running.api_faults.clear()


@pytest.fixture
def stored(archive: DemoArchive) -> Stored:
    """A Dandiset of each test's own. The object was another's, too, whatever was done to it."""
    identifier = archive.create_dandiset("Ripples")
    archive.add_asset(identifier, "sub-1/a.nwb", CONTENT)
    asset = archive.asset(identifier, "sub-1/a.nwb")
    assert asset.blob is not None
    while (version := archive.objects.latest(asset.blob.key)) is not None:
        archive.objects.delete_version(asset.blob.key, version.version_id)
    archive.objects.put(asset.blob.key, CONTENT)
    archive.objects.set_private(asset.blob.key, False)
    key = f"SHA256E-s{len(CONTENT)}--{hashlib.sha256(CONTENT).hexdigest()}.nwb"
    return Stored(archive, identifier, asset.asset_id, asset.blob.key, key)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversation]:
    with programs(tmp_path_factory.mktemp("clone")) as start:
        yield start()


@pytest.fixture
def talk(program: Conversation, stored: Stored) -> Conversation:
    """With a program that others have talked to, too: as git-annex does, key after key."""
    program.urls = stored.urls
    program.said.clear()
    return program


@pytest.fixture
def alone(started: Started, stored: Stored) -> Conversation:
    return started(stored.urls)


ANSWERS = [
    ("INITREMOTE", "INITREMOTE-SUCCESS"),
    ("GETCOST", "COST 150"),
    ("GETAVAILABILITY", "AVAILABILITY GLOBAL"),
    ("EXPORTSUPPORTED", "EXPORTSUPPORTED-FAILURE"),
    ("IMPORTSUPPORTED", "UNSUPPORTED-REQUEST"),
    ("LISTCONFIGS", "CONFIGEND"),
    ("REMOVE K", "REMOVE-FAILURE K the archive is only read from here"),
    (
        "TRANSFER STORE K file",
        "TRANSFER-FAILURE STORE K the archive is only read from here; `dandi upload` is for putting files there",
    ),
    ("CLAIMURL dandi:000003/0.230629.1955/sub-1/a b.nwb", "CLAIMURL-SUCCESS"),
    ("CLAIMURL dandi:000003/draft/a.nwb", "CLAIMURL-SUCCESS"),
    ("CLAIMURL dandi:000003/draft/", "CLAIMURL-FAILURE"),
    ("CLAIMURL dandi:000003", "CLAIMURL-FAILURE"),
    ("CLAIMURL dandi://dandi/000003", "CLAIMURL-FAILURE"),
    ("CLAIMURL https://dandiarchive.org/dandiset/000003", "CLAIMURL-FAILURE"),
    ("SOMETHING NEW", "UNSUPPORTED-REQUEST"),
]


def test_answers_that_need_nothing_else(started: Started) -> None:
    talk = started()
    assert [(request, talk.ask(request)) for request, _ in ANSWERS] == ANSWERS
    assert talk.end() == (0, "")


@pytest.mark.parametrize(("token", "source"), [("", "none"), ("0" * 40, "from DANDI_API_KEY")])
def test_git_annex_info_shows_the_archive_and_whether_there_is_a_token(
    started: Started, token: str, source: str
) -> None:
    talk = started(env={"DANDI_API_KEY": token})
    talk.ask("GETINFO")
    talk.hear()
    lines = [line for line in talk.said if line.startswith("INFO")] + [talk.hear() for _ in range(3)]
    assert lines == [
        "INFOFIELD archive",
        "INFOVALUE https://api.dandiarchive.org/api",
        "INFOFIELD token",
        f"INFOVALUE {source}",
        "INFOEND",
    ]


def test_it_ends_when_the_pipe_is_closed_and_says_nothing_more(started: Started) -> None:
    assert started().end() == (0, "")


def test_it_ends_when_nobody_hears_it_any_more_in_the_middle_of_a_download(alone: Conversation, stored: Stored) -> None:
    """git-annex was killed, and the server is silent."""
    talk = alone
    stored.archive.s3_faults.add(Slow(60), times=None)
    talk.tell(f"TRANSFER RETRIEVE {stored.key} file")
    assert talk.hear().startswith("GETURLS")
    talk.tell(*[f"VALUE {url}" for url in stored.urls], "VALUE", "VALUE .git", "VALUE dandi")
    assert talk.process.stdin is not None
    assert talk.process.stdout is not None
    while "PROGRESS" not in talk.hear():
        pass
    talk.process.stdin.close()
    talk.process.stdout.close()
    talk.process.wait(timeout=15)


def test_what_was_asked_before_the_pipe_was_closed_is_answered(started: Started) -> None:
    talk = started()
    talk.tell("GETCOST", "GETAVAILABILITY")
    assert talk.process.stdin is not None
    talk.process.stdin.close()
    assert [talk.hear(), talk.hear()] == ["COST 150", "AVAILABILITY GLOBAL"]
    assert talk.process.wait(timeout=30) == 0


def test_a_git_annex_without_extensions_is_talked_to_as_well(started: Started, stored: Stored) -> None:
    assert started(stored.urls, extensions="").ask(f"CHECKPRESENT {stored.key}") == f"CHECKPRESENT-SUCCESS {stored.key}"


def test_a_key_is_retrieved_with_progress(talk: Conversation, stored: Stored, tmp_path: Path) -> None:
    assert talk.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/the file") == f"TRANSFER-SUCCESS RETRIEVE {stored.key}"
    assert (tmp_path / "the file").read_bytes() == CONTENT
    heard = talk.progress()
    assert heard == sorted(heard)
    assert heard[-1] == len(CONTENT)
    assert len(heard) > 3
    # From the bucket: the API was not troubled.
    assert stored.archive.count(server="api") == 0


def test_it_goes_on_where_another_broke_off(talk: Conversation, stored: Stored, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT[: 4 << 20])
    noted = Noted()
    stored.archive.s3_faults.add(noted, times=None)
    talk.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert noted.sent == len(CONTENT) - (4 << 20)


@pytest.mark.usefixtures("hasty")
def test_a_connection_cut_in_the_middle_costs_one_piece(alone: Conversation, stored: Stored, tmp_path: Path) -> None:
    noted = Noted({2: Truncated(0.9)})
    stored.archive.s3_faults.add(noted, times=None)
    assert alone.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/file").startswith("TRANSFER-SUCCESS")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(CONTENT) < noted.sent <= len(CONTENT) + (4 << 20)


@pytest.mark.usefixtures("hasty")
def test_a_server_that_is_busy_twice_is_asked_again_and_debugging_shows_it(
    alone: Conversation, stored: Stored, tmp_path: Path
) -> None:
    stored.archive.s3_faults.add(Status(503), times=2)
    assert alone.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/file").startswith("TRANSFER-SUCCESS")
    assert len([line for line in alone.said if line.startswith("DEBUG") and "HTTP 503; try 2 of" in line]) == 2


def test_an_object_that_changes_in_the_middle_is_refused(talk: Conversation, stored: Stored, tmp_path: Path) -> None:
    talk.urls = [stored.at_bucket]
    stored.archive.s3_faults.add(OtherETag(), after=2, times=None)
    said = talk.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/file")
    assert said.startswith(f"TRANSFER-FAILURE RETRIEVE {stored.key} {stored.archive.s3_endpoint}/")
    assert "it was replaced while it was read" in said
    assert (tmp_path / "file").read_bytes() == b""


def test_where_the_recorded_version_is_gone_the_api_is_asked(
    talk: Conversation, stored: Stored, tmp_path: Path
) -> None:
    """As in a clone of which the archive has stored the bytes anew since."""
    old = stored.archive.objects.latest(stored.object_key)
    assert old is not None
    talk.urls = stored.urls
    stored.archive.objects.put(stored.object_key, CONTENT)
    stored.archive.objects.delete_version(stored.object_key, old.version_id)
    assert talk.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/file").startswith("TRANSFER-SUCCESS")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert talk.ask(f"CHECKPRESENT {stored.key}") == f"CHECKPRESENT-SUCCESS {stored.key}"


def test_what_is_gone_is_gone_for_all_addresses(talk: Conversation, stored: Stored, tmp_path: Path) -> None:
    talk.urls = stored.urls
    for version in [stored.at_bucket.rpartition("=")[2]]:
        stored.archive.objects.delete_version(stored.object_key, version)
    assert talk.ask(f"CHECKPRESENT {stored.key}") == f"CHECKPRESENT-FAILURE {stored.key}"
    said = talk.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/file")
    assert said.startswith(f"TRANSFER-FAILURE RETRIEVE {stored.key}")
    assert said.count("it is not there (HTTP 404)") == 2


def test_another_content_at_the_address_is_not_this_key(talk: Conversation, stored: Stored) -> None:
    talk.urls = [stored.at_bucket.partition("?")[0]]
    stored.archive.objects.put(stored.object_key, b"another")
    assert talk.ask(f"CHECKPRESENT {stored.key}") == f"CHECKPRESENT-FAILURE {stored.key}"


def test_the_etag_of_a_file_of_a_zarr_tells_whether_it_is_that_file(started: Started, archive: DemoArchive) -> None:
    identifier = archive.create_dandiset("Images")
    zarr_id = archive.add_zarr(identifier, "z.zarr", {"0/0": b"a chunk"})
    md5 = hashlib.md5(b"a chunk", usedforsecurity=False).hexdigest()
    talk = started([f"{archive.addresses.bucket_url}/zarr/{zarr_id}/0/0"])
    assert talk.ask(f"CHECKPRESENT MD5E-s7--{md5}") == f"CHECKPRESENT-SUCCESS MD5E-s7--{md5}"
    other = md5[::-1]
    assert talk.ask(f"CHECKPRESENT MD5E-s7--{other}") == f"CHECKPRESENT-FAILURE MD5E-s7--{other}"


def test_a_file_of_an_embargoed_zarr_is_retrieved_with_a_token(
    started: Started, archive: DemoArchive, tmp_path: Path
) -> None:
    identifier = archive.create_dandiset("Images")
    zarr_id = archive.add_zarr(identifier, "z.zarr", {"0/a b+c": b"a chunk"})
    archive.embargo(identifier)
    settings = {
        "remote.dandi.annex-dandi-api": archive.api_url,
        "remote.dandi.annex-dandi-instance": "demo-dandi",
    }
    url = f"{archive.api_url}/zarr/{zarr_id}/files/?prefix=0/a%20b%2Bc&download=true"
    key = f"MD5E-s7--{hashlib.md5(b'a chunk', usedforsecurity=False).hexdigest()}"
    entitled = started([url], settings=settings, env={"DEMO_DANDI_API_KEY": archive.token})
    assert entitled.ask(f"TRANSFER RETRIEVE {key} {tmp_path}/file") == f"TRANSFER-SUCCESS RETRIEVE {key}"
    assert (tmp_path / "file").read_bytes() == b"a chunk"
    assert entitled.ask(f"CHECKPRESENT {key}") == f"CHECKPRESENT-SUCCESS {key}"
    # To strangers the archive says that there is no such Zarr. That is no reason to believe it gone.
    for env in ({}, {"DEMO_DANDI_API_KEY": archive.other_token}):
        said = started([url], settings=settings, env=env).ask(f"CHECKPRESENT {key}")
        assert said.startswith(f"CHECKPRESENT-UNKNOWN {key} Zarr {zarr_id} at")
        assert "token" in said


def test_where_the_server_does_not_say_it_is_not_known(talk: Conversation, stored: Stored) -> None:
    stored.archive.api_faults.add(Status(404), times=None)
    for status in (403, 400, 302):
        stored.archive.s3_faults.clear()
        stored.archive.s3_faults.add(Status(status), times=None)
        assert talk.ask(f"CHECKPRESENT {stored.key}").startswith(f"CHECKPRESENT-UNKNOWN {stored.key} "), status


def test_an_address_that_is_not_asked_may_have_what_the_archive_has_no_more(talk: Conversation, stored: Stored) -> None:
    others = ["ftp://example.org/a.nwb", "https://me:secret@example.org/a.nwb"]
    talk.urls = [stored.at_bucket, *others]
    assert talk.ask(f"CHECKPRESENT {stored.key}") == f"CHECKPRESENT-SUCCESS {stored.key}"
    gone = stored.at_bucket
    stored.archive.objects.delete_version(stored.object_key, gone.rpartition("=")[2])
    for other in others:
        talk.urls = [gone, other]
        said = talk.ask(f"CHECKPRESENT {stored.key}")
        assert said.startswith(f"CHECKPRESENT-UNKNOWN {stored.key} {stored.key} is gone from the archive; but an add")
        assert "secret" not in said


def test_an_etag_that_is_no_md5_says_nothing_of_what_a_web_server_has(started: Started, archive: DemoArchive) -> None:
    archive.objects.put("a", b"a chunk")
    archive.s3_faults.add(OtherETag("0123456789abcdef" * 4), times=None)
    key = f"MD5E-s7--{hashlib.md5(b'a chunk', usedforsecurity=False).hexdigest()}"
    talk = started([f"{archive.addresses.bucket_url}/a"])
    assert talk.ask(f"CHECKPRESENT {key}") == f"CHECKPRESENT-SUCCESS {key}"


def test_nothing_recorded_is_said_to_be_so(started: Started, tmp_path: Path) -> None:
    talk = started(["ftp://example.org/a"])
    assert talk.ask("CHECKPRESENT SHA256E-s1--00").startswith("CHECKPRESENT-UNKNOWN SHA256E-s1--00 no address of")
    said = talk.ask(f"TRANSFER RETRIEVE SHA256E-s1--00 {tmp_path}/file")
    assert said.startswith(
        "TRANSFER-FAILURE RETRIEVE SHA256E-s1--00 no address of SHA256E-s1--00 at an archive is known"
    )
    assert talk.ask("WHEREIS SHA256E-s1--00") == "WHEREIS-FAILURE"


def test_a_file_that_cannot_be_written_is_said_to_be_so(talk: Conversation, stored: Stored, tmp_path: Path) -> None:
    said = talk.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/no/such/folder")
    assert said == (f"TRANSFER-FAILURE RETRIEVE {stored.key} No such file or directory: {tmp_path}/no/such/folder")
    # And it goes on.
    assert talk.ask("GETCOST") == "COST 150"


def test_a_key_that_does_not_tell_its_size_is_retrieved(talk: Conversation, tmp_path: Path) -> None:
    assert talk.ask(f"TRANSFER RETRIEVE URL--x {tmp_path}/file") == "TRANSFER-SUCCESS RETRIEVE URL--x"
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_what_no_hash_would_check_is_begun_anew(talk: Conversation, tmp_path: Path) -> None:
    """git-annex would take a beginning of other bytes for good."""
    for key in ("URL--x", f"URL-s{len(CONTENT)}--x", f"WORM-s{len(CONTENT)}-m1--a.nwb"):
        (tmp_path / "file").write_bytes(b"x" * (2 << 20))
        assert talk.ask(f"TRANSFER RETRIEVE {key} {tmp_path}/file").startswith("TRANSFER-SUCCESS")
        assert (tmp_path / "file").read_bytes() == CONTENT


def test_nor_is_what_one_address_began_gone_on_with_from_another(
    talk: Conversation, stored: Stored, tmp_path: Path
) -> None:
    # Asked in the order of their texts: this one is first, and breaks off.
    stored.archive.objects.put("another", b"x" * len(CONTENT))
    talk.urls = [f"{stored.archive.addresses.bucket_url}/another", stored.at_bucket]
    assert min(talk.urls) == talk.urls[0]
    stored.archive.s3_faults.add(Beyond(3 << 20, Status(404)), path="/another$", times=None)
    key = f"URL-s{len(CONTENT)}--x"
    assert talk.ask(f"TRANSFER RETRIEVE {key} {tmp_path}/file").startswith("TRANSFER-SUCCESS")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_key_without_size_asks_the_next_address_and_says_what_is_to_be_done(
    started: Started, stored: Stored, tmp_path: Path
) -> None:
    talk = started(stored.urls)
    stored.archive.objects.set_private(stored.object_key, True)
    stored.archive.s3_faults.add(Status(403), method="HEAD", times=None)
    stored.archive.embargo(stored.identifier)
    said = talk.ask(f"TRANSFER RETRIEVE URL--x {tmp_path}/file")
    assert f"git config remote.dandi.annex-dandi-api {stored.archive.api_url}" in said
    settings = {
        "remote.dandi.annex-dandi-api": stored.archive.api_url,
        "remote.dandi.annex-dandi-instance": "demo-dandi",
    }
    entitled = started(stored.urls, settings=settings, env={"DEMO_DANDI_API_KEY": stored.archive.token})
    assert entitled.ask(f"TRANSFER RETRIEVE URL--x {tmp_path}/file") == "TRANSFER-SUCCESS RETRIEVE URL--x"
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_full_disk_is_said_to_be_full(talk: Conversation, stored: Stored) -> None:
    said = talk.ask(f"TRANSFER RETRIEVE {stored.key} /dev/full")
    assert said == f"TRANSFER-FAILURE RETRIEVE {stored.key} No space left on device"
    assert talk.ask("GETCOST") == "COST 150"


def test_many_requests_are_answered_over_one_connection(started: Started, archive: DemoArchive, tmp_path: Path) -> None:
    archive.objects.put("small", b"few bytes")
    talk = started([f"{archive.addresses.bucket_url}/small"])
    key = f"SHA256E-s9--{hashlib.sha256(b'few bytes').hexdigest()}"
    for number in range(20):
        assert talk.ask(f"TRANSFER RETRIEVE {key} {tmp_path}/{number}").startswith("TRANSFER-SUCCESS")
    assert archive.count(path="/small") == 20
    # One address is asked for in one round trip: nothing but GETURLS goes to git-annex and back.
    assert sum(line.startswith("GET") for line in talk.said) == 20 + len(["GETGITDIR", "GETGITREMOTENAME"])


# dandi: URLs


@pytest.fixture(scope="module")
def program_of_the_archive(running: DemoArchive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversation]:
    with programs(tmp_path_factory.mktemp("own")) as start:
        yield start([], settings={"remote.dandi.annex-dandi-api": running.api_url})


@pytest.fixture
def named(program_of_the_archive: Conversation) -> Conversation:
    program_of_the_archive.said.clear()
    return program_of_the_archive


def test_a_file_is_found_by_its_name(named: Conversation, stored: Stored) -> None:
    url = f"dandi:{stored.identifier}/draft/sub-1/a.nwb"
    assert named.ask(f"CHECKURL {url}") == f"CHECKURL-CONTENTS {len(CONTENT)} a.nwb"


def test_a_version_is_meant_as_it_is_named(named: Conversation, stored: Stored) -> None:
    version = stored.archive.publish(stored.identifier)
    stored.archive.replace_asset(stored.identifier, "sub-1/a.nwb", content=b"later")
    assert named.ask(f"CHECKURL dandi:{stored.identifier}/{version}/sub-1/a.nwb").split()[1] == str(len(CONTENT))
    assert named.ask(f"CHECKURL dandi:{stored.identifier}/draft/sub-1/a.nwb").split()[1] == "5"


def test_what_has_no_such_name_is_refused(named: Conversation, stored: Stored) -> None:
    stored.archive.add_zarr(stored.identifier, "z.zarr", {"0": b"x"})
    for rest, why in {
        "draft/sub-1/A.NWB": "the archive has no such file",
        "draft/sub-1": "the archive has no such file",
        "0.230101.0000/sub-1/a.nwb": "the archive has no such version",
        "draft/z.zarr": "this is a Zarr, not a file",
    }.items():
        said = named.ask(f"CHECKURL dandi:{stored.identifier}/{rest}")
        assert said.startswith("CHECKURL-FAILURE")
        assert why in said


def test_a_key_with_a_name_only_is_retrieved_and_checked(named: Conversation, stored: Stored, tmp_path: Path) -> None:
    named.urls = [f"dandi:{stored.identifier}/draft/sub-1/a.nwb"]
    assert named.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/file").startswith("TRANSFER-SUCCESS")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert named.ask(f"CHECKPRESENT {stored.key}") == f"CHECKPRESENT-SUCCESS {stored.key}"
    assert named.ask("WHEREIS K").startswith("WHEREIS-SUCCESS (Neurosift: https://neurosift.app/nwb?url=http://127")
    stored.archive.replace_asset(stored.identifier, "sub-1/a.nwb", content=b"later")
    assert named.ask(f"CHECKPRESENT {stored.key}") == f"CHECKPRESENT-FAILURE {stored.key}"
    stored.archive.remove_asset(stored.identifier, "sub-1/a.nwb")
    assert named.ask(f"CHECKPRESENT {stored.key}") == f"CHECKPRESENT-FAILURE {stored.key}"


def test_of_several_names_one_that_has_it_is_enough(named: Conversation, stored: Stored, tmp_path: Path) -> None:
    """Each of the others is gone, or has another content by now."""
    version = stored.archive.publish(stored.identifier)
    stored.archive.replace_asset(stored.identifier, "sub-1/a.nwb", content=b"later")
    prefix = f"dandi:{stored.identifier}"
    # In the order in which they are asked.
    named.urls = [f"{prefix}/0.000101.0000/x", f"{prefix}/{version}/sub-1/a.nwb", f"{prefix}/draft/sub-1/a.nwb"]
    assert named.ask(f"CHECKPRESENT {stored.key}") == f"CHECKPRESENT-SUCCESS {stored.key}"
    assert named.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/file").startswith("TRANSFER-SUCCESS")
    assert (tmp_path / "file").read_bytes() == CONTENT
    named.urls = [named.urls[0], named.urls[2]]
    assert named.ask(f"CHECKPRESENT {stored.key}") == f"CHECKPRESENT-FAILURE {stored.key}"
    assert "no such version" in named.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/other")
    named.urls = named.urls[1:]
    assert "has another content there by now" in named.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/other")


def test_a_name_helps_where_the_recorded_addresses_do_not(named: Conversation, stored: Stored, tmp_path: Path) -> None:
    gone = f"{stored.archive.addresses.bucket_url}/gone"
    named.urls = [gone, f"dandi:{stored.identifier}/draft/sub-1/a.nwb"]
    assert named.ask(f"CHECKPRESENT {stored.key}") == f"CHECKPRESENT-SUCCESS {stored.key}"
    assert named.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/file").startswith("TRANSFER-SUCCESS")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_name_among_more_than_are_looked_through_is_not_said_to_be_gone(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.archive.add_asset(stored.identifier, "sub-1/A.nwb", b"the same but for its case")
    monkeypatch.setattr(named_files, "_PAGE", 1)
    client, wanted = ArchiveClient(stored.archive.api_url), NamedFile(stored.identifier, "draft", "sub-1/A.nwb")
    assert named_files.find(client, wanted).size == len(b"the same but for its case")
    monkeypatch.setattr(named_files, "_MOST_PAGES", 1)
    with pytest.raises(BadAnswer, match="not among the first 1 files"):
        named_files.find(client, wanted)


def test_a_page_of_some_proxy_does_not_say_that_there_is_no_such_version(stored: Stored) -> None:
    stored.archive.api_faults.add(Status(404, body=b"<html>There is nothing here, yet."), times=None)
    client = ArchiveClient(stored.archive.api_url, sleep=lambda _: None)
    with pytest.raises(BadAnswer, match="not the archive's own"):
        named_files.find(client, NamedFile(stored.identifier, "draft", "sub-1/a.nwb"))


def test_where_a_name_leads_to_is_told_without_the_archive_as_far_as_it_goes(started: Started, tmp_path: Path) -> None:
    known = started(["dandi:000003/draft/a.tif"])
    page = "https://dandiarchive.org/dandiset/000003/draft/files?location=a.tif"
    assert known.ask("WHEREIS K") == f"WHEREIS-SUCCESS {page}"
    with DemoArchive() as closed:
        settings = {"remote.dandi.annex-dandi-api": closed.api_url}
    assert started(["dandi:000003/draft/a.nwb"], settings=settings).ask("WHEREIS K") == "WHEREIS-FAILURE"
    run("git", "config", "--unset", "remote.dandi.annex-dandi-api", cwd=tmp_path / "empty")
    settings = {"remote.dandi.annex-dandi-instance": "nobody-knows"}
    unknown = started(["dandi:000003/draft/a.nwb"], settings=settings)
    assert unknown.ask("WHEREIS K") == "WHEREIS-FAILURE"
    assert unknown.ask("GETCOST") == "COST 150"


@pytest.mark.parametrize(("word", "code"), [("--help", 0), ("--version", 0), ("get", 2)])
def test_a_person_who_types_it_is_told_what_it_is(word: str, code: int) -> None:
    """It would wait for git-annex for ever."""
    done = subprocess.run(
        [sys.executable, "-m", "mirror.annex_remotes.dandi", word],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert "git annex initremote --sameas=web" in done.stdout
