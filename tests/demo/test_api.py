"""The REST API: pages, orders, filters, tokens, and HTTP itself."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from mirror.demo import DemoArchive
from mirror.demo.samples import many_dandisets

Session = requests.Session


def listed(session: Session, address: str) -> list[Any]:
    """All pages of a list, following its links."""
    found: list[Any] = []
    following: str | None = address
    while following:
        page = session.get(following).json()
        found += page["results"]
        following = page["next"]
    return found


@pytest.fixture
def draft(archive: DemoArchive) -> str:
    """The address of a draft's assets."""
    identifier = archive.create_dandiset()
    names = ["b.txt", "README.md", "a/B.nwb", "a/a.nwb", "dataset_description.json"]
    archive.add_assets(identifier, [(name, name.encode()) for name in names])
    archive.add_zarr_asset(identifier, "z.ome.zarr")
    return f"{archive.api_url}/dandisets/{identifier}/versions/draft/assets/"


def paths(session: Session, address: str) -> list[str]:
    return [asset["path"] for asset in listed(session, address)]


@pytest.mark.parametrize("size", [1, 2, 3, 6, 100])
def test_pages_make_up_the_list(archive: DemoArchive, draft: str, session: Session, size: int) -> None:
    whole = session.get(draft).json()["results"]
    assert listed(session, f"{draft}?page_size={size}") == whole
    assert archive.count(server="api", path=r"page_size") == -(-6 // size)


def test_assets_are_counted_on_the_first_page_only(draft: str, session: Session) -> None:
    assert session.get(f"{draft}?page_size=2").json()["count"] == 6
    assert session.get(f"{draft}?page_size=2&page=2").json()["count"] is None


def test_order_by_path_is_not_that_of_bytes(archive: DemoArchive, draft: str, session: Session) -> None:
    expected = ["a/a.nwb", "a/B.nwb", "b.txt", "dataset_description.json", "README.md", "z.ome.zarr"]
    assert paths(session, f"{draft}?order=path") == expected
    assert paths(session, f"{draft}?order=-path") == expected[::-1]
    archive.path_order = "bytes"
    archive.add_asset("000001", "C", b"")
    assert paths(session, f"{draft}?order=path") == sorted([*expected, "C"])


def test_filters(draft: str, session: Session) -> None:
    assert paths(session, f"{draft}?path=A/") == ["a/B.nwb", "a/a.nwb"]
    assert paths(session, f"{draft}?glob=*.NWB") == ["a/B.nwb", "a/a.nwb"]
    assert paths(session, f"{draft}?glob=a/?.nwb") == []
    assert paths(session, f"{draft}?zarr=true") == ["z.ome.zarr"]
    assert len(paths(session, f"{draft}?zarr=false")) == 6


def test_paging_is_no_snapshot(archive: DemoArchive, draft: str, session: Session) -> None:
    first = session.get(f"{draft}?order=created&page_size=3").json()
    archive.replace_asset("000001", "b.txt", content=b"new")
    rest = listed(session, first["next"])
    seen = [asset["path"] for asset in first["results"] + rest]
    assert sorted(seen) != sorted(set(seen))
    assert "a/a.nwb" not in seen


def test_a_thousand_dandisets_are_one_request(archive: DemoArchive, session: Session) -> None:
    many_dandisets(archive, count=1001, files=1)
    answer = session.get(f"{archive.api_url}/dandisets/?page_size=5000")
    assert len(answer.json()["results"]) == 1000
    assert answer.json()["next"].endswith("?page=2&page_size=5000")
    before = time.perf_counter()
    session.get(f"{archive.api_url}/dandisets/?page_size=1000")
    assert time.perf_counter() - before < 0.5


def test_a_page_of_a_thousand_assets_is_quick(archive: DemoArchive, session: Session) -> None:
    identifier = archive.create_dandiset()
    archive.add_assets(identifier, ((f"f{number}", b"%d" % number) for number in range(1000)))
    address = f"{archive.api_url}/dandisets/{identifier}/versions/draft/assets/?metadata=true&page_size=1000"
    session.get(address)
    before = time.perf_counter()
    assert len(session.get(address).json()["results"]) == 1000
    assert time.perf_counter() - before < 0.5


def test_orders_of_dandisets(archive: DemoArchive, session: Session) -> None:
    first, second = archive.create_dandiset("b", identifier="000020"), archive.create_dandiset("a", identifier="000010")
    archive.add_asset(first, "x", b"large")

    def order(by: str) -> list[str]:
        return [one["identifier"] for one in listed(session, f"{archive.api_url}/dandisets/?ordering={by}")]

    assert order("id") == order("name") == order("modified") == order("size") == [second, first]
    assert order("created") == order("-modified") == [first, second]


def test_dandisets_can_be_filtered(archive: DemoArchive, session: Session) -> None:
    published, empty = archive.create_dandiset("published"), archive.create_dandiset("empty")
    archive.add_asset(published, "x", b"x")
    archive.publish(published)
    archive.create_dandiset("closed", embargoed=True)

    def names(query: str, token: str | None = None) -> list[str]:
        headers = {"Authorization": f"token {token}"} if token else {}
        page = session.get(f"{archive.api_url}/dandisets/?{query}", headers=headers).json()
        return [one["draft_version"]["name"] for one in page["results"]]

    assert names("") == names("embargoed=true", archive.other_token) == ["published", "empty"]
    assert names("draft=false") == names("empty=false") == names("search=publ") == ["published"]
    assert names("embargoed=true", archive.token) == ["published", "empty", "closed"]
    assert names("user=me", archive.other_token) == []
    assert empty == "000002"


def test_a_download_leads_to_the_bytes(draft: str, session: Session) -> None:
    asset = session.get(f"{draft}?path=a/B.nwb&metadata=true").json()["results"][0]
    for address in asset["metadata"]["contentUrl"]:
        assert session.get(address).content == b"a/B.nwb"
    nested = f"{draft}{asset['asset_id']}/download/"
    answer = session.get(nested)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="B.nwb"'
    assert answer.history[0].status_code == 302


def test_an_asset_of_another_version_is_not_nested_here(archive: DemoArchive, draft: str, session: Session) -> None:
    other = archive.create_dandiset()
    asset_id = archive.add_asset(other, "x", b"x")
    assert session.get(f"{archive.api_url}/assets/{asset_id}/").status_code == 200
    assert session.get(f"{draft}{asset_id}/").status_code == 404


def test_writing_needs_a_token_and_is_not_offered(archive: DemoArchive, session: Session) -> None:
    address = f"{archive.api_url}/dandisets/"
    assert session.post(address, json={}).status_code == 401
    answer = session.post(address, json={}, headers={"Authorization": f"token {archive.token}"})
    assert answer.status_code == 405


def raw(archive: DemoArchive) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(archive.api_url).netloc)


