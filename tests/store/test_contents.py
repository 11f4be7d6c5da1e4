"""Content in the bare repositories: where git-annex looks for it, whole, readable, stored once."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mirror.annex.keys import sha256e_key
from mirror.errors import StoreError
from mirror.store import contents

KEY = sha256e_key("a.nwb", 5, "a" * 64)
OTHER = sha256e_key("b.dat", 5, "a" * 64)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "half-written"
    path.write_bytes(b"bytes")
    path.chmod(0o600)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_adopted_content_lies_where_git_annex_says(repository: Path, file: Path) -> None:
    contents.adopt(repository, KEY, file)
    said = subprocess.run(
        ["git-annex", "examinekey", "--format=${objectpath}", KEY], capture_output=True, check=True, text=True
    )
    place = repository / said.stdout.strip().removeprefix(".git/")
    assert place == contents.place_of(repository, KEY)
    assert place.read_bytes() == b"bytes"
    assert not file.exists()


@pytest.mark.parametrize("settled", [True, False])
def test_everybody_may_read_it_and_nobody_write_whatever_the_umask(repository: Path, file: Path, settled: bool) -> None:
    before = os.umask(0o077)
    try:
        contents.adopt(repository, KEY, file, settled=settled)
    finally:
        os.umask(before)
    contents.settle(repository)
    place = contents.place_of(repository, KEY)
    assert mode(place) == 0o444
    folders = [folder for folder in place.parents if repository in folder.parents]
    assert len(folders) == 5
    assert {mode(folder) for folder in folders} == {0o755}


def test_content_is_not_put_where_no_repository_is_any_more(tmp_path: Path, file: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(FileNotFoundError):
        contents.adopt(gone, KEY, file)
    assert file.read_bytes() == b"bytes"
    assert not gone.exists()


def test_content_comes_from_another_file_system_too(
    repository: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def refuses(self: Path, target: Path) -> Path:
        if self == file:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuses)
    contents.adopt(repository, KEY, file)
    place = contents.place_of(repository, KEY)
    assert (place.read_bytes(), mode(place), file.exists()) == (b"bytes", 0o444, False)
    assert [path.name for path in place.parent.iterdir()] == [KEY]


def test_the_same_bytes_are_one_file_for_two_repositories(repository: Path, file: Path, tmp_path: Path) -> None:
    contents.adopt(repository, KEY, file)
    second = tmp_path / "second"
    second.mkdir()
    assert contents.share(second, OTHER, contents.place_of(repository, KEY)) == "linked"
    one, other = contents.place_of(repository, KEY), contents.place_of(second, OTHER)
    assert one.stat().st_ino == other.stat().st_ino
    contents.drop(repository, KEY)
    assert other.read_bytes() == b"bytes"


def test_without_a_link_there_are_two_files(repository: Path, file: Path, tmp_path: Path) -> None:
    contents.adopt(repository, KEY, file)
    second = tmp_path / "second"
    second.mkdir()
    assert contents.share(second, OTHER, contents.place_of(repository, KEY), link=False) in ("cloned", "copied")
    place = contents.place_of(second, OTHER)
    assert (place.read_bytes(), place.stat().st_nlink, mode(place)) == (b"bytes", 1, 0o444)


def test_a_file_system_that_can_do_neither_gets_a_copy(
    repository: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(*_: Any) -> None:
        raise OSError(errno.EMLINK, "Too many links")

    def unable(*_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    contents.adopt(repository, KEY, file)
    second = tmp_path / "second"
    second.mkdir()
    monkeypatch.setattr(os, "link", too_many)
    monkeypatch.setattr(fcntl, "ioctl", unable)
    assert contents.share(second, KEY, contents.place_of(repository, KEY)) == "copied"
    assert contents.place_of(second, KEY).read_bytes() == b"bytes"


def test_dropped_content_leaves_nothing_behind(repository: Path, file: Path) -> None:
    contents.adopt(repository, KEY, file)
    contents.drop(repository, KEY)
    assert not contents.has(repository, KEY)
    assert list((repository / "annex/objects").iterdir()) == []
    contents.drop(repository, KEY)


def test_what_git_annex_put_there_itself_is_found_and_dropped(repository: Path, file: Path) -> None:
    said = subprocess.run(
        ["git-annex", "examinekey", "--format=${hashdirlower}", KEY], capture_output=True, check=True, text=True
    )
    folder = repository / "annex/objects" / said.stdout / KEY
    folder.mkdir(parents=True)
    file.replace(folder / KEY)
    folder.chmod(0o555)
    assert contents.found(repository, KEY) == folder / KEY
    assert list(contents.held(repository)) == [(KEY, 5)]
    contents.drop(repository, KEY)
    assert list(contents.held(repository)) == []


def test_held_tells_keys_and_sizes_and_nothing_half_copied(repository: Path, tmp_path: Path) -> None:
    wanted = {}
    for number in range(20):
        body = bytes(number)
        key = sha256e_key("x.dat", number, f"{number:064x}")
        (tmp_path / "new").write_bytes(body)
        contents.adopt(repository, key, tmp_path / "new", settled=False)
        wanted[key] = number
    half = contents.place_of(repository, KEY).parent
    half.mkdir(parents=True, exist_ok=True)
    (half / ".new.abc").write_bytes(b"by")
    assert dict(contents.held(repository)) == wanted
    contents.clear_away(repository, KEY)
    assert list(half.iterdir()) == []


@pytest.mark.parametrize("key", ["..", "a/b", ""])
def test_what_is_no_name_of_a_file_is_no_key(repository: Path, key: str) -> None:
    with pytest.raises(StoreError, match="not a key"):
        contents.place_of(repository, key)


def test_what_cannot_be_looked_at_is_not_taken_to_be_gone(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Any, **more: Any) -> os.stat_result:
        if str(path).startswith(str(repository)):
            raise OSError(errno.EIO, "Input/output error")
        return real(path, **more)

    real = os.stat
    monkeypatch.setattr(os, "stat", broken)
    with pytest.raises(StoreError, match="Input/output error"):
        contents.has(repository, "MD5E-s1--" + "0" * 32)
