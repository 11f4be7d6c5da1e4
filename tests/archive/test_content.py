"""What the archive has at recorded addresses, looked at and fetched."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.archive.addresses import Address, AssetAddress, ObjectAddress, ZarrFileAddress
from mirror.archive.client import ArchiveClient
from mirror.archive.content import Content, Seen
from mirror.archive.http import Http
from mirror.demo import DemoArchive
from mirror.demo.faults import NoRanges, Redirect, Status, Truncated, WrongBody
from mirror.errors import ArchiveError, BadAnswer, NotAllowed, NotFound, Unreachable

RECORDING = b"a recording"


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    with DemoArchive() as archive:
        yield archive


@pytest.fixture
def identifier(archive: DemoArchive) -> str:
    identifier = archive.create_dandiset("Ripples")
    archive.add_asset(identifier, "a.nwb", RECORDING)
    return identifier


def content_of(archive: DemoArchive, token: str | None = None, tries: int = 2) -> Content:
    client = ArchiveClient(archive.api_url, token=token, tries=tries, sleep=lambda _: None)
    http = Http(tries=tries, sleep=lambda _: None)
    return Content(http, lambda api_url: client if api_url == client.api_url else None)


@pytest.fixture
def content(archive: DemoArchive) -> Content:
    return content_of(archive)


@pytest.fixture
def stored(archive: DemoArchive, identifier: str) -> ObjectAddress:
    """The object, by its version."""
    blob = archive.asset(identifier, "a.nwb").blob
    assert blob is not None
    latest = archive.objects.latest(blob.key)
    assert latest is not None
    return ObjectAddress(f"{archive.addresses.bucket_url}/{blob.key}?versionId={latest.version_id}")


@pytest.fixture
def asset(archive: DemoArchive, identifier: str) -> AssetAddress:
    return AssetAddress(archive.api_url, archive.asset(identifier, "a.nwb").asset_id)


@pytest.fixture
def zarr_file(archive: DemoArchive, identifier: str) -> ZarrFileAddress:
    zarr_id = archive.add_zarr(identifier, "z.zarr", {"0/a b+c": b"a chunk", ".zgroup": b"{}"})
    return ZarrFileAddress(archive.api_url, zarr_id, "0/a b+c")


def key_of(address: ObjectAddress) -> str:
    return address.url.partition("?")[0].split("/", 4)[4]


def test_an_object_an_asset_and_a_file_of_a_zarr_are_seen(
    content: Content, stored: ObjectAddress, asset: AssetAddress, zarr_file: ZarrFileAddress
) -> None:
    seen, at_api, of_zarr = (content.look(one) for one in (stored, asset, zarr_file))
    assert isinstance(seen, Seen)
    assert (seen.size, seen.version_id) == (len(RECORDING), stored.url.rpartition("=")[2])
    assert at_api == seen
    assert of_zarr is not None
    assert of_zarr.size == 7


def test_they_are_fetched(
    content: Content, stored: ObjectAddress, asset: AssetAddress, zarr_file: ZarrFileAddress, tmp_path: Path
) -> None:
    for number, (address, expected) in enumerate([(stored, RECORDING), (asset, RECORDING), (zarr_file, b"a chunk")]):
        file = tmp_path / str(number)
        content.fetch([address], file, len(expected))
        assert file.read_bytes() == expected


def test_what_is_deleted_is_not_there(
    archive: DemoArchive, content: Content, stored: ObjectAddress, asset: AssetAddress
) -> None:
    key = key_of(stored)
    archive.objects.delete(key)
    # The version that was recorded is there for thirty days more; today's is not, and the API leads to today's.
    assert content.look(stored) is not None
    assert content.look(stored, current=True) is None
    assert content.look(asset) is None
    assert archive.objects.delete_version(key, stored.url.rpartition("=")[2])
    assert content.look(stored) is None


def test_today_s_version_may_be_another_than_the_one_recorded(
    archive: DemoArchive, content: Content, stored: ObjectAddress
) -> None:
    archive.objects.put(key_of(stored), b"written over")
    recorded, today = content.look(stored), content.look(stored, current=True)
    assert recorded is not None
    assert today is not None
    assert (recorded.size, today.size) == (len(RECORDING), len(b"written over"))
    assert recorded.etag != today.etag


def test_an_asset_that_the_archive_has_no_more_is_not_there(content: Content, archive: DemoArchive) -> None:
    assert content.look(AssetAddress(archive.api_url, "00000000-0000-4000-8000-000000000000")) is None


def test_an_empty_asset_is_seen_by_the_api(content: Content, archive: DemoArchive, identifier: str) -> None:
    archive.add_asset(identifier, "empty.txt", b"")
    seen = content.look(AssetAddress(archive.api_url, archive.asset(identifier, "empty.txt").asset_id))
    assert seen is not None
    assert seen.size == 0


@pytest.mark.parametrize(
    "fault", [Status(503), Status(403), Status(400), Truncated()], ids=["503", "403", "400", "cut"]
)
def test_where_it_is_not_known_it_is_an_error(
    archive: DemoArchive, content: Content, asset: AssetAddress, fault: Status
) -> None:
    archive.s3_faults.add(fault, times=None)
    with pytest.raises(ArchiveError):
        content.look(asset)


def test_a_page_that_some_proxy_puts_in_its_place_is_not_the_content(
    archive: DemoArchive, content: Content, asset: AssetAddress
) -> None:
    """An empty one would be of no bytes: another content than the one that is meant."""
    archive.s3_faults.add(WrongBody(b"", "text/html"), times=None)
    with pytest.raises(BadAnswer, match="has no ETag"):
        content.look(asset)


def test_an_answer_in_whole_is_one_where_a_byte_is_all_there_is(
    archive: DemoArchive, content: Content, identifier: str
) -> None:
    archive.add_asset(identifier, "short.txt", b"x")
    archive.s3_faults.add(NoRanges(), times=None)
    seen = content.look(AssetAddress(archive.api_url, archive.asset(identifier, "short.txt").asset_id))
    assert seen is not None
    assert seen.size == 1


def test_a_server_that_does_not_answer_says_nothing_of_what_is_there(
    archive: DemoArchive, content: Content, stored: ObjectAddress, asset: AssetAddress
) -> None:
    archive.close()
    for address in (stored, asset):
        with pytest.raises(Unreachable):
            content.look(address)


@pytest.mark.parametrize("whose", ["nobody", "a stranger"])
def test_embargoed_content_is_refused_to_others_and_never_said_to_be_gone(
    archive: DemoArchive, identifier: str, asset: AssetAddress, zarr_file: ZarrFileAddress, whose: str, tmp_path: Path
) -> None:
    archive.embargo(identifier)
    content = content_of(archive, archive.other_token if whose == "a stranger" else None)
    for address in (asset, zarr_file):
        with pytest.raises(NotAllowed):
            content.look(address)
        with pytest.raises(NotAllowed):
            content.fetch([address], tmp_path / "file", 7)


def test_embargoed_content_is_given_to_its_owner_and_no_signature_is_logged(
    archive: DemoArchive,
    identifier: str,
    asset: AssetAddress,
    zarr_file: ZarrFileAddress,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    archive.embargo(identifier)
    caplog.set_level(logging.DEBUG)
    content = content_of(archive, archive.token)
    for address, expected in ((asset, RECORDING), (zarr_file, b"a chunk")):
        seen = content.look(address)
        assert seen is not None
        assert seen.size == len(expected)
        content.fetch([address], tmp_path / "file", len(expected))
        assert (tmp_path / "file").read_bytes() == expected
        (tmp_path / "file").unlink()
    assert caplog.messages
    assert not [line for line in caplog.messages if "X-Amz" in line or archive.token in line]


def test_the_bucket_is_not_sent_the_token(
    archive: DemoArchive, identifier: str, asset: AssetAddress, tmp_path: Path
) -> None:
    archive.embargo(identifier)
    headers: list[dict[str, str]] = []

    class Noted(Truncated):
        def apply(self, request, answer):  # type: ignore[no-untyped-def]
            headers.append(request.headers)
            return answer(request)

    archive.s3_faults.add(Noted(), times=None)
    content_of(archive, archive.token).fetch([asset], tmp_path / "file", len(RECORDING))
    assert headers
    assert not [one for one in headers if "authorization" in one]


def test_another_file_than_the_one_asked_for_is_refused(
    archive: DemoArchive, content: Content, zarr_file: ZarrFileAddress
) -> None:
    """The API answers with whatever begins with the path: `0/a b+cd`, where `0/a b+c` is gone."""
    url = f"{archive.addresses.bucket_url}/zarr/{zarr_file.zarr_id}/0/a%20b%2Bcd?X-Amz-Signature=abc"
    archive.api_faults.add(Redirect(url), path="/files/", times=None)
    with pytest.raises(BadAnswer, match="leads to another file") as caught:
        content.look(zarr_file)
    assert "X-Amz" not in str(caught.value)


def test_a_file_of_a_zarr_that_is_gone_is_not_there(content: Content, zarr_file: ZarrFileAddress) -> None:
    assert content.look(ZarrFileAddress(zarr_file.api_url, zarr_file.zarr_id, "0/nothing")) is None


def test_the_next_address_goes_on_where_the_first_broke_off(
    archive: DemoArchive, content: Content, identifier: str, tmp_path: Path
) -> None:
    big = bytes(range(256)) * (20 << 10)
    archive.add_asset(identifier, "big.nwb", big)
    made = archive.asset(identifier, "big.nwb")
    assert made.blob is not None
    found: list[Address] = [
        ObjectAddress(f"{archive.addresses.bucket_url}/{made.blob.key}"),
        AssetAddress(archive.api_url, made.asset_id),
    ]
    archive.s3_faults.add(Status(404), path=made.blob.key, after=1, times=1)
    content.fetch(found, tmp_path / "file", len(big), connections=1)
    assert (tmp_path / "file").read_bytes() == big
    assert archive.count(path="/download/") == 1


def test_what_each_address_said_is_told(
    archive: DemoArchive, content: Content, stored: ObjectAddress, asset: AssetAddress, identifier: str, tmp_path: Path
) -> None:
    archive.embargo(identifier)
    with pytest.raises(NotAllowed) as caught:
        content.fetch([stored, asset], tmp_path / "file", len(RECORDING))
    assert stored.url.partition("?")[0] in str(caught.value)
    assert asset.asset_id in str(caught.value)
    assert "token" in str(caught.value)


def test_without_an_address_there_is_nothing_to_be_had(content: Content, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no address"):
        content.fetch([], tmp_path / "file", 5)
    content.fetch([], tmp_path / "empty", 0)
    assert (tmp_path / "empty").read_bytes() == b""


def test_an_archive_that_is_not_to_be_asked_is_not_asked(archive: DemoArchive, asset: AssetAddress) -> None:
    content = Content(Http(), lambda _: None)
    with pytest.raises(NotAllowed, match="not asked from here"):
        content.look(asset)
    assert archive.count() == 0


def test_a_check_is_asked_of_signed_addresses_too(
    archive: DemoArchive, asset: AssetAddress, stored: ObjectAddress
) -> None:
    def check(url: str) -> None:
        raise NotAllowed(f"not this one: {url.partition('?')[0]}")

    client = ArchiveClient(archive.api_url)
    content = Content(Http(), lambda _: client, check=check)
    for address in (asset, stored):
        with pytest.raises(NotAllowed, match="not this one"):
            content.look(address)
    assert archive.count(server="s3") == 0


def test_an_endpoint_stands_for_the_server_of_the_address(
    archive: DemoArchive, stored: ObjectAddress, tmp_path: Path
) -> None:
    content = Content(Http(), lambda _: None, archive.s3_endpoint)
    at_amazon = ObjectAddress(stored.url.replace(f"{archive.s3_endpoint}/{archive.bucket}", _AMAZON))
    seen = content.look(at_amazon)
    assert seen is not None
    assert seen.size == len(RECORDING)
    content.fetch([at_amazon], tmp_path / "file", len(RECORDING))
    assert (tmp_path / "file").read_bytes() == RECORDING


_AMAZON = "https://demo-archive.s3.amazonaws.com"
