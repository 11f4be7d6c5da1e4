"""Asset paths become tree paths that git takes, and become themselves again."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterable
from hashlib import sha1
from pathlib import Path
from zlib import compress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.dataset.names import asset_path, check_conflicts, record_folder, tree_path, warnings_for
from mirror.errors import PathRefused

ITSELF = [
    "sub-1/sub-1_ses-2_behavior+ecephys.nwb",
    "README.md",
    "a/dandiset.yaml",
    "a/.datalad/config",
    "a/.dandi/x",
    "a/.noannex",
    ".bidsignore",
    ".gitignore",
    ".gitkeep",
    ".github/x",
    "dandiset.yml",
    "a b",
    " a",
    "a ",
    "-a",
    "a\\b",
    "a:b",
    "a~1",
    "...",
    "a\nb",
    "tab\t",
    "é/日本",
    "'\"`[]{}*?!$&;<>|#",
    "CON",
    "assets.jsonl",
]

ESCAPED = {
    "100%": b"100%25",
    "%2Egit": b"%252Egit",
    "dandiset.yaml": b"%64andiset.yaml",
    "Dandiset.YAML": b"%44andiset.YAML",
    "dandiset.yaml/x": b"%64andiset.yaml/x",
    "dandiset.yaml.": b"%64andiset.yaml.",
    ".datalad/config": b"%2Edatalad/config",
    ".DataLad/config": b"%2EDataLad/config",
    ".dandi/assets.json": b"%2Edandi/assets.json",
    ".noannex": b"%2Enoannex",
    ".git/config": b"%2Egit/config",
    "a/.GIT": b"a/%2EGIT",
    "a/.gitattributes": b"a/%2Egitattributes",
    "a/.gitAttributes": b"a/%2EgitAttributes",
    "a/.gitmodules": b"a/%2Egitmodules",
    "git~1": b"%67it~1",
    "GITMOD~2": b"%47ITMOD~2",
    "gi7eba~9": b"%67i7eba~9",
    "~1000000": b"%7E1000000",
    ".git .": b"%2Egit .",
    ".git::$INDEX": b"%2Egit::$INDEX",
    "a\\.git\\b": b"a%5C.git%5Cb",
    ".git\\%": b"%2Egit%5C%25",
    ".g\u200cit": b"%2Eg\xe2\x80\x8cit",
    "\ufeff.git": b"%EF%BB%BF.git",
}

REFUSED = {
    "": "an empty component",
    "/a": "absolute",
    "/": "absolute",
    "a//b": "an empty component",
    "a/": "an empty component",
    ".": r"a component '\.'",
    "a/..": r"a component '\.\.'",
    "../a": r"a component '\.\.'",
    "a/./b": r"a component '\.'",
    "a\0b": "a NUL character",
    "a/\ud800": "a lone surrogate",
}


@pytest.mark.parametrize("path", ITSELF)
def test_nearly_every_path_is_itself(path: str) -> None:
    assert tree_path(path) == path.encode()
    assert asset_path(tree_path(path)) == path


@pytest.mark.parametrize(("path", "expected"), ESCAPED.items())
def test_what_git_or_the_dataset_would_take_for_its_own_is_escaped(path: str, expected: bytes) -> None:
    assert tree_path(path) == expected
    assert asset_path(expected) == path


@pytest.mark.parametrize(("path", "reason"), REFUSED.items())
def test_what_no_tree_can_hold_is_refused_by_name_and_reason(path: str, reason: str) -> None:
    with pytest.raises(PathRefused, match=reason) as refused:
        tree_path(path)
    assert repr(path) in str(refused.value)


def test_a_tree_path_that_is_no_text_is_refused() -> None:
    with pytest.raises(PathRefused, match="UTF-8"):
        asset_path(b"%FF")


def nasty_names() -> list[str]:
    """Names close to those that git refuses; the same on every run."""
    source = random.Random(1)
    stems = [".git", "git~1", ".gitmodules", ".gitattributes", ".gitignore", ".mailmap", "..", "."]
    stems += [f"{stem}~{n}" for stem in ("git", "gitmod", "gitatt", "GITIGN", "mailma") for n in range(6)]
    for hashed in ("gi7eba", "gi7d29", "gi250a", "maba30"):
        stems += [f"{hashed[:n]}~{digit}{'0' * (6 - n)}" for n in range(7) for digit in "0129"]
    tails = [
        "",
        " ",
        ".",
        " .",
        ":",
        ":x",
        "::$INDEX",
        "\\",
        "\\x",
        ".x",
        "x",
        "\u200c",
        "\ufeff.",
        "/..",
        "%",
        "\n",
        "~1",
    ]
    heads = ["", "x\\", "\\", "\u200e", "x", " ", ".", "%", "\u200c\\", "é\\"]
    names = {head + stem + tail for head in heads for stem in stems for tail in tails}
    letters = [*".gitmodulesattr~1 \\:", "\u200c", "\u206a", "\ufeff", "git", ".git", "ſ", "İ", "%", "\u2028"]
    names |= {"".join(source.choices(letters, k=source.randint(1, 6))) for _ in range(3000)}
    names |= {change(name) for name in names for change in (str.upper, str.title)}
    return sorted(name for name in names if not {"", ".", ".."} & set(name.split("/")))


class Objects:
    """A bare repository, given objects without git's own checks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(["git", "init", "-q", "--bare", path], env=self.env, check=True)

    def put(self, kind: bytes, body: bytes) -> bytes:
        raw = b"%b %d\0%b" % (kind, len(body), body)
        oid = sha1(raw)
        file = self.path / "objects" / oid.hexdigest()[:2] / oid.hexdigest()[2:]
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(compress(raw, 1))
        return oid.digest()

    def trees(self, names: Iterable[bytes]) -> bytes:
        """Three trees in one, with these names as files, as symlinks, and as folders."""
        blob = self.put(b"blob", b"../.git/annex/objects/x")
        folder = self.put(b"tree", b"100644 x\0" + blob)
        roots = []
        for kind, mode, oid in ((b"file", b"100644", blob), (b"folder", b"40000", folder), (b"link", b"120000", blob)):
            ordered = sorted(names, key=lambda name: name + b"/" if mode == b"40000" else name)
            tree = self.put(b"tree", b"".join([b"%b %b\0%b" % (mode, name, oid) for name in ordered]))
            roots.append(b"40000 %b\0%b" % (kind, tree))
        return self.put(b"tree", b"".join(roots))

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        protected = ["-c", "core.protectHFS=true", "-c", "core.protectNTFS=true"]
        command = ["git", "-C", str(self.path), *protected, *args]
        return subprocess.run(command, env=self.env, capture_output=True, encoding="utf-8", check=False)


