"""What is remembered of jobs over restarts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mirror.daemon.listening import JobReport
from mirror.daemon.marking import Marks, marked
from mirror.publish.publishing import Published
from mirror.store.job_marks import JOB_NAMES, JobMark, moment_of, read_job_marks, write_job_mark
from mirror.store.maintenance import Maintained
from mirror.sync.engine import Report
from mirror.sync.turn import Outcome

NOW = datetime(2026, 11, 21, 15, 34, 17, tzinfo=UTC)
STARTED = "2026-11-21T15:34:00+00:00"


def test_all_jobs_have_marks() -> None:
    assert JOB_NAMES == JOB_NAMES


def test_marks_are_what_was_written_in_the_order_of_the_jobs(tmp_path: Path) -> None:
    written = [JobMark(job=job, since=STARTED, started=STARTED, counts={"changed": 3}) for job in reversed(JOB_NAMES)]
    for mark in written:
        write_job_mark(tmp_path, mark)
    assert list(read_job_marks(tmp_path).values()) == written[::-1]
    assert [path.name for path in tmp_path.iterdir()] == ["jobs.json"]


@pytest.mark.parametrize("content", [None, b"", b"[{", b'[{"job": "dance", "since": "x"}]', b"[3]"])
def test_marks_that_nobody_can_read_are_none(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "jobs.json").write_bytes(content)
    assert read_job_marks(tmp_path) == {}


def test_marks_in_whose_place_is_something_else_are_none(tmp_path: Path) -> None:
    (tmp_path / "jobs.json").mkdir()
    assert read_job_marks(tmp_path) == {}
    Marks(tmp_path).read(NOW)


@pytest.mark.parametrize("text", [None, "", "soon", STARTED[:19], "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"])
def test_a_time_that_cannot_be_reckoned_with_is_none(text: str | None) -> None:
    assert moment_of(text) is None


def test_jobs_are_on_the_timetable_from_the_first_start_on(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.read(NOW)
    assert {mark.since for mark in read_job_marks(tmp_path).values()} == {NOW.isoformat()}
    later = Marks(tmp_path)
    later.read(NOW.replace(year=2027))
    assert later.marks == marks.marks


def test_where_there_is_no_store_yet_marks_are_kept_in_mind(tmp_path: Path) -> None:
    marks = Marks(tmp_path / "state")
    marks.read(NOW)
    assert set(marks.marks) == set(JOB_NAMES)
    assert not (tmp_path / "state").exists()


def test_a_round_that_came_to_its_end_is_noted_with_what_it_did() -> None:
    sync = Report(outcomes=[Outcome("000001", "changed", ""), Outcome("000002", "unchanged", "")], still=7)
    mark = marked(JobMark(job="poll", since="then"), JobReport("poll", STARTED, 1.23456, sync=sync), NOW)
    assert mark == JobMark(
        job="poll",
        since="then",
        started=STARTED,
        ended="2026-11-21T15:34:17+00:00",
        seconds=1.235,
        counts={"changed": 1, "unchanged": 8},
    )


def test_a_round_in_which_a_dandiset_failed_is_not_ok_but_no_trouble() -> None:
    sync = Report(outcomes=[Outcome("000001", "failed", "nonsense")])
    mark = marked(None, JobReport("poll", STARTED, 1, sync=sync), NOW)
    assert (mark.ok, mark.trouble, mark.troubled_count, mark.counts) == (False, "", 0, {"failed": 1})


def test_a_trouble_that_lasts_is_noted_with_its_beginning_and_how_often_it_was_met() -> None:
    mark = None
    for minute in (10, 20, 30):
        report = JobReport("poll", f"2026-11-21T15:{minute}:00+00:00", 1, kind="ArchiveDown", trouble="503")
        mark = marked(mark, report, NOW)
    assert mark is not None
    assert (mark.kind, mark.troubled_since, mark.troubled_count) == ("ArchiveDown", "2026-11-21T15:10:00+00:00", 3)
    assert not mark.ok
    assert mark.unfinished
    mark = marked(mark, JobReport("poll", STARTED, 1), NOW)
    assert (mark.ok, mark.troubled_since, mark.troubled_count) == (True, None, 0)


def test_a_job_that_was_told_to_stop_is_unfinished_and_in_no_trouble() -> None:
    mark = marked(None, JobReport("recheck", STARTED, 1, kind="Stopped", trouble="stopped; 3 left"), NOW)
    assert (mark.unfinished, mark.troubled_count) == (True, 0)


def test_what_failed_besides_is_noted_with_since_when_until_a_job_comes_to_its_end_without() -> None:
    def after(before: JobMark | None, minute: int, *problems: str, trouble: str = "") -> JobMark:
        published = Published(problems=list(problems))
        report = JobReport("poll", f"2026-11-21T15:{minute}:00+00:00", 1, published=published, trouble=trouble)
        return marked(before, report, NOW)

    mark = after(None, 10, "host a: gone")
    mark = after(mark, 20, "host a: gone", "host b: gone")
    assert mark.problems == {"host a: gone": "2026-11-21T15:10:00+00:00", "host b: gone": "2026-11-21T15:20:00+00:00"}
    assert after(mark, 30, trouble="the disk is full").problems == mark.problems
    assert len(after(mark, 30, *(f"host c: {number}: refused" for number in range(30_000))).problems) == 1000
    assert after(mark, 30, "host b: gone").problems == {"host b: gone": "2026-11-21T15:20:00+00:00"}


def test_the_size_of_the_store_is_kept_until_it_is_measured_anew() -> None:
    mark = None
    for size, shown in ((4096, 4096), (None, 4096), (8192, 8192)):
        maintained = Maintained(1, 0, 0, 0, "ok", "ok", size, ()) if size is not None else None
        mark = marked(mark, JobReport("maintain", STARTED, 1, maintained=maintained), NOW)
        assert mark.store_bytes == shown
