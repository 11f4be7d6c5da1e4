"""What the daemon makes of how a job went."""

from __future__ import annotations

import errno
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.archive.records import Instance
from mirror.config import Schedule, Settings
from mirror.daemon.alone import alone
from mirror.daemon.doorbell import Doorbell
from mirror.daemon.listening import JobReport, Listener
from mirror.daemon.notify import Notifier
from mirror.daemon.rounds import Job
from mirror.daemon.service import Service
from mirror.errors import StoreError
from mirror.store.job_marks import JobName, read_job_marks
from mirror.store.store import Store

STARTED = "2026-11-21T15:34:00+00:00"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "state").mkdir()
    settings = Settings(store=tmp_path)
    with Doorbell() as bell:
        yield Service(settings, lambda: settings, Notifier(), bell)


def report(job: JobName, kind: str = "") -> JobReport:
    return JobReport(job, STARTED, 1.0, kind=kind, trouble="because" if kind else "")


def waits(service: Service) -> float | None:
    return service._agenda.seconds_to_wait()


def test_a_recheck_that_ran_into_trouble_is_tried_again_after_growing_pauses(service: Service) -> None:
    for minutes in (10, 20, 40):
        service._conclude(report("recheck", "ArchiveDown"), made_room=False)
        assert waits(service) == pytest.approx(minutes * 60, abs=5)
    service._conclude(report("recheck"), made_room=False)
    service._agenda.postpone("recheck", 0)
    service._agenda.take()
    service._conclude(report("recheck", "NoRoom"), made_room=False)
    assert waits(service) == pytest.approx(600, abs=5)


def test_a_poll_that_ran_into_trouble_waits_for_its_usual_time(service: Service) -> None:
    service._conclude(report("poll", "NoRoom"), made_room=False)
    assert waits(service) is None


def test_a_poll_whose_usual_time_is_far_away_does_not_wait_for_it(service: Service) -> None:
    service.settings = service.settings.model_copy(update={"schedule": Schedule(poll="1h")})
    for minutes in (10, 20, 40):
        service._conclude(report("poll", "ArchiveDown"), made_room=False)
        assert waits(service) == pytest.approx(minutes * 60, abs=5)
        service._agenda.postpone("poll")
        service._agenda.take()
    service._conclude(report("poll", "ArchiveDown"), made_room=False)
    assert waits(service) is None, "that comes sooner now"


def test_a_recheck_that_made_room_goes_on_as_soon_as_the_poll_is_done(service: Service) -> None:
    service._agenda.due("recheck")
    assert service._agenda.take() == "recheck"
    service._agenda.due("poll")
    service._conclude(report("recheck", "Stopped"), made_room=True)
    assert [service._agenda.take(), service._agenda.take()] == ["poll", "recheck"]


def test_what_a_job_came_to_is_remembered_over_restarts(service: Service, tmp_path: Path) -> None:
    service._conclude(report("poll", "ArchiveDown"), made_room=False)
    mark = read_job_marks(tmp_path / "state")["poll"]
    assert (mark.kind, mark.trouble, mark.ok) == ("ArchiveDown", "because", False)


def test_troubles_are_logged_with_their_facts_for_programs(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mirror.daemon"):
        service._conclude(report("poll", "NoRoom"), made_room=False)
        service._conclude(report("poll", "NoRoom"), made_room=False)
        service._conclude(report("poll"), made_room=False)
    told = [record.__dict__["fields"] for record in caplog.records]
    assert told == [
        {"event": "trouble", "job": "poll", "kind": "NoRoom", "trouble": "because"},
        {"event": "trouble-over", "job": "poll"},
    ]


def test_a_bug_in_a_job_is_told_of_once_an_hour_with_where_it_is(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Listener):
        def maintaining(self, how_far: str) -> None:  # noqa: ARG002
            raise RuntimeError("a bug")

    store = Store.open_or_create(tmp_path / "made", Instance("DEMO-DANDI", "https://demo-dandi.example.org"))
    settings = Settings(store=store.root)
    with caplog.at_level(logging.INFO, "mirror.daemon"):
        for _ in range(3):
            found = Job(settings, Broken()).maintain()
            assert found.trouble == "unexpected RuntimeError: a bug"
            service._conclude(found, made_room=False)
    (record,) = caplog.records
    assert record.getMessage() == "the maintain could not be done: unexpected RuntimeError: a bug"
    assert "in maintaining" in caplog.text


def test_what_one_is_not_allowed_to_is_no_bug(tmp_path: Path) -> None:
    class Forbidden(Listener):
        def maintaining(self, how_far: str) -> None:  # noqa: ARG002
            raise PermissionError(errno.EACCES, "Permission denied", "/data")

    store = Store.open_or_create(tmp_path / "made", Instance("DEMO-DANDI", "https://demo-dandi.example.org"))
    found = Job(Settings(store=store.root), Forbidden()).maintain()
    assert (found.trouble, found.raised) == ("Permission denied: /data", None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_only_the_owner_of_a_store_runs_a_daemon_there(tmp_path: Path) -> None:
    store = Store.open_or_create(tmp_path / "made", Instance("DEMO-DANDI", "https://demo-dandi.example.org"))
    os.chown(store.root / "state" / "store.json", 65534, 65534)
    with pytest.raises(StoreError, match=r"belongs to \w+, not to root"), alone(store.root, "dandi-mirror run"):
        pytest.fail("it runs")


def test_settings_that_cannot_be_read_for_a_reason_nobody_foresaw_do_not_end_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def read() -> Settings:
        raise RuntimeError("a bug")

    with Doorbell() as bell:
        service = Service(Settings(store=tmp_path), read, Notifier(), bell)
        service._reload()
    assert "stay as they were" in caplog.text


def test_what_waits_to_be_tried_again_does_not_once_settings_were_read_again(service: Service) -> None:
    service._conclude(report("recheck", "ArchiveDown"), made_room=False)
    assert not service._agenda.waits("recheck")
    with service.times:
        service._reload()
    assert service._agenda.waits("recheck")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]


def test_told_to_stop_before_the_first_job_it_says_so_and_ends(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.signals.stopping = signal.SIGTERM
    with caplog.at_level(logging.INFO, "mirror.daemon"):
        service.run()
    assert [line.split(" after ")[0] for line in told(caplog)[1:]] == ["stopped by SIGTERM"]


def test_told_to_stop_between_two_jobs_it_finishes_nothing(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Store.open_or_create(tmp_path, Instance("DEMO-DANDI", "https://demo-dandi.example.org"))
    service._do("maintain")
    service.signals.stopping = signal.SIGTERM
    with caplog.at_level(logging.INFO, "mirror.daemon"):
        service.run()
    assert told(caplog)[-1].endswith("and 1 job")
    assert not [line for line in told(caplog) if "finishing" in line]
