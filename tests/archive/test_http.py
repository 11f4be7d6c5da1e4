"""Retries, redirects, bounds and secrets of the HTTP layer, against a real server on loopback."""

from __future__ import annotations

import gzip
import logging
import pickle
import socket
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Event
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from urllib3.util import connection as urllib3_connection

from mirror.archive.http import (
    LONGEST_RETRY_AFTER,
    MOST_ANSWER_BYTES,
    TRIES,
    Http,
    Malformed,
    Reply,
    checked_url,
    origin,
    shown,
)
from mirror.errors import BadAnswer, ConfigError, ContentRefused, Unreachable
from mirror.http_dates import http_date

TOKEN = "f00dcafe" * 5


@pytest.fixture
def http(server: Any, pauses: list[float]) -> Iterator[Http]:
    client = Http(f"{server.url}/api", token=TOKEN, read_timeout=0.3, sleep=pauses.append)
    yield client
    client.close()


def body(reply: Reply) -> bytes:
    return reply.body


def get(http: Http, url: str, **options: Any) -> bytes:
    return http.send("GET", url, body, **({"kind": "api", "subject": "the thing"} | options))


def test_a_503_is_tried_again(server: Any, http: Http, pauses: list[float]) -> None:
    server.then(status=503)
    server.then(b"here")
    assert get(http, f"{server.url}/api/x/") == b"here"
    assert len(pauses) == 1
    assert http.counts()["api"].requests == 1
    assert http.counts()["api"].tries == 2
    assert http.counts()["api"].bytes == 4


def test_pauses_double_and_end(server: Any, http: Http, pauses: list[float]) -> None:
    for _ in range(TRIES):
        server.then(status=502)
    with pytest.raises(Unreachable, match=r"the thing: HTTP 502; asked 8 times: GET http://127.*/api/x/"):
        get(http, f"{server.url}/api/x/")
    assert len(server.seen) == TRIES
    assert all(0.25 * 2**n <= pause <= 0.5 * 2**n for n, pause in enumerate(pauses))


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_is_heeded(server: Any, http: Http, pauses: list[float], status: int) -> None:
    server.then(status=status, headers={"Retry-After": "7"})
    server.then(b"here")
    assert get(http, f"{server.url}/api/x/") == b"here"
    assert pauses == [7.0]


def test_retry_after_as_a_date_is_heeded(server: Any, http: Http, pauses: list[float]) -> None:
    until = datetime.now(UTC) + timedelta(seconds=40)
    server.then(status=429, headers={"Retry-After": format_datetime(until, usegmt=True)})
    server.then(b"here")
    get(http, f"{server.url}/api/x/")
    assert 35 < pauses[0] <= 41


@pytest.mark.parametrize(
    ("said", "most"), [("9" * 30, LONGEST_RETRY_AFTER), ("soon", 0.5), ("-5", 0.5), ("0", 0.5), ("", 0.5)]
)
def test_retry_after_is_capped_and_nonsense_ignored(
    server: Any, http: Http, pauses: list[float], said: str, most: float
) -> None:
    server.then(status=429, headers={"Retry-After": said})
    server.then(b"here")
    get(http, f"{server.url}/api/x/")
    assert 0 < pauses[0] <= most


def test_a_reset_connection_is_tried_again(server: Any, http: Http) -> None:
    server.then(reset=True)
    server.then(b"here")
    assert get(http, f"{server.url}/api/x/") == b"here"


def test_a_body_shorter_than_announced_is_no_answer(server: Any, http: Http) -> None:
    server.then(b"half", announce=8)
    server.then(b"complete")
    assert get(http, f"{server.url}/api/x/") == b"complete"


def test_a_body_that_is_always_short_is_a_bad_answer(server: Any, http: Http) -> None:
    for _ in range(TRIES):
        server.then(b"half", announce=8)
    with pytest.raises(BadAnswer, match=r"the answer broke off, .* of 8 bytes read"):
        get(http, f"{server.url}/api/x/")


def test_broken_gzip_is_tried_again(server: Any, http: Http) -> None:
    whole = gzip.compress(b"here" * 1000)
    server.then(b"\x1f\x8b" + b"nonsense" * 9, headers={"Content-Encoding": "gzip"})
    server.then(whole, headers={"Content-Encoding": "gzip"})
    assert get(http, f"{server.url}/api/x/") == b"here" * 1000
    assert "gzip" in server.seen[0].headers["accept-encoding"]


def test_a_server_that_says_nothing_is_given_up(server: Any, pauses: list[float]) -> None:
    http = Http(f"{server.url}/api", read_timeout=0.05, tries=2, sleep=pauses.append)
    server.then(stall=5)
    server.then(stall=5)
    with pytest.raises(Unreachable, match="no answer in time"):
        get(http, f"{server.url}/api/x/")


