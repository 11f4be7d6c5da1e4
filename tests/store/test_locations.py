"""The location logs of a repository: what the store has, said so that git-annex and the mirror's own syncs agree."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from mirror.git.repository import Repository
from mirror.store.locations import annex_uuid, note_locations, present_in
from mirror.store.version_keys import version_keys


def git(repository: Path, *args: str) -> str:
    return subprocess.run(
        ["git", "-C", str(repository), *args], capture_output=True, check=True, text=True
    ).stdout.rstrip("\n")


def whereis(repository: Path, key: str) -> str:
    return git(repository, "annex", "whereis", f"--key={key}", "--json")


def keys_of(mirror: Any) -> list[str]:
    return [one.key for one in version_keys(mirror.store, mirror.one)]


def test_git_annex_finds_what_was_noted(mirror: Any, tmp_path: Path) -> None:
    repository: Repository = mirror.store.repository(mirror.one)
    uuid, (first, second) = annex_uuid(repository), keys_of(mirror)
    assert note_locations(repository, uuid, present=[first])
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(repository.path), str(clone))
    assert uuid in whereis(clone, first)
    assert uuid not in whereis(clone, second)
    assert dict(present_in(repository, uuid, [second, first])) == {first: True, second: False}
    note_locations(repository, uuid, absent=[first], present=[second])
    git(clone, "fetch", "-q")
    assert uuid not in whereis(clone, first)
    assert uuid in whereis(clone, second)


def test_the_same_said_again_writes_nothing(mirror: Any) -> None:
    repository: Repository = mirror.store.repository(mirror.one)
    uuid, keys = annex_uuid(repository), keys_of(mirror)
    assert note_locations(repository, uuid, present=keys)
    refs = repository.refs()
    assert not note_locations(repository, uuid, present=keys)
    assert not note_locations(repository, uuid)
    assert not note_locations(repository, uuid, absent=["SHA256E-s1--" + "0" * 64])
    assert repository.refs() == refs


def test_what_is_written_depends_on_nothing_but_the_branch(mirror: Any) -> None:
    repository: Repository = mirror.store.repository(mirror.one)
    keys = keys_of(mirror)
    before = git(repository.path, "log", "-1", "--format=%an %ae %at %cn %ce %ct", "git-annex")
    note_locations(repository, "u", present=keys)
    assert git(repository.path, "log", "-1", "--format=%an %ae %at %cn %ce %ct", "git-annex") == before
    assert git(repository.path, "rev-list", "--count", "git-annex") == "2"
    git(repository.path, "fsck", "--strict")


def test_a_static_server_has_it_at_once(mirror: Any) -> None:
    repository: Repository = mirror.store.repository(mirror.one)
    note_locations(repository, "u", present=keys_of(mirror))
    tip = repository.refs()["refs/heads/git-annex"].hex()
    assert f"{tip}\trefs/heads/git-annex" in (repository.path / "info/refs").read_text()


def test_whole_files_of_the_branch_are_put_along(mirror: Any) -> None:
    repository: Repository = mirror.store.repository(mirror.one)
    known = git(repository.path, "show", "git-annex:remote.log")
    more = {b"remote.log": f"{known}\nx y=z\n".encode(), b"difference.log": b"1s x\n"}
    assert note_locations(repository, "u", present=keys_of(mirror), more=more)
    assert git(repository.path, "show", "git-annex:remote.log") == f"{known}\nx y=z"
    assert git(repository.path, "show", "git-annex:difference.log") == "1s x"
    assert git(repository.path, "rev-list", "--count", "git-annex") == "2"


def test_a_sync_builds_on_what_was_noted(mirror: Any) -> None:
    repository: Repository = mirror.store.repository(mirror.one)
    uuid, keys = annex_uuid(repository), keys_of(mirror)
    note_locations(repository, uuid, present=keys)
    tip = repository.refs()["refs/heads/git-annex"]
    mirror.sync(everything=True)
    assert repository.refs()["refs/heads/git-annex"] == tip
    mirror.archive.add_assets(mirror.one, [("sub-2/c.nwb", b"seven")])
    mirror.sync()
    assert repository.refs()["refs/heads/git-annex"] != tip
    assert dict(present_in(repository, uuid, keys)) == dict.fromkeys(keys, True)
