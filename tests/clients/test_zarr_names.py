"""Names that mean something to git, to a shell or in an address, of Zarrs and of the files in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

PATHS = {
    "sub-1/with spaces & 100%.zarr": "sub-1/with spaces & 100%25.zarr",
    " blanks around ": " blanks around ",
    'the "quoted" one\'s.zarr': 'the "quoted" one\'s.zarr',
    "-begins with a dash.zarr": "%2Dbegins with a dash.zarr",
    "sub-1/-in a folder.zarr": "sub-1/-in a folder.zarr",
    "größe/日本.zarr": "größe/日本.zarr",
    "an [odd] {one} (1), a*b?c.zarr": "an [odd] {one} (1), a*b?c.zarr",
    "#1; not a comment.zarr": "#1; not a comment.zarr",
    "back\\slash and tab\t.zarr": "back\\slash and tab\t.zarr",
    ".git/~$HOME `id`.zarr": "%2Egit/~$HOME `id`.zarr",
}
"""paths of Zarrs, and where these are in a clone"""

FILES = {
    ".zarray": ".zarray",
    ".gitattributes": "%2Egitattributes",
    "0/.gitattributes": "0/%2Egitattributes",
    ".gitmodules": "%2Egitmodules",
    ".git/config": "%2Egit/config",
    "0/.GIT": "0/%2EGIT",
    ".gitignore": ".gitignore",
    ".datalad/config": "%2Edatalad/config",
    ".dandi/zarr.json": "%2Edandi/zarr.json",
    ".noannex": "%2Enoannex",
    "%41": "%2541",
    "A": "A",
    "50% & more+#?=.txt": "50%25 & more+#?=.txt",
    "name with spaces": "name with spaces",
    " ": " ",
    "ü": "ü",
    "u\u0308": "u\u0308",
    "日本/😀": "日本/😀",
    "-rf": "-rf",
    "tab\there": "tab\there",
    "quo\"te's": "quo\"te's",
    "back\\slash": "back\\slash",
    "[0-9]*": "[0-9]*",
    "0/line.txt": "0/line.txt",
}
"""paths of files in a Zarr, and where these are in its dataset"""

CONTENT = {name: f"content of {name!r}\n".encode() for name in FILES} | {
    ".gitattributes": b"* text=auto eol=crlf filter=rot13\n*.txt annex.largefiles=nothing\n",
    "0/.gitattributes": b"*.txt ident export-subst\n",
    ".gitignore": b"*\n",
    "0/line.txt": b"$Id$\nno carriage return here\n",
}


@pytest.fixture
def lenient(mirror_with: Callable[..., Any]) -> Any:
    """A mirror of an archive that takes every path."""
    return mirror_with(strict=False)


def assert_store_is_sound(mirror: Any, run: Callable[..., str], *names: str) -> None:
    for name in names:
        assert run("git", "fsck", "--strict", "--no-dangling", cwd=mirror.alias_of(name)) == ""


def test_datalad_takes_every_path_of_a_zarr(
    lenient: Any, clone_of: Callable[..., Any], run: Callable[..., str]
) -> None:
    content = {path: f"in {path!r}".encode() for path in PATHS}
    ids = [lenient.add_zarr(path, {"0": content[path]}) for path in PATHS]
    lenient.sync()
    assert_store_is_sound(lenient, run, lenient.identifier, *ids)
    clone = clone_of(lenient.alias)
    clone.datalad("get", "-r", ".")
    assert {path: clone.read(f"{in_tree}/0") for path, in_tree in PATHS.items()} == content
    assert {line[0] for line in clone.git("submodule", "status").splitlines()} == {" "}
    clone.assert_clean()


def test_git_takes_every_path_of_a_zarr(
    lenient: Any, run: Callable[..., str], tmp_path: Any, clone_at: Callable[..., Any], served: Callable[..., Any]
) -> None:
    for path in PATHS:
        lenient.add_zarr(path, {"0": path.encode()})
    lenient.sync()
    with served(lenient.public) as url:
        run("git", "clone", "-q", f"{url}/alias/{lenient.identifier}", tmp_path / "clone")
        clone = clone_at(tmp_path / "clone")
        first, *others = PATHS.values()
        clone.git("submodule", "update", "-q", "--init", first)
        assert clone.git("submodule", "status", first)[0] == " "
        clone.git("submodule", "update", "-q", "--init")
    for in_tree in (first, *others):
        assert clone.sub(in_tree).git("rev-parse", "HEAD") == clone.git("rev-parse", f"HEAD:{in_tree}")
    assert clone.git("status", "--porcelain") == ""


def test_a_line_break_in_a_path_is_nothing_to_git(
    lenient: Any, run: Callable[..., str], tmp_path: Any, clone_at: Callable[..., Any]
) -> None:
    """Nor to git-annex. `datalad status` reads such a file's name wrongly, so it is not asked here."""
    path, name = "line\nbreak.zarr", "another\nbreak"
    zarr_id = lenient.add_zarr(path, {name: b"a chunk", "0": b"another"})
    lenient.sync()
    assert_store_is_sound(lenient, run, lenient.identifier, zarr_id)
    run("git", "clone", "-q", "--recurse-submodules", lenient.alias, tmp_path / "clone")
    clone = clone_at(tmp_path / "clone")
    clone.sub(path).annex("get", ".")
    assert clone.read(f"{path}/{name}") == b"a chunk"
    assert "failed" not in clone.sub(path).annex("fsck")
    assert clone.git("status", "--porcelain") == clone.sub(path).git("status", "--porcelain") == ""


