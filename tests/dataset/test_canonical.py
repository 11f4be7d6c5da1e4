"""The same document gives the same bytes in every mirror, and means the same."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.dataset.canonical import Number, canonical_json, read_document, yaml_document
from mirror.errors import RecordRefused

VECTORS = {
    b' { "b" : [ 1 , true , null ] , "a" : { } } ': b'{"a":{},"b":[1,true,null]}',
    b'{"z":{"b":1,"a":[{"d":1,"c":2}]}}': b'{"z":{"a":[{"c":2,"d":1}],"b":1}}',
    b"[1.0,1.50,1e5,1E5,1e+05,-0.0,0.10,1e999]": b"[1.0,1.50,1e5,1E5,1e+05,-0.0,0.10,1e999]",
    b"[0,-0,-1, -0 ,-0.0,-0e1]": b"[0,-0,-1,-0,-0.0,-0e1]",
    b"-0": b"-0",
    b"[18446744073709551615,18446744073709551616,-9223372036854775809]": (
        b"[18446744073709551615,18446744073709551616,-9223372036854775809]"
    ),
    b'{"n":123456789012345678901234567890}': b'{"n":123456789012345678901234567890}',
    b'{"a":1,"b":2,"a":3}': b'{"a":3,"b":2}',
    b'{"a":1,"b":-0,"a":3}': b'{"a":3,"b":-0}',
    rb'"\u00e9\ud83d\ude00\u2028\u007f\u0085"': '"é😀\u2028\x7f\x85"'.encode(),
    rb'"\u0000\u0008\u0009\u000a\u000b\u000c\u000d\u001F\"\\\/"': rb'"\u0000\b\t\n\u000b\f\r\u001f\"\\/"',
    '{"é":1,"z":2,"😀":3,"\uffff":4,"Z":5}'.encode(): '{"Z":5,"z":2,"é":1,"\uffff":4,"😀":3}'.encode(),
    b'"2021-08-31T20:33:59.583352-07:00, -0.5 [-0]"': b'"2021-08-31T20:33:59.583352-07:00, -0.5 [-0]"',
    b'""': b'""',
}

NOT_JSON = [
    b"", b"NaN", b"[NaN]", b"[-0,NaN]", b"Infinity", b"[-0,-Infinity]", b"01", b"-01", b"+1", b"1.", b".5", b"[-0,]",
    b"[1,]", b"1 2", b"'a'", b'"\\ud800"', b'"\\udc00x"', b'[-0,"\\ud800"]', b'{"\\udc00":-0}', b'"\xed\xa0\x80"',
    b'"\xff"', b'[-0,"\xff"]', b'"a\nb"', b'[-0,"a\nb"]', b"\xef\xbb\xbf{}", b"[" * 100_000, b"[-0," * 100_000,
    b"[" * 50_000 + b"]" * 50_000,
]  # fmt: skip


@pytest.mark.parametrize(("raw", "expected"), VECTORS.items())
def test_canonical_json_in_bytes(raw: bytes, expected: bytes) -> None:
    assert canonical_json(raw) == expected
    assert canonical_json(expected) == expected


@pytest.mark.parametrize("raw", NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(RecordRefused):
        canonical_json(raw)


def test_members_are_left_out_at_the_top_only() -> None:
    raw = b'{"access":[1],"b":{"access":2},"contentUrl":[]}'
    assert canonical_json(raw, drop=frozenset({"access", "contentUrl", "x"})) == b'{"b":{"access":2}}'
    assert canonical_json(b'["access"]', drop=frozenset({"access"})) == b'["access"]'


def test_a_document_is_an_object_that_can_be_looked_into() -> None:
    document = read_document(b'{"b":1.50,"a":[1e2],"c":-0}')
    assert document.value == {"b": 1.5, "a": [100.0], "c": 0}
    assert document.canonical(drop=frozenset({"c"})) == b'{"a":[1e2],"b":1.50}'
    assert document.canonical() == canonical_json(b'{"b":1.50,"a":[1e2],"c":-0}')
    for raw in (b"[1]", b'"a"', b"null"):
        with pytest.raises(RecordRefused, match="is not a JSON object"):
            read_document(raw)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LITERALS = st.one_of(
    st.integers().map(str),
    st.integers(-(10**40), 10**40).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,8})?([eE][+-]?[0-9]{1,3})?", fullmatch=True).map(str),
)
SPACE = st.sampled_from(["", "", "", " ", "\n\t", "\r"])


@st.composite
def strings(draw: st.DrawFn) -> str:
    return json.dumps(draw(TEXT), ensure_ascii=draw(st.booleans()))


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    return "[" + ",".join(draw(SPACE) + item + draw(SPACE) for item in draw(st.lists(inner, max_size=4))) + "]"


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    names = draw(st.lists(strings() | st.sampled_from(['"a"', '"b"', '"-0"']), max_size=4))
    members = (f"{draw(SPACE)}{name}{draw(SPACE)}:{draw(SPACE)}{draw(inner)}{draw(SPACE)}" for name in names)
    return "{" + ",".join(members) + "}"


JSON_TEXTS = st.recursive(
    st.one_of(LITERALS, strings(), st.sampled_from(["true", "false", "null", "-0", '": -0"'])),
    lambda inner: arrays(inner) | objects(inner),
    max_leaves=12,
)


class Literal(str):
    """A number's text, so that the plain writer below can tell it from a string."""


