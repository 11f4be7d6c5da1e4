"""`dandi-mirror sync` as a user or a script sees it: in a process of its own, against a real archive on loopback."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirror.demo import DemoArchive
from mirror.demo.faults import Before
from mirror.store.store import Store

from ..warm import warm_program

DATALADS_KEYS = {"action", "path", "status", "type", "message"}
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    with DemoArchive() as archive:
        yield archive


@pytest.fixture
def identifiers(archive: DemoArchive) -> list[str]:
    """A Dandiset with a published version, and two drafts."""
    published = archive.create_dandiset("Published")
    archive.add_asset(published, "README.md", b"# Published\n")
    archive.add_asset(published, "sub-1/sub-1.nwb", b"a recording")
    archive.publish(published)
    others = [archive.create_dandiset(f"Draft {number}") for number in (1, 2)]
    for other in others:
        archive.add_asset(other, "sub-2/sub-2.nwb", b"another recording of " + other.encode())
    return [published, *others]


@pytest.fixture
def folder(archive: DemoArchive, tmp_path: Path) -> Path:
    """Where the user is: there is a `dandi-mirror.yaml` for the archive, and the store will be in `store`."""
    (tmp_path / "dandi-mirror.yaml").write_text(
        f"archive:\n  instance: demo-dandi\n  api_url: {archive.api_url}\n  s3_endpoint: {archive.s3_endpoint}\n"
        "  settle_seconds: 0\nstore: store\njobs: 1\n"
    )
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """Runs `python -m mirror ARGS` in that folder."""

    def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return warm_program().run(*args, cwd=folder, env=env)

    return run


def records(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The records of Dandisets on stdout, by identifier."""
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {record["dandiset"]: record for record in found if record["action"] == "sync"}


def break_dandiset(archive: DemoArchive, identifier: str) -> None:
    """From now on this Dandiset holds what cannot be mirrored: no tree has a folder of that name."""
    archive.add_asset(identifier, "sub-1/../../escaped.nwb", b"an escape")


# --- output --------------------------------------------------------------------------------------------------------


def test_each_dandiset_is_a_line_and_the_sum_comes_last(run: Run, archive: DemoArchive, identifiers: list[str]) -> None:
    done = run("sync")
    assert (done.returncode, done.stderr) == (0, "")
    *lines, published, summary = done.stdout.splitlines()
    version = archive.dandiset(identifiers[0]).latest
    assert version is not None
    assert sorted(lines) == [
        f"{identifiers[0]}  version {version.name}; draft: no asset changed",
        f"{identifiers[1]}  draft: 1 added",
        f"{identifiers[2]}  draft: 1 added",
    ]
    added = f"{' '.join(sorted(identifiers))} added"
    assert published == f"dandisets  release {identifiers[0]} {version.name}; draft: {added}"
    assert summary.startswith("3 changed, 0 unchanged in ")

    again = run("sync")
    assert again.returncode == 0
    assert again.stdout.startswith("0 changed, 3 unchanged in ")
    assert len(again.stdout.splitlines()) == 1


def test_json_is_one_record_a_line_with_datalads_keys(
    run: Run, archive: DemoArchive, identifiers: list[str], folder: Path
) -> None:
    break_dandiset(archive, identifiers[1])
    done = run("sync", "--json", *identifiers, "999999")
    assert done.returncode == 3
    found = records(done)
    assert set(found) == {*identifiers, "999999"}
    for record in found.values():
        assert DATALADS_KEYS | {"dandiset", "result", "notes"} == record.keys()
        assert (record["action"], record["type"]) == ("sync", "dataset")
    assert {key: (record["status"], record["result"]) for key, record in found.items()} == {
        identifiers[0]: ("ok", "changed"),
        identifiers[1]: ("error", "failed"),
        identifiers[2]: ("ok", "changed"),
        "999999": ("error", "failed"),
    }
    assert found[identifiers[0]]["path"] == str(folder / "store/public/alias" / identifiers[0])
    assert "escaped.nwb" in found[identifiers[1]]["message"]
    assert "2 changed, 0 unchanged, 2 failed in " in done.stderr  # people may watch while a script reads


