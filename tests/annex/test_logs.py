"""Log lines mean to git-annex what they mean to us, in whatever order clones have merged them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.annex.logs import WEB_UUID, location_log, parse, present, url_log, with_changes
from mirror.errors import RecordRefused

WEB = WEB_UUID.encode()
OTHER = b"11111111-2222-3333-4444-555555555555"

STAMPS = [
    "17s", "17.5s", "17.123456789s", "17.s", ".5s", "-5s", "+5s", "17", "17.5", "017s", "0s", "17S", "17ss", "1_7s",
    "17e8s", "2020-01-01", "0x10s", "99999999999999999999s", "5.5.5s", "-5.5s", "1,5s",
]  # fmt: skip

LOGS = {
    "first of two": b"17s 1 W\n17s 0 W\n",
    "first of two, gone": b"17s 0 W\n17s 1 W\n",
    "fraction is later": b"17s 0 W\n17.1s 1 W\n",
    "17.10 is 17.1": b"17.10s 0 W\n17.1s 1 W\n",
    "17.09 is before 17.1": b"17.09s 0 W\n17.1s 1 W\n",
    "17.0 is 17": b"17s 1 W\n17.0s 0 W\n",
    "later is first in the file": b"18s 1 W\n17s 0 W\n",
    "before 1970": b"-17s 1 W\n-18s 0 W\n",
    "before 1970, fractions": b"-17.5s 1 W\n-17.2s 0 W\n",
    "beyond nanoseconds": b"17.1234567891s 1 W\n17.1234567892s 0 W\n",
    "given up": b"17s 1 W\n18s X W\n",
    "empty timestamp": b" 1 W\n",
    "leading blank": b" 17s 1 W\n",
    "two blanks": b"17s  1 W\n",
    "tabs": b"17s\t1\tW\n",
    "unknown status": b"17s 2 W\n",
    "Windows line ends": b"17s 1 W\r\n",
    "no line end": b"17s 1 W",
    "empty lines": b"\n\n17s 1 W\n\n",
    "a bad line besides": b"what is this\n17s 1 W\n",
    "a line without value": b"18s 0\n17s 1 W\n",
} | {f"stamp {number}": f"{stamp} 1 W\n".encode() for number, stamp in enumerate(STAMPS)}


def test_location_logs_are_read_as_git_annex_reads_them(annex: Any) -> None:
    logs = {name.replace(" ", "_"): body.replace(b"W", WEB) for name, body in LOGS.items()}
    annex.holding({name: {".log": body} for name, body in logs.items()})
    seen = {
        name: {remote["uuid"].encode() for remote in answer["whereis"]}
        for name, answer in annex.answers("whereis").items()
    }
    assert seen == {name: present(body) for name, body in logs.items()}


def test_url_logs_are_read_as_git_annex_reads_them(annex: Any) -> None:
    urls = {
        "blanks": b"17s 1 http://a/b c\n17s 1 http://a/d \n",
        "changes": b"17s 1 http://a\n17s 0 http://a\n18s 1 http://b\n18s 1 http://a\n18s 0 http://c\n",
        "given-up": b"17s 1 http://a\n18s X http://a\n",
        "unicode": "17s 1 http://a/é\n".encode(),
        "bad-lines": b"17s 1 http://a/\nx http://c\n17s 1 http://b/",
        "fresh": url_log(["https://b/?versionId=x", "https://a/", "https://b/?versionId=x"], 17),
        "changed": with_changes(
            b"17.25s 1 https://a/\n17s 1 https://b/\n", add=[b"https://c/"], withdraw=[b"https://a/"], timestamp=3
        ),
    }
    annex.holding({name: {".log": location_log(WEB_UUID, 17), ".log.web": body} for name, body in urls.items()})
    seen = {
        name: {url.encode() for url in answer["whereis"][0]["urls"]}
        for name, answer in annex.answers("whereis").items()
    }
    assert seen == {name: present(body) for name, body in urls.items()}
    assert seen["changed"] == {b"https://b/", b"https://c/"}


def test_new_logs_are_lines_sorted_by_value() -> None:
    assert location_log(WEB_UUID, 17) == b"17s 1 00000000-0000-0000-0000-000000000001\n"
    assert url_log(["https://b", "https://a", "https://b"], 17) == b"17s 1 https://a\n17s 1 https://b\n"


def test_what_is_so_already_changes_nothing() -> None:
    body = b"17.5s 1 b\nnonsense\n17s 0 a\n17s 1 b\n"
    assert with_changes(body, add=[b"b"], withdraw=[b"a", b"never heard of"], timestamp=99) is body


def test_withdrawing_and_adding_again_are_said_ever_later() -> None:
    body = with_changes(b"", add=[b"a"], withdraw=[], timestamp=17)
    assert body == b"17s 1 a\n"
    body = with_changes(body, add=[], withdraw=[b"a"], timestamp=17)
    assert body == b"18s 0 a\n"
    assert with_changes(body, add=[b"a"], withdraw=[], timestamp=3) == b"19s 1 a\n"
    assert with_changes(b"17.999999999s 1 a\n", add=[], withdraw=[b"a"], timestamp=17) == b"18s 0 a\n"
    assert with_changes(b"18s X a\n", add=[b"a"], withdraw=[], timestamp=17) == b"19s 1 a\n"


def test_other_remotes_lines_and_lines_nobody_understands_are_kept() -> None:
    body = b"17.123s 1 %b\nwhat is this\n3s X dead\n" % OTHER
    assert with_changes(body, add=[WEB], withdraw=[], timestamp=17) == (
        b"17s 1 %b\n17.123s 1 %b\n3s X dead\nwhat is this\n" % (WEB, OTHER)
    )


@pytest.mark.parametrize("value", [b"", b"http://a\n17s 0 http://b", b"http://a\r"])
def test_a_value_that_would_break_its_line_is_refused(value: bytes) -> None:
    with pytest.raises(RecordRefused):
        with_changes(b"", add=[value], withdraw=[], timestamp=17)
    with pytest.raises(RecordRefused):
        url_log([value.decode()], 17)


def test_nothing_is_added_and_withdrawn_at_once() -> None:
    with pytest.raises(ValueError, match="at once"):
        with_changes(b"", add=[b"a"], withdraw=[b"a"], timestamp=17)


VALUES = st.sampled_from([b"a", b"b", b"c d", b"e"])
LINES = st.one_of(
    st.builds(
        lambda stamp, status, value: b"%bs %b %b" % (stamp, status, value),
        st.sampled_from([b"1", b"2", b"2.5", b"3", b"3.000000001", b"40"]),
        st.sampled_from([b"0", b"1", b"X"]),
        VALUES,
    ),
    st.sampled_from([b"", b"nonsense", b"4e1s 1 a"]),
)
BODIES = st.lists(LINES, max_size=8).map(b"\n".join)


@given(BODIES, st.sets(VALUES), st.sets(VALUES), st.integers(0, 50))
def test_a_change_holds_however_a_clone_merges_it(
    body: bytes, add: set[bytes], withdraw: set[bytes], timestamp: int
) -> None:
    withdraw -= add
    changed = with_changes(body, add=add, withdraw=withdraw, timestamp=timestamp)
    wanted = (present(body) | add) - withdraw
    assert present(changed) == wanted
    assert parse(body).keys() <= parse(changed).keys()
    assert with_changes(changed, add=add, withdraw=withdraw, timestamp=timestamp) is changed
    # Where lines have the same instant the order decides, so what counts is that ours never have that of another.
    lines = set(body.split(b"\n")) | set(changed.split(b"\n"))
    for merged in (sorted(lines), sorted(lines, reverse=True)):
        found = present(b"\n".join(merged))
        assert found >= add - present(body)
        assert found.isdisjoint(withdraw & present(body))