def test_nobody_listening_is_said_so(pauses: list[float]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        http = Http(f"http://127.0.0.1:{port}/api", tries=2, sleep=pauses.append)
        with pytest.raises(Unreachable, match="connection refused; asked 2 times"):
            get(http, f"http://127.0.0.1:{port}/api/x/")


def test_what_the_reader_calls_malformed_is_tried_three_times(server: Any, http: Http) -> None:
    def read(reply: Reply) -> bytes:
        raise Malformed(f"{reply.body!r} is not what was expected")

    for _ in range(TRIES):
        server.then(b"?")
    with pytest.raises(BadAnswer, match="is not what was expected; asked 3 times"):
        http.send("GET", f"{server.url}/api/x/", read, kind="api", subject="the thing")
    assert len(server.seen) == 3


def test_the_missing_slash_redirect_is_followed(server: Any, http: Http) -> None:
    server.then(status=301, headers={"Location": "/api/info/"})
    server.then(b"here")
    assert get(http, f"{server.url}/api/info") == b"here"
    assert server.paths == ["/api/info", "/api/info/"]


def test_redirects_end_after_three(server: Any, http: Http) -> None:
    for _ in range(9):
        server.then(status=302, headers={"Location": "/api/x/"})
    with pytest.raises(BadAnswer, match="more than 3 redirects"):
        get(http, f"{server.url}/api/x/")
    assert len(server.seen) == 4


def test_a_redirect_elsewhere_is_not_followed(server: Any, other_server: Any, http: Http) -> None:
    server.then(status=302, headers={"Location": f"{other_server.url}/b/k?X-Amz-Signature=SECRET"})
    with pytest.raises(BadAnswer) as caught:
        get(http, f"{server.url}/api/x/")
    assert other_server.url in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert other_server.seen == []


@pytest.mark.parametrize("location", ["//evil.example/", "http://[", "javascript:1", "file:///etc/passwd"])
def test_odd_redirects_are_bad_answers(server: Any, http: Http, location: str) -> None:
    server.then(status=302, headers={"Location": location})
    with pytest.raises(BadAnswer, match="redirects to"):
        get(http, f"{server.url}/api/x/")


def test_a_redirect_can_be_looked_at_instead(server: Any, http: Http) -> None:
    server.then(status=302, headers={"Location": "https://elsewhere.example/?X-Amz-Signature=S"})

    def location(reply: Reply) -> str:
        return reply.headers["Location"]

    url = http.send("GET", f"{server.url}/api/x/", location, kind="api", subject="the thing", follow=False)
    assert url == "https://elsewhere.example/?X-Amz-Signature=S"


def test_the_token_goes_to_the_api_only(server: Any, other_server: Any, http: Http) -> None:
    for _ in range(3):
        server.then(b"x")
    other_server.then(b"x")
    get(http, f"{server.url}/api/x/")
    get(http, f"{server.url}/bucket/key", kind="s3")
    get(http, f"{server.url}/apiary/x/")
    get(http, f"{other_server.url}/api/x/")
    assert [seen.headers.get("authorization") for seen in server.seen] == [f"token {TOKEN}", None, None]
    assert "authorization" not in other_server.seen[0].headers


def test_netrc_is_not_looked_into(server: Any, http: Http, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1\nlogin me\npassword secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.then(status=301, headers={"Location": "/bucket/key/"})
    server.then(b"x")
    get(http, f"{server.url}/bucket/key", kind="s3")
    assert all("authorization" not in seen.headers for seen in server.seen)


def test_no_cookie_comes_back(server: Any, http: Http) -> None:
    server.then(b"x", headers={"Set-Cookie": "session=1; Path=/"})
    server.then(b"x")
    get(http, f"{server.url}/api/x/")
    get(http, f"{server.url}/api/x/")
    assert "cookie" not in server.seen[1].headers


def test_a_proxy_of_the_environment_is_used(server: Any, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.then(b"through the proxy")
    assert get(http, "http://archive.example/api/x/") == b"through the proxy"
    assert server.paths == ["http://archive.example/api/x/"]


def test_neither_token_nor_signature_shows_anywhere(server: Any, http: Http, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    signed = "bucket/key?X-Amz-Credential=SECRETID&X-Amz-Signature=SECRETSIGNATURE"
    server.then(b"x")
    server.then(status=503)
    for _ in range(TRIES):
        server.then(reset=True)
    get(http, f"{server.url}/{signed}", kind="s3")
    with pytest.raises(Unreachable) as caught:
        get(http, f"{server.url}/api/{signed}")
    with pytest.raises(Unreachable) as nobody:
        Http(tries=1).send("GET", f"http://127.0.0.1:1/{signed}", body, kind="s3", subject="x")
    texts = [caplog.text, repr(http), repr(vars(http.counts()["api"]))]
    for error in (caught.value, nobody.value):
        texts += [str(error), repr(error), "".join(traceback.format_exception(error))]
        texts.append(repr(pickle.dumps(error)))
    for text in texts:
        assert "SECRET" not in text
        assert TOKEN not in text
    assert "bucket/key" in caplog.text


@pytest.mark.parametrize("token", ["with space", "line\nbreak", "é"])
def test_a_token_that_cannot_be_one_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Http("https://archive.example/api", token=token)
    assert token not in str(caught.value)


def test_white_space_around_a_token_is_forgiven(server: Any) -> None:
    server.then(b"x")
    get(Http(f"{server.url}/api", token=f" {TOKEN}\n"), f"{server.url}/api/x/")
    assert server.seen[0].headers["authorization"] == f"token {TOKEN}"


def test_more_than_the_bound_is_refused_before_it_is_read(server: Any, http: Http) -> None:
    server.then(b"12345")
    with pytest.raises(ContentRefused, match="announced as 5 bytes, more than the 4 allowed"):
        get(http, f"{server.url}/b/k", kind="s3", max_bytes=4)


def test_more_than_the_bound_without_announcement_is_refused(server: Any, http: Http) -> None:
    server.then(b"5\r\n12345\r\n0\r\n\r\n", headers={"Transfer-Encoding": "chunked"})
    with pytest.raises(ContentRefused, match="more bytes than the 4 allowed"):
        get(http, f"{server.url}/b/k", kind="s3", max_bytes=4)


def test_an_answer_of_unstated_size_has_a_bound_too(server: Any, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    server.then(b"{}", announce=MOST_ANSWER_BYTES + 1)
    with pytest.raises(BadAnswer, match="announced as 134217729 bytes, more than the 134217728 allowed"):
        get(http, f"{server.url}/api/x/")
    monkeypatch.setattr("mirror.archive.http.MOST_ANSWER_BYTES", 1_000_000)
    server.then(gzip.compress(bytes(1_000_001)), headers={"Content-Encoding": "gzip"})
    with pytest.raises(BadAnswer, match="more bytes than the 1000000 allowed"):
        get(http, f"{server.url}/api/x/")
    server.then(gzip.compress(bytes(1_000_000)), headers={"Content-Encoding": "gzip"})
    assert len(get(http, f"{server.url}/api/x/")) == 1_000_000
    assert len(server.seen) == 3


def test_a_compressed_flood_is_cut_off(server: Any, http: Http) -> None:
    server.then(gzip.compress(bytes(50_000_000)), headers={"Content-Encoding": "gzip"})
    with pytest.raises(ContentRefused, match="more bytes than the 1000000 allowed"):
        get(http, f"{server.url}/api/x/", max_bytes=1_000_000)


def test_stored_content_is_taken_as_it_is_stored(server: Any, http: Http) -> None:
    stored = gzip.compress(b"text")
    server.then(stored, headers={"Content-Encoding": "gzip"})
    assert get(http, f"{server.url}/b/k", kind="s3") == stored
    assert server.seen[0].headers["accept-encoding"] == "identity"


def test_connections_are_kept_and_shared_by_threads(server: Any, http: Http) -> None:
    server.then(b"x" * 1000, at="/api/x/")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: get(http, f"{server.url}/api/x/"), range(200)))
    assert answers == [b"x" * 1000] * 200
    assert server.connections <= 8
    assert http.counts()["api"].requests == http.counts()["api"].tries == 200
    assert server.seen[0].headers["user-agent"].startswith("dandi-mirror/")


def test_closing_ends_the_wait_for_a_retry(server: Any) -> None:
    server.then(status=503, headers={"Retry-After": "100"})
    http = Http(f"{server.url}/api")
    with ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        asked = pool.submit(get, http, f"{server.url}/api/x/")
        while not server.seen:
            time.sleep(0.01)
        http.close()
        with pytest.raises(Unreachable):
            asked.result(timeout=10)
    assert time.monotonic() - started < 10
    assert len(server.seen) <= 2


@pytest.mark.parametrize("silent", ["before the answer", "in the middle of it"])
def test_closing_ends_the_wait_for_a_server_that_is_silent(silent: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        http = Http(url)
        asked = pool.submit(get, http, f"{url}/x/")
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            if silent == "in the middle of it":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                time.sleep(0.2)
            started = time.monotonic()
            http.close()
            with pytest.raises((Unreachable, BadAnswer)):
                asked.result(timeout=20)
            assert time.monotonic() - started < 10


def test_after_closing_nothing_is_asked_any_more(server: Any) -> None:
    """Whoever goes on to the next address after a first one was broken off would wait again."""
    server.then(b"here")
    http = Http(f"{server.url}/api")
    http.close()
    with pytest.raises(Unreachable, match="the thing: not asked any more"):
        get(http, f"{server.url}/api/x/")
    assert server.seen == []


def test_closing_ends_the_wait_of_whoever_was_being_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = urllib3_connection.create_connection
    connecting, closed = Event(), Event()

    def slowly(*args: Any, **options: Any) -> Any:
        connecting.set()
        assert closed.wait(10)
        return connect(*args, **options)

    monkeypatch.setattr(urllib3_connection, "create_connection", slowly)
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        http = Http(url, read_timeout=20)
        started = time.monotonic()
        asked = pool.submit(get, http, f"{url}/x/")
        assert connecting.wait(10)
        http.close()
        closed.set()
        with pytest.raises(Unreachable):
            asked.result(timeout=30)
        assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "url",
    [
        "",
        "archive.example",
        "ftp://x/",
        "https://",
        "https://u:SECRET@x/",
        "http://x:y/",
        "http://x/?t=SECRET",
        "http://x/#a",
        "http://[/",
    ],
)
def test_urls_that_cannot_be_an_api_are_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_url(url)
    assert "SECRET" not in str(caught.value)


def test_origins_compare_whatever_way_they_are_written() -> None:
    assert origin("HTTPS://Archive.Example:443/x") == origin("https://archive.example") == "https://archive.example"
    assert origin("http://a:8000/") != origin("http://a/")
    assert origin("http://[::1]:80/x") == "http://[::1]"
    assert checked_url("HTTPS://Archive.Example/API/") == "https://archive.example/API"


@given(st.text(min_size=1), st.text())
def test_what_is_shown_of_a_url_never_holds_an_unknown_parameter(name: str, value: str) -> None:
    from urllib.parse import urlencode

    query = urlencode({"page": "2", f"X-{name}": f"SECRET{value}"}, errors="replace")
    assert "SECRET" not in shown(f"https://user:SECRET@h/p?{query}")
    assert shown("https://h/p?page=2&page_size=10") == "https://h/p?page=2&page_size=10"


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2200, 1, 1)))
def test_http_dates_are_read(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert http_date(format_datetime(moment, usegmt=True)) == moment


@given(st.text())
@example("Fri, 31 Dec 9999 23:59:59 -2300")
def test_no_text_breaks_the_reading_of_dates(text: str) -> None:
    moment = http_date(text)
    assert moment is None or moment.tzinfo is UTC


def test_headers_of_a_request_go_with_every_try_of_it(server: Any, http: Http) -> None:
    server.then(status=503)
    server.then(b"part", status=206)
    assert get(http, f"{server.url}/bucket/x", kind="s3", headers={"Range": "bytes=4-7"}) == b"part"
    assert [one.headers["range"] for one in server.seen] == ["bytes=4-7"] * 2
    assert not [one for one in server.seen if "authorization" in one.headers]


def test_the_proxies_of_a_server_are_looked_up_once(
    server: Any, other_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = Http()
    server.then(b"by the proxy")
    server.then(b"still by the proxy")
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    assert get(http, f"{other_server.url}/x", kind="s3") == b"by the proxy"
    monkeypatch.delenv("http_proxy")
    assert get(http, f"{other_server.url}/y", kind="s3") == b"still by the proxy"
    http.close()


@pytest.mark.parametrize(
    "url", [f"http://{'a' * 70}.example.org/x", "http://a..b/x", "http://[bad/x", "http://h:99999/"]
)
def test_what_is_no_url_is_a_bad_answer_at_once(http: Http, pauses: list[float], url: str) -> None:
    """As a server may send one, or a clone hold one."""
    with pytest.raises(BadAnswer, match="no URL that can be asked"):
        get(http, url)
    assert pauses == []


def test_certificates_that_are_not_where_the_environment_says_are_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file")
    with pytest.raises(Unreachable, match=r"the thing: .*/no/such/file"):
        get(Http(), "https://127.0.0.1:1/x")


def test_that_nobody_answers_at_all_is_told_while_it_is_still_being_tried(
    server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Later it is what servers do now and then."""
    http = Http(tries=5, sleep=lambda _: None)
    for _ in range(3):
        server.then(reset=True)
    server.then(b"hello")
    with caplog.at_level("WARNING"):
        http.send("GET", f"{server.url}/x", lambda reply: reply.body, kind="api", subject="x")
    (told,) = caplog.messages
    assert "try 4 of 5" in told
    caplog.clear()
    for _ in range(3):
        server.then(reset=True)
    server.then(b"hello")
    with caplog.at_level("WARNING"):
        http.send("GET", f"{server.url}/x", lambda reply: reply.body, kind="api", subject="x")
    assert caplog.messages == []
    http.close()