def test_json_says_of_what_was_looked_at_and_stayed_that_nothing_was_needed(
    run: Run, archive: DemoArchive, identifiers: list[str]
) -> None:
    run("sync")
    archive.touch_draft(identifiers[1])
    found = records(run("sync", "--json"))
    assert {key: (record["status"], record["result"]) for key, record in found.items()} == {
        identifiers[1]: ("notneeded", "unchanged")
    }


def test_what_vanished_and_what_is_embargoed_is_impossible_not_an_error(
    run: Run, archive: DemoArchive, identifiers: list[str]
) -> None:
    run("sync")
    archive.delete_dandiset(identifiers[1])
    embargoed = archive.create_dandiset("Closed", embargoed=True)
    done = run("sync", "--json", identifiers[1], embargoed)
    assert done.returncode == 0
    assert {key: (record["status"], record["result"]) for key, record in records(done).items()} == {
        identifiers[1]: ("impossible", "vanished"),
        embargoed: ("impossible", "embargoed"),
    }
    assert "1 vanished, 1 embargoed" in done.stderr


def test_what_a_person_should_know_is_noted_below_its_dandiset(
    run: Run, archive: DemoArchive, identifiers: list[str]
) -> None:
    archive.add_asset(identifiers[1], "new.nwb", b"not hashed yet", hashed=False)
    text = run("sync", identifiers[1]).stdout.splitlines()
    assert text[0].startswith(identifiers[1])
    assert text[1].strip().startswith("note: 1 asset")
    (record,) = records(run("sync", "--json", "--full", identifiers[1])).values()
    assert record["notes"] == [text[1].strip().removeprefix("note: ")]


@pytest.mark.parametrize("no_color", ["", "1"])
def test_progress_and_colours_are_for_terminals(
    run: Run, archive: DemoArchive, identifiers: list[str], folder: Path, no_color: str
) -> None:
    break_dandiset(archive, identifiers[1])
    screen = on_terminal(folder, "sync", NO_COLOR=no_color, TERM="xterm")
    assert "Dandisets:" in screen  # the bar
    assert ("\x1b[31m" in screen) == (not no_color)  # a failure in red, unless nobody wants colours
    piped = run("sync", NO_COLOR="")
    assert "Dandisets:" not in piped.stdout + piped.stderr
    assert "\x1b" not in piped.stdout + piped.stderr


def test_a_sync_of_many_says_first_how_many_there_are_to_go(run: Run, archive: DemoArchive) -> None:
    several = [archive.create_dandiset() for _ in range(12)]
    run("sync", several[0])
    done = run("sync")
    assert done.stdout.splitlines()[0] == "1 of 12 Dandisets is up to date, 11 to go"
    assert run("sync").stdout.startswith("0 changed, 12 unchanged")
    assert "to go" not in run("sync", "--full", "--json").stdout


def test_status_sees_a_sync_that_is_under_way(
    archive: DemoArchive, identifiers: list[str], folder: Path, run: Run
) -> None:
    with held_back(archive, identifiers[0]), start(folder, "sync", "-J", "1") as process:
        try:
            assert archive_is_asked(archive, identifiers[0])
            assert eventually(lambda: f"\n    {identifiers[0]}" in run("status").stdout)
            assert f"at work: `dandi-mirror sync`, process {process.pid} on " in run("status").stdout
            process.kill()
            process.wait(10)
            assert "at work" not in run("status").stdout  # what a dead process told is not believed
        finally:
            kill_group(process.pid)
    run("sync")
    assert not (folder / "store/state/activity.json").exists()


def on_terminal(folder: Path, *args: str, **env: str) -> str:
    """What the program shows on a terminal."""
    terminal, other_end = os.openpty()
    termios.tcsetwinsize(other_end, (24, 100))
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-m", "mirror", *args],
        cwd=folder,
        env={**os.environ, **env},
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
    ) as process:
        os.close(other_end)
        while select.select([terminal], [], [], 60)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # Linux's way to say that the other end is closed
                break
        process.wait(60)
    os.close(terminal)
    return shown.decode()


