"""Log lines as those read them who run a mirror: a person, systemd's journal, a program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from ..warm import warm_program

Run = Callable[..., "subprocess.CompletedProcess[str]"]

PROGRAM = """if True:
    import logging, sys
    import click
    from mirror.cli import logs
    from mirror.cli.service_logs import service_log_options
    from mirror.cli.options import log_level_option

    @click.group()
    @log_level_option
    def cli():
        pass

    @cli.command()
    @service_log_options
    def service():
        rounds, other = logging.getLogger("mirror.daemon.log_lines"), logging.getLogger("mirror.archive.http")
        rounds.info("%s", "poll: 1 changed", extra={"fields": {"event": "job-ended", "changed": 1, "level": "mine"}})
        rounds.debug("%s", "000027 unchanged", extra={"fields": {"event": "dandiset"}})
        rounds.warning("a\\x1b[2J\\nb")
        other.info("try 2 of 8")
        other.debug("GET")
        logging.getLogger("urllib3").debug("a signature")
        try:
            raise ValueError("what\\nelse")
        except ValueError:
            other.exception("broken")

    @cli.command()
    @service_log_options
    def names():
        fields = {"paths": ["\\\\udcff \\U0001f9e0 \\udcff"], "\\udc80": None}
        logging.getLogger("mirror.daemon").info("%s", "\\udcff.nwb", extra={"fields": fields})

    logs.set_level(logs.USUAL_LEVEL)
    cli()
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return warm_program().run(*args, cwd=tmp_path, env=env, code=PROGRAM)

    return run


def words(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines without their time; tracebacks left out."""
    assert done.returncode == 0, done.stderr
    lines = [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", "", line) for line in done.stderr.splitlines()]
    return lines[: next(place for place, line in enumerate(lines) if "broken" in line)]


def test_rounds_and_changes_are_told_and_what_goes_wrong(run: Run) -> None:
    assert words(run("service")) == ["poll: 1 changed", "warning: a\\x1b[2J", "warning: b"]


def test_v_is_for_what_was_looked_at_and_vv_for_everything(run: Run) -> None:
    usual = words(run("service", "-v"))
    assert usual == ["poll: 1 changed", "debug: 000027 unchanged", "warning: a\\x1b[2J", "warning: b", "try 2 of 8"]
    for asked in (["service", "-vv"], ["service", "-l", "debug"], ["-l", "debug", "service"]):
        assert words(run(*asked)) == [*usual, "debug: GET"]


@pytest.mark.parametrize("asked", [["service", "-l", "warning"], ["-l", "warning", "service"]])
def test_less_is_told_to_who_asks_for_less(run: Run, asked: list[str]) -> None:
    assert words(run(*asked)) == ["warning: a\\x1b[2J", "warning: b"]


def test_each_line_begins_with_its_time_in_utc(run: Run) -> None:
    for line in run("service", TZ="Asia/Tokyo").stderr.splitlines():
        told = datetime.fromisoformat(line.split()[0])
        assert abs((datetime.now(UTC) - told).total_seconds()) < 60


def test_the_journal_is_told_levels_and_keeps_the_time_itself(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as journal:
        found = os.fstat(journal.fileno())
        stream = f"{found.st_dev}:{found.st_ino}"
        command = [sys.executable, "-c", PROGRAM, "service", "-v"]
        subprocess.run(command, stderr=journal, env={**os.environ, "JOURNAL_STREAM": stream}, check=True)
        journal.seek(0)
        lines = journal.read().splitlines()
    assert lines[:5] == ["<6>poll: 1 changed", "<7>000027 unchanged", "<4>a\\x1b[2J", "<4>b", "<6>try 2 of 8"]
    assert all(line.startswith("<3>") for line in lines[5:])


def test_another_streams_journal_is_not_taken_for_ours(run: Run) -> None:
    assert run("service", JOURNAL_STREAM="1:2").stderr[:2] == "20"


def test_json_is_an_object_a_line_whatever_is_said(run: Run) -> None:
    done = run("service", "--log-format", "json", "-vv")
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.stderr.isascii()
    first = found[0]
    assert datetime.fromisoformat(first.pop("time")).tzinfo is not None
    assert first == {
        "level": "info",
        "logger": "mirror.daemon.log_lines",
        "message": "poll: 1 changed",
        "event": "job-ended",
        "changed": 1,
    }
    assert found[2]["message"] == "a\x1b[2J\nb"
    assert found[-1]["level"] == "error"
    assert found[-1]["traceback"].endswith("ValueError: what\nelse\n")
    assert len(found) == 6


def test_a_name_that_is_no_utf_8_makes_no_line_that_a_reader_refuses(run: Run) -> None:
    done = run("names", "--log-format", "json")
    told = msgspec.json.decode(done.stderr)  # which takes no halves of characters
    assert told["message"] == r"\udcff.nwb"
    assert told["paths"] == ["\\udcff \U0001f9e0 \\udcff"]
    assert told[r"\udc80"] is None
    assert run("names").stderr.endswith("Z \\udcff.nwb\n")


def test_a_log_that_nobody_reads_stops_nobody(tmp_path: Path) -> None:
    inside, outside = os.pipe()
    os.close(inside)
    done = subprocess.run([sys.executable, "-c", PROGRAM, "service"], stderr=outside, cwd=tmp_path)
    os.close(outside)
    assert done.returncode == 0
