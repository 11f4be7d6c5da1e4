"""A bare repository that git accepts, nobody pushes to, and whose refs move together."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import Locked, StoreError
from mirror.git.bare import render_config
from mirror.git.objects import COMMIT, TAG, Signature, Tag
from mirror.git.reader import MissingObject
from mirror.git.refs import RefMoved
from mirror.git.repository import Repository

Git = Callable[..., str]
WHO = Signature("The Mirror", "mirror@example.org", 1_700_000_000)
DRAFT, RELEASES, ANNEX = "refs/heads/draft", "refs/heads/releases", "refs/heads/git-annex"


def all_refs(git: Git) -> dict[str, str]:
    lines = git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split(" ") for line in lines)


# A new repository


def test_git_takes_it_for_a_bare_repository(repository: Repository, git: Git, run: Git, tmp_path: Path) -> None:
    assert git("rev-parse", "--is-bare-repository") == "true"
    assert git("symbolic-ref", "HEAD") == DRAFT
    assert git("config", "annex.uuid") == "u-1"
    assert git("config", "gc.auto") == "0"
    git("fsck", "--strict")
    run("clone", "-q", repository.path, tmp_path / "clone")


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    code = (
        "import os; from pathlib import Path; from mirror.git.repository import Repository; os.umask(0o077)\n"
        f"r = Repository.create(Path({str(tmp_path)!r}) / 'a/b', head='draft')\n"
        "with r.writer() as w: w.add_blob(b'1'); r.publish(w, {})\n"
        "with r.writer() as w: w.add_blob(b'2'); r.publish(w, {})\n"
        "assert r.repack(0, pack_limit=1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    modes = {}
    for folder, _, names in os.walk(tmp_path / "a"):
        for name in ("", *names):
            path = Path(folder, name)
            modes[path.relative_to(tmp_path).as_posix()] = stat.S_IMODE(path.stat().st_mode)
    assert modes.pop("a/b/mirror.lock") == 0o600
    packed = {modes.pop(name) for name in list(modes) if "/pack/pack-" in name}
    assert packed == {0o444}
    assert {mode for name, mode in modes.items() if (tmp_path / name).is_dir()} == {0o755}
    assert {mode for name, mode in modes.items() if (tmp_path / name).is_file()} == {0o644}


def test_creating_it_again_changes_nothing(repository: Repository, author: Any) -> None:
    author.publish({b"a": b"1"})
    before = {path: path.read_bytes() for path in repository.path.rglob("*") if path.is_file()}
    again = Repository.create(repository.path, head="main", config={"annex.uuid": "u-2"})
    assert again.refs() == repository.refs() != {}
    assert {path: path.read_bytes() for path in repository.path.rglob("*") if path.is_file()} == before


def test_what_a_dead_one_left_of_a_creation_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / ".dataset.new-abc"
    (left / "objects").mkdir(parents=True)
    Repository.create(tmp_path / "dataset", head="draft")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_a_folder_that_is_no_repository_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "thesis.txt").write_text("x")
    with pytest.raises(OSError, match="not empty"):
        Repository.create(tmp_path / "dataset", head="draft")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_pushes_are_refused(repository: Repository, author: Any, run: Git, tmp_path: Path) -> None:
    author.publish({b"a": b"1"}, DRAFT, ANNEX)
    before = repository.refs()
    clone = tmp_path / "clone"
    run("clone", "-q", repository.path, clone)
    run("-C", clone, "commit", "-q", "--allow-empty", "-m", "mine")
    for what in ("HEAD:draft", "HEAD:refs/heads/new", "HEAD:refs/tags/1.0", "+HEAD:git-annex"):
        assert "hidden ref" in run("-C", clone, "push", "origin", what, ok=False)
    run("-C", clone, "push", "origin", ":draft", ok=False)
    run("-C", clone, "push", "--mirror", "origin", ok=False)
    assert repository.refs() == before


@pytest.mark.parametrize("value", ["plain", "", " spaces ", 'quo"te', "back\\slash", "a # b ; c", "é"])
def test_any_setting_comes_back_from_git(tmp_path: Path, run: Git, value: str) -> None:
    file = tmp_path / "config"
    settings = {"annex.uuid": value, 'remote.a.b \\ "c.url': value, "annex.security.allowed-ip-addresses": value}
    file.write_bytes(render_config(settings))
    for name in settings:
        assert run("config", "--file", file, "--get", name, stdin=b"") == value.rstrip("\n")


@pytest.mark.parametrize("name", ["annex", "annex.u id", "a.b\n.c", ".a", "annex.1"])
def test_settings_git_could_not_read_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        render_config({name: "1"})


# Publishing


def test_refs_move_together_and_git_sees_them(repository: Repository, author: Any, git: Git) -> None:
    with repository.writer() as writer:
        commit = author.commit(writer, {b"a": b"1"})
        tag = writer.add(TAG, Tag(commit, COMMIT, "0.1", WHO, "release\n").encode())
        tags = {"refs/tags/0.1": tag, "refs/tags/doi/10.1/x": commit}
        repository.publish(writer, {DRAFT: commit, RELEASES: commit, **tags})
    assert all_refs(git) == {name: oid.hex() for name, oid in repository.refs().items()}
    assert repository.refs() == {DRAFT: commit, RELEASES: commit, **tags}
    assert repository.peeled_refs()["refs/tags/0.1"] == commit
    assert git("describe", "draft") == "0.1"
    git("fsck", "--strict")
    repository.publish(None, {RELEASES: None, "refs/tags/0.1": None})
    assert all_refs(git) == {DRAFT: commit.hex(), "refs/tags/doi/10.1/x": commit.hex()}


def test_files_for_http_servers_are_those_git_would_write(repository: Repository, author: Any, git: Git) -> None:
    for number in range(3):
        commit = author.publish({b"a": b"%d" % number})
    git("tag", "-a", "-m", "m", "1.0", commit.hex())
    repository.publish(None, {RELEASES: commit})
    info = [repository.path / "info/refs", repository.path / "objects/info/packs"]
    ours = [sorted(path.read_bytes().splitlines()) for path in info]
    git("update-server-info", "--force")
    assert [sorted(path.read_bytes().splitlines()) for path in info] == ours


def test_loose_refs_of_git_annex_win_and_are_folded(repository: Repository, author: Any, git: Git) -> None:
    first = author.publish({b"a": b"1"}, ANNEX, DRAFT)
    tree = git("rev-parse", f"{ANNEX}^{{tree}}")
    second = bytes.fromhex(git("commit-tree", tree, "-p", first.hex(), "-m", "content came"))
    git("update-ref", ANNEX, second.hex())
    assert repository.refs() == {ANNEX: second, DRAFT: first}
    with repository.writer() as writer:
        third = author.commit(writer, {b"b": b"2"}, second)
        repository.publish(writer, {ANNEX: third}, expected={ANNEX: second})
    assert all_refs(git) == {ANNEX: third.hex(), DRAFT: first.hex()}
    assert [path for path in (repository.path / "refs").rglob("*") if path.is_file()] == []


def test_nothing_moves_when_somebody_else_moved_it(repository: Repository, author: Any) -> None:
    first = author.publish({b"a": b"1"}, ANNEX, DRAFT)
    second = author.publish({b"a": b"2"}, ANNEX)
    with repository.writer() as writer:
        mine = author.commit(writer, {b"a": b"3"}, first)
        with pytest.raises(RefMoved, match=second.hex()):
            repository.publish(writer, {ANNEX: mine, DRAFT: mine}, expected={ANNEX: first, DRAFT: first})
    assert repository.refs() == {ANNEX: second, DRAFT: first}


def test_a_branch_somebody_is_moving_right_now_is_waited_for(
    repository: Repository, author: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = author.publish({b"a": b"1"}, ANNEX)
    monkeypatch.setattr("mirror.git.ref_files.LOCK_SECONDS", 0.1)
    lock = repository.path / f"{ANNEX}.lock"
    lock.touch()
    with pytest.raises(Locked, match=r"git-annex\.lock"):
        repository.publish(None, {ANNEX: None})
    assert repository.refs() == {ANNEX: first}
    lock.unlink()
    repository.publish(None, {ANNEX: None})
    assert repository.refs() == {}


def test_a_ref_must_point_at_something(repository: Repository) -> None:
    with repository.writer() as writer:
        writer.add_blob(b"1")
        with pytest.raises(MissingObject):
            repository.publish(writer, {DRAFT: b"\1" * 20})
    assert (repository.refs(), repository.packs()) == ({}, [])


def test_refs_that_exclude_each_other_are_refused(repository: Repository, author: Any) -> None:
    commit = author.publish({b"a": b"1"}, "refs/tags/a")
    with pytest.raises(ValueError, match="cannot hold both"):
        repository.publish(None, {"refs/tags/a/b": commit})
    repository.publish(None, {"refs/tags/a": None, "refs/tags/a/b": commit})
    assert repository.refs() == {"refs/tags/a/b": commit}


def test_a_broken_loose_ref_is_reported(repository: Repository) -> None:
    (repository.path / DRAFT).write_bytes(b"")
    with pytest.raises(StoreError, match="heads/draft"):
        repository.refs()


# Locking


def test_only_one_process_at_a_time(repository: Repository) -> None:
    code = (
        "import sys; from pathlib import Path; from mirror.git.repository import Repository\n"
        f"with Repository(Path({str(repository.path)!r})).lock(wait=False): print('held', flush=True); sys.stdin.read()"
    )
    cmd = [sys.executable, "-c", code]
    with subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(Locked), repository.lock(wait=False):
            pass
        second = subprocess.run(cmd, input="", capture_output=True, text=True, check=False)
        assert "Locked" in second.stderr
        other.kill()  # the lock dies with its holder
    with repository.lock(wait=False), repository.lock(wait=False):
        repository.publish(None, {})


# Repacking


def test_many_packs_become_one_and_the_old_stay_for_a_day(
    repository: Repository, author: Any, git: Git, run: Git, tmp_path: Path
) -> None:
    for number in range(21):
        author.publish({b"f%d" % number: b"%d" % number})
    old = repository.packs()
    refs = repository.refs()
    assert len(old) == 21
    assert repository.repack(now=1000)
    (new,) = repository.packs()
    assert (repository.path / "objects/info/packs").read_text() == f"P {new}.pack\n\n"
    assert int(git("count-objects", "-v").split("packs: ")[1].split("\n")[0]) == 22
    git("fsck", "--strict")
    assert not repository.repack(now=1000 + 86_400)
    assert int(git("count-objects", "-v").split("packs: ")[1].split("\n")[0]) == 22
    assert not repository.repack(now=1001 + 86_400)
    assert git("count-objects", "-v").split("packs: ")[1].split("\n")[0] == "1"
    assert "garbage: 0" in git("count-objects", "-v")
    assert repository.refs() == refs
    git("fsck", "--strict")
    run("clone", "-q", repository.path, tmp_path / "clone")
    assert (tmp_path / "clone" / "f20").read_text() == "20"
    assert repository.repair() == []


def _on_disk(repository: Repository) -> int:
    return len(list((repository.path / "objects/pack").glob("*.pack")))


def test_what_was_replaced_while_the_clock_was_ahead_leaves_too(repository: Repository, author: Any, git: Git) -> None:
    for number in range(3):
        author.publish({b"f": b"%d" % number})
    next_year, now = 33_000_000, 1_000_000
    assert repository.repack(next_year, pack_limit=2)
    assert not repository.repack(next_year - 3600)
    assert _on_disk(repository) == 4, "an hour is nothing: the old ones have their day"
    assert repository.wants_repack(now)
    assert not repository.repack(now)
    assert _on_disk(repository) == 1
    git("fsck", "--strict")


@pytest.mark.parametrize("record", [b"yesterday pack-abc\n", b"17", b"\xff\0" * 40, b"nan pack-abc\n", b"\n \n"])
def test_a_record_of_what_was_replaced_that_makes_no_sense_costs_a_second_repack(
    repository: Repository, author: Any, git: Git, record: bytes
) -> None:
    for number in range(3):
        author.publish({b"f": b"%d" % number})
    assert repository.repack(now=0, pack_limit=2)
    (repository.path / "objects/info/replaced-packs").write_bytes(record)
    assert len(repository.packs()) == 4
    assert repository.repair(grace=0) == ["objects/info/packs: brought up to date"]
    assert repository.repack(now=0, pack_limit=2)
    assert len(repository.packs()) == 1
    repository.repack(now=100, keep_seconds=10)
    assert _on_disk(repository) == 1
    git("fsck", "--strict")


def test_few_packs_are_left_alone(repository: Repository, author: Any) -> None:
    for number in range(20):
        author.publish({b"f": b"%d" % number})
    assert not repository.repack(now=1000)
    assert len(repository.packs()) == 20


def test_a_repack_loses_nothing_not_even_what_no_ref_holds(repository: Repository, git: Git) -> None:
    for number in range(3):
        with repository.writer() as writer:
            writer.add_blob(b"%d" % number)
            repository.publish(writer, {})
    loose = git("hash-object", "-w", "--stdin", stdin=b"loose")
    before = set(git("cat-file", "--batch-all-objects", "--batch-check").splitlines())
    assert repository.repack(now=0, pack_limit=2)
    repository.repack(now=100, keep_seconds=10)
    assert len(repository.packs()) == 1
    assert set(git("cat-file", "--batch-all-objects", "--batch-check").splitlines()) == before
    assert any(loose in line for line in before)


def test_loose_objects_are_packed_and_later_pruned(repository: Repository, author: Any, git: Git) -> None:
    commit = author.publish({b"a": b"1"})
    made = git("commit-tree", f"{commit.hex()}^{{tree}}", "-p", commit.hex(), "-m", "by git-annex")
    git("update-ref", ANNEX, made)
    path = repository.path / "objects" / made[:2] / made[2:]
    now = path.stat().st_mtime + 10
    assert not repository.repack(now)
    assert repository.repack(now, loose_limit=0)
    assert path.exists()
    assert not repository.repack(now + 80_000, loose_limit=10)
    assert path.exists()
    later = git("hash-object", "-w", "--stdin", stdin=b"later")
    assert not repository.repack(now + 90_000, loose_limit=10)
    assert not path.exists()
    assert (repository.path / "objects" / later[:2] / later[2:]).exists()
    assert git("log", "-1", "--format=%s", ANNEX) == "by git-annex"


# Repairing


def test_a_healthy_repository_needs_no_repair(repository: Repository, author: Any) -> None:
    assert repository.repair() == []
    author.publish({b"a": b"1"})
    assert repository.repair() == []


def test_what_the_dead_left_is_cleared_away(repository: Repository, author: Any, git: Git) -> None:
    commit = author.publish({b"a": b"1"})
    packs = repository.path / "objects" / "pack"
    long_ago = [packs / "tmp_pack_abc", packs / ".tmp-12-pack-ab.pack", packs / "tmp_idx_abc"]
    dead = [packs / "tmp_pack_mirror_abc", packs / "pack-12.pack", packs / "pack-34.idx"]
    dead += [repository.path / name for name in ("packed-refs.lock", "HEAD.lock", f"{DRAFT}.lock")]
    dead += [repository.path / "refs/tags/a/b.lock", repository.path / "info/refs.new"]
    young = packs / "tmp_pack_def"
    for path in (*long_ago, *dead, young):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    for path in long_ago:
        os.utime(path, (1, 1))
    done = repository.repair(grace=0.05)
    assert {line.split(":")[0] for line in done} == {
        path.relative_to(repository.path).as_posix() for path in (*long_ago, *dead)
    }
    assert not any(path.exists() for path in (*long_ago, *dead))
    assert young.exists()
    assert repository.repair() == []
    git("fsck", "--strict")
    assert repository.refs() == {DRAFT: commit}


def test_stale_files_for_http_servers_are_renewed(repository: Repository, author: Any, git: Git) -> None:
    commit = author.publish({b"a": b"1"})
    git("update-ref", ANNEX, commit.hex())
    (repository.path / "objects/info/packs").unlink()
    assert [line.split(":")[0] for line in repository.repair()] == ["objects/info/packs", "info/refs"]
    assert f"{commit.hex()}\t{ANNEX}" in (repository.path / "info/refs").read_text()
    assert repository.packs()[0] in (repository.path / "objects/info/packs").read_text()


def test_what_lives_looks_finished(repository: Repository, author: Any, git: Git) -> None:
    def finished() -> bool:
        return not repository.looks_unfinished()

    assert finished()
    for number in range(4):
        commit = author.publish({b"a": b"%d" % number}, DRAFT, ANNEX)
        assert finished()
    git("tag", "-a", "-m", "m", "1.0", commit.hex())
    git(
        "update-ref",
        ANNEX,
        git("commit-tree", f"{commit.hex()}^{{tree}}", "-p", commit.hex(), "-m", "git-annex was here"),
    )
    assert repository.repair() == ["info/refs: brought up to date"]
    assert finished()
    repository.publish(None, {})  # folds the loose refs: packed-refs is new, info/refs has nothing to add
    assert finished()
    for now in (1000, 1000 + 86_400, 1001 + 86_400):
        repository.repack(now, pack_limit=2)
        assert finished()
    repository.publish(None, {RELEASES: commit})
    for _ in range(3):
        assert repository.repair() == []
        assert finished()


@pytest.mark.parametrize(
    "left",
    [
        *("packed-refs.lock", "HEAD.lock", "config.lock", f"{DRAFT}.lock", "refs/tags/a/b.lock", "info/refs.new"),
        *("objects/pack/tmp_pack_mirror_abc", "objects/pack/pack-12.pack", "objects/pack/pack-34.idx"),
        "objects/info/packs.new",
    ],
)
def test_what_the_dead_left_is_noticed_until_it_is_repaired(repository: Repository, author: Any, left: str) -> None:
    author.publish({b"a": b"1"})
    path = repository.path / left
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    assert repository.looks_unfinished()
    assert repository.repair(grace=0) == [f"{left}: deleted, left by a dead process"]
    assert not repository.looks_unfinished()


@pytest.mark.parametrize("file", ["info/refs", "objects/info/packs"])
def test_files_for_http_servers_that_are_missing_or_of_before_are_noticed(
    repository: Repository, author: Any, file: str
) -> None:
    author.publish({b"a": b"1"})
    path = repository.path / file
    before = path.read_bytes()
    author.publish({b"a": b"2"})
    now = path.stat().st_mtime_ns
    path.write_bytes(before)
    os.utime(path, ns=(now, now))
    assert repository.looks_unfinished()
    assert repository.repair() == [f"{file}: brought up to date"]
    assert not repository.looks_unfinished()
    path.unlink()
    assert repository.looks_unfinished()
    repository.repair()
    assert not repository.looks_unfinished()


def test_a_git_at_work_does_not_look_dead(repository: Repository) -> None:
    (repository.path / "objects/pack/tmp_pack_abc").touch()
    assert not repository.looks_unfinished()


def test_what_cannot_be_read_looks_unfinished(repository: Repository, author: Any, tmp_path: Path) -> None:
    author.publish({b"a": b"1"})
    assert Repository(tmp_path / "nothing").looks_unfinished()
    (repository.path / RELEASES).write_bytes(b"")
    assert repository.looks_unfinished()