# --- which Dandisets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["2", "000002", "DANDI:000002", "dandi:000002"])
def test_a_dandiset_may_be_named_as_people_do(run: Run, identifiers: list[str], folder: Path, given: str) -> None:
    assert identifiers[1] == "000002"
    done = run("sync", given)
    assert done.returncode == 0
    assert done.stdout.startswith("000002  draft: 1 added\n")
    assert Store.open(folder / "store").dandisets() == ["000002"]


@pytest.mark.parametrize("given", ["27a", "../27", "0000027", "DANDI:", "٢٧", ""])
def test_what_is_no_identifier_is_a_usage_error_and_nothing_is_made(
    run: Run, archive: DemoArchive, folder: Path, given: str
) -> None:
    done = run("sync", given)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no Dandiset identifier" in done.stderr
    assert not (folder / "store").exists()
    assert len(archive.requests) == 0


def test_full_reads_again_what_the_times_say_is_unchanged(
    run: Run, archive: DemoArchive, identifiers: list[str]
) -> None:
    run("sync")
    assert archive.dandiset(identifiers[1]).draft.assets
    archive.requests.clear()
    run("sync")
    assert archive.count(path="/assets/") == 0
    done = run("sync", "--full", identifiers[1], "--json")
    assert archive.count(path=f"/{identifiers[1]}/versions/draft/assets/") == 1
    assert records(done)[identifiers[1]]["result"] == "unchanged"


# --- exit codes ----------------------------------------------------------------------------------------------------


def test_an_address_that_is_none_is_a_usage_error(run: Run, folder: Path) -> None:
    done = run("sync", "-i", "http://user:secret@127.0.0.1:1/api")
    assert (done.returncode, done.stdout) == (2, "")
    assert "a user name or password has no place in it" in done.stderr
    assert "secret" not in done.stderr
    assert not (folder / "store").exists()


def test_a_token_that_is_not_accepted_is_an_error_that_names_its_variable(run: Run, identifiers: list[str]) -> None:
    """The archive refuses a wrong token even for what anyone may read."""
    done = run("sync", identifiers[0], "-l", "debug", DEMO_DANDI_API_KEY="wr0ng-t0ken")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the archive does not accept the token\n  check DEMO_DANDI_API_KEY; " in done.stderr
    assert "wr0ng" not in done.stderr
    assert run("sync", identifiers[0]).returncode == 0


def test_an_archive_of_another_name_is_an_error_that_touches_nothing(
    run: Run, archive: DemoArchive, identifiers: list[str], folder: Path
) -> None:
    run("sync")
    before = sorted(path for path in (folder / "store").rglob("*"))
    with DemoArchive(instance_url="https://other.example.org") as other:
        done = run("sync", "-i", other.api_url)
    assert done.returncode == 1
    assert "mirrors https://demo-dandi.example.org, not https://other.example.org" in done.stderr
    assert sorted(path for path in (folder / "store").rglob("*")) == before
    assert archive.dandisets.keys() == set(identifiers)


def test_an_unknown_setting_is_a_usage_error(run: Run, folder: Path, archive: DemoArchive) -> None:
    (folder / "dandi-mirror.yaml").write_text("stroe: elsewhere\n")
    done = run("sync")
    assert (done.returncode, done.stdout) == (2, "")
    assert "dandi-mirror.yaml:1: stroe: no such setting; the nearest known one is `store`" in done.stderr
    assert len(archive.requests) == 0


def test_some_failed_is_3_says_where_to_look_and_heals(
    run: Run, archive: DemoArchive, identifiers: list[str], folder: Path
) -> None:
    break_dandiset(archive, identifiers[0])
    done = run("sync")
    assert done.returncode == 3
    assert f"{identifiers[0]}  failed: " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("2 changed, 0 unchanged, 1 failed in ")
    assert "dandi-mirror: error: 1 Dandiset failed, 2 did not\n  `dandi-mirror status` shows why" in done.stderr
    assert Store.open(folder / "store").dandisets() == identifiers[1:]
    archive.remove_asset(identifiers[0], "sub-1/../../escaped.nwb")
    assert run("sync").returncode == 0
    assert Store.open(folder / "store").dandisets() == identifiers


