"""`dandi-mirror status` as a user or a script sees it: in a process of its own, of a store that a sync made."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mirror.archive.records import Instance
from mirror.cli.amounts import human_size
from mirror.config import Settings
from mirror.daemon.listening import JobReport
from mirror.daemon.marking import Marks, marked
from mirror.daemon.rounds import Job
from mirror.dataset.times import moment
from mirror.demo import DemoArchive
from mirror.errors import SomeFailed
from mirror.git.process import run_git
from mirror.store.activity import ActivityFile, Standing, Turn
from mirror.store.job_marks import JobMark, write_job_mark
from mirror.store.store import Store
from mirror.sync.engine import sync

from ..warm import warm_program

START = datetime(2026, 11, 20, 15, 34, 17, tzinfo=UTC)
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    with DemoArchive(start=START, seed=1) as archive:
        yield archive


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `python -m mirror status --store store ARGS`."""

    def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return warm_program().run("status", "--store", "store", *args, cwd=tmp_path, env=env)

    return run


def rows(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["dandiset"]: row for row in found if row["action"] == "status"}


def note_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines below Dandisets, which tell what is not as it should be."""
    return [line.strip() for line in done.stdout.splitlines() if line.startswith("          ")]


def test_without_a_store_it_is_10_and_says_what_makes_one(run: Run, tmp_path: Path) -> None:
    done = run()
    assert (done.returncode, done.stdout) == (10, "")
    assert f"there is no store at {tmp_path / 'store'}\n  `dandi-mirror sync` makes one" in done.stderr
    assert not (tmp_path / "store").exists()


def test_what_is_mirrored_is_a_table_with_a_sum(run: Run, archive: DemoArchive, settings: Settings) -> None:
    published, draft = archive.create_dandiset("Published"), archive.create_dandiset("Draft")
    archive.add_assets(published, [("sub-1/sub-1.nwb", b"x" * 1500), ("README.md", b"y" * 500)])
    archive.publish(published)
    archive.add_asset(draft, "sub-2/sub-2.nwb", b"z" * 300)
    sync(settings)
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    title, _, _, head, *lines, _, total = done.stdout.splitlines()
    assert title == f"{settings.store}: mirror of DEMO-DANDI (https://demo-dandi.example.org)"
    assert [line.split()[:6] for line in lines] == [
        [published, "1", "2026-11-20", "15:34:17", "2", "2.0"],
        [draft, "0", "2026-11-20", "15:34:17", "1", "300"],
    ]
    assert total == "mirrored: 2 Dandisets, 1 version, 3 assets (2.3 kB in the archive)"
    assert head.index("assets") + len("assets") == lines[0].index(" 2 ") + 2  # numbers stand below their heading
    assert max(map(len, done.stdout.splitlines()[2:])) <= 80


def test_json_is_one_record_a_dandiset(run: Run, archive: DemoArchive, settings: Settings) -> None:
    identifier = archive.create_dandiset()
    archive.add_asset(identifier, "sub-1/sub-1.nwb", b"a recording")
    version = archive.publish(identifier)
    sync(settings)
    done = run("--json")
    (row,) = rows(done).values()
    alias = settings.store / "public/alias" / identifier
    commit = run_git(alias, "rev-parse", "draft").decode().strip()
    synced = row.pop("last_sync")
    assert datetime.fromisoformat(synced).tzinfo is not None
    modified = row.pop("draft_modified")
    assert datetime.fromisoformat(modified) >= START
    assert row == {
        "action": "status",
        "path": str(alias),
        "status": "ok",
        "type": "dataset",
        "message": "",
        "dandiset": identifier,
        "versions": [version],
        "draft_commit": commit,
        "assets": 1,
        "bytes": len(b"a recording"),
        "last_full_check": synced,  # whatever is new is read in full
        "pending": 0,
        "zarrs": 0,
        "zarrs_failed": {},
        "waiting": {},
        "failure": None,
        "alarm": False,
        "drift": [],
        "vanished": None,
        "embargoed": None,
        "notes": [],
    }
    sync(settings, everything=True)
    assert rows(run("--json"))[identifier]["last_full_check"] is not None


def test_a_failure_is_told_with_its_reason_since_when_and_how_often(
    run: Run, archive: DemoArchive, settings: Settings
) -> None:
    good, bad = archive.create_dandiset("Good"), archive.create_dandiset("Bad")
    archive.add_asset(good, "a.nwb", b"good")
    archive.add_asset(bad, "a\x1b[2J//b.nwb", b"bad")
    with pytest.raises(SomeFailed):
        sync(settings).check()
    assert any(line.startswith(f"{bad}") and line.endswith("not mirrored yet") for line in run().stdout.splitlines())
    sync(settings)

    row = rows(run("--json"))[bad]
    failure = row["failure"]
    assert (row["status"], row["assets"], failure["count"], failure["kind"]) == ("error", None, 2, "PathRefused")
    assert row["message"] == failure["message"]
    assert datetime.fromisoformat(failure["since"]) <= datetime.fromisoformat(failure["last"])
    (note,) = note_lines(run())
    assert re.match(rf"failed 2 times since [-\d: ]+, tried again [\w :-]+: Dandiset {bad}, version draft", note)
    assert "\x1b" not in note
    assert run().stdout.splitlines()[-1] == "mirrored: 1 Dandiset, 0 versions, 1 asset (4 B in the archive); 1 failed"
    assert run().returncode == 0  # it could be told, and that is all that was asked for

    archive.remove_asset(bad, "a\x1b[2J//b.nwb")
    sync(settings)
    assert rows(run("--json"))[bad]["failure"] is None
    assert note_lines(run()) == []


def test_alarms_are_listed_first_and_marked(run: Run, archive: DemoArchive, settings: Settings) -> None:
    good, bad, worse = (archive.create_dandiset() for _ in range(3))
    archive.add_asset(worse, "a//b.nwb", b"bad")
    for _ in range(3):
        sync(settings)
    archive.add_asset(bad, "a//b.nwb", b"bad")
    sync(settings)
    assert list(rows(run("--json", DANDI_MIRROR_ALARM_AFTER="4"))) == [worse, good, bad]
    assert list(rows(run("--json", DANDI_MIRROR_ALARM_AFTER="5"))) == [good, bad, worse]
    found = rows(run("--json", DANDI_MIRROR_ALARM_AFTER="4"))
    assert {identifier: row["alarm"] for identifier, row in found.items()} == {worse: True, good: False, bad: False}
    assert datetime.fromisoformat(found[worse]["failure"]["next_try"]) >= datetime.fromisoformat(
        found[worse]["failure"]["last"]
    )
    first, second = note_lines(run(DANDI_MIRROR_ALARM_AFTER="4"))
    assert first.startswith("ALARM: failed 4 times since ")
    assert second.startswith("failed at ")


def records_of(done: subprocess.CompletedProcess[str], action: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [record for record in found if record["action"] == action]


def test_what_is_being_done_is_told_with_how_far_it_is(run: Run, settings: Settings) -> None:
    sync(settings)
    file = ActivityFile(settings.store / "state", "dandi-mirror sync")
    turn = Turn("000027", "2026-11-20T15:34:17+00:00", "draft: 5 of 9 assets listed")
    file.note(lambda: Standing(total=8, done=2, seconds_to_go=90.0, current=(turn,)), job="sync")
    try:
        text, (record,) = run().stdout, records_of(run("--json"), "status-activity")
    finally:
        file.remove()
    assert f"at work: `dandi-mirror sync`, process {os.getpid()} on " in text
    assert "  Dandisets:  25% " in text
    assert "2 of 8, 1 min 30 s to go" in text
    assert "    000027  draft: 5 of 9 assets listed" in text
    assert (record["command"], record["pid"], record["job"]) == ("dandi-mirror sync", os.getpid(), "sync")
    assert (record["total"], record["done"], record["seconds_to_go"]) == (8, 2, 90.0)
    assert record["current"] == {"000027": "draft: 5 of 9 assets listed"}
    (nobody,) = records_of(run("--json"), "status-activity")
    assert (nobody["command"], nobody["job"], nobody["current"]) == (None, None, {})
    assert nobody.keys() == record.keys()
    assert "at work" not in run().stdout


def test_how_each_job_went_and_when_it_is_due_is_told(run: Run, settings: Settings) -> None:
    sync(settings)
    state = settings.store / "state"
    begun = "2026-11-20T15:34:17+00:00"
    requests = {"api 200": 1200, "api 503": 2, "s3 206": 7, "s3 none": 1}
    poll = JobMark(job="poll", since=begun, started=begun, ended=begun, seconds=1, counts={"changed": 2})
    write_job_mark(state, msgspec.structs.replace(poll, requests=requests))
    mark = None
    for _ in range(3):
        mark = marked(mark, JobReport("maintain", begun, 1.0, kind="NoRoom", trouble="no room"), moment(begun))
        write_job_mark(state, mark)
    write_job_mark(
        state, marked(None, JobReport("recheck", begun, 1.0, kind="Stopped", trouble="stopped"), moment(begun))
    )
    file = ActivityFile(state, "dandi-mirror run")
    file.note(Standing, next_jobs={"poll": "2026-11-20T15:44:17+00:00"}, at_once=True)
    try:
        text, found = run().stdout, {one["job"]: one for one in records_of(run("--json"), "status-job")}
    finally:
        file.remove()
    assert "waiting: `dandi-mirror run`, process " in text
    assert "\npoll      2026-11-20 15:34:17, took 1.0 s: 2 changed; 1,210 requests (2 × api 503, 1 × s3 none); " in text
    assert " (2 × api 503, 1 × s3 none); next 2026-11-20 15:44:17\n" in text
    assert "failed 3 times since 2026-11-20 15:34:17: no room\n" in text
    assert "took 1.0 s: broken off: stopped\n" in text
    assert {job: record["status"] for job, record in found.items()} == {
        "poll": "ok",
        "recheck": "ok",
        "maintain": "error",
        "content": "ok",
        "verify": "ok",
    }
    assert (found["poll"]["counts"], found["poll"]["next"]) == ({"changed": 2}, "2026-11-20T15:44:17+00:00")
    assert found["poll"]["requests"] == requests
    assert (found["recheck"]["unfinished"], found["recheck"]["counts"]) == (True, {})
    assert (found["maintain"]["kind"], found["maintain"]["message"]) == ("NoRoom", "no room")
    named = run("--json", "000001")
    assert records_of(named, "status-job") == []  # who asks for one Dandiset is told of that


def test_what_is_left_open_is_told(run: Run, archive: DemoArchive, settings: Settings) -> None:
    identifier = archive.create_dandiset()
    archive.add_asset(identifier, "a.nwb", b"hashed")
    version = archive.publish(identifier, doi=False)
    archive.add_asset(identifier, "b.nwb", b"not hashed", hashed=False)
    archive.add_zarr(identifier, "c.zarr", {".zgroup": b"{}"})
    archive.add_zarr(identifier, "d.zarr", {".zgroup": b"{}"}, ingested=False)
    sync(settings)
    assert note_lines(run()) == [
        f"version {version} not taken yet: has no DOI yet",
        "pending: 2 assets that the archive has not hashed, or not taken in yet",
    ]
    row = rows(run("--json"))[identifier]
    assert (row["pending"], row["zarrs"], row["waiting"]) == (2, 1, {version: "has no DOI yet"})
    assert row["status"] == "ok"


def test_each_zarr_that_is_not_what_the_archive_says_is_told_with_both_checksums(
    run: Run, archive: DemoArchive, settings: Settings
) -> None:
    identifier = archive.create_dandiset()
    lie = "0" * 32 + "-1--2"
    for name in ("c.zarr", "d.zarr"):
        archive.add_zarr(identifier, name, {".zgroup": b"{}"})
        archive.ingest_zarr(identifier, name, checksum=lie)
    sync(settings)
    row = rows(run("--json"))[identifier]
    assert row["status"] == "error"
    assert row["zarrs_failed"].keys() == {"c.zarr", "d.zarr"}
    assert all(lie in why for why in row["zarrs_failed"].values())
    failure, *notes = note_lines(run())
    assert "all but 2 Zarrs" in failure
    assert [note.partition(":")[0] for note in notes] == ["c.zarr", "d.zarr"]


def test_what_the_archive_now_says_differently_is_told(run: Run, archive: DemoArchive, settings: Settings) -> None:
    identifier = archive.create_dandiset("As published")
    archive.add_asset(identifier, "a.nwb", b"content")
    version = archive.publish(identifier)
    sync(settings)
    archive.edit_version(identifier, version, name="Not as published")
    sync(settings)
    notes = note_lines(run())
    assert all(note.startswith(f"drift: {version}: ") for note in notes)
    assert any("As published" in note and "Not as published" in note for note in notes)
    assert rows(run("--json"))[identifier]["drift"] == [note.removeprefix("drift: ") for note in notes]


def test_what_vanished_is_kept_and_told(run: Run, archive: DemoArchive, settings: Settings) -> None:
    identifier = archive.create_dandiset()
    archive.add_asset(identifier, "a.nwb", b"content")
    sync(settings)
    archive.delete_dandiset(identifier)
    sync(settings)
    since = rows(run("--json"))[identifier]["vanished"]
    assert note_lines(run()) == [f"not in the archive any more since {since}; kept"]
    assert rows(run("--json"))[identifier]["assets"] == 1


@pytest.mark.parametrize("given", ["1", "000001", "DANDI:000001"])
def test_a_dandiset_may_be_named_as_people_do(run: Run, archive: DemoArchive, settings: Settings, given: str) -> None:
    for number in range(2):
        archive.add_asset(archive.create_dandiset(), "a.nwb", b"%d" % number)
    sync(settings)
    assert rows(run("--json", given)).keys() == {"000001"}


def test_a_dandiset_that_is_not_here_is_a_usage_error(run: Run, archive: DemoArchive, settings: Settings) -> None:
    archive.add_asset(archive.create_dandiset(), "a.nwb", b"content")
    sync(settings)
    done = run("000001", "999")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"not in the store at {settings.store}: 000999\n  `dandi-mirror sync 000999`" in done.stderr
    assert run("nonsense").returncode == 2


def test_lost_marks_are_read_back_from_the_repository(run: Run, archive: DemoArchive, settings: Settings) -> None:
    identifier = archive.create_dandiset()
    archive.add_asset(identifier, "a.nwb", b"content")
    archive.publish(identifier)
    sync(settings)
    before = rows(run("--json"))[identifier]
    (settings.store / "state/dandisets" / f"{identifier}.json").unlink()
    after = rows(run("--json"))[identifier]
    held = ("versions", "draft_modified", "draft_commit", "assets", "bytes")
    assert {key: after[key] for key in held} == {key: before[key] for key in held}
    assert after["last_sync"] is None
    assert " never" in run().stdout


def test_it_reads_only_and_answers_while_a_sync_holds_the_lock(
    run: Run, archive: DemoArchive, settings: Settings
) -> None:
    archive.add_asset(archive.create_dandiset(), "a.nwb", b"content")
    sync(settings)
    archive.requests.clear()
    with Store.open(settings.store).lock("a sync"):
        before = sorted((path, path.lstat().st_mtime_ns) for path in settings.store.rglob("*"))
        assert run().returncode == 0
        assert sorted((path, path.lstat().st_mtime_ns) for path in settings.store.rglob("*")) == before
    assert len(archive.requests) == 0


def test_a_reader_who_leaves_ends_it_without_a_word(
    archive: DemoArchive, settings: Settings, tmp_path: Path, run: Run
) -> None:
    identifier = archive.create_dandiset()
    archive.add_asset(identifier, "a.nwb", b"content")
    sync(settings)
    marks = settings.store / "state/dandisets" / f"{identifier}.json"
    for number in range(2, 502):  # more than a pipe holds
        (marks.parent / f"{number:06d}.json").write_text(marks.read_text().replace(identifier, f"{number:06d}"))
    with subprocess.Popen(
        [sys.executable, "-m", "mirror", "status", "--store", "store", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["dandiset"] == identifier
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
    assert len(run("--json").stdout) > 2 * 65536


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_999, "1.0 MB"),
        (10**12, "1.0 TB"),
        (1_234 * 10**15, "1,234.0 PB"),
    ],
)
def test_sizes_are_shown_in_powers_of_a_thousand(size: int, shown: str) -> None:
    assert human_size(size) == shown


def test_the_name_of_an_archive_cannot_steer_the_terminal(run: Run, tmp_path: Path) -> None:
    Store.open_or_create(tmp_path / "store", Instance("a\x1b[2Jb", "https://c\u202ed.example.org"))
    done = run()
    assert done.stdout.splitlines()[0].endswith(r": mirror of a\x1b[2Jb (https://c\u202ed.example.org)")


def disk_lines(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("disk: ")]


def test_what_the_store_takes_of_its_disk_is_told(run: Run, archive: DemoArchive, settings: Settings) -> None:
    archive.add_asset(archive.create_dandiset(), "a.nwb", b"content")
    sync(settings)
    (line,) = disk_lines(run())
    assert re.fullmatch(r"disk: [0-9.]+ [kMGT]B free; index of [0-9: -]+; (catalogue of [0-9: -]+|no catalogue)", line)
    maintained = Job(settings).maintain()
    marks = Marks(settings.store / "state")
    marks.ended(maintained)
    (line,) = disk_lines(run())
    assert re.match(r"disk: [0-9.]+ [kM]B here, as measured [0-9: -]+; ", line)
    (record,) = records_of(run("--json"), "status-disk")
    assert maintained.maintained is not None
    assert record["bytes"] == maintained.maintained.store_bytes > 0
    assert record["free_bytes"] > 0
    (settings.store / "state" / "index.sqlite").unlink()
    assert "; no index; " in run().stdout
