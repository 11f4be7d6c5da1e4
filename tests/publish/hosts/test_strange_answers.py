"""Hosts that answer what nobody would expect: their own failure, and nobody else's."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from mirror.publish.hosts import Patience

NINES = "9" * 400


@pytest.fixture
def fails(family, github):
    """Push to a host that answers so; what it failed of. The next host gets everything."""

    def push(status, body=None, *, on="GET ", **headers):
        github.server.fault(status, body, on=on, times=99, **headers)
        first, second = family.push_all([github.host(), family.plain()])
        assert second.ok
        told = [*first.failures.values(), first.stopped or ""]
        assert all(text.isprintable() for text in told)
        return " ".join(told)

    return push


@pytest.mark.parametrize("seconds", ["1000000000000", "99999999999999999999", NINES])
def test_an_absurd_limit_is_one_of_a_day(fails, seconds):
    assert "rate limited until" in fails(429, Retry_After=seconds)


@pytest.mark.parametrize("reset", ["1800000000000", NINES])
@pytest.mark.parametrize("status", [403, 404])
def test_a_limit_told_in_milliseconds_is_one_of_a_day(fails, status, reset):
    told = fails(status, {"message": "x"}, x_ratelimit_remaining="0", x_ratelimit_reset=reset)
    assert "rate limited until" in told


@pytest.mark.parametrize(
    "date",
    [
        "Fri, 31 Dec 9999 23:59:59 -2300",
        "Mon, 01 Jan 0001 00:00:00 +2300",
        *("Mon, 01 Jan 1990 00:00:00 GMT", "-5", "1e12", "nonsense", "inf", "nan"),
    ],
)
def test_a_strange_date_of_a_limit_is_passed_over(fails, date):
    assert fails(429, Retry_After=date)


def test_a_host_is_asked_again_after_a_day_whatever_it_said(single, github):
    github.server.fault(429, Retry_After="9999999999")
    single.push(github.host())
    later = datetime.now(UTC) + timedelta(hours=25)

    assert single.push(github.host(), patience=Patience(sleep=single.slept.append, now=lambda: later)).ok


@pytest.mark.parametrize("until", ["9999-01-01T00:00:00+00:00", "soon", "2999-01-01"])
def test_a_remembered_limit_that_cannot_be_is_none(single, github, until):
    host = github.host()
    single.push(host)
    file = single.marks / "site.jsonl"
    first, *others = file.read_text().splitlines()
    file.write_text("\n".join([json.dumps({**json.loads(first), "until": until}), *others, ""]))

    assert single.push(host).ok


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:99999/x",
        "http://[",
        "http://127.0.0.1:port/x",
        "//",
        "http:///x",
        "javascript:x",
        "http://a..b/",
    ],
)
def test_a_redirect_to_nowhere_is_not_followed(fails, location):
    assert "redirects" in fails(302, Location=location)


@pytest.mark.parametrize("status", [401, 403, 422, 500])
def test_a_message_that_is_no_text_is_told_all_the_same(fails, status):
    assert f"answered {status}" in fails(status, {"message": "\ud800 \x1b[31mred\x07"})


def test_a_message_in_a_hundred_layers_is_told_as_far_as_it_goes(fails):
    deep = "far in"
    for _ in range(300):
        deep = [deep]
    assert "…" in fails(422, {"message": deep})


def test_an_answer_that_is_nested_too_deep_is_none(family, github, monkeypatch):
    def send(handler, _):
        body = b"[" * 200_000
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    monkeypatch.setattr(github.server, "_send", send)
    first, second = family.push_all([github.host(), family.plain()])

    assert all("leads to something else" in failure for failure in first.failures.values())
    assert first.failures
    assert second.ok


@pytest.mark.parametrize(
    "body",
    [{"full_name": ["x"]}, {"full_name": "lab/000027", "private": "false", "description": 5}, [1], "x", 5, None],
)
def test_fields_of_other_types_do_no_harm(fails, body):
    assert fails(200, body)


def test_what_nobody_foresaw_fails_one_repository_and_is_logged(family, github, caplog):
    def broken():
        raise ZeroDivisionError("no such thing")

    family.sources["000108"].change(releases=broken)
    with caplog.at_level(logging.ERROR):
        outcome = family.push(github.host())

    assert outcome.failures == {"000108": "ZeroDivisionError: no such thing"}
    assert len(outcome.pushed) == 4
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_host_whose_marks_cannot_be_written_does_not_stop_the_next(family, tmp_path):
    (family.marks / "first.jsonl").mkdir(parents=True)
    first, second = family.push_all([family.plain(name="first", url=f"{tmp_path}/a/{{name}}"), family.plain()])

    assert "Is a directory" in first.stopped
    assert second.ok
