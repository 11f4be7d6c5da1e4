"""What the log of an unattended mirror says, and what it does not say twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mirror.config import Settings
from mirror.daemon.listening import JobReport
from mirror.daemon.log_lines import LogLines
from mirror.daemon.rounds import Job
from mirror.demo import DemoArchive
from mirror.publish.hosts import HostOutcome
from mirror.publish.publishing import Published
from mirror.store.state import Failure
from mirror.sync.engine import Report
from mirror.sync.poll import Poll
from mirror.sync.turn import Outcome

SINCE = "2026-11-21T15:34:17+00:00"


class Lines(logging.Handler):
    """What is logged, a line each: level and words."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, least: int = logging.INFO) -> list[str]:
        """Those of this level or above, since the last time."""
        found = [f"{one.levelname.lower()} {one.getMessage()}" for one in self.records if one.levelno >= least]
        self.records = []
        return found

    def fields(self, event: str) -> list[dict[str, Any]]:
        found = [record.__dict__["fields"] for record in self.records]
        return [one for one in found if one["event"] == event]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("mirror.daemon")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def log(tmp_path: Path) -> LogLines:
    log = LogLines()
    log.job_began("poll", Settings.model_validate({"store": tmp_path, "alarm_after": 5}))
    return log


def failure(count: int, message: str = "nonsense") -> Outcome:
    marks = Failure("BadAnswer", message, SINCE, SINCE, count)
    return Outcome("000027", "failed", message, kind="BadAnswer", failure=marks)


def test_a_round_a_change_and_a_failure_are_a_line_each(archive: DemoArchive, settings: Settings, lines: Lines) -> None:
    good, bad = archive.create_dandiset(), archive.create_dandiset()
    archive.add_asset(good, "a.nwb", b"content")
    archive.add_asset(bad, "a//b.nwb", b"bad")
    log = LogLines()
    Job(settings, log).poll()
    (changed,) = [one for one in lines.fields("dandiset") if one["result"] == "changed"]
    assert (changed["dandiset"], changed["assets"], changed["bytes"]) == (good, 1, 7)
    (ended,) = lines.fields("job-ended")
    assert (ended["job"], ended["changed"], ended["failed"]) == ("poll", 1, 1)
    found = sorted(lines.of())
    assert found[0] == f"info {good} draft: 1 added"
    assert found[1].startswith("info poll: 1 changed, 0 unchanged, 1 failed in ")
    assert found[2].startswith("info superdataset dandisets: draft: ")
    assert found[3].startswith(f"warning {bad} failed: Dandiset {bad}")
    assert len(found) == 4
    Job(settings, log).poll()
    quiet = lines.of()
    assert len(quiet) <= 2  # the round, and at most one more try
    assert quiet[-1].startswith("info poll: 0 changed, 1 unchanged")
    archive.remove_asset(bad, "a//b.nwb")
    Job(settings, LogLines()).poll()  # as after a restart
    assert f"info {bad} works again: draft: no asset changed" in lines.of()


def test_each_failure_has_a_line_and_one_that_lasts_is_a_warning_ever_more_seldom(log: LogLines, lines: Lines) -> None:
    warnings = []
    for count in range(1, 41):
        log.done(failure(count))
        (line,) = lines.of(logging.INFO)
        warnings += [count] if not line.startswith("info ") else []
    assert warnings == [1, 2, 4, 5, 8, 16, 32]  # 5: it has become an alarm


def test_another_reason_is_news(log: LogLines, lines: Lines) -> None:
    log.done(failure(6))
    assert lines.of() == [f"error 000027 failed 6 times since {SINCE}: nonsense"]
    log.done(failure(7))
    assert lines.of() == [f"info 000027 failed 7 times since {SINCE}: nonsense"]
    log.done(failure(9, "no answer"))
    assert lines.of() == [f"error 000027 failed 9 times since {SINCE}: no answer"]


def test_it_is_told_that_it_works_again(log: LogLines, lines: Lines) -> None:
    log.done(failure(1))
    lines.of()
    log.done(Outcome("000027", "unchanged", "unchanged"))
    log.done(Outcome("000027", "unchanged", "unchanged"))
    assert lines.of() == ["info 000027 works again: unchanged"]


def test_notes_are_told_of_when_they_are_new(log: LogLines, lines: Lines) -> None:
    for warnings in (("drift: a",), ("drift: a",), ("drift: a", "drift: b"), (), ("drift: a",)):
        log.done(Outcome("000027", "unchanged", "unchanged", warnings=warnings))
    assert lines.of() == [f"info 000027 note: drift: {what}" for what in ("a", "b", "a")]


def test_a_trouble_that_lasts_is_left_to_who_counts_the_hours(log: LogLines, lines: Lines) -> None:
    for _ in range(10):
        log.job_ended(JobReport("poll", SINCE, 1.0, Report(), kind="ArchiveDown", trouble="no answer"))
    assert lines.of() == []
    log.job_ended(JobReport("poll", SINCE, 1.0, Report(left=3), kind="Stopped", trouble="stopped"))
    assert lines.of() == ["info poll: 0 changed, 0 unchanged, 3 left in 1.0 s; stopped"]


def test_what_failed_besides_is_told(log: LogLines, lines: Lines) -> None:
    published = Published(problems=["superdataset dandisets: damaged"])
    log.job_ended(JobReport("poll", SINCE, 1.0, Report(), published))
    assert lines.of(logging.WARNING) == ["warning superdataset dandisets: damaged"]


def test_a_host_that_is_out_of_reach_for_hours_is_told_of_once_an_hour_and_when_it_works_again(
    tmp_path: Path, lines: Lines
) -> None:
    now = 0.0
    log = LogLines(clock=lambda: now)
    log.job_began("poll", Settings.model_validate({"store": tmp_path}))
    down = HostOutcome("backup", stopped="out of reach")
    for _ in range(18):
        log.host(down)
        log.job_ended(JobReport("poll", SINCE, 1.0, Report(), Published(hosts=[down])))
        now += 600
    assert lines.of(logging.WARNING) == ["warning host backup: out of reach"] * 3
    for _ in range(2):
        log.host(HostOutcome("backup"))
    assert lines.of() == ["info host backup: has everything; it works again"]
    log.host(down)
    assert lines.of() == ["warning host backup: out of reach"]


def test_a_long_round_says_each_minute_how_far_it_is(tmp_path: Path, lines: Lines) -> None:
    now = 0.0
    log = LogLines(clock=lambda: now)
    log.job_began("poll", Settings.model_validate({"store": tmp_path}))
    log.polled(Poll(moved=[f"{number:06d}" for number in range(100)]))
    for number in range(100):
        now += 10
        log.done(Outcome(f"{number:06d}", "unchanged", "unchanged"))
    told = lines.of()
    assert told[0] == "info poll: 6 of 100 Dandisets had their turn"
    assert len(told) == 16
