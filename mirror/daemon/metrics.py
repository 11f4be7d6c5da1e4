"""Figures of the mirror, for Prometheus.

Counters and histograms are of this process. What the store holds is read from its marks, when the first job begins and
after each; what can be asked at any time (the disk, files' times, how far a round is) is asked at each scrape.

The label `round` has the job's name: Prometheus gives `job` a meaning of its own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from mirror import __version__
from mirror.daemon.listening import JobReport, Listener
from mirror.daemon.metrics_proofs import ProofGauges
from mirror.errors import MirrorError
from mirror.store.disk import CACHES, CacheName, cache_written, file_system_of, free_bytes_at
from mirror.store.job_marks import JOB_NAMES, JobName, moment_of, read_job_marks
from mirror.store.store import Store
from mirror.sync.under_way import UnderWay

if TYPE_CHECKING:
    from mirror.archive.http import Tally
    from mirror.config import Settings
    from mirror.store.state import DandisetState
    from mirror.sync.poll import Poll
    from mirror.sync.turn import Outcome

PREFIX = "dandi_mirror_"
ROUND_RESULTS = ("ok", "failed", "broken_off", "stopped")
TURN_RESULTS = ("changed", "unchanged", "failed", "vanished", "embargoed")

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
_ROUND_BUCKETS = (1, 2, 5, 10, 30, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 3 * _HOUR, 12 * _HOUR, _DAY)
_LAG_BUCKETS = (10, 30, _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 20 * _MINUTE, _HOUR, 3 * _HOUR, 12 * _HOUR, _DAY, 7 * _DAY)


@dataclass(frozen=True)
class _Held:
    """What one Dandiset adds to the gauges."""

    mirrored: int
    assets: int
    bytes: int
    versions: int
    zarrs: int
    pending: int
    waiting: int
    drift: int
    failures: int
    vanished: int
    embargoed: int


def _held(state: DandisetState) -> _Held:
    holding = state.holding
    return _Held(
        mirrored=holding is not None,
        assets=holding.assets if holding is not None else 0,
        bytes=holding.bytes if holding is not None else 0,
        versions=len(holding.releases) if holding is not None else 0,
        zarrs=state.zarrs,
        pending=state.pending,
        waiting=len(state.waiting),
        drift=len({drift.version for drift in state.drift}),
        failures=state.failure.count if state.failure is not None else 0,
        vanished=state.vanished is not None,
        embargoed=state.embargoed is not None,
    )


class Figures(Listener):
    """The metrics, in a registry of their own: `registry`."""

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._settings = settings
        self._now = now
        self._under_way = UnderWay()
        self._at_work = False
        self._store: Store | None = None
        self._held: dict[str, _Held] = {}
        self._touched: set[str] = set()
        self._of_process(now())
        self._of_jobs()
        self._of_archive()
        self._of_store()
        with contextlib.suppress(MirrorError, OSError):  # what is in the way of that, the first job tells
            self._read_all()
        self._read_marks()

    # --- what there is ------------------------------------------------------------------------------------------

    def _of_process(self, started: float) -> None:
        self._gauge("build_info", "1, with the version of dandi-mirror", "version").labels(__version__).set(1)
        self._gauge("start_time_seconds", "When the process was started, in seconds since 1970").set(started)
        ProcessCollector(registry=self.registry)

    def _of_jobs(self) -> None:
        self._rounds = self._counter("rounds", "Jobs that ended, by how", "round", "result")
        self._durations = Histogram(
            f"{PREFIX}round_duration_seconds",
            "How long a job took",
            ["round"],
            registry=self.registry,
            buckets=_ROUND_BUCKETS,
        )
        self._last_success = self._gauge(
            "last_success_timestamp_seconds",
            "When a job last came to its end, in seconds since 1970; 0: not yet",
            "round",
        )
        self._troubled = self._gauge(
            "job_in_trouble", "1 if a job did not come to its end when it was last tried", "round"
        )
        self._running = self._gauge("job_running", "1 while a job is at work", "round")
        self._began = self._gauge(
            "job_start_time_seconds", "When the job that is at work began, in seconds since 1970; 0: none is", "round"
        )
        for job in JOB_NAMES:
            for gauge in (self._last_success, self._troubled, self._running, self._began):
                gauge.labels(job).set(0)
            self._durations.labels(job)
            for result in ROUND_RESULTS:
                self._rounds.labels(job, result)
        progress = self._gauge("round_dandisets", "Dandisets of the round in hand, or the last one", "state")
        for name in ("total", "done", "failed", "resting", "current"):
            progress.labels(name).set_function(partial(self._of_round, name))

    def _of_archive(self) -> None:
        self._requests = self._counter("requests", "Requests to the archive, by its answer's status", "kind", "status")
        self._received = self._counter("received_bytes", "Content received from the archive", "kind")
        for kind in ("api", "s3"):
            self._received.labels(kind)
        self._turns = self._counter("dandiset_turns", "Dandisets that were looked at, by what came of it", "result")
        for result in TURN_RESULTS:
            self._turns.labels(result)
        self._lags = Histogram(
            f"{PREFIX}lag_seconds",
            "Time from a draft's being modified in the archive to our having it",
            registry=self.registry,
            buckets=_LAG_BUCKETS,
        )
        self._last_lag = self._gauge("last_lag_seconds", "The same of the draft that was last mirrored; NaN: not yet")
        self._last_lag.set(float("nan"))

    def _of_store(self) -> None:
        of_held = {
            "dandisets": "Dandisets of which something is mirrored",
            "assets": "Assets of all drafts",
            "assets_bytes": "Size of these in the archive",
            "zarrs": "Those of them that are Zarrs",
            "versions": "Published versions",
            "pending_assets": "Assets that the archive has not hashed yet, or not taken in",
            "waiting_versions": "Published versions that cannot be taken yet",
            "drifted_versions": "Published versions that the archive describes differently now",
            "failing_dandisets": "Dandisets that failed when they were last tried",
            "alarmed_dandisets": "Those of them that failed `alarm_after` times in a row or more",
            "vanished_dandisets": "Dandisets that are not in the archive any more, and kept",
            "embargoed_dandisets": "Dandisets under embargo that are mirrored, or kept",
        }
        self._gauges = {name: self._gauge(name, meaning) for name, meaning in of_held.items()}
        self._resting = self._gauge(
            "resting_dandisets", "Dandisets that the last poll left alone, as they failed lately"
        )
        self._store_bytes = self._gauge(
            "store_bytes", "Size of the store on disk, as last measured by `maintain`; NaN: not yet"
        )
        self._store_bytes.set(float("nan"))
        free = self._gauge("disk_free_bytes", "Room for the mirror on the disk of the store")
        free.set_function(self._free)
        self._gauge("disk_size_bytes", "Size of that disk").set_function(self._disk)
        written = self._gauge(
            "cache_written_timestamp_seconds",
            "When index and catalogue were last written to, in seconds since 1970; 0: there is none",
            "cache",
        )
        for name in CACHES:
            written.labels(name).set_function(partial(self._written, name))
        self._proofs = ProofGauges(self._gauge)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(PREFIX + name, meaning, labels, registry=self.registry)

    # --- what is told -------------------------------------------------------------------------------------------

    def job_began(self, job: JobName, settings: Settings) -> None:
        self._settings, self._at_work = settings, True
        self._running.labels(job).set(1)
        self._began.labels(job).set(self._now())
        if not self._held:
            self._read_all()

    def job_put_off(self, job: JobName, why: str) -> None:  # noqa: ARG002 - as every listener has it
        self._over(job)

    def asked(self, tally: Tally) -> None:
        for (kind, status), count in tally.answers.items():
            self._requests.labels(kind, status).inc(count)
        for kind, size in tally.bytes.items():
            self._received.labels(kind).inc(size)

    def polled(self, found: Poll) -> None:
        self._under_way = UnderWay()
        self._under_way.polled(found)
        self._resting.set(len(found.resting))

    def begun(self, identifier: str) -> None:
        self._under_way.begun(identifier)

    def done(self, outcome: Outcome) -> None:
        self._under_way.done(outcome)
        self._turns.labels(outcome.result).inc()
        self._touched.add(outcome.identifier)
        before = self._held.get(outcome.identifier)
        # A Dandiset that is new here may have been modified years before there was a mirror.
        if outcome.lag is not None and before is not None and before.mirrored:
            self._lags.observe(outcome.lag)
            self._last_lag.set(outcome.lag)

    def job_ended(self, report: JobReport) -> None:
        self._over(report.job)
        self._rounds.labels(report.job, _result(report)).inc()
        self._durations.labels(report.job).observe(report.seconds)
        if not report.trouble:
            self._last_success.labels(report.job).set(self._now())
        if not report.stopped:
            self._troubled.labels(report.job).set(bool(report.trouble))
        if report.maintained is not None:
            self._store_bytes.set(report.maintained.store_bytes)
        if report.job == "poll" and self._held:
            self._read(self._touched)
        else:
            self._read_all()  # a command typed by hand may have done something meanwhile
        self._touched = set()

    def _over(self, job: JobName) -> None:
        self._at_work = False
        self._running.labels(job).set(0)
        self._began.labels(job).set(0)

    # --- what is asked ------------------------------------------------------------------------------------------

    def _read_marks(self) -> None:
        """How the jobs went before this process was started."""
        for job, mark in read_job_marks(self._settings.store / "state").items():
            ended = moment_of(mark.ended)
            if ended is not None and not mark.trouble:
                self._last_success.labels(job).set(ended.timestamp())
            self._troubled.labels(job).set(mark.failed)
            if mark.store_bytes is not None:
                self._store_bytes.set(mark.store_bytes)

    def _read_all(self) -> None:
        store = self._opened()
        if store is not None:
            self._held = {state.identifier: _held(state) for state in store.states()}
            self._set()
            self._proofs.read(store)

    def _read(self, identifiers: set[str]) -> None:
        store = self._opened()
        if store is not None:
            self._held |= {one: _held(store.state(one)) for one in identifiers if one.isdecimal()}
            self._set()

    def _opened(self) -> Store | None:
        if self._store is None or self._store.root != self._settings.store:
            with contextlib.suppress(MirrorError, OSError):
                self._store = Store.open(self._settings.store)
        return self._store

    def _set(self) -> None:
        held = list(self._held.values())
        found = {
            "dandisets": sum(one.mirrored for one in held),
            "assets": sum(one.assets for one in held),
            "assets_bytes": sum(one.bytes for one in held),
            "zarrs": sum(one.zarrs for one in held),
            "versions": sum(one.versions for one in held),
            "pending_assets": sum(one.pending for one in held),
            "waiting_versions": sum(one.waiting for one in held),
            "drifted_versions": sum(one.drift for one in held),
            "failing_dandisets": sum(one.failures > 0 for one in held),
            "alarmed_dandisets": sum(one.failures >= self._settings.alarm_after for one in held),
            "vanished_dandisets": sum(one.vanished for one in held),
            "embargoed_dandisets": sum(one.embargoed for one in held),
        }
        for name, value in found.items():
            self._gauges[name].set(value)

    def _of_round(self, name: str) -> float:
        standing = self._under_way.standing()
        if name == "current":  # some that were begun may have been dropped
            return len(standing.current) if self._at_work else 0
        return float(getattr(standing, name))

    def _free(self) -> float:
        free = free_bytes_at(self._settings.store)
        return free if free is not None else float("nan")

    def _disk(self) -> float:
        found = file_system_of(self._settings.store)
        return found.f_blocks * found.f_frsize if found is not None else float("nan")

    def _written(self, name: CacheName) -> float:
        return cache_written(self._settings.store, name)


def _result(report: JobReport) -> str:
    if report.stopped:
        return "stopped"
    if report.trouble:
        return "broken_off"
    return "failed" if report.failed else "ok"