def test_git_takes_every_tree_path_as_file_symlink_and_folder(tmp_path: Path) -> None:
    names = nasty_names()
    escaped = {name: tree_path(f"x/{name}").removeprefix(b"x/") for name in names if "/" not in name}
    assert len(escaped) > 10_000
    assert len(set(escaped.values())) == len(escaped)
    assert {asset_path(path): path for path in escaped.values()} == escaped
    objects = Objects(tmp_path / "escaped.git")
    tree = objects.trees(escaped.values()).hex()
    check = objects.run("fsck", "--strict", "--no-dangling")
    assert check.returncode == 0, check.stderr
    assert "error" not in check.stderr
    # Checkout has rules of its own, most of them on macOS and Windows; reading a tree into the index applies them.
    assert objects.run("read-tree", tree).returncode == 0


def test_the_same_names_unescaped_are_refused_by_git(tmp_path: Path) -> None:
    objects = Objects(tmp_path / "plain.git")
    names = [name.encode() for name in (".git", "a\\.git\\b", ".g\u200cit", "git~1", ".gitmodules", "GI7EBA~9")]
    for name in names:
        tree = objects.trees([name]).hex()
        assert objects.run("read-tree", tree).returncode != 0, name
    check = objects.run("fsck", "--strict", "--no-dangling")
    assert check.returncode != 0
    assert check.stderr.count("error in tree") >= len(names)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_every_path_of_text_comes_back_or_is_refused(path: str) -> None:
    refused = bool({"", ".", ".."} & set(path.split("/")))
    if refused:
        with pytest.raises(PathRefused):
            tree_path(path)
    else:
        assert asset_path(tree_path(path)) == path
        assert tree_path(path).count(b"/") == path.count("/")


