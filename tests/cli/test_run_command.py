"""`dandi-mirror run --once`, as cron and timers see it; and what `run` says of itself."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from mirror.demo import DemoArchive
from mirror.demo.faults import Status, html_page
from mirror.store.job_marks import JobMark, JobName, read_job_marks
from mirror.store.store import Store

from ..warm import warm_program

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def archive() -> Iterator[DemoArchive]:
    with DemoArchive() as archive:
        for name in ("One", "Two"):
            archive.add_asset(archive.create_dandiset(name), "a.txt", f"of {name}".encode())
        yield archive


@pytest.fixture
def run(archive: DemoArchive, tmp_path: Path) -> Run:
    """Runs `dandi-mirror ARGS` where the settings for a mirror of the archive are."""
    (tmp_path / "dandi-mirror.yaml").write_text(
        f"archive:\n  instance: demo-dandi\n  api_url: {archive.api_url}\n  s3_endpoint: {archive.s3_endpoint}\n"
        "  settle_seconds: 0\nstore: store\njobs: 1\n"
    )

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return warm_program().run(*args, cwd=tmp_path)

    return run


def marks(folder: Path) -> dict[JobName, JobMark]:
    return read_job_marks(folder / "store" / "state")


def set_marks(folder: Path, ago: timedelta, *jobs: JobName) -> None:
    then = (datetime.now(UTC) - ago).isoformat(timespec="seconds")
    written = [JobMark(job=job, since=then, started=then) for job in jobs]
    (folder / "store" / "state" / "jobs.json").write_bytes(msgspec.json.encode(written))


def test_one_round_mirrors_what_is_new_and_ends(run: Run, tmp_path: Path) -> None:
    done = run("run", "--once")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "poll: 2 changed, 0 unchanged" in done.stderr
    assert Store.open(tmp_path / "store").dandisets() == ["000001", "000002"]
    assert marks(tmp_path)["poll"].counts == {"changed": 2}
    again = run("run", "--once")
    assert "poll: 0 changed, 2 unchanged" in again.stderr
    assert "recheck" not in again.stderr


def test_recheck_and_maintenance_are_done_when_their_time_has_come(run: Run, tmp_path: Path) -> None:
    assert run("run", "--once").returncode == 0
    set_marks(tmp_path, timedelta(days=3), "poll", "recheck", "maintain")
    done = run("run", "--once")
    assert done.returncode == 0
    order = [
        line.split()[1] for line in done.stderr.splitlines() if line.split()[1] in ("poll:", "recheck:", "maintain:")
    ]
    assert order == ["poll:", "recheck:", "maintain:"]
    assert all(mark.ok for mark in marks(tmp_path).values())
    set_marks(tmp_path, timedelta(seconds=1), "poll", "recheck", "maintain")
    assert "recheck" not in run("run", "--once").stderr


def test_a_round_told_to_programs(run: Run, tmp_path: Path) -> None:
    done = run("run", "--once", "--json")
    (record,) = map(json.loads, done.stdout.splitlines())
    assert (record["action"], record["status"], record["job"]) == ("run", "ok", "poll")
    assert (record["path"], record["changed"], record["failures"]) == (str(tmp_path / "store"), 2, [])


def test_a_round_in_which_a_dandiset_failed_ends_with_3(run: Run, archive: DemoArchive) -> None:
    archive.api_faults.add(Status(404), path="/dandisets/000001/versions/draft/", times=None)
    done = run("run", "--once", "--json")
    assert done.returncode == 3
    assert "1 Dandiset failed, 1 did not" in done.stderr
    record = json.loads(done.stdout)
    assert [one["dandiset"] for one in record["failures"]] == ["000001"]
    assert (record["status"], record["message"]) == ("error", "1 Dandiset failed")


def test_a_round_without_the_archive_ends_with_1_and_the_marks_say_why(
    run: Run, archive: DemoArchive, tmp_path: Path
) -> None:
    assert run("run", "--once").returncode == 0
    archive.api_faults.add(html_page(), times=None)
    done = run("run", "--once")
    assert done.returncode == 1
    assert done.stderr.count("error") == 1
    mark = marks(tmp_path)["poll"]
    assert not mark.ok
    assert mark.kind == "BadAnswer"
    assert mark.trouble.partition(" (")[0] in done.stderr


def test_a_round_that_finds_the_store_taken_says_by_whom_and_ends_with_11(run: Run, tmp_path: Path) -> None:
    assert run("run", "--once").returncode == 0
    before = marks(tmp_path)["poll"]
    with Store.open(tmp_path / "store").lock("a long repair"):
        done = run("run", "--once")
    assert done.returncode == 11
    assert f"`a long repair`, process {os.getpid()}" in done.stderr
    assert marks(tmp_path)["poll"] == before


def test_json_is_for_one_round(run: Run) -> None:
    done = run("run", "--json")
    assert done.returncode == 2
    assert "--once" in done.stderr


def test_a_folder_of_somebody_elses_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").write_text("dear reader")
    done = run("run")
    assert done.returncode == 1
    assert "neither empty nor a store" in done.stderr
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["thesis.tex"]


def test_wrong_settings_end_it_before_it_begins(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "dandi-mirror.yaml").open("a") as settings:
        settings.write("schedule:\n  poll: sometimes\n")
    done = run("run")
    assert done.returncode == 2
    assert "schedule.poll" in done.stderr


def test_the_help_says_what_signals_do_and_gives_examples(run: Run) -> None:
    told = run("run", "--help").stdout
    for word in ("SIGHUP", "SIGTERM", "dandi-mirror run -c", "--once", "--log-format"):
        assert word in told
