"""What the real server software answered is read as it was meant."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirror.archive.client import ArchiveClient
from mirror.archive.records import DandisetSummary
from mirror.archive.s3 import content_url_allowed, parse_location
from mirror.errors import BadAnswer, NotAllowed, NotFound

TOKEN = "t0ken"


class Recorded:
    """Recorded answers, served again."""

    def __init__(self, folder: Path, server: Any) -> None:
        self._exchanges = {path.name[:3]: json.loads(path.read_text()) for path in sorted(folder.glob("[0-9]*.json"))}
        self._server = server

    def of(self, pattern: str, status: int = 200) -> Iterator[tuple[str, dict[str, Any]]]:
        """Recorded GETs of paths like `pattern`, by number."""
        for number, exchange in self._exchanges.items():
            request = exchange["request"]
            if request["method"] == "GET" and exchange["status"] == status and re.fullmatch(pattern, request["path"]):
                yield number, exchange

    def client(self, exchange: dict[str, Any], *, token: str | None = None) -> ArchiveClient:
        """A client that is given this answer, whatever it asks."""
        headers = {
            name: exchange["headers"][name]
            for name in ("Date", "Content-Type", "Location")
            if name in exchange["headers"]
        }
        body = exchange["body"]
        # A single page, so that reading ends with it.
        body = body | {"next": None} if isinstance(body, dict) and "next" in body else body
        turn = self._server.then
        self._server.turns.clear()
        turn(body, status=exchange["status"], headers=headers)
        return ArchiveClient(f"{self._server.url}/api", token=token, tries=1)


@pytest.fixture
def recorded(recordings: Path, server: Any) -> Recorded:
    return Recorded(recordings, server)


def test_the_instance(recorded: Recorded) -> None:
    ((_, exchange),) = [pair for pair in recorded.of("/info/") if pair[0] == "001"]
    instance = recorded.client(exchange).instance().value
    assert instance.name == "DEV-DANDI"
    assert instance.url == "http://localhost:8085"
    assert instance.doi_prefix == "10.80507"
    assert instance.api_url == "http://localhost:8000/api"


def test_every_list_of_dandisets(recorded: Recorded) -> None:
    exchanges = list(recorded.of(r"/dandisets/(\?.*)?"))
    assert len(exchanges) > 10
    for _, exchange in exchanges:
        entries = list(recorded.client(exchange).dandisets())
        listed = [entry for entry in entries if isinstance(entry, DandisetSummary)]
        assert listed == entries
        assert [item.identifier for item in listed] == [item["identifier"] for item in exchange["body"]["results"]]
        for item, said in zip(listed, exchange["body"]["results"], strict=True):
            assert item.draft_version is not None
            assert item.draft_version.modified == said["draft_version"]["modified"]


def test_every_dandiset(recorded: Recorded) -> None:
    exchanges = list(recorded.of(r"/dandisets/\d+/"))
    assert exchanges
    for _, exchange in exchanges:
        said = exchange["body"]
        dandiset = recorded.client(exchange).dandiset(said["identifier"])
        assert dandiset.embargo_status == said["embargo_status"]


def test_every_list_of_versions(recorded: Recorded) -> None:
    exchanges = list(recorded.of(r"/dandisets/\d+/versions/(\?.*)?"))
    assert exchanges
    for _, exchange in exchanges:
        versions = recorded.client(exchange).versions("000001")
        assert [version.version for version in versions] == [item["version"] for item in exchange["body"]["results"]]


def test_every_version_info(recorded: Recorded) -> None:
    exchanges = list(recorded.of(r"/dandisets/\d+/versions/[^/]+/info/"))
    assert exchanges
    for _, exchange in exchanges:
        _, _, identifier, _, version, _, _ = exchange["request"]["path"].split("/")
        answer = recorded.client(exchange).version_info(identifier, version)
        assert answer.value.version == version
        assert answer.value.asset_count == exchange["body"]["asset_count"]
        assert json.loads(bytes(answer.value.metadata)) == exchange["body"]["metadata"]
        assert answer.date.strftime("%a, %d %b %Y %H:%M:%S GMT") == exchange["headers"]["Date"]


def test_every_list_of_assets(recorded: Recorded) -> None:
    full = slim = 0
    for _, exchange in recorded.of(r"/dandisets/\d+/versions/[^/]+/assets/(\?.*)?"):
        said = exchange["body"]["results"]
        (page,) = recorded.client(exchange).slim_assets("000001", "draft")
        assert [(a.path, a.asset_id, a.size) for a in page.items] == [
            (i["path"], i["asset_id"], i["size"]) for i in said
        ]
        slim += len(said)
        if said and "metadata" in said[0]:
            whole = recorded.client(exchange).full_page("000001", "draft", 1)
            assert whole.count == exchange["body"]["count"]
            assert [json.loads(bytes(asset.metadata)) for asset in whole.items] == [item["metadata"] for item in said]
            full += len(said)
    assert slim > 300
    assert full > 20


def test_every_asset(recorded: Recorded) -> None:
    hosts = {"localhost:*"}
    exchanges = list(recorded.of(r"/assets/[^/]+/info/"))
    assert exchanges
    for _, exchange in exchanges:
        asset = recorded.client(exchange, token=TOKEN).asset("e1e9c71e-9daa-4565-bf35-282782bd81e1")
        assert (asset.blob, asset.zarr) == (exchange["body"]["blob"], exchange["body"]["zarr"])
        urls = json.loads(bytes(asset.metadata))["contentUrl"]
        assert all(content_url_allowed(url, hosts) for url in urls)
        location = parse_location(urls[1])
        assert location.bucket == "dandi-dandisets"
        assert (asset.blob or asset.zarr or "?") in location.key
        assert location.url == urls[1]


def test_where_a_download_leads(recorded: Recorded) -> None:
    exchanges = list(recorded.of(r"/assets/[^/]+/download/", status=302))
    assert exchanges
    for _, exchange in exchanges:
        url = recorded.client(exchange, token=TOKEN).signed_url("e1e9c71e-9daa-4565-bf35-282782bd81e1")
        assert url == exchange["headers"]["Location"]


REFUSALS: list[tuple[str, str | None, Callable[[ArchiveClient], object], str]] = [
    ("035", None, lambda c: c.dandiset("000003"), r"this needs a token.*set X_API_KEY"),
    ("037", TOKEN, lambda c: c.dandiset("000003"), r"does not accept the token.*check X_API_KEY"),
    ("038", TOKEN, lambda c: c.dandiset("000001"), r"does not accept the token"),
    ("016", None, lambda c: list(c.dandisets(embargoed=True)), r"list of Dandisets, page 1: this needs a token"),
    ("168", TOKEN, lambda c: c.dandiset("000003"), r"Dandiset 000003: the token's owner may not see this"),
    ("171", TOKEN, lambda c: list(c.slim_assets("000003", "draft")), r"000003, version draft.*may not see"),
    ("146", None, lambda c: c.asset("5caccdc7-9f03-46c6-a8ab-a6244dbd3d8e"), r"this needs a token"),
]


@pytest.mark.parametrize(("number", "token", "ask", "message"), REFUSALS, ids=[case[0] for case in REFUSALS])
def test_refusals_say_what_to_do(
    recorded: Recorded, number: str, token: str | None, ask: Callable[[ArchiveClient], object], message: str
) -> None:
    (exchange,) = [pair[1] for status in (401, 403) for pair in recorded.of(".*", status) if pair[0] == number]
    client = recorded.client(exchange, token=token)
    client.token_variable = "X_API_KEY"
    with pytest.raises(NotAllowed, match=message):
        ask(client)


def test_everything_that_is_not_there(recorded: Recorded) -> None:
    exchanges = list(recorded.of(r"/(dandisets|assets)/.+", status=404))
    assert exchanges
    for _, exchange in exchanges:
        with pytest.raises(NotFound, match="Dandiset 999999"):
            recorded.client(exchange).dandiset("999999")


def test_a_refused_query_is_a_bad_answer_with_the_reason(recorded: Recorded) -> None:
    exchanges = dict(recorded.of(r"/dandisets/\d+/versions/draft/assets/.*", status=400))
    assert exchanges
    for exchange in exchanges.values():
        with pytest.raises(BadAnswer, match="HTTP 400"):
            list(recorded.client(exchange).slim_assets("000001", "draft"))