def test_one_zarr_among_others_is_had_by_its_path(lenient: Any, clone_of: Callable[..., Any]) -> None:
    lenient.add_zarr('-a [1] #2 "é".zarr', {"c/0": b"a chunk"})
    lenient.add_zarr("-a 1 #2.zarr", {"c/0": b"of another"})
    lenient.sync()
    clone = clone_of(lenient.alias)
    in_tree = '%2Da [1] #2 "é".zarr'
    clone.datalad("get", "-n", in_tree)
    assert not clone.sub(in_tree).has("c/0")
    clone.datalad("get", f"{in_tree}/c/0")
    assert clone.read(f"{in_tree}/c/0") == b"a chunk"
    assert list((clone.path / "%2Da 1 #2.zarr").iterdir()) == []
    clone.assert_clean()


def test_files_in_a_zarr_are_had_under_every_name(
    lenient: Any, clone_of: Callable[..., Any], run: Callable[..., str]
) -> None:
    zarr_id = lenient.add_zarr("odd.zarr", CONTENT)
    lenient.sync()
    assert_store_is_sound(lenient, run, lenient.identifier, zarr_id)
    clone = clone_of(lenient.alias)
    clone.datalad("get", "odd.zarr")
    inside = clone.sub("odd.zarr")
    assert {name: inside.read(in_tree) for name, in_tree in FILES.items()} == CONTENT
    assert "failed" not in inside.annex("fsck")
    assert lenient.archive.count(path="download=true") == 0
    clone.assert_clean()


def test_attributes_and_ignores_in_a_zarr_are_content_like_any_other(
    lenient: Any, clone_of: Callable[..., Any]
) -> None:
    zarr_id = lenient.add_zarr("odd.zarr", CONTENT)
    lenient.sync()
    clone = clone_of(lenient.alias_of(zarr_id))
    clone.datalad("get", ".")
    assert clone.git("check-attr", "text", "filter", "ident", "--", "0/line.txt").count("unspecified") == 2
    assert clone.git("check-attr", "annex.largefiles", "--", "0/line.txt").endswith(": unspecified")
    assert clone.read("0/line.txt") == CONTENT["0/line.txt"]
    assert clone.git("config", "-f", ".datalad/config", "datalad.dataset.id") == zarr_id
