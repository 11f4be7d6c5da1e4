"""The second web remote, as git-annex takes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from mirror.annex.logs import WEB_UUID, location_log, url_log
from mirror.annex.remotes import dandiapi_remote, remote_log

UUID = "6b33fa1a-3b9e-5d7a-9c0f-0a3b5f2f7a11"


def test_the_line_in_bytes() -> None:
    assert dandiapi_remote(UUID, "api.dandiarchive.org") == (
        b"6b33fa1a-3b9e-5d7a-9c0f-0a3b5f2f7a11 cost=300 sameas-name=dandiapi "
        b"sameas-uuid=00000000-0000-0000-0000-000000000001 type=web urlinclude=*//api.dandiarchive.org/* "
        b"timestamp=1577836800s\n"
    )


def test_remote_log_holds_each_line_once_in_a_fixed_order() -> None:
    assert remote_log([b"b x=1\n", b"a x=1", b"b x=1"]) == b"a x=1\nb x=1\n"


@pytest.mark.parametrize("host", ["", "a b", "a/b", "*", "a\nb", "api.example.org:port", "https://api.example.org"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="host"):
        dandiapi_remote(UUID, host)


def test_brackets_of_an_address_are_no_set_of_characters() -> None:
    assert b" urlinclude=*//?::1?:8000/* " in dandiapi_remote(UUID, "[::1]:8000")


class Server(ThreadingHTTPServer):
    """Answers every request with one content, or with 404 when it has none; remembers what was asked for."""

    def __init__(self, content: bytes | None) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content = content
        self.asked: list[str] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.content
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content or b"")

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        """Quiet: the tests look at `asked`."""


@contextmanager
def serving(content: bytes | None) -> Iterator[Server]:
    with Server(content) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def prepare(annex: Any, api: Server, bucket: Server) -> None:
    """An annexed file `file`, of that content, with an address at the API and one in the bucket."""
    urls = [f"http://{api.host}/api/assets/1/download/", f"http://{bucket.host}/blobs/1?versionId=2"]
    annex.holding(
        {"file": {".log": location_log(WEB_UUID, 17), ".log.web": url_log(urls, 17)}},
        {"remote.log": remote_log([dandiapi_remote(UUID, api.host)])},
    )
    annex.git("config", "annex.security.allowed-ip-addresses", "127.0.0.1")


def enable(annex: Any) -> None:
    """The two commands that users are told. Before the second git-annex uses neither web remote."""
    annex.annex("enableremote", "dandiapi")
    annex.annex("verifyremote", "dandiapi", "--safe", "1")


def test_the_bucket_is_asked_before_the_api(annex: Any) -> None:
    with serving(b"file") as api, serving(b"file") as bucket:
        prepare(annex, api, bucket)
        enable(annex)
        annex.annex("get", "file")
    assert (annex.path / "file").read_bytes() == b"file"
    assert bucket.asked
    assert not api.asked


def test_what_the_bucket_has_not_comes_from_the_api_once_it_is_enabled(annex: Any) -> None:
    with serving(b"file") as api, serving(None) as bucket:
        prepare(annex, api, bucket)
        annex.annex("get", "file")
        assert not api.asked, "it is not enabled by itself"
        assert not (annex.path / "file").exists()
        enable(annex)
        annex.annex("get", "file")
    assert (annex.path / "file").read_bytes() == b"file"


def test_both_web_remotes_are_one_copy(annex: Any) -> None:
    with serving(b"file") as api, serving(b"file") as bucket:
        prepare(annex, api, bucket)
        enable(annex)
        assert [copy["uuid"] for copy in annex.answers("whereis")["file"]["whereis"]] == [WEB_UUID]