def test_answers_are_compressed_when_asked_for(archive: DemoArchive, draft: str) -> None:
    connection = raw(archive)
    connection.request("GET", urlsplit(draft).path, headers={"Accept-Encoding": "gzip"})
    packed = connection.getresponse()
    body = packed.read()
    connection.request("GET", urlsplit(draft).path)
    plain = connection.getresponse()
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert json.loads(gzip.decompress(body)) == json.loads(plain.read())
    connection.close()


def test_one_connection_carries_many_requests(archive: DemoArchive, draft: str) -> None:
    connection = raw(archive)
    connection.connect()
    port = connection.sock.getsockname()[1]
    for method in ("GET", "HEAD", "GET"):
        connection.request(method, urlsplit(draft).path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 0
        assert bool(body) == (method == "GET")
    assert connection.sock.getsockname()[1] == port
    connection.close()


def test_the_date_is_the_archives_clock(archive: DemoArchive, session: Session) -> None:
    assert session.get(f"{archive.api_url}/info/").headers["Date"] == "Fri, 20 Nov 2026 15:34:17 GMT"
    archive.clock.advance(3600)
    assert session.get(f"{archive.api_url}/info/").headers["Date"] == "Fri, 20 Nov 2026 16:34:17 GMT"


def test_a_redirect_for_a_missing_slash_keeps_the_query(draft: str, session: Session) -> None:
    answer = session.get(f"{draft[:-1]}?path=b", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (301, f"{urlsplit(draft).path}?path=b")


def test_requests_are_logged(archive: DemoArchive, draft: str, session: Session) -> None:
    session.get(f"{draft}?page_size=2")
    session.get(f"{archive.api_url}/nothing/")
    session.head(f"{archive.s3_endpoint}/{archive.bucket}")
    assert [(one.server, one.method, one.query, one.status) for one in archive.requests] == [
        ("api", "GET", "page_size=2", 200),
        ("api", "GET", "", 404),
        ("s3", "HEAD", "", 200),
    ]
    assert archive.count() == len(archive.requests) == 3
    assert archive.count(server="api", status=404) == archive.count(path="nothing") == archive.count(method="HEAD") == 1
    archive.requests.clear()
    assert archive.count() == 0


def test_threads_may_read_and_write_at_once(archive: DemoArchive, draft: str) -> None:
    def work(number: int) -> None:
        with requests.Session() as own:
            for step in range(10):
                archive.add_asset("000001", f"{number}/{step}", b"%d %d" % (number, step))
                assert own.get(draft).status_code == 200

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with requests.Session() as session:
        assert session.get(draft).json()["count"] == 86


def test_stopping_is_immediate_even_with_open_connections() -> None:
    archive = DemoArchive().start()
    with requests.Session() as session:
        session.get(f"{archive.api_url}/info/")
        before = time.perf_counter()
        archive.close()
        assert time.perf_counter() - before < 0.5
        with pytest.raises(requests.ConnectionError):
            session.get(f"{archive.api_url}/info/")