@given(
    st.lists(st.sampled_from(["a", "b.", " ", "é", "%", ".git", "dandiset.yaml", "git~1"]), min_size=1).map("/".join)
)
def test_a_folder_is_escaped_alike_whatever_lies_in_it(path: str) -> None:
    assert tree_path(path + "/x") == tree_path(path) + b"/x"


def test_folders_named_like_files_of_records_do_not_collide_with_these() -> None:
    assert record_folder(b"") == b""
    assert record_folder(b"sub-1/ses-2") == b"sub-1/ses-2"
    assert record_folder(b"myassets.jsonl/assets.json/assets-x.jsonl") == b"myassets.jsonl/assets.json/assets-x.jsonl"
    assert record_folder(b"assets.jsonl") == b"%61ssets.jsonl"
    assert record_folder(b"a/assets-3f.jsonl/b") == b"a/%61ssets-3f.jsonl/b"
    assert record_folder(b"Assets-F.JSONL") == b"%41ssets-F.JSONL"


FOLDERS = st.lists(
    st.sampled_from(["assets.jsonl", "assets-0.jsonl", "%61ssets.jsonl", "ASSETS.jsonl", "a", ".git", ".dandi"]),
    min_size=1,
)


@given(FOLDERS.map("/".join), FOLDERS.map("/".join))
def test_folders_of_records_tell_all_folders_apart(one: str, other: str) -> None:
    assert asset_path(record_folder(tree_path(one))) == one
    assert (record_folder(tree_path(one)) == record_folder(tree_path(other))) == (one == other)


def test_names_that_differ_only_in_case_are_warned_of_once() -> None:
    paths = ["Sub-1/a", "Sub-1/b", "sub-1/a", "sub-1/c", "x/y", "x/Y", "x/y2", "STRASSE", "straße"]
    assert list(warnings_for(paths)) == [
        ("sub-1/a", "'sub-1' differs only in case from 'Sub-1'"),
        ("x/Y", "'x/Y' differs only in case from 'x/y'"),
        ("straße", "'straße' differs only in case from 'STRASSE'"),
    ]
    assert list(warnings_for(["a/b", "A"])) == [("A", "'A' differs only in case from 'a'")]


def test_names_that_differ_only_in_unicode_normalisation_are_warned_of() -> None:
    composed, decomposed, upper = "caf\u00e9", "cafe\u0301", "CAFE\u0301"
    paths = [f"{composed}/a", f"{decomposed}/a", f"{decomposed}/b", f"x/{composed}", f"x/{upper}", "\u212b", "\u00e5"]
    assert list(warnings_for(paths)) == [
        (f"{decomposed}/a", f"{decomposed!r} differs only in Unicode normalisation from {composed!r}"),
        (f"x/{upper}", f"{'x/' + upper!r} differs only in case and Unicode normalisation from {'x/' + composed!r}"),
        ("\u00e5", f"{chr(0xE5)!r} differs only in case from {chr(0x212B)!r}"),
    ]
    assert list(warnings_for([composed, "cafe", "caf\u00e8", f"y/{decomposed}"])) == []


def test_control_characters_and_overlong_names_are_warned_of() -> None:
    fits, longer, escaped = "a" * 255, "é" * 128, "%" * 86
    warned = dict(warnings_for(["a\nb", "a\x7f", "a\x85", f"x/{fits}", f"{longer}/x", escaped, "ok"]))
    assert warned.keys() == {"a\nb", "a\x7f", "a\x85", f"{longer}/x", escaped}
    assert warned["a\nb"] == "it has control characters"
    assert "255 bytes" in warned[escaped]


def test_a_file_where_another_asset_needs_a_folder_is_refused_naming_both() -> None:
    check_conflicts(["a/b", "a.b", "a b/c", "ab"])
    for paths in (["a/b", "a/b/c/d"], ["a/b/c/d", "a/b"]):
        with pytest.raises(PathRefused, match=r"'a/b/c/d' needs a folder where 'a/b' is a file"):
            check_conflicts(paths)