def test_a_locked_store_is_11_and_says_who_holds_it_since_when(
    run: Run, archive: DemoArchive, identifiers: list[str], folder: Path
) -> None:
    run("sync", identifiers[1])
    before = time.strftime("%Y-%m-%dT%H:%M", time.gmtime())
    with held_back(archive, identifiers[0]), start(folder, "sync", "DANDI:1", "--full") as process:
        assert archive_is_asked(archive, identifiers[0])
        done = run("sync", identifiers[1])
        process.kill()
    assert (done.returncode, done.stdout) == (11, "")
    assert f"in use by `dandi-mirror sync 000001 --full`, process {process.pid} on " in done.stderr
    assert f"since {before[:13]}" in done.stderr
    assert run("sync", identifiers[1]).returncode == 0  # the lock of a dead process is none


def test_a_reader_who_leaves_ends_it_without_a_word(archive: DemoArchive, identifiers: list[str], folder: Path) -> None:
    with held_back(archive, identifiers[0], identifiers[1]) as let_go, start(folder, "sync", "--json") as process:
        assert archive_is_asked(archive, identifiers[0])
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        let_go()
        assert process.stderr.read() == ""
        process.wait(30)
    assert process.returncode == 1
    assert Store.open(folder / "store").state(identifiers[0]).synced is not None  # what was done is done


# --- interrupts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("whom", ["the terminal", "the process"])
def test_an_interrupt_ends_soon_and_leaves_the_store_whole(
    archive: DemoArchive, identifiers: list[str], folder: Path, run: Run, jobs: str, whom: str
) -> None:
    """Ctrl-C reaches every process of the terminal's foreground; `kill -INT` and process managers only the first."""
    with held_back(archive, identifiers[0]), start(folder, "sync", "-J", jobs) as process:
        try:
            assert archive_is_asked(archive, identifiers[0])
            assert len(members_of_group(process.pid)) >= int(jobs)
            if whom == "the terminal":
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=5)
            assert process.returncode == 130
            error, how_far = stderr.lstrip("\n").splitlines()
            assert error == "dandi-mirror: error: interrupted"
            assert re.fullmatch(
                r"  [012] of 3 Dandisets (is|are) up to date; the next sync goes on from there", how_far
            )
            assert eventually(lambda: not members_of_group(process.pid))
        finally:
            kill_group(process.pid)

    done = run("sync")
    assert done.returncode == 0
    assert Store.open(folder / "store").dandisets() == identifiers
    assert list(Store.open(folder / "store").temporary.iterdir()) == []
    for identifier in identifiers:
        repository = folder / "store/public/alias" / identifier
        checked = subprocess.run(
            ["git", "-C", repository, "fsck", "--strict"],
            env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull},
            capture_output=True,
            text=True,
        )
        assert (checked.returncode, checked.stderr) == (0, "")


class held_back:
    """While this lasts, the archive gives no assets of these Dandisets; calling what it returns ends that early."""

    def __init__(self, archive: DemoArchive, *identifiers: str) -> None:
        self._go_on = threading.Event()
        waiting = Before(lambda: self._go_on.wait(60))
        for identifier in identifiers:
            archive.api_faults.add(waiting, path=rf"/{identifier}/versions/draft/assets/\?")

    def __enter__(self) -> Callable[[], None]:
        return self._go_on.set

    def __exit__(self, *_: object) -> None:
        self._go_on.set()


def archive_is_asked(archive: DemoArchive, identifier: str) -> bool:
    """Whether a sync got as far as this Dandiset: what comes before its assets was answered."""
    return eventually(lambda: archive.count(path=f"/{identifier}/versions/draft/info/") > 0)


def start(folder: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mirror", *args],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_group(group: int) -> None:
    if members_of_group(group):
        os.killpg(group, signal.SIGKILL)


def members_of_group(group: int) -> set[int]:
    listed = subprocess.run(
        ["ps", "-e", "-o", "pid=,pgid=,stat="], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    fields = (line.split() for line in listed)
    return {int(pid) for pid, pgid, stat in fields if int(pgid) == group and not stat.startswith("Z")}


def eventually(condition: Callable[[], object], seconds: float = 15.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())
