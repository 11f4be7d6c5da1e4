"""A demo archive that misbehaves on request."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from mirror.demo import DemoArchive
from mirror.demo.faults import (
    Before,
    Beyond,
    LostPage,
    LostVersions,
    NoRanges,
    OtherETag,
    OtherPart,
    Redirect,
    RepeatedPage,
    Reset,
    Slow,
    Status,
    Truncated,
    WrongBody,
    html_page,
)

Session = requests.Session


@pytest.fixture
def address(archive: DemoArchive) -> str:
    """The first page, of two assets, of a draft of six."""
    identifier = archive.create_dandiset()
    archive.add_assets(identifier, [(f"{number}", b"%d" % number) for number in range(6)])
    return f"{archive.api_url}/dandisets/{identifier}/versions/draft/assets/?order=path&page_size=2"


def listed(session: Session, address: str) -> list[str]:
    found: list[str] = []
    following: Any = address
    while following:
        page = session.get(following).json()
        found += [asset["path"] for asset in page["results"]]
        following = page["next"]
    return found


def test_a_status_so_many_times(archive: DemoArchive, address: str, session: Session) -> None:
    rule = archive.api_faults.add(Status(503), path=r"/assets/", times=2)
    assert [session.get(address).status_code for _ in range(3)] == [503, 503, 200]
    assert rule.struck == archive.count(status=503) == 2


def test_only_after_so_many_requests_and_only_those_that_match(
    archive: DemoArchive, address: str, session: Session
) -> None:
    archive.api_faults.add(Status(500), path="page_size=2", method="GET", after=1)
    assert session.get(f"{archive.api_url}/info/").status_code == 200
    assert session.head(address).status_code == 200
    assert [session.get(address).status_code for _ in range(3)] == [200, 500, 200]


def test_always_until_cleared(archive: DemoArchive, address: str, session: Session) -> None:
    archive.api_faults.add(Status(500), times=None)
    assert {session.get(address).status_code for _ in range(5)} == {500}
    archive.api_faults.clear()
    assert session.get(address).status_code == 200


def test_too_many_requests_say_when_to_come_back(archive: DemoArchive, address: str, session: Session) -> None:
    archive.api_faults.add(Status(429, retry_after=7))
    answer = session.get(address)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")


def test_a_reset_connection(archive: DemoArchive, address: str, session: Session) -> None:
    archive.api_faults.add(Reset())
    with pytest.raises(requests.ConnectionError):
        session.get(address)
    assert session.get(address).status_code == 200


def test_a_slow_answer(archive: DemoArchive, address: str, session: Session) -> None:
    archive.api_faults.add(Slow(0.3))
    before = time.perf_counter()
    assert session.get(address).status_code == 200
    assert time.perf_counter() - before > 0.3
    archive.api_faults.add(Slow(60))
    with pytest.raises(requests.ReadTimeout):
        session.get(address, timeout=0.1)


def test_a_truncated_body(archive: DemoArchive, address: str, session: Session) -> None:
    archive.api_faults.add(Truncated())
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        session.get(address, headers={"Accept-Encoding": "identity"})
    assert session.get(address).status_code == 200


def test_a_truncated_object(archive: DemoArchive, session: Session) -> None:
    archive.objects.put("k", b"0123456789")
    archive.s3_faults.add(Truncated(0.3), path="/k$")
    with session.get(f"{archive.s3_endpoint}/{archive.bucket}/k", stream=True) as answer:
        assert answer.headers["Content-Length"] == "10"
        assert answer.raw.read(10, decode_content=False)[:3] == b"012"
    assert session.get(f"{archive.s3_endpoint}/{archive.bucket}/k").content == b"0123456789"


def test_bodies_that_are_not_what_was_asked_for(archive: DemoArchive, address: str, session: Session) -> None:
    archive.api_faults.add(WrongBody())
    archive.api_faults.add(html_page())
    garbled, apology = session.get(address), session.get(address)
    assert garbled.status_code == apology.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        garbled.json()
    assert apology.headers["Content-Type"] == "text/html"
    assert "unavailable" in apology.text


def test_a_redirect_to_elsewhere(archive: DemoArchive, address: str, session: Session) -> None:
    archive.api_faults.add(Redirect("http://127.0.0.1:1/login"))
    answer = session.get(address, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "http://127.0.0.1:1/login")


def test_a_page_that_repeats(archive: DemoArchive, address: str, session: Session) -> None:
    archive.api_faults.add(RepeatedPage(), path=r"[?&]page=2")
    assert listed(session, address) == ["0", "1", "0", "1", "4", "5"]
    assert listed(session, address) == ["0", "1", "2", "3", "4", "5"]


def test_a_page_that_is_lost(archive: DemoArchive, address: str, session: Session) -> None:
    archive.api_faults.add(LostPage(), path=r"[?&]page=2")
    assert listed(session, address) == ["0", "1", "4", "5"]


def test_something_happens_between_two_pages(archive: DemoArchive, address: str, session: Session) -> None:
    archive.api_faults.add(Before(lambda: archive.rename_asset("000001", "0", "6")), path=r"[?&]page=2")
    assert listed(session, address) == ["0", "1", "3", "4", "5", "6"]


class TestListingsOfAZarr:
    @pytest.fixture
    def zarr_id(self, archive: DemoArchive) -> str:
        files = {f"0/{number}": b"%d" % number for number in range(5)}
        return archive.add_zarr(archive.create_dandiset(), "a.zarr", files)

    @pytest.fixture
    def s3_address(self, archive: DemoArchive) -> str:
        return f"{archive.s3_endpoint}/{archive.bucket}"

    def test_they_are_struck_however_the_client_encodes_them(
        self, archive: DemoArchive, zarr_id: str, s3_address: str, session: Session
    ) -> None:
        rule = archive.s3_faults.add(Status(503), path=rf"versions.*prefix=zarr/{zarr_id}/", times=2)
        parameters = {"versions": "", "prefix": f"zarr/{zarr_id}/0/"}
        encoded = session.get(s3_address, params=parameters)
        assert "%2F" in encoded.url
        plain = session.get(f"{s3_address}?versions&prefix=zarr/{zarr_id}/")
        assert [encoded.status_code, plain.status_code, rule.struck] == [503, 503, 2]
        assert archive.count(server="s3", path=rf"prefix=zarr/{zarr_id}/") == 2
        assert session.get(s3_address, params=parameters).status_code == 200

    def test_one_that_breaks_off(self, archive: DemoArchive, zarr_id: str, s3_address: str, session: Session) -> None:
        archive.s3_faults.add(Truncated(), path="prefix=zarr/")
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            session.get(f"{s3_address}?versions&prefix=zarr/{zarr_id}/")

    def test_one_that_lacks_files_and_does_not_say_so(
        self, archive: DemoArchive, zarr_id: str, s3_address: str, session: Session
    ) -> None:
        archive.s3_faults.add(LostVersions(2), path="versions.*prefix=zarr/")
        address = f"{s3_address}?versions&prefix=zarr/{zarr_id}/"
        short, whole = session.get(address).text, session.get(address).text
        assert (short.count("<Version>"), whole.count("<Version>")) == (3, 5)
        assert "0/1</Key>" not in short
        assert "<IsTruncated>false</IsTruncated>" in short

    def test_of_the_api(self, archive: DemoArchive, zarr_id: str, session: Session) -> None:
        archive.api_faults.add(Status(503), path=rf"zarr/{zarr_id}/files/\?.*prefix=0/")
        address = f"{archive.api_url}/zarr/{zarr_id}/files/"
        assert [session.get(address, params={"prefix": "0/"}).status_code for _ in range(2)] == [503, 200]


def test_faults_of_reading_an_object_by_parts(archive: DemoArchive, session: Session) -> None:
    written = archive.objects.put("some.bin", b"0123456789abcdef")
    url, headers = f"{archive.s3_endpoint}/{archive.bucket}/some.bin", {"Range": "bytes=4-7"}
    for fault in (Beyond(4, OtherETag()), NoRanges(), OtherPart(0, 1), Beyond(5, Reset())):
        archive.s3_faults.add(fault, path="some.bin")
    other, whole, part, honest = (session.get(url, headers=headers) for _ in range(4))
    assert (other.content, other.headers["ETag"] == f'"{written.etag}"') == (b"4567", False)
    assert (whole.status_code, whole.content) == (200, b"0123456789abcdef")
    assert (part.status_code, part.headers["Content-Range"]) == (206, "bytes 0-1/16")
    assert (honest.status_code, honest.content, honest.headers["ETag"]) == (206, b"4567", f'"{written.etag}"')
