"""What the program says to each line of git-annex's protocol."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from mirror.demo import DemoArchive
from mirror.demo.faults import OtherETag, Slow, Status, Truncated

from .conftest import Conversation, Noted, Started, run

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


@pytest.fixture
def stored(archive: DemoArchive) -> Stored:
    identifier = archive.create_dandiset("Ripples")
    archive.add_asset(identifier, "sub-1/a.nwb", CONTENT)
    asset = archive.asset(identifier, "sub-1/a.nwb")
    assert asset.blob is not None
    key = f"SHA256E-s{len(CONTENT)}--{hashlib.sha256(CONTENT).hexdigest()}.nwb"
    return Stored(archive, identifier, asset.asset_id, asset.blob.key, key)


@pytest.fixture
def talk(started: Started, stored: Stored) -> Conversation:
    return started(stored.urls)


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
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
    ],
)
def test_answers_that_need_nothing_else(started: Started, request_line: str, answer: str) -> None:
    talk = started()
    assert talk.ask(request_line) == answer
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


def test_it_ends_when_nobody_hears_it_any_more_in_the_middle_of_a_download(talk: Conversation, stored: Stored) -> None:
    """git-annex was killed, and the server is silent."""
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


def test_a_connection_cut_in_the_middle_costs_one_piece(talk: Conversation, stored: Stored, tmp_path: Path) -> None:
    noted = Noted({2: Truncated(0.9)})
    stored.archive.s3_faults.add(noted, times=None)
    assert talk.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/file").startswith("TRANSFER-SUCCESS")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(CONTENT) < noted.sent <= len(CONTENT) + (4 << 20)


def test_a_server_that_is_busy_twice_is_asked_again_and_debugging_shows_it(
    talk: Conversation, stored: Stored, tmp_path: Path
) -> None:
    stored.archive.s3_faults.add(Status(503), times=2)
    assert talk.ask(f"TRANSFER RETRIEVE {stored.key} {tmp_path}/file").startswith("TRANSFER-SUCCESS")
    assert len([line for line in talk.said if line.startswith("DEBUG") and "HTTP 503; try 2 of" in line]) == 2


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


@pytest.mark.parametrize("status", [403, 400, 302])
def test_where_the_server_does_not_say_it_is_not_known(talk: Conversation, stored: Stored, status: int) -> None:
    talk.urls = stored.urls
    stored.archive.s3_faults.add(Status(status), times=None)
    stored.archive.api_faults.add(Status(404), times=None)
    assert talk.ask(f"CHECKPRESENT {stored.key}").startswith(f"CHECKPRESENT-UNKNOWN {stored.key} ")


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
    assert archive.count() == 20
    # One address is asked for in one round trip: nothing but GETURLS goes to git-annex and back.
    assert sum(line.startswith("GET") for line in talk.said) == 20 + len(["GETGITDIR", "GETGITREMOTENAME"])


# dandi: URLs


@pytest.fixture
def named(started: Started, stored: Stored) -> Conversation:
    return started([], settings={"remote.dandi.annex-dandi-api": stored.archive.api_url})


def test_a_file_is_found_by_its_name(named: Conversation, stored: Stored) -> None:
    url = f"dandi:{stored.identifier}/draft/sub-1/a.nwb"
    assert named.ask(f"CHECKURL {url}") == f"CHECKURL-CONTENTS {len(CONTENT)} a.nwb"


def test_a_version_is_meant_as_it_is_named(named: Conversation, stored: Stored) -> None:
    version = stored.archive.publish(stored.identifier)
    stored.archive.replace_asset(stored.identifier, "sub-1/a.nwb", content=b"later")
    assert named.ask(f"CHECKURL dandi:{stored.identifier}/{version}/sub-1/a.nwb").split()[1] == str(len(CONTENT))
    assert named.ask(f"CHECKURL dandi:{stored.identifier}/draft/sub-1/a.nwb").split()[1] == "5"


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("draft/sub-1/A.NWB", "the archive has no such file"),
        ("draft/sub-1", "the archive has no such file"),
        ("0.230101.0000/sub-1/a.nwb", "the archive has no such version"),
        ("draft/z.zarr", "this is a Zarr, not a file"),
    ],
)
def test_what_has_no_such_name_is_refused(named: Conversation, stored: Stored, rest: str, why: str) -> None:
    stored.archive.add_zarr(stored.identifier, "z.zarr", {"0": b"x"})
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


def test_where_a_name_leads_to_is_told_without_the_archive_as_far_as_it_goes(
    started: Started, archive: DemoArchive, tmp_path: Path
) -> None:
    known = started(["dandi:000003/draft/a.tif"])
    page = "https://dandiarchive.org/dandiset/000003/draft/files?location=a.tif"
    assert known.ask("WHEREIS K") == f"WHEREIS-SUCCESS {page}"
    archive.close()
    settings = {"remote.dandi.annex-dandi-api": archive.api_url}
    assert started(["dandi:000003/draft/a.nwb"], settings=settings).ask("WHEREIS K") == "WHEREIS-FAILURE"
    run("git", "config", "--unset", "remote.dandi.annex-dandi-api", cwd=tmp_path / "empty")
    settings = {"remote.dandi.annex-dandi-instance": "nobody-knows"}
    unknown = started(["dandi:000003/draft/a.nwb"], settings=settings)
    assert unknown.ask("WHEREIS K") == "WHEREIS-FAILURE"
    assert unknown.ask("GETCOST") == "COST 150"
