"""What the command of `on_failure` is handed, when, and that nothing it does harms us."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import msgspec
import pytest
from daemons import is_there, wait_until

from mirror.archive.records import Instance
from mirror.config import Settings
from mirror.daemon.hook import TOLD_AGAIN_SECONDS, Hook, clean_environment
from mirror.daemon.listening import JobReport
from mirror.daemon.marking import marked
from mirror.daemon.rounds import Job
from mirror.demo import DemoArchive
from mirror.publish.publishing import Published
from mirror.store.job_marks import write_job_mark
from mirror.store.state import DandisetState, Failure
from mirror.store.store import Store
from mirror.sync.engine import Report
from mirror.sync.turn import Outcome

SINCE = "2026-11-21T15:34:17+00:00"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Command:
    """A real command that keeps what it is handed, a line each."""

    def __init__(self, folder: Path) -> None:
        self.kept = folder / "handed over.jsonl"
        self.settings = Settings.model_validate(
            {"store": folder / "store", "alarm_after": 3, "on_failure": f"cat >> '{self.kept}'"}
        )
        self.clock = Clock()
        self.hook = Hook(clock=self.clock)

    def ends(self, report: JobReport, *outcomes: Outcome) -> None:
        self.hook.job_began(report.job, self.settings)
        for outcome in outcomes:
            self.hook.done(outcome)
        self.hook.job_ended(report)

    def handed_over(self) -> list[dict[str, Any]]:
        """All of it, once the command has come to its end."""
        self.hook.close()
        return [json.loads(line) for line in self.kept.read_text().splitlines()] if self.kept.exists() else []


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def failure(identifier: str, count: int = 1) -> Outcome:
    marks = Failure("BadAnswer", "nonsense", SINCE, SINCE, count)
    return Outcome(identifier, "failed", "nonsense", kind="BadAnswer", failure=marks)


def ended(*outcomes: Outcome, kind: str = "", trouble: str = "", problems: tuple[str, ...] = ()) -> JobReport:
    published = Published(problems=list(problems))
    return JobReport("poll", SINCE, 1.0, Report(outcomes=list(outcomes)), published, kind=kind, trouble=trouble)


def test_a_job_in_which_all_went_well_is_nobodys_business(command: Command) -> None:
    fine = Outcome("000001", "changed", "draft: 1 added")
    command.ends(ended(fine), fine)
    assert command.handed_over() == []


def test_what_failed_is_handed_over_with_alarms_marked(command: Command) -> None:
    outcomes = failure("000001"), failure("000002", 3)
    command.ends(ended(*outcomes), *outcomes)
    (document,) = command.handed_over()
    assert document["ok"] is False
    assert document["job"] == "poll"
    assert document["store"] == str(command.settings.store)
    assert document["host"] == os.uname().nodename
    assert document["recovered"] == []
    assert [(one["dandiset"], one["count"], one["alarm"]) for one in document["failures"]] == [
        ("000001", 1, False),
        ("000002", 3, True),
    ]


def test_a_dandiset_that_fails_is_handed_over_each_time_it_was_tried_and_when_it_works_again(command: Command) -> None:
    for count in (1, 2):
        command.ends(ended(failure("000001", count)), failure("000001", count))
    command.ends(ended())  # it rests
    fine = Outcome("000001", "unchanged", "unchanged")
    command.ends(ended(fine), fine)
    command.ends(ended(fine), fine)
    found = command.handed_over()
    assert [document["ok"] for document in found] == [False, False, True]
    assert found[-1]["recovered"] == ["000001"]


def test_an_archive_that_is_down_is_handed_over_once_an_hour_and_when_it_is_back(command: Command) -> None:
    for _ in range(25):
        command.ends(ended(kind="ArchiveDown", trouble="no answer"))
        command.clock.now += 300
    command.ends(ended())
    command.ends(ended())
    found = command.handed_over()
    assert [document["trouble"] for document in found] == ["no answer"] * 3 + [""]
    assert found[-1]["recovered"] == ["poll: ArchiveDown"]


def test_a_new_trouble_is_handed_over_at_once(command: Command) -> None:
    command.ends(ended(kind="ArchiveDown", trouble="no answer"))
    command.ends(ended(kind="NoRoom", trouble="the disk is full"))
    command.ends(ended(problems=("host backup: out of reach",)))
    command.ends(ended(problems=("host backup: out of reach",)))
    command.clock.now += TOLD_AGAIN_SECONDS
    command.ends(ended(problems=("host backup: out of reach",)))
    found = command.handed_over()
    assert [(document["kind"], document["problems"]) for document in found] == [
        ("ArchiveDown", []),
        ("NoRoom", []),
        ("", ["host backup: out of reach"]),
        ("", ["host backup: out of reach"]),
    ]
    assert sorted(found[2]["recovered"]) == ["poll: ArchiveDown", "poll: NoRoom"]


def test_jobs_do_not_take_each_other_for_well_again(command: Command) -> None:
    command.ends(ended(kind="ArchiveDown", trouble="no answer"))
    command.ends(JobReport("maintain", SINCE, 1.0))
    assert len(command.handed_over()) == 1


def rounds_of_their_own(
    folder: Path, reports: Iterable[tuple[int, JobReport]], since: datetime
) -> Iterator[dict[str, Any]]:
    """What is handed over when each round, at a minute of its own, is a process, as `run --once` is."""
    (folder / "store" / "state").mkdir(parents=True)
    before = None
    for minutes, report in reports:
        now = since + timedelta(minutes=minutes)
        report = replace(report, started=now.isoformat())
        command = Command(folder)
        with time_at(now):
            command.ends(report)
            command.hook.close()
        before = marked(before, report, now)
        write_job_mark(folder / "store" / "state", before)
    yield from map(json.loads, (folder / "handed over.jsonl").read_text().splitlines())


def test_rounds_that_are_processes_of_their_own_hand_an_outage_over_once_an_hour_too(tmp_path: Path) -> None:
    """What was told before follows from the marks."""
    down, fine = ended(kind="Unreachable", trouble="down"), ended()
    reports = [(0, down), (10, down), (50, down), (65, down), (115, down), (175, fine), (185, fine)]
    told = rounds_of_their_own(tmp_path, reports, datetime.now(UTC) - timedelta(minutes=185))
    assert [(one["trouble"], one["recovered"]) for one in told] == [
        ("down", []),
        ("down", []),
        ("", ["poll: Unreachable"]),
    ]


def test_so_they_do_with_a_host_that_is_out_of_reach(tmp_path: Path) -> None:
    problem = "host backup: out of reach"
    bad, fine = ended(problems=(problem,)), ended()
    down = ended(kind="Unreachable", trouble="down")
    reports = [(0, bad), (10, bad), (20, down), (30, bad), (65, bad), (75, bad), (85, fine), (95, fine)]
    told = rounds_of_their_own(tmp_path, reports, datetime.now(UTC) - timedelta(minutes=95))
    assert [(one["problems"], one["trouble"], one["recovered"]) for one in told] == [
        ([problem], "", []),
        ([], "down", []),
        ([problem], "", ["poll: Unreachable"]),
        ([problem], "", []),
        ([], "", [f"poll: {problem}"]),
    ]


@contextmanager
def time_at(now: datetime) -> Iterator[None]:
    class Then(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return now.astimezone(tz)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mirror.daemon.hook.datetime", Then)
        yield


def test_to_be_stopped_is_no_failure(command: Command) -> None:
    command.ends(ended(kind="Stopped", trouble="stopped; 3 Dandisets had no turn yet"))
    assert command.handed_over() == []


def test_what_failed_before_a_job_was_stopped_is_handed_over_and_what_works_again(command: Command) -> None:
    command.ends(ended(kind="ArchiveDown", trouble="no answer"))
    fine, bad = Outcome("000001", "unchanged", "unchanged"), failure("000002")
    command.ends(ended(failure("000001")), failure("000001"))
    command.ends(ended(fine, bad, kind="Stopped", trouble="stopped"), fine, bad)
    command.ends(ended(kind="Stopped", trouble="stopped"))
    last = command.handed_over()[-1]
    assert ([one["dandiset"] for one in last["failures"]], last["recovered"]) == (["000002"], ["000001"])


def test_a_dandiset_that_somebody_mended_by_hand_has_recovered(command: Command) -> None:
    store = Store.open_or_create(command.settings.store, Instance("DEMO-DANDI", "https://demo-dandi.example.org"))
    outcome = failure("000001")
    store.save_state(DandisetState(identifier="000001", failure=outcome.failure))
    command.ends(ended(outcome), outcome)
    command.ends(ended())
    store.save_state(DandisetState(identifier="000001"))  # by a sync typed by hand
    command.ends(ended())
    command.ends(ended())
    assert [one["recovered"] for one in command.handed_over()] == [[], ["000001"]]


def test_a_name_that_is_not_utf_8_is_handed_over_as_valid_json(command: Command) -> None:
    outcome = replace(failure("000001"), message="caf\udce9.txt is refused")
    command.ends(ended(outcome), outcome)
    command.handed_over()
    (document,) = [msgspec.json.decode(line) for line in command.kept.read_bytes().splitlines()]
    assert document["failures"][0]["message"] == r"caf\udce9.txt is refused"


def test_a_real_round_is_handed_over_and_after_a_restart_its_end(archive: DemoArchive, tmp_path: Path) -> None:
    kept = tmp_path / "handed over.jsonl"
    settings = Settings.model_validate(
        {
            "archive": {
                "instance": "demo-dandi",
                "api_url": archive.api_url,
                "s3_endpoint": archive.s3_endpoint,
                "settle_seconds": 0,
            },
            "store": tmp_path / "store",
            "jobs": 1,
            "on_failure": f"cat >> '{kept}'",
        }
    )
    bad = archive.create_dandiset()
    archive.add_asset(bad, "a//b.nwb", b"bad")
    for path in ("a//b.nwb", None):
        with closing(Hook()) as hook:
            Job(settings, hook).poll()
        if path is not None:
            archive.remove_asset(bad, path)
    first, second = (json.loads(line) for line in kept.read_text().splitlines())
    assert [one["dandiset"] for one in first["failures"]] == [bad]
    assert (second["ok"], second["recovered"], second["failures"]) == (True, [bad], [])


# --- the command ---------------------------------------------------------------------------------------------------


def run(tmp_path: Path, shell: str, *, seconds: float = 20.0, times: int = 1) -> None:
    settings = Settings.model_validate({"store": tmp_path / "store", "on_failure": shell})
    with closing(Hook(seconds=seconds)) as hook:
        for count in range(times):
            hook.job_began("poll", settings)
            hook.job_ended(ended(failure("000001", count + 1)))


def test_no_token_reaches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("DANDI_API_KEY", "GITHUB_TOKEN", "my_token", "WHERE_THE_KEY_IS")
    for name in (*secrets, "NOTIFY_SOCKET", "PLAIN"):
        monkeypatch.setenv(name, f"value of {name}")
    host = {"name": "site", "kind": "forgejo", "url": "https://git.example.org", "owner": "dandi"}
    settings = Settings.model_validate({"publish": {"hosts": [{**host, "token_variable": "WHERE_THE_KEY_IS"}]}})
    found = clean_environment(settings)
    assert not {*secrets, "NOTIFY_SOCKET"} & found.keys()
    assert found["PLAIN"] == "value of PLAIN"
    run(tmp_path, f"env > {tmp_path}/env")
    told = (tmp_path / "env").read_text()
    assert "PLAIN=value of PLAIN" in told
    assert "DANDI_API_KEY" not in told


def test_one_that_fails_is_told_of_and_harms_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mirror.daemon")
    run(tmp_path, "echo so it goes; echo badly >&2; exit 7")
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "on_failure: the command ended with 7: badly"
    ]
    assert "on_failure: the command said: so it goes\nbadly" in [record.message for record in caplog.records]


def test_one_that_does_not_exist_is_told_of_by_its_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, "/no/such/alarm --now")
    (told,) = caplog.messages
    assert told.startswith("on_failure: the command ended with 127: ")
    assert "/no/such/alarm" in told


def test_one_that_is_set_while_something_goes_on_failing_is_handed_it_at_once(command: Command) -> None:
    with_command, without = command.settings, command.settings.model_copy(update={"on_failure": None})
    for command.settings in (without, with_command):
        command.ends(ended(kind="ArchiveDown", trouble="no answer"))
    assert [document["trouble"] for document in command.handed_over()] == ["no answer"]


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    started = time.monotonic()
    run(tmp_path, f"sleep 300 & echo $! > {tmp_path}/child; sleep 300", seconds=1.0)
    assert time.monotonic() - started < 10
    assert "on_failure: the command was ended: it took more than 1 s" in caplog.messages
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not is_there(child), "nothing of it is left", 5)


def test_a_mirror_that_is_to_stop_waits_no_longer_than_it_may(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings.model_validate({"store": tmp_path / "store", "on_failure": "sleep 300"})
    started = time.monotonic()
    hook = Hook(seconds_left=lambda: started + 2.0 - time.monotonic())
    for count in (1, 2):
        hook.job_began("poll", settings)
        hook.job_ended(ended(failure("000001", count)))
    hook.close()
    assert 0.9 < time.monotonic() - started < 2.0
    assert caplog.messages == [
        "on_failure: the command was ended: the mirror ends",
        "on_failure: the mirror ends: a report is not handed over",
    ]


def test_a_mirror_that_is_told_to_stop_while_it_waits_for_the_command_waits_no_longer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings.model_validate({"store": tmp_path / "store", "on_failure": "sleep 300"})
    told = threading.Event()
    hook, started = Hook(seconds_left=lambda: 0.0 if told.is_set() else None), time.monotonic()
    hook.job_began("poll", settings)
    hook.job_ended(ended(failure("000001")))
    threading.Timer(0.5, told.set).start()
    hook.close()
    assert time.monotonic() - started < 5
    assert caplog.messages == ["on_failure: the command was ended: the mirror ends"]


@pytest.mark.parametrize(
    "shell", ["exit 0", "exec 0<&-; sleep 0.1", "exec 1>&- 2>&-; sleep 0.3", "yes | head -c 5000000"]
)
def test_it_need_not_read_and_may_say_much(tmp_path: Path, caplog: pytest.LogCaptureFixture, shell: str) -> None:
    run(tmp_path, shell)
    assert caplog.messages == []


def test_what_it_leaves_in_the_background_is_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    started = time.monotonic()
    run(tmp_path, "sleep 5 & echo begun")
    assert time.monotonic() - started < 3
    assert caplog.messages == []


def test_there_are_never_two_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "running"
    run(tmp_path, f"mkdir {lock} && sleep 0.2 && rmdir {lock} && echo x >> {tmp_path}/done", times=4)
    assert (tmp_path / "done").read_text() == "x\n" * 4


def test_a_large_report_is_handed_over_whole(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    settings = Settings.model_validate({"store": tmp_path, "on_failure": f"sleep 0.2; cat > {kept}"})
    with closing(Hook()) as hook:
        hook.job_began("poll", settings)
        hook.job_ended(ended(*(failure(f"{number:06d}") for number in range(5000))))
    assert len(json.loads(kept.read_text())["failures"]) == 5000


def test_without_a_command_nothing_is_begun(tmp_path: Path) -> None:
    hook = Hook()
    hook.job_began("poll", Settings.model_validate({"store": tmp_path}))
    hook.job_ended(ended(failure("000001")))
    hook.close()
