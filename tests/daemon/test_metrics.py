"""What `/metrics` and `/healthz` answer, as Prometheus and a supervisor read them."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socketserver import BaseServer
from typing import Any

import pytest
import yaml
from daemons import Held
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from mirror.config import Settings
from mirror.daemon import metrics_server
from mirror.daemon.listening import JobReport
from mirror.daemon.metrics_server import CLIENT_SECONDS, MOST_CLIENTS, Exposition
from mirror.daemon.rounds import Job
from mirror.demo import DemoArchive
from mirror.demo.faults import Status
from mirror.errors import MirrorError
from mirror.proving.verify import Prover
from mirror.store.job_marks import JOB_NAMES, JobMark, write_job_mark
from mirror.store.store import Store
from mirror.sync.poll import Poll

Labels = tuple[tuple[str, str], ...]
SINCE = "2026-11-21T15:34:17+00:00"


def free_port(host: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as found:
        found.bind((host, 0))
        return int(found.getsockname()[1])


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    return settings_with(alarm_after=2, schedule={"poll": "1s"}, metrics=f"127.0.0.1:{free_port()}")


@pytest.fixture(autouse=True, scope="module")
def _no_waiting() -> Iterator[None]:
    """A server that is to end looks twice a second whether it is to; here, at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseServer.serve_forever, "__defaults__", (0.01,))
        yield


@pytest.fixture
def exposition(settings: Settings) -> Iterator[Exposition]:
    with closing(Exposition(settings)) as exposition:
        yield exposition


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with closing(connection):
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


