"""Keys are those that git-annex itself would make."""

from __future__ import annotations

import json
import random
from hashlib import md5, sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.annex.keys import ParsedKey, extension, md5e_key, parse_key, sha256e_key
from mirror.errors import RecordRefused

EMPTY_SHA256 = sha256(b"").hexdigest()
EMPTY_MD5 = md5(b"").hexdigest()

EXTENSIONS = {
    "noext": "",
    "0": "",
    ".zarray": "",
    ".zgroup": "",
    "dir.nwb/file": "",
    "A.NWB": ".NWB",
    "a.nii.gz": ".nii.gz",
    ".nii.gz": ".gz",
    "a.ome.zarr": ".ome.zarr",
    ".ome.tif": ".tif",
    "x.ome.tiff": ".ome.tiff",
    "a.ome.tifff": "",
    "a.ajpegs": "",
    "a.tar.bz2.xz": ".bz2.xz",
    "x.longext.ab.cd": ".ab.cd",
    "0.0.1": ".0.1",
    "d.zarr/0/1.5": ".5",
    "x.": "",
    "x.gz.": ".gz",
    "x.gz..": "",
    "a.gz.x-y": ".gz",
    "a.nii.gz~": ".nii",
    "a.éé": ".éé",
    "a.ééé": "",
    "a.日": ".日",
    "日本.日本": "",
    "a.12345.gz": ".gz",
    "a.gz.12345": "",
    "sub-1_T=3.5s.nwb": ".5s.nwb",
    "a b.nwb": ".nwb",
    "...": "",
    "..a.b": ".b",
    "a..b": ".b",
    "a.b\n": "",
}


@pytest.mark.parametrize(("name", "expected"), EXTENSIONS.items())
def test_extensions_follow_the_documented_rule(name: str, expected: str) -> None:
    assert extension(name) == expected


def tricky_names() -> list[str]:
    """Names put together from what the rule turns on; the same on every run."""
    source = random.Random(1)
    pieces = [".", ".", ".", "a", "gz", "nii", "12345", "é", "日", "-", " ", "~", "_", "NWB", "\n", "%", "µV", "tiff"]
    names = {"".join(source.choices(pieces, k=source.randint(1, 8))) for _ in range(1500)}
    return sorted(names - {".", ".."})


@pytest.mark.parametrize("backend", ["SHA256E", "MD5E"])
def test_keys_are_those_of_git_annex(annex: Any, backend: str) -> None:
    names = tricky_names() + [name for name in EXTENSIONS if "/" not in name and name != "..."]
    for name in names:
        (annex.path / name).touch()
    asked = b"".join(name.encode() + b"\0" for name in names)
    answers = annex.git("-c", f"annex.backend={backend}", "annex", "calckey", "--batch", "-z", stdin=asked)
    if backend == "SHA256E":
        ours = [sha256e_key(name, 0, EMPTY_SHA256) for name in names]
    else:
        ours = [md5e_key(name, 0, EMPTY_MD5) for name in names]
    assert dict(zip(names, ours, strict=True)) == dict(zip(names, answers.decode().splitlines(), strict=True))


def test_parts_of_keys_are_those_that_git_annex_sees(annex: Any) -> None:
    keys = [
        sha256e_key("a.nii.gz", 10, EMPTY_SHA256),
        md5e_key("0", 0, EMPTY_MD5),
        f"SHA256-s5--{EMPTY_SHA256}",
        f"SHA256E-s99999999999999-m1577836800--{EMPTY_SHA256}.nwb",
        f"SHA256E-s100-S10-C3--{EMPTY_SHA256}.nwb",
    ]
    answers = annex.annex("examinekey", "--batch", "--json", stdin="\n".join(keys).encode() + b"\n").splitlines()
    seen = [(seen["backend"], seen["bytesize"], seen["keyname"]) for seen in map(json.loads, answers)]
    assert [(key.backend, str(key.size), key.digest + key.extension) for key in map(parse_key, keys)] == seen


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2**62), st.binary(min_size=32, max_size=32))
def test_a_key_says_what_it_was_made_of(path: str, size: int, digest: bytes) -> None:
    key = sha256e_key(path, size, digest.hex())
    assert parse_key(key) == ParsedKey("SHA256E", size, digest.hex(), extension(path))


@pytest.mark.parametrize(
    "key", ["", "SHA256E--abc", "SHA256E-s--abc", "sha-s1--abc", "SHA256E-s1--a/b", "SHA256E-s1--"]
)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="not a git-annex key"):
        parse_key(key)


@pytest.mark.parametrize("digest", ["", "abc", EMPTY_SHA256.upper(), EMPTY_SHA256 + "\n", "../" + EMPTY_SHA256[3:]])
def test_malformed_digests_are_refused_by_the_name_of_the_file(digest: str) -> None:
    with pytest.raises(RecordRefused, match=r"a\.nwb"):
        sha256e_key("a.nwb", 1, digest)
    with pytest.raises(RecordRefused, match=r"a\.nwb"):
        md5e_key("a.nwb", 1, digest)
