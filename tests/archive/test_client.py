"""How the REST client pages, decodes, and fails, against a server on loopback that can misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mirror.archive.client import ArchiveClient
from mirror.archive.http import MALFORMED_TRIES
from mirror.archive.records import DandisetSummary, Instance, Unreadable
from mirror.errors import BadAnswer, NotAllowed, NotFound, Unreachable, UsageError

TOKEN = "f00dcafe" * 5
ASSET_ID = "e1e9c71e-9daa-4565-bf35-282782bd81e1"


def dandiset(number: int) -> dict[str, Any]:
    return {"identifier": f"{number:06}", "created": "c", "modified": "m", "embargo_status": "OPEN", "new_field": 1}


def asset(number: int) -> dict[str, Any]:
    path = f"sub-{number:04}/a.nwb"
    return {
        "asset_id": f"id-{number}",
        "path": path,
        "size": number,
        "created": "c",
        "modified": "m",
        "blob": f"blob-{number}",
        "zarr": None,
        "metadata": {"path": path, "n": [1.50, None]},
    }


def listing(items: list[Any], *, more: bool, count: int | None = None) -> dict[str, Any]:
    # Where `next` points must not matter: only our own page numbers are asked for.
    return {"count": count, "next": "http://evil.example/next" if more else None, "previous": None, "results": items}


def version(name: str) -> dict[str, Any]:
    said = {"version": name, "name": "A", "asset_count": 1, "size": 2, "status": "Valid", "created": "c"}
    return said | {"modified": "m", "metadata": {"name": "A"}}


def identifiers(client: ArchiveClient) -> list[str | None]:
    return [item.identifier for item in client.dandisets()]


@pytest.fixture
def client(server: Any, pauses: list[float]) -> Iterator[ArchiveClient]:
    client = ArchiveClient(f"{server.url}/api/", token=TOKEN, page_size=2, sleep=pauses.append)
    yield client
    client.http.close()


def test_dandisets_are_listed_page_by_page(server: Any, client: ArchiveClient) -> None:
    base = "/api/dandisets/?ordering=id&page_size=2"
    server.then(listing([dandiset(1), dandiset(2)], more=True, count=3), at=base)
    server.then(listing([dandiset(3)], more=False), at=f"{base}&page=2")
    assert identifiers(client) == ["000001", "000002", "000003"]
    assert server.paths == [base, f"{base}&page=2"]


def test_embargoed_dandisets_are_asked_for_with_the_token(server: Any, client: ArchiveClient) -> None:
    server.then(listing([dandiset(1)], more=False))
    list(client.dandisets(embargoed=True))
    assert "embargoed=true" in server.paths[0]
    assert server.seen[0].headers["authorization"] == f"token {TOKEN}"


ZARR_ID = "bef550c9-77fb-460d-8d22-6ee56a5830e9"


def zarr_files(*keys: str, more: bool = False) -> dict[str, Any]:
    files = [{"Key": key, "LastModified": "2026-11-20 15:32:09+00:00", "ETag": "e" * 32, "Size": 2} for key in keys]
    return {"next": "http://elsewhere.example/" if more else None, "results": files}


def test_the_files_of_a_zarr_are_listed_as_the_bucket_would(server: Any, client: ArchiveClient) -> None:
    base = f"/api/zarr/{ZARR_ID}/files/?limit=2"
    server.then(zarr_files(".zattrs", "0/a b", more=True), at=base)
    server.then(zarr_files("1"), at=f"{base}&after=0%2Fa+b")
    pages = list(client.zarr_files(ZARR_ID, "zarr/z/"))
    assert [[file.key for file in page] for page in pages] == [["zarr/z/.zattrs", "zarr/z/0/a b"], ["zarr/z/1"]]
    assert {(file.etag, file.size, file.version_id) for page in pages for file in page} == {("e" * 32, 2, None)}
    assert pages[0][0].last_modified == "2026-11-20T15:32:09.000Z"
    assert all(one.headers["authorization"] == f"token {TOKEN}" for one in server.seen)


@pytest.mark.parametrize("second", [("0",), ("1",), ("2", "2"), ("3", "2")])
def test_files_that_are_not_in_order_are_refused(server: Any, client: ArchiveClient, second: tuple[str, ...]) -> None:
    server.then(zarr_files("0", "1", more=True))
    server.then(zarr_files(*second))
    with pytest.raises(BadAnswer, match="out of order"):
        list(client.zarr_files(ZARR_ID, "zarr/z/"))


def test_a_page_of_no_files_that_promises_more_is_refused(server: Any, client: ArchiveClient) -> None:
    server.then(zarr_files(more=True))
    with pytest.raises(BadAnswer, match="empty and says that more follow"):
        list(client.zarr_files(ZARR_ID, "zarr/z/"))


def test_a_list_that_became_shorter_ends(server: Any, client: ArchiveClient) -> None:
    server.then(listing([dandiset(1), dandiset(2)], more=True))
    server.then({"detail": "Invalid page."}, status=404)
    assert identifiers(client) == ["000001", "000002"]


@pytest.mark.parametrize("identifier", ["../../users", "12345", "000001/..", "", "００００２７", "000027\n"])
def test_identifiers_are_checked(server: Any, client: ArchiveClient, identifier: str) -> None:
    with pytest.raises(UsageError, match="is no Dandiset identifier"):
        client.dandiset(identifier)
    server.then(listing([dandiset(1) | {"identifier": identifier}], more=False))
    assert list(client.dandisets()) == [Unreadable(None, f"{identifier!r} is no Dandiset identifier")]
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("entry", "identifier", "reason"),
    [
        (None, None, "Expected `object`, got `null`"),
        ([], None, "Expected `object`, got `array`"),
        ({}, None, "Object missing required field `identifier`"),
        (dandiset(1) | {"identifier": 1}, None, "Expected `str`, got `int` - at `$.identifier`"),
        (dandiset(1) | {"identifier": "9" * 5000 + "x"}, None, f"'{'9' * 60}…' is no Dandiset identifier"),
        (dandiset(1) | {"modified": None}, "000001", "Expected `str`, got `null` - at `$.modified`"),
        (
            dandiset(1) | {"draft_version": "draft"},
            "000001",
            "Expected `object | null`, got `str` - at `$.draft_version`",
        ),
        ({"identifier": "000001"}, "000001", "Object missing required field `created`"),
    ],
)
def test_a_malformed_entry_does_not_hide_the_others(
    server: Any, client: ArchiveClient, entry: object, identifier: str | None, reason: str
) -> None:
    server.then(listing([entry, dandiset(2)], more=True, count=3))
    server.then(listing([dandiset(3)], more=False))
    first, *others = client.dandisets()
    assert first == Unreadable(identifier, reason)
    assert others == [DandisetSummary(f"{number:06}", "c", "m", "OPEN") for number in (2, 3)]
    assert len(server.seen) == 2


def test_an_entry_that_is_no_utf_8_does_not_hide_the_others(server: Any, client: ArchiveClient) -> None:
    server.then(b'{"results": [{"identifier": "000001", "created": "\xff"}, {"identifier": "\xff"}], "next": null}')
    first, second = client.dandisets()
    assert isinstance(first, Unreadable)
    assert isinstance(second, Unreadable)
    assert (first.identifier, second.identifier) == ("000001", None)


def test_an_entry_nested_too_deeply_does_not_end_the_program(server: Any, client: ArchiveClient) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    for _ in range(3):
        server.then(b'{"results": [{"identifier": "000001", "draft_version": ' + deep + b"}]}")
    with pytest.raises(BadAnswer, match="nested too deeply"):
        list(client.dandisets())


def test_a_repeated_page_of_dandisets_is_noticed_whatever_its_entries_say(server: Any, client: ArchiveClient) -> None:
    server.then(listing([dandiset(1), {"odd": 1}], more=True, count=4))
    server.then(listing([dandiset(1) | {"modified": "later"}, {"odd": 1}], more=True, count=4))
    with pytest.raises(BadAnswer, match="the list of Dandisets: page 2 repeats page 1"):
        list(client.dandisets())


def test_two_pages_of_different_malformed_entries_are_no_repeated_page(server: Any, client: ArchiveClient) -> None:
    server.then(listing([{"odd": 1}, {"odd": 2}], more=True, count=4))
    server.then(listing([{"odd": 3}, {"odd": 4}], more=False))
    assert identifiers(client) == [None] * 4


@pytest.mark.parametrize(
    ("services", "api_url"),
    [
        ({"api": {"url": "https://api.dandiarchive.org/api/"}}, "https://api.dandiarchive.org/api"),
        ({"api": {"url": "http://localhost:8000/api"}}, "http://localhost:8000/api"),
        ({"api": {"url": "ftp://api.example/"}}, None),
        ({"api": {"url": "https://user:word@api.example/api"}}, None),
        ({"api": {"url": "https://api.example/api?x=1"}}, None),
        ({"api": {"url": "https://api.example/a b"}}, None),
        ({"api": {"url": "https://api.example/\napi"}}, None),
        ({"api": {"url": "https://api.example:port/"}}, None),
        ({"api": {"url": "/api"}}, None),
        ({"api": {"url": 7}}, None),
        ({"api": "https://api.example/api"}, None),
        ({"webui": {"url": "https://example.org"}}, None),
        ([], None),
        (None, None),
    ],
)
def test_where_the_instance_says_its_api_is(
    server: Any, client: ArchiveClient, services: object, api_url: str | None
) -> None:
    config = {"instance_name": "DANDI", "instance_url": "https://dandiarchive.org/"}
    server.then({"instance_config": config, "services": services})
    assert client.instance().value == Instance("DANDI", "https://dandiarchive.org", None, api_url)


def test_an_instance_need_not_name_its_services(server: Any, client: ArchiveClient) -> None:
    server.then({"instance_config": {"instance_name": "DANDI", "instance_url": "https://dandiarchive.org"}})
    assert client.instance().value == Instance("DANDI", "https://dandiarchive.org")


def test_a_version_listed_twice_is_a_bad_answer(server: Any, client: ArchiveClient) -> None:
    server.then(listing([version("draft"), version("0.230629.1955")], more=True, count=3))
    server.then(listing([version("0.230629.1955")], more=False))
    with pytest.raises(BadAnswer, match=r"the versions of Dandiset 000001: '0\.230629\.1955' is listed twice"):
        client.versions("000001")


def test_the_record_of_another_dandiset_is_a_bad_answer(server: Any, client: ArchiveClient) -> None:
    server.then({"identifier": "000002", "created": "", "modified": "", "embargo_status": "OPEN"})
    with pytest.raises(BadAnswer, match=r"Dandiset 000001: the archive answered with '000002'"):
        client.dandiset("000001")


def test_the_record_of_another_version_is_a_bad_answer(server: Any, client: ArchiveClient) -> None:
    server.then(version("0.230629.1955"))
    with pytest.raises(BadAnswer, match=r"version draft: the archive answered with '0\.230629\.1955'"):
        client.version_info("000001", "draft")
    server.then(version("0.230629.1955"))
    assert client.version_info("000001", "0.230629.1955").value.version == "0.230629.1955"


@pytest.mark.parametrize("page", [b"<h1>Nothing here, yet</h1>", b""])
def test_a_404_of_whoever_stands_before_the_archive_does_not_say_that_something_is_gone(
    server: Any, client: ArchiveClient, page: bytes
) -> None:
    for _ in range(MALFORMED_TRIES):
        server.then(page, status=404)
    with pytest.raises(BadAnswer, match="not the archive's own"):
        client.asset("id-1")
    server.then(page, status=404)
    server.then({"detail": "Not found."}, status=404)
    with pytest.raises(NotFound):
        client.asset("id-1")


def test_versions_and_asset_ids_stay_one_segment(server: Any, client: ArchiveClient) -> None:
    for _ in range(2):
        server.then({"detail": "No"}, status=404)
    with pytest.raises(NotFound):
        client.version_info("000001", "../../?x=1#y")
    with pytest.raises(NotFound):
        client.asset("a/b")
    assert server.paths == ["/api/dandisets/000001/versions/..%2F..%2F%3Fx%3D1%23y/info/", "/api/assets/a%2Fb/info/"]
    for odd in ("", ".", ".."):
        with pytest.raises(UsageError):
            client.asset(odd)


def test_assets_come_in_pages_with_their_metadata(server: Any, client: ArchiveClient) -> None:
    base = "/api/dandisets/000001/versions/draft/assets/?order=path&metadata=true&page_size=2"
    server.then(listing([asset(1), asset(2)], more=True, count=3), at=base)
    server.then(listing([asset(3)], more=False), at=f"{base}&page=2")
    pages = list(client.full_assets("000001", "draft"))
    assert [(page.number, page.count, page.is_last) for page in pages] == [(1, 3, False), (2, None, True)]
    assert [item.path for page in pages for item in page.items] == [f"sub-{n:04}/a.nwb" for n in (1, 2, 3)]
    assert bytes(pages[0].items[0].metadata) == b'{"path": "sub-0001/a.nwb", "n": [1.5, null]}'
    again = client.full_page("000001", "draft", 2)
    assert [item.asset_id for item in again.items] == ["id-3"]


def test_slim_assets_ask_for_no_metadata(server: Any, client: ArchiveClient) -> None:
    server.then(listing([asset(1)], more=False, count=1))
    (page,) = client.slim_assets("000001", "0.230629.1955")
    assert page.items[0].blob == "blob-1"
    assert "metadata" not in server.paths[0]


def test_the_next_page_is_fetched_meanwhile_and_no_more(server: Any, client: ArchiveClient) -> None:
    for number in range(4):
        server.then(listing([asset(2 * number), asset(2 * number + 1)], more=number < 3, count=8))
    pages = client.slim_assets("000001", "draft")
    next(pages)
    deadline = time.monotonic() + 5
    while len(server.seen) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert len(server.seen) == 2
    assert sum(len(page.items) for page in pages) == 6


def test_a_listing_can_be_left_early(server: Any, client: ArchiveClient) -> None:
    server.then(listing([asset(1), asset(2)], more=True, count=3))
    server.then(listing([asset(3)], more=False))
    for _ in client.slim_assets("000001", "draft"):
        break
    deadline = time.monotonic() + 5
    while _threads_ahead() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(server.seen) == 2
    assert not _threads_ahead()


def _threads_ahead() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "next-page"]


def test_a_repeated_page_is_noticed(server: Any, client: ArchiveClient) -> None:
    for _ in range(2):
        server.then(listing([asset(1), asset(2)], more=True, count=4))
    with pytest.raises(BadAnswer, match="the assets of Dandiset 000001, version draft: page 2 repeats page 1"):
        list(client.slim_assets("000001", "draft"))


def test_an_item_that_slid_onto_the_next_page_is_no_repeated_page(server: Any, client: ArchiveClient) -> None:
    server.then(listing([asset(1), asset(2)], more=True, count=3))
    server.then(listing([asset(2), asset(3)], more=False))
    assert [len(page.items) for page in client.slim_assets("000001", "draft")] == [2, 2]


@pytest.mark.parametrize(("count", "most"), [(4, 14), (5, 16), (0, 10), (-1, 10), (10**15, 40), (None, 40)])
def test_pages_without_end_are_given_up(
    server: Any, client: ArchiveClient, monkeypatch: pytest.MonkeyPatch, count: int | None, most: int
) -> None:
    monkeypatch.setattr("mirror.archive.client.MOST_PAGES", 40)
    for number in range(50):
        server.then(listing([asset(2 * number), asset(2 * number + 1)], more=True, count=count))
    with pytest.raises(BadAnswer, match=f"version draft: the pages do not come to an end; {most} read"):
        list(client.slim_assets("000001", "draft"))
    assert len(server.seen) == most


def test_a_listing_may_double_while_it_is_read(server: Any, client: ArchiveClient) -> None:
    for number in range(40):
        server.then(listing([asset(2 * number), asset(2 * number + 1)], more=number < 39, count=40))
    assert sum(len(page.items) for page in client.slim_assets("000001", "draft")) == 80


def test_an_empty_page_that_promises_more_is_a_bad_answer(server: Any, client: ArchiveClient) -> None:
    server.then(listing([], more=True, count=4))
    with pytest.raises(BadAnswer, match="page 1 is empty"):
        list(client.slim_assets("000001", "draft"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!doctype html><title>Heroku</title>", "an HTML or XML page"),
        (b"", "not JSON"),
        (b'{"results": [', "not JSON"),
        (b'{"items": []}', "missing required field `results`"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"results": [{"identifier": "000001"]}', "not JSON"),
        (b'{"results": {}}', r"Expected `array`, got `object` - at `\$.results`"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_answers_that_are_none_are_tried_thrice_and_named(
    server: Any, client: ArchiveClient, body: bytes, said: str
) -> None:
    for _ in range(3):
        server.then(body)
    with pytest.raises(BadAnswer, match=said) as caught:
        list(client.dandisets())
    assert "/api/dandisets/?ordering=id&page_size=2" in str(caught.value)
    assert len(server.seen) == 3


def test_one_answer_that_is_none_is_forgiven(server: Any, client: ArchiveClient) -> None:
    server.then(b"<html>starting up</html>")
    server.then(listing([dandiset(1)], more=False))
    assert len(list(client.dandisets())) == 1


def test_a_failure_on_the_page_ahead_is_raised_where_it_is_needed(server: Any, client: ArchiveClient) -> None:
    server.then(listing([asset(1), asset(2)], more=True, count=3))
    for _ in range(8):
        server.then(status=500)
    pages = client.full_assets("000001", "draft")
    assert len(next(pages).items) == 2
    with pytest.raises(Unreachable, match="the assets of Dandiset 000001, version draft, page 2: HTTP 500"):
        next(pages)


def test_an_answer_without_a_date_cannot_be_judged(pauses: list[float]) -> None:
    import socketserver

    class Dateless(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dateless) as dateless:
        thread = threading.Thread(target=dateless.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        client = ArchiveClient(f"http://127.0.0.1:{dateless.server_address[1]}/api", sleep=pauses.append)
        with pytest.raises(BadAnswer, match="no Date header"):
            client.version_info("000001", "draft")
        dateless.shutdown()
        thread.join()


def test_a_wrong_token_names_the_variable_and_never_the_token(server: Any) -> None:
    client = ArchiveClient(f"{server.url}/api", token=TOKEN, token_variable="EMBER_DANDI_API_KEY")
    server.then({"detail": "Invalid token."}, status=401)
    with pytest.raises(NotAllowed) as caught:
        client.dandiset("000001")
    assert "EMBER_DANDI_API_KEY" in str(caught.value)
    assert TOKEN not in str(caught.value) + repr(client) + repr(client.http)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [b"", b"<html>The firewall says no</html>", b'{"error": "blocked"}'])
def test_a_refusal_that_is_not_the_archives_own_says_nothing_of_who_may_see_it(
    server: Any, client: ArchiveClient, status: int, body: bytes
) -> None:
    for _ in range(3):
        server.then(body, status=status)
    with pytest.raises(BadAnswer, match=f"HTTP {status} that is not the archive's own"):
        client.dandiset("000001")


def test_a_known_instance_knows_its_variable() -> None:
    assert ArchiveClient("https://api.dandiarchive.org/api/").token_variable == "DANDI_API_KEY"
    assert ArchiveClient("https://archive.example/api").token_variable is None


def test_a_download_that_is_served_in_place_has_no_signed_url(server: Any, client: ArchiveClient) -> None:
    for _ in range(3):
        server.then(b"content")
    with pytest.raises(BadAnswer, match="does not lead to the bucket"):
        client.signed_url(ASSET_ID)


def test_importing_the_client_does_not_import_requests() -> None:
    import subprocess
    import sys

    code = "import sys, mirror.archive.client, mirror.archive.bucket; print('requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