def figures(port: int) -> dict[str, dict[Labels, float]]:
    """Every sample by its name, then its labels."""
    status, headers, body = ask(port, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(body):
        assert family.documentation
        assert family.type != "unknown"
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def only(found: dict[str, dict[Labels, float]], name: str, **labels: str) -> float:
    return found[f"dandi_mirror_{name}"][tuple(sorted(labels.items()))]


def test_a_round_is_counted_with_what_it_did(archive: DemoArchive, settings: Settings, exposition: Exposition) -> None:
    good, bad = archive.create_dandiset(), archive.create_dandiset()
    archive.add_assets(good, [("sub-1/sub-1.nwb", b"x" * 1500), ("sub-2/sub-2.nwb", b"y" * 500)])
    archive.publish(good)
    archive.add_asset(bad, "a//b.nwb", b"bad")
    Job(settings, exposition).poll()
    found = figures(exposition.port)
    assert only(found, "rounds_total", round="poll", result="failed") == 1
    assert only(found, "rounds_total", round="poll", result="ok") == 0
    assert only(found, "round_duration_seconds_count", round="poll") == 1
    assert only(found, "dandiset_turns_total", result="changed") == 1
    assert only(found, "dandiset_turns_total", result="failed") == 1
    assert only(found, "requests_total", kind="api", status="200") > 3
    assert only(found, "received_bytes_total", kind="api") > 100
    held = {
        name: only(found, name) for name in ("dandisets", "versions", "assets", "assets_bytes", "failing_dandisets")
    }
    assert held == {"dandisets": 1, "versions": 1, "assets": 2, "assets_bytes": 2000, "failing_dandisets": 1}
    assert only(found, "alarmed_dandisets") == 0
    assert abs(only(found, "last_success_timestamp_seconds", round="poll") - time.time()) < 60
    assert only(found, "last_success_timestamp_seconds", round="maintain") == 0
    assert only(found, "disk_free_bytes") > 0
    assert abs(only(found, "cache_written_timestamp_seconds", cache="index") - time.time()) < 60
    assert only(found, "lag_seconds_count") == 0  # the first time says nothing of a lag
    assert {state: only(found, "round_dandisets", state=state) for state in ("total", "done", "failed", "current")} == {
        "total": 2,
        "done": 2,
        "failed": 1,
        "current": 0,
    }
    assert found["process_resident_memory_bytes"][()] > 1_000_000


def test_the_lag_is_that_of_changes(archive: DemoArchive, settings: Settings, exposition: Exposition) -> None:
    identifier = archive.create_dandiset()
    Job(settings, exposition).poll()
    archive.add_asset(identifier, "sub-1/sub-1.nwb", b"new")
    Job(settings, exposition).poll()
    found = figures(exposition.port)
    assert only(found, "lag_seconds_count") == 1
    assert only(found, "lag_seconds_bucket", le="60.0") == 1
    assert 0 <= only(found, "last_lag_seconds") < 60


def test_what_fails_again_and_again_becomes_an_alarm_and_rests(
    archive: DemoArchive, settings: Settings, exposition: Exposition
) -> None:
    bad = archive.create_dandiset()
    archive.add_asset(bad, "a//b.nwb", b"bad")
    job = Job(settings, exposition)
    job.poll()
    store = Store.open(settings.store)
    state = store.state(bad)
    assert state.failure is not None
    long_ago = (datetime.now(UTC) - timedelta(hours=4)).isoformat()
    store.save_state(replace(state, failure=replace(state.failure, since=long_ago)))
    archive.touch_draft(bad)
    job.poll()
    assert only(figures(exposition.port), "alarmed_dandisets") == 1
    job.poll()
    found = figures(exposition.port)
    assert only(found, "resting_dandisets") == 1
    assert only(found, "failing_dandisets") == 1


def test_a_restart_knows_what_the_store_holds(archive: DemoArchive, settings: Settings) -> None:
    archive.add_asset(archive.create_dandiset(), "a.nwb", b"content")
    Job(settings).poll()
    with closing(Exposition(settings)) as exposition:
        assert only(figures(exposition.port), "assets") == 1


def test_maintenance_measures_the_store(archive: DemoArchive, settings: Settings, exposition: Exposition) -> None:
    archive.add_asset(archive.create_dandiset(), "a.nwb", b"content")
    job = Job(settings, exposition)
    job.poll()
    assert not job.maintain().failed
    found = figures(exposition.port)
    assert only(found, "store_bytes") > 1000
    assert only(found, "rounds_total", round="maintain", result="ok") == 1


def test_what_was_proved_is_told_and_what_is_at_risk(
    archive: DemoArchive, settings: Settings, exposition: Exposition
) -> None:
    identifier = archive.create_dandiset("Ripples")
    archive.add_asset(identifier, "one.nwb", b"spikes of one")
    archive.add_asset(identifier, "two.nwb", b"spikes of two!")
    Job(settings, exposition).poll()
    assert only(figures(exposition.port), "content_files", where="all") == 0
    archive.objects.put(archive.objects.keys("blobs/")[0], b"something else")

    with Prover(settings, Store.open(settings.store), ("names", "urls"), against_archive=False) as prover:
        prover.run([identifier])
    Job(settings, exposition).maintain()

    found = figures(exposition.port)
    assert only(found, "content_files", where="all") == 2
    assert only(found, "content_files", where="had") == 1
    assert only(found, "content_at_risk_files", risk="non_current") == 1
    assert only(found, "content_at_risk_bytes", risk="lost") == 0
    assert only(found, "proof_findings", level="urls") == 1
    assert only(found, "oldest_proof_timestamp_seconds", level="urls") == pytest.approx(time.time(), abs=120)


def test_while_a_job_is_at_work_it_is_seen_how_far_it_is(
    archive: DemoArchive, settings: Settings, exposition: Exposition
) -> None:
    for _ in range(3):
        archive.add_asset(archive.create_dandiset(), "a.nwb", b"content")
    held = Held()
    archive.api_faults.add(held, path=r"/dandisets/000002/versions/")
    worker = threading.Thread(target=Job(settings, exposition).poll)
    worker.start()
    try:
        assert held.asked.wait(30)
        found = figures(exposition.port)
    finally:
        held.go.set()
        worker.join(60)
    assert only(found, "requests_total", kind="api", status="200") > 3  # of the list, and of the first Dandiset
    assert only(found, "received_bytes_total", kind="api") > 100
    assert only(found, "job_running", round="poll") == 1
    assert abs(only(found, "job_start_time_seconds", round="poll") - time.time()) < 60
    assert only(found, "round_dandisets", state="total") == 3
    assert only(found, "round_dandisets", state="current") == 1
    after = figures(exposition.port)
    assert only(after, "job_running", round="poll") == 0
    assert only(after, "job_start_time_seconds", round="poll") == 0


def test_after_a_round_its_figures_stay_and_nothing_is_in_hand(settings: Settings, exposition: Exposition) -> None:
    exposition.job_began("poll", settings)
    exposition.polled(Poll(moved=["000001", "000002"], still=["000003"]))
    exposition.begun("000001")
    assert only(figures(exposition.port), "round_dandisets", state="current") == 1
    exposition.job_ended(JobReport("poll", SINCE, 1.0, kind="ArchiveDown", trouble="no answer"))  # which drops it
    exposition.job_began("maintain", settings)
    found = figures(exposition.port)
    exposition.job_ended(JobReport("maintain", SINCE, 1.0))
    for now in (found, figures(exposition.port)):
        assert only(now, "round_dandisets", state="total") == 3
    assert only(figures(exposition.port), "round_dandisets", state="current") == 0


def test_marks_that_cannot_be_read_keep_no_daemon_from_starting(settings: Settings) -> None:
    Job(settings).poll()
    (settings.store / "state/dandisets/000001.json").mkdir(parents=True)
    with closing(Exposition(settings)) as exposition:
        assert only(figures(exposition.port), "dandisets") == 0


def test_an_archive_that_is_down_does_not_make_us_unwell_but_is_told(
    archive: DemoArchive, settings: Settings, exposition: Exposition
) -> None:
    archive.api_faults.add(Status(200, body=b"<html>Back soon</html>"), path=r"/info/", times=3)
    report = Job(settings, exposition).poll()
    assert report.trouble
    found = figures(exposition.port)
    assert only(found, "rounds_total", round="poll", result="broken_off") == 1
    assert only(found, "job_in_trouble", round="poll") == 1
    status, headers, body = ask(exposition.port, "/healthz")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    told = json.loads(body)
    assert (told["status"], told["problems"], told["last_poll"]) == ("ok", [], None)
    assert told["trouble"]["poll"] == report.trouble
    Job(settings, exposition).poll()
    assert only(figures(exposition.port), "job_in_trouble", round="poll") == 0
    assert json.loads(ask(exposition.port, "/healthz")[2])["trouble"] == {}


def test_every_name_is_ours_and_has_its_unit(exposition: Exposition) -> None:
    names = {name for name in figures(exposition.port) if not name.startswith("process_")}
    assert names
    for name in names:
        assert re.fullmatch(r"dandi_mirror_[a-z_]+", name), name
        if any(word in name for word in ("time", "duration", "lag")):
            assert re.search(r"_seconds(_bucket|_count|_sum)?$", name), name
    counted = {labels[0][1] for labels in figures(exposition.port)["dandi_mirror_job_running"]}
    assert counted == set(JOB_NAMES)


def test_openmetrics_is_spoken_to_who_asks_for_it(exposition: Exposition) -> None:
    status, headers, body = ask(exposition.port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert status == 200
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


# --- the server ----------------------------------------------------------------------------------------------------


def test_only_get_and_head_are_answered(exposition: Exposition) -> None:
    status, headers, body = ask(exposition.port, "/metrics", "HEAD")
    assert (status, body) == (200, "")
    assert int(headers["Content-Length"]) > 1000
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        status, headers, _ = ask(exposition.port, "/metrics", method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../etc/passwd", "/metricsx"])
def test_elsewhere_is_nothing(exposition: Exposition, path: str) -> None:
    assert ask(exposition.port, path)[0] == 404


def test_a_query_changes_nothing(exposition: Exposition) -> None:
    assert ask(exposition.port, "/metrics?name[]=x")[0] == 200
    assert ask(exposition.port, "/healthz?verbose")[0] == 200


def test_nobody_learns_which_python_it_is(exposition: Exposition) -> None:
    for path, method in (("/metrics", "GET"), ("/nothing", "GET"), ("/", "POST")):
        _, headers, body = ask(exposition.port, path, method)
        assert headers["Server"] == "dandi-mirror"
        assert "Python" not in body


def test_a_port_that_is_taken_is_told_at_the_start(settings: Settings, exposition: Exposition) -> None:
    with pytest.raises(MirrorError, match=rf"127.0.0.1 port {exposition.port}: Address already in use") as caught:
        Exposition(settings)
    assert caught.value.hint == "choose another port with the setting `metrics`"


def test_the_port_is_free_again_at_once(settings: Settings) -> None:
    for _ in range(3):
        with closing(Exposition(settings)) as exposition:
            assert ask(exposition.port, "/healthz")[0] == 200


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_the_other_loopback_address_will_do(settings: Settings) -> None:
    port = free_port("::1")
    with closing(Exposition(settings.model_copy(update={"metrics": f"[::1]:{port}"}))):
        assert urllib.request.urlopen(f"http://[::1]:{port}/healthz", timeout=10).status == 200


@contextmanager
def rude_clients(port: int, count: int, said: bytes) -> Iterator[list[socket.socket]]:
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    try:
        for client in clients:
            client.sendall(said)
        yield clients
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("said", [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"])
def test_clients_that_say_no_more_hinder_nobody(exposition: Exposition, said: bytes) -> None:
    with rude_clients(exposition.port, MOST_CLIENTS // 2, said):
        assert ask(exposition.port, "/healthz")[0] == 200


def test_whoever_sends_a_byte_now_and_then_keeps_nobody_out_for_long(
    exposition: Exposition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "CLIENT_SECONDS", 1.0)
    with rude_clients(exposition.port, MOST_CLIENTS, b"GET /metrics HTTP/1.1\r\n") as clients:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            for client in clients:
                with contextlib.suppress(OSError):
                    client.sendall(b"X-Slow: loris\r\n")
            with contextlib.suppress(ConnectionError, http.client.RemoteDisconnected):
                assert ask(exposition.port, "/healthz")[0] == 200
                return
            time.sleep(0.1)
    raise AssertionError("nobody is answered any more")


def test_what_is_too_many_is_turned_away_and_comes_again(exposition: Exposition) -> None:
    with rude_clients(exposition.port, MOST_CLIENTS, b"GET"):
        time.sleep(0.2)
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            ask(exposition.port, "/healthz")
    end = time.monotonic() + CLIENT_SECONDS
    while time.monotonic() < end:
        try:
            assert ask(exposition.port, "/healthz")[0] == 200
            return
        except (ConnectionError, http.client.RemoteDisconnected):
            time.sleep(0.05)
    raise AssertionError("nobody is answered any more")


@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01\x02\x00\x01\x00", b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_nonsense_is_survived_without_a_word(
    exposition: Exposition, said: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with rude_clients(exposition.port, 1, said) as (client,):
        client.settimeout(5)
        client.shutdown(socket.SHUT_WR)
        answer: Any = client.recv(4096)
        assert b"Python" not in answer
    with rude_clients(exposition.port, 1, b"GET /metrics HTTP/1.1\r\n\r\n"):
        pass  # it leaves before it is answered
    assert ask(exposition.port, "/healthz")[0] == 200
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    assert capfd.readouterr().err == ""


def test_how_the_jobs_went_before_this_process_was_started_is_known(settings: Settings) -> None:
    state = settings.store / "state"
    state.mkdir(parents=True)
    time = "2026-11-21T15:34:17+00:00"
    write_job_mark(state, JobMark(job="maintain", since=time, started=time, ended=time, store_bytes=4096))
    write_job_mark(
        state,
        JobMark(job="recheck", since=time, started=time, ended=time, kind="Unreachable", trouble="x", troubled_count=2),
    )
    with closing(Exposition(settings)) as exposition:
        found = figures(exposition.port)
    last = found["dandi_mirror_last_success_timestamp_seconds"]
    assert last[(("round", "maintain"),)] == datetime.fromisoformat(time).timestamp()
    assert last[(("round", "recheck"),)] == 0
    assert found["dandi_mirror_job_in_trouble"][(("round", "recheck"),)] == 1
    assert only(found, "store_bytes") == 4096


def test_the_alerts_ask_for_figures_that_there_are(settings: Settings) -> None:
    rules = yaml.safe_load((Path(__file__).parents[2] / "config" / "prometheus-alerts.yaml").read_text())
    asked = {
        name
        for group in rules["groups"]
        for rule in group["rules"]
        for name in re.findall(r"dandi_mirror_\w+", rule["expr"])
    }
    with closing(Exposition(settings)) as exposition:
        there = figures(exposition.port).keys()
    assert len(asked) >= 3
    assert asked <= there
