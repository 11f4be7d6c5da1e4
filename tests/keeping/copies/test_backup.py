"""`dandi-mirror backup`: what is copied, what is recorded, and what happens when it does not go well."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest
from kept_store import FILES, UNPUBLISHED, ZARR, BackedUpOnce, run

from mirror.config_keeping import BackupRemote
from mirror.errors import Stopped
from mirror.git.process import run_git
from mirror.keeping.backup.copying import back_up
from mirror.keeping.backup.logs import backup_uuid
from mirror.store.contents import adopt, drop, found, share
from mirror.store.locations import present_in
from mirror.store.moving import close_dataset

FIRST = len({*FILES.values(), UNPUBLISHED[1]})
"""contents of the first Dandiset that the store holds, besides those of its Zarr"""
OF_ZARR = 3
SECOND = 1
"""of the second Dandiset that the first has not"""


@pytest.fixture
def nas(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "nas").mkdir()
    return {"name": "nas", "type": "directory", "options": {"directory": str(tmp_path / "nas")}}


def keys_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and path.name == path.parent.name}


def known_there(kept: Any, name: str, identifier: str | None = None) -> set[str]:
    """What the location logs say that the backup has of a Dandiset."""
    return _known_in(kept.store.repository(identifier or kept.one), kept, name)


def _known_in(repository: Any, kept: Any, name: str = "nas") -> set[str]:
    listed = run("git", f"--git-dir={repository.path}", "ls-tree", "-r", "--name-only", "git-annex").splitlines()
    keys = [Path(line).name.removesuffix(".log") for line in listed if line.endswith(".log") and "/" in line]
    return {key for key, there in present_in(repository, backup_uuid(kept.store.facts.id, name), keys) if there}


def test_everything_that_the_store_holds_is_copied_once(backed: BackedUpOnce) -> None:
    kept, said = backed.kept, backed.said
    assert said.code == 0
    assert len(keys_in(backed.folder / "nas")) == FIRST + OF_ZARR + SECOND
    assert known_there(kept, "nas") == {kept.key(path) for path in (*FILES, UNPUBLISHED[0])}
    assert known_there(kept, "nas", kept.two) == {
        kept.key(path, identifier=kept.two) for path in ("same.nwb", "other.nwb")
    }
    *datasets, summary = said.records
    assert {record["dataset"]: record["status"] for record in datasets} == dict.fromkeys(
        (kept.one, kept.two, kept.zarr), "ok"
    )
    assert (summary["status"], summary["copied"], summary["failed"]) == ("ok", FIRST + OF_ZARR + SECOND, 0)
    for dataset in (kept.one, kept.two, kept.zarr):
        run_git(kept.store.alias(dataset), "fsck", "--strict", "--no-dangling")


def test_a_second_run_has_nothing_to_do_and_asks_nobody(backed: BackedUpOnce) -> None:
    refs = backed.kept.refs()
    shutil.rmtree(backed.folder / "nas")
    said = backed.commands.backup("--json", backup=[backed.nas])
    assert said.code == 0
    assert [(record["status"], record["untouched"]) for record in said.records] == [("notneeded", 3)]
    assert backed.kept.refs() == refs


def test_what_is_recorded_depends_on_no_clock_and_no_host(
    backed: BackedUpOnce, kept: Any, commands: Any, nas: dict[str, Any]
) -> None:
    commands.backup(backup=[nas])
    assert kept.refs() == backed.kept.refs()


def test_clones_are_told_of_the_remote_and_nothing_is_enabled_for_them(backed: BackedUpOnce) -> None:
    kept = backed.kept
    uuid = backup_uuid(kept.store.facts.id, "nas")
    lines = [line for line in kept.branch("remote.log").decode().splitlines() if line.startswith(uuid)]
    assert lines == [f"{uuid} embedcreds=no encryption=none name=nas type=directory timestamp=1577836800s"]
    assert f"{uuid} nas timestamp=1577836800s\n" in kept.branch("uuid.log").decode()
    assert "dandiapi" in kept.branch("remote.log").decode()


def test_only_what_is_named_is_copied_with_its_zarrs(
    kept: Any, commands: Any, nas: dict[str, Any], tmp_path: Path
) -> None:
    commands.backup(kept.zarr, backup=[nas])
    assert len(keys_in(tmp_path / "nas")) == OF_ZARR
    commands.backup("1", backup=[nas])
    assert len(keys_in(tmp_path / "nas")) == OF_ZARR + FIRST
    assert known_there(kept, "nas", kept.two) == set()


def test_what_another_dataset_has_brought_there_is_recorded_without_being_copied(
    kept: Any, commands: Any, nas: dict[str, Any]
) -> None:
    commands.backup(kept.one, backup=[nas])
    record = commands.backup(kept.two, "--json", backup=[nas]).records[0]
    assert (record["copied"], record["there"]) == (1, 1)
    assert len(known_there(kept, "nas", kept.two)) == 2


@pytest.mark.usefixtures("kept")
def test_several_remotes_are_each_copied_to_or_only_the_one_that_is_named(
    commands: Any, nas: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "usb").mkdir()
    usb = nas | {"name": "usb", "options": {"directory": str(tmp_path / "usb")}}
    commands.backup("--to", "usb", backup=[nas, usb])
    assert not keys_in(tmp_path / "nas")
    commands.backup(backup=[nas, usb])
    assert keys_in(tmp_path / "nas") == keys_in(tmp_path / "usb")


def test_verify_copies_again_what_the_remote_lost(backed: BackedUpOnce) -> None:
    lost = backed.kept.key("sub-2/b.nwb")
    _lose(backed.folder / "nas", lost)
    said = backed.commands.backup("--verify", "--json", backup=[backed.nas])
    assert said.code == 0
    assert (said.records[-1]["copied"], said.records[-1]["there"]) == (1, FIRST + OF_ZARR + SECOND - 1)
    assert lost in keys_in(backed.folder / "nas")


def test_verify_withdraws_what_the_remote_lost_and_the_store_has_no_more(backed: BackedUpOnce) -> None:
    kept = backed.kept
    lost = kept.key("sub-2/b.nwb")
    _lose(backed.folder / "nas", lost)
    drop(kept.repository, lost)
    kept_there = kept.key("sub-1/a.nwb")
    drop(kept.repository, kept_there)
    record = next(
        record
        for record in backed.commands.backup("--verify", "--json", backup=[backed.nas]).records
        if record.get("dataset") == kept.one
    )
    assert record["gone"] == 1
    assert lost not in known_there(kept, "nas")
    assert kept_there in known_there(kept, "nas")


def _lose(folder: Path, key: str) -> None:
    place = next(path for path in folder.rglob(key) if path.is_dir())
    place.chmod(0o755)
    shutil.rmtree(place)


def test_a_remote_that_is_not_there_fails_and_the_others_are_copied_to(
    kept: Any, commands: Any, nas: dict[str, Any], tmp_path: Path
) -> None:
    away = {"name": "away", "type": "directory", "options": {"directory": str(tmp_path / "not mounted")}}
    said = commands.backup("--json", backup=[away, nas])
    assert said.code == 3
    assert "away" in str(said.error)
    broken = next(record for record in said.records if record["path"] == "away")
    assert broken["status"] == "error"
    assert "does not exist" in broken["message"]
    assert len(keys_in(tmp_path / "nas")) == FIRST + OF_ZARR + SECOND
    assert known_there(kept, "away") == set()
    said = commands.backup(backup=[away])
    (line,) = said.out.splitlines()  # however many datasets had no turn
    assert line.startswith("away: 0 contents copied")
    assert "does not exist" in line


def test_a_folder_in_which_nothing_is_of_what_should_be_is_not_filled(backed: BackedUpOnce) -> None:
    nas, kept = backed.folder / "nas", backed.kept
    nas.rename(nas.with_name("unmounted"))
    nas.mkdir()
    new = kept.store.temporary / "content"
    new.write_bytes(b"new")
    adopt(kept.repository, key_of_new := "MD5E-s3--22af645d1859cb5ca6da0c484f1f37ea", new)
    for args in ((), ("--verify",)):
        said = backed.commands.backup(*args, "--json", backup=[backed.nas])
        assert said.code == 3
        assert "is it the right place?" in said.records[-1]["message"]
    assert not keys_in(nas)
    assert len(known_there(kept, "nas")) == FIRST
    assert key_of_new not in known_there(kept, "nas")


def test_another_kind_of_remote_needs_another_name(backed: BackedUpOnce) -> None:
    rsync = backed.nas | {"type": "rsync", "options": {"rsyncurl": "/somewhere"}}
    said = backed.commands.backup("--verify", backup=[rsync])
    assert said.code == 3
    assert "was of type directory, not rsync" in said.out
    assert len(known_there(backed.kept, "nas")) == FIRST


def test_content_that_cannot_be_read_fails_alone(kept: Any, commands: Any, nas: dict[str, Any], tmp_path: Path) -> None:
    lost = found(kept.repository, kept.key("sub-2/b.nwb"))
    lost.unlink()
    lost.symlink_to("nowhere")
    assert commands.backup(backup=[nas]).code == 0
    assert len(keys_in(tmp_path / "nas")) == FIRST + OF_ZARR + SECOND - 1


def test_content_that_may_not_be_read_is_told_and_the_others_are_copied(
    kept: Any, commands: Any, nas: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = kept.key("sub-2/b.nwb")

    def shared(repository: Path, wanted: str, other: Path, *, settled: bool) -> object:
        if wanted == key:
            raise PermissionError(errno.EACCES, "Permission denied", str(other))
        return share(repository, wanted, other, settled=settled)

    monkeypatch.setattr("mirror.keeping.backup.annex.share", shared)
    said = commands.backup("--json", backup=[nas])
    assert said.code == 3
    record = next(record for record in said.records if record.get("dataset") == kept.one)
    assert (record["failed"], record["copied"]) == (1, FIRST - 1)
    assert "cannot be read: Permission denied" in record["message"]
    assert len(keys_in(tmp_path / "nas")) == FIRST + OF_ZARR + SECOND - 1


def test_one_that_fails_does_not_stop_the_others(kept: Any, commands: Any, nas: dict[str, Any], tmp_path: Path) -> None:
    key = kept.key("sub-2/b.nwb")
    # git-annex makes the key's folder there, and cannot.
    commands.backup(kept.two, backup=[nas])
    for folder in _hash_folders(tmp_path / "nas", key):
        folder.parent.mkdir(exist_ok=True)
        folder.write_text("in the way")
    said = commands.backup("--json", backup=[nas])
    assert said.code == 3
    record = next(record for record in said.records if record.get("dataset") == kept.one)
    assert (record["status"], record["failed"], record["copied"]) == ("error", 1, FIRST - 2)
    assert key not in known_there(kept, "nas")
    assert len(known_there(kept, "nas")) == FIRST - 1


def _hash_folders(folder: Path, key: str) -> list[Path]:
    from mirror.annex import hashdirs

    return [folder / hashdirs.lower(key).decode()]


def test_where_all_fails_the_rest_is_left_alone(
    kept: Any, commands: Any, nas: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.keeping.backup.copying._MOST_FAILED", 2)
    for path in (*FILES, UNPUBLISHED[0], *(f"sub-1/image.zarr/{name}" for name in ZARR)):
        for folder in _hash_folders(tmp_path / "nas", kept.key(path)):
            folder.parent.mkdir(exist_ok=True)
            folder.write_text("in the way")
    said = commands.backup(kept.one, "--json", backup=[nas])
    assert said.code == 3
    assert "in a row could not be copied" in said.records[-1]["message"]


def test_a_run_that_was_stopped_has_noted_what_it_copied(
    kept: Any, nas: dict[str, Any], tmp_path: Path, commands: Any
) -> None:
    done: list[str] = []

    class Counting:
        def total(self, files: int, size: int) -> None: ...

        def done(self, size: int) -> None:  # noqa: ARG002 - as tellers are told
            done.append("one")

        def doing(self, what: str) -> None: ...

    with pytest.raises(Stopped):
        back_up(kept.store, BackupRemote.model_validate(nas), stop=lambda: len(done) >= 2, teller=Counting())
    keys = keys_in(tmp_path / "nas")
    noted = (
        known_there(kept, "nas") | known_there(kept, "nas", kept.two) | _known_in(kept.store.dataset(kept.zarr), kept)
    )
    assert len(noted) >= 2
    assert noted <= keys
    assert not [path for path in (kept.root / "state/tmp").iterdir() if path.name.startswith("backup")]
    commands.backup(backup=[nas])
    assert len(keys_in(tmp_path / "nas")) == FIRST + OF_ZARR + SECOND


KILLED = """
import os, signal, sys
from pathlib import Path
from mirror.config_keeping import BackupRemote
from mirror.keeping.backup import copying as backup
from mirror.keeping.backup.lists import CopyList
from mirror.store.store import Store

