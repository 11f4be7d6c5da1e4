"""Metadata is read by git-annex as it was written, and we read it as git-annex does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.annex.metadata import change, decode, encode
from mirror.errors import RecordRefused

VALUES = [
    "plain", "Mus musculus", "tab\tx", "new\nline", "é", "à", "日本", "x\u00a0y", "x\u0085y", "x\u2028y", "!x", "x!",
    "!", "+x", "-x", "+", "-", "+!x", '"q"', "it's", "😀", "a=b", "\x01", "\x7f", " lead", "trail ", "\r", "x\x0by",
    "x\x1cy", "P30D", "*", "17s",
]  # fmt: skip

LOGS = {
    "last-of-two-gone": b"17s a +x\n17s a -x\n",
    "last-of-two": b"17s a -x\n17s a +x\n",
    "no-s": b"17 a +x\n",
    "replaced": b"17s a +x b +y\n18s a -x +z\n",
    "older-below": b"18s a +x\n17s a -x\n",
    "fraction": b"17.5s a -x\n17s a +x b +y\n",
    "bad-stamp": b"zz a +x\n17s b +y\n",
    "names": b"17s a/b +x a:b +y _c +z 9e +v .f +u a+b +1\n",
    "case": b"17s Aa +x\n18s aa +y\n",
    "no-value": b"17s a b +x\n",
    "twice": b"17s a +x a +y\n",
    "both": b"17s a +x -x\n",
    "both-other-way": b"17s a -x +x\n",
    "empty": b"17s\n",
    "base64": b"17s a +!eHg= +!YQpi\n18s a -xx\n",
    "base64-unpadded": b"17s a +!eHg\n",
    "windows": b"17s a +x\r\n",
    "raw-blanks": "17s a +é\u00a0y +à +x\x0by\n".encode(),
}


def fields_seen(answer: dict[str, Any]) -> dict[str, list[str]]:
    return {
        field: sorted(values)
        for field, values in answer["fields"].items()
        if not field.endswith("lastchanged") and values
    }


def test_git_annex_reads_what_we_write(annex: Any) -> None:
    fields = {f"f{number}": {"v": [value, "other"]} for number, value in enumerate(VALUES)}
    annex.holding({name: {".log.met": encode(given, 17)} for name, given in fields.items()})
    seen = {name: fields_seen(answer) for name, answer in annex.answers("metadata").items()}
    assert seen == {name: {"v": sorted(given["v"])} for name, given in fields.items()}


def test_files_are_found_by_their_metadata(annex: Any) -> None:
    annex.holding(
        {
            "mouse": {".log.met": encode({"species": ["Mus musculus - House mouse"], "sex": ["Female"]}, 17)},
            "rat": {".log.met": encode({"species": ["Rattus norvegicus - Norway rat"], "sex": ["Female"]}, 17)},
        }
    )
    for asked, found in {
        "species=Mus musculus - House mouse": {"mouse"},
        "species=*rat": {"rat"},
        "sex=Female": {"mouse", "rat"},
    }.items():
        assert set(annex.answers("find", "--not", "--in=here", "--metadata", asked)) == found


def test_we_read_logs_as_git_annex_reads_them(annex: Any) -> None:
    annex.holding({name: {".log.met": body} for name, body in LOGS.items()})
    seen = {name: fields_seen(answer) for name, answer in annex.answers("metadata").items()}
    assert seen == {name: decode(body) for name, body in LOGS.items()}


def test_git_annex_reads_changes_made_to_what_it_wrote_itself(annex: Any) -> None:
    annex.holding({"a": {}})
    asked = {"file": "a", "fields": {"v": ["x y", "keep", "à", "!"], "mine": ["kept"], "w": ["gone"]}}
    annex.annex("metadata", "--batch", "--json", stdin=json.dumps(asked).encode() + b"\n")
    log = next(
        line for line in annex.git("ls-tree", "-r", "--name-only", "git-annex").decode().split() if ".met" in line
    )
    body = annex.git("show", f"git-annex:{log}")
    assert decode(body) == {"mine": ["kept"], "v": sorted(["x y", "keep", "à", "!"]), "w": ["gone"]}
    changed = change(body, {"v": ["keep", "new\tone"], "w": []}, 17)
    other = annex.path.parent / "other"
    other.mkdir()
    annex.path = other
    annex.git("init", "-q", "-b", "main")
    annex.holding({"a": {".log.met": changed}})
    assert fields_seen(annex.answers("metadata")["a"]) == {"mine": ["kept"], "v": ["keep", "new\tone"]}


def test_lines_in_bytes() -> None:
    assert encode({"species": ["Rattus", "Mus musculus"], "age": ["P30D", "P30D"], "sex": [""], "x": []}, 17) == (
        b"17s age +P30D species +!TXVzIG11c2N1bHVz +Rattus\n"
    )
    assert encode({"sex": [""], "x": ()}, 17) == b""
    assert encode({}, 17) == b""


def test_a_change_says_only_what_differs_and_says_it_later() -> None:
    body = encode({"a": ["x", "y"], "b": ["1"], "c": ["2"]}, 17)
    assert change(body, {"a": ["y", "z"], "b": ["1"]}, 20) == body + b"20s a -x +z\n"
    assert change(body, {"a": ["y", "z"]}, 17) == body + b"18s a -x +z\n"
    assert change(b"17.5s c +2", {"c": []}, 17) == b"17.5s c +2\n18s c -2\n"
    assert change(b"", {"a": ["!"]}, 17) == b"17s a +!IQ==\n"


def test_what_is_so_already_changes_nothing() -> None:
    body = b"17.5s b +1\n17s a +x +!eQ==\nnonsense\n"
    assert change(body, {"a": ["y", "x", ""], "d": []}, 99) is body


@pytest.mark.parametrize("field", ["", "A", "a b", "-a", "a+", "é", "a\n", "a:b", ".a"])
def test_names_that_git_annex_might_take_otherwise_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match="field"):
        encode({field: ["x"]}, 17)


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(RecordRefused):
        encode({"a": ["\ud800"]}, 17)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
FIELDS = st.dictionaries(st.sampled_from(["a", "b", "c-d"]), st.lists(TEXTS | st.sampled_from(VALUES), max_size=4))


def without_empty(fields: dict[str, list[str]]) -> dict[str, list[str]]:
    return {
        field: sorted(set(values), key=lambda value: value.encode())
        for field, values in sorted(fields.items())
        if values
    }


@given(FIELDS, FIELDS, st.integers(0, 40))
def test_what_was_written_is_read_back_also_after_changes(
    first: dict[str, list[str]], then: dict[str, list[str]], timestamp: int
) -> None:
    body = encode(first, 17)
    assert decode(body) == without_empty(first)
    changed = change(body, then, timestamp)
    assert decode(changed) == without_empty(first | then)
    assert changed.startswith(body)
    assert change(changed, then, timestamp) is changed
    # A clone that merged both line by line, in whatever order, sees the same.
    assert decode(b"\n".join(reversed(changed.split(b"\n")))) == without_empty(first | then)