def written_plainly(value: Any) -> str:
    """Canonical JSON by its definition alone."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{written_plainly(name)}:{written_plainly(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written_plainly, value)) + "]"
    return value if isinstance(value, Literal) else json.dumps(value, ensure_ascii=False)


@given(JSON_TEXTS)
@example('{"a": -0, "b": 1.0}')
def test_canonical_json_is_what_its_definition_says(text: str) -> None:
    raw = text.encode()
    canonical = canonical_json(raw)
    assert canonical.decode() == written_plainly(json.loads(text, parse_float=Literal, parse_int=Literal))
    assert canonical_json(canonical) == canonical
    # A minus zero makes the other parser read the whole text: both give the same bytes.
    assert canonical_json(b"[-0,%b]" % raw) == b"[-0,%b]" % canonical


YAML_VECTORS: list[tuple[object, bytes]] = [
    ("plain", b"plain"),
    ("", b"''"),
    ("yes", b"'yes'"),
    ("No", b"'No'"),
    ("1e3", b"1e3"),
    ("1.5", b"'1.5'"),
    ("010", b"'010'"),
    ("0x1F", b"'0x1F'"),
    ("1_000", b"'1_000'"),
    ("1:30", b"'1:30'"),
    ("2021-01-01", b"'2021-01-01'"),
    ("2021-08-31T20:33:59.583352+00:00", b"'2021-08-31T20:33:59.583352+00:00'"),
    ("~", b"'~'"),
    ("null", b"'null'"),
    ("=", b"'='"),
    ("<<", b"'<<'"),
    ("😀 é 日本", "😀 é 日本".encode()),
    ("nel\x85x", b'"nel\\Nx"'),
    ("ls\u2028x", b'"ls\\Lx"'),
    ("bell\x07", b'"bell\\a"'),
    ("\ufeff", b'"\\uFEFF"'),
    ("\U0010ffff", b'"\\U0010FFFF"'),
    ("a\nb", b"'a\n\n  b'"),
    ("a\n\nb\n", b"'a\n\n\n  b\n\n  '"),
    ("a\r\nb", b'"a\\r\\nb"'),
    ("  lead", b"'  lead'"),
    ("trail ", b"'trail '"),
    ("a\tb", b'"a\\tb"'),
    ("- a", b"'- a'"),
    ("a: b", b"'a: b'"),
    ("a #b", b"'a #b'"),
    ('it\'s "so"', b'it\'s "so"'),
    ("'", b"''''"),
    ("long " * 100 + "end", b"long " * 100 + b"end"),
    (1.0, b"1.0"),
    (100000.0, b"100000.0"),
    (1e16, b"1.0e+16"),
    (1e-7, b"1.0e-07"),
    (-0.0, b"-0.0"),
    (Number("1e5"), b"100000.0"),
    (10**30, b"1000000000000000000000000000000"),
    (-3, b"-3"),
    (True, b"true"),
    (None, b"null"),
    ([], b"[]"),
    ({}, b"{}"),
]


@pytest.mark.parametrize(("value", "expected"), YAML_VECTORS, ids=lambda value: ascii(value)[:30])
def test_yaml_scalars_in_bytes(value: object, expected: bytes) -> None:
    document = yaml_document({"key": value})
    assert document == b"key: %b\n" % expected
    assert yaml.safe_load(document) == {"key": value}


def test_a_yaml_document_in_bytes() -> None:
    person = {"name": "Halchenko, Yaroslav O.", "schemaKey": "Person", "affiliation": []}
    document = {"name": "😀", "contributor": [person, person], "b": {"z": 1, "a": [[1, 2], {}]}}
    expected = """\
b:
  a:
  - - 1
    - 2
  - {}
  z: 1
contributor:
- affiliation: []
  name: Halchenko, Yaroslav O.
  schemaKey: Person
- affiliation: []
  name: Halchenko, Yaroslav O.
  schemaKey: Person
name: 😀
"""
    assert yaml_document(document).decode() == expected


def test_yaml_refuses_what_is_no_text() -> None:
    for document in ({"a": ["\ud800"]}, {"\udc00": 1}):
        with pytest.raises(RecordRefused):
            yaml_document(document)


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        TEXT,
        st.text(st.sampled_from(" \t\n\r\x85\u2028\u2029ab:#-'\"\\{}[]!&*?|>%@`,😀\ufeff01.eE+_~")),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


@given(VALUES)
def test_yaml_means_what_was_written(document: object) -> None:
    written = yaml_document(document)
    assert yaml.safe_load(written) == document
    assert yaml_document(document) == written


@given(st.floats(allow_nan=False))
def test_numbers_of_json_come_out_of_yaml_by_value(number: float) -> None:
    assert yaml.safe_load(yaml_document(Number(repr(number)))) == number
    assert math.isinf(number) or read_document(b'{"n":%b}' % repr(number).encode()).value == {"n": number}