def counted(function):
    def called(*args, **more):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **more)
    return called

left = int(sys.argv[4])
owner = {"CopyList": CopyList, "backup": backup}[sys.argv[2]]
setattr(owner, sys.argv[3], counted(getattr(owner, sys.argv[3])))
remote = BackupRemote(name="nas", type="directory", options={"directory": sys.argv[5]})
backup.back_up(Store.open(Path(sys.argv[1])), remote, jobs=2)
"""


def assert_nothing_runs_in(folder: Path) -> None:
    """Or not for much longer."""
    until = time.monotonic() + 20
    while left := [line for line in run("ps", "-eo", "pid,args").splitlines() if f"{folder}/" in line]:
        assert time.monotonic() < until, left
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [("backup", "write_file", 1), ("CopyList", "holders", 4), ("CopyList", "say", 3), ("backup", "record", 2)],
    ids=["before anything is copied", "before it is heard", "after the third", "after the first dataset was told"],
)
def test_killed_at_any_point_it_says_nothing_untrue_and_goes_on(
    kept: Any, commands: Any, nas: dict[str, Any], tmp_path: Path, owner: str, name: str, call: int
) -> None:
    cmd = [sys.executable, "-c", KILLED, kept.root, owner, name, str(call), nas["options"]["directory"]]
    assert subprocess.run(cmd, check=False, capture_output=True).returncode == -signal.SIGKILL
    if name == "holders":
        assert_nothing_runs_in(kept.root / "state/tmp")
    noted = (
        known_there(kept, "nas") | known_there(kept, "nas", kept.two) | _known_in(kept.store.dataset(kept.zarr), kept)
    )
    assert noted <= keys_in(tmp_path / "nas")
    assert bool(noted) is (owner == "backup" and name == "record")
    said = commands.backup("--json", backup=[nas])
    assert said.code == 0
    assert len(keys_in(tmp_path / "nas")) == FIRST + OF_ZARR + SECOND
    assert len(known_there(kept, "nas")) == FIRST
    assert not [path for path in (kept.root / "state/tmp").iterdir() if path.name.startswith("backup")]
    run_git(kept.repository, "fsck", "--strict", "--no-dangling")


def test_two_backups_to_one_remote_do_not_run_at_once(backed: BackedUpOnce) -> None:
    with (backed.kept.root / "state/backups/nas.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert backed.commands.backup(backup=[backed.nas]).code == 11
    assert backed.commands.backup(backup=[backed.nas]).code == 0


def test_what_a_killed_one_left_is_cleared_away(backed: BackedUpOnce) -> None:
    left = backed.kept.root / "state/tmp/backup.nas"
    (left / "annex-1/annex/creds").mkdir(parents=True)
    assert backed.commands.backup(backup=[backed.nas]).code == 0
    assert not left.exists()


def test_the_store_keeps_its_own_files_as_they_are(backed: BackedUpOnce) -> None:
    assert backed.after == backed.before
    _, mode, *_ = cast("tuple[int, ...]", backed.after["content"])
    assert mode == stat.S_IFREG | 0o444


def test_content_under_embargo_goes_only_where_it_may(
    kept: Any, commands: Any, nas: dict[str, Any], tmp_path: Path
) -> None:
    store = kept.store
    with store.lock("a test"):
        close_dataset(store, store.dataset_id(kept.two), kept.two)
    said = commands.backup("--json", backup=[nas])
    assert said.code == 0
    assert len(keys_in(tmp_path / "nas")) == FIRST + OF_ZARR
    refused = commands.backup(kept.two, "--json", backup=[nas])
    assert refused.code == 3
    assert "private: true" in refused.records[0]["message"]
    assert commands.backup(backup=[nas | {"private": True}]).code == 0
    assert len(keys_in(tmp_path / "nas")) == FIRST + OF_ZARR + SECOND
    assert len(known_there(kept, "nas", kept.two)) == 2


def test_content_that_comes_under_embargo_while_others_are_copied_is_not(
    kept: Any, nas: dict[str, Any], tmp_path: Path
) -> None:
    store = kept.store

    class Closing:
        def total(self, files: int, size: int) -> None:  # noqa: ARG002 - as tellers are told
            with store.lock("a test"):
                close_dataset(store, store.dataset_id(kept.two), kept.two)

        def done(self, size: int) -> None: ...

        def doing(self, what: str) -> None: ...

    done = back_up(store, BackupRemote.model_validate(nas), teller=Closing())
    assert len(keys_in(tmp_path / "nas")) == FIRST + OF_ZARR
    (failed,) = [one for one in done.datasets if one.failed]
    assert failed.dataset.name == kept.two
    assert "under embargo" in (failed.tally.error or "")


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("args", "words"),
    [(("--to", "tape"), "no remote tape"), (("000009",), "no Dandiset 000009"), (("nonsense",), "'nonsense' is no")],
)
def test_what_cannot_be_asked_for_is_a_usage_error(
    commands: Any, nas: dict[str, Any], args: tuple[str, ...], words: str
) -> None:
    said = commands.backup(*args, backup=[nas])
    assert said.code == 2
    assert words in f"{said.error} {said.err}"


@pytest.mark.usefixtures("kept")
def test_without_a_remote_in_the_settings_it_says_how(commands: Any) -> None:
    said = commands.backup(backup=[])
    assert said.code == 2
    assert "backup: [{" in (said.error.hint or "")


def test_chunks_are_recorded_so_that_clones_find_them(kept: Any, commands: Any, nas: dict[str, Any]) -> None:
    nas["options"]["chunk"] = "10B"
    assert commands.backup(backup=[nas]).code == 0
    key = kept.key("sub-2/b.nwb")
    log = run("git", f"--git-dir={kept.repository}", "grep", "-h", ":10 ", "git-annex", "--", f"*{key}.log.cnk")
    assert log == f"1577836800s {backup_uuid(kept.store.facts.id, 'nas')}:10 4"
    # What the store has no more is found there in its chunks, too.
    drop(kept.repository, key)
    record = next(
        record
        for record in commands.backup("--verify", "--json", backup=[nas]).records
        if record.get("dataset") == kept.one
    )
    assert (record["copied"], record["failed"], record["gone"]) == (0, 0, 0)
    assert key in known_there(kept, "nas")


def test_several_rounds_copy_what_one_would(
    kept: Any, commands: Any, nas: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.keeping.backup.copying._AT_ONCE", 2)
    assert commands.backup(backup=[nas]).code == 0
    assert len(keys_in(tmp_path / "nas")) == FIRST + OF_ZARR + SECOND
    assert len(known_there(kept, "nas")) == FIRST
    assert not list((kept.root / "state/tmp").iterdir())


@pytest.mark.usefixtures("kept")
def test_a_key_that_every_clone_has_is_no_encryption(commands: Any, nas: dict[str, Any], tmp_path: Path) -> None:
    nas["options"]["encryption"] = "shared"
    assert commands.backup(backup=[nas]).code == 2
    assert not keys_in(tmp_path / "nas")


def test_a_git_annex_that_dies_fails_what_it_was_given_and_leaves_the_rest(
    kept: Any, commands: Any, nas: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = shutil.which("git-annex")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin/git-annex"
    script.write_text(f'#!/bin/sh\n[ "$1" = copy ] && {{ echo out of memory >&2; exit 9; }}\nexec {program} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr("mirror.keeping.backup.annex._MOST_AHEAD", 2)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
        said = commands.backup(kept.one, "--json", backup=[nas])
    assert said.code == 3
    record = next(record for record in said.records if record.get("dataset") == kept.one)
    assert "out of memory" in record["message"]
    assert record["copied"] == 0
    assert commands.backup(backup=[nas]).code == 0
