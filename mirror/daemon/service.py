"""The daemon: waits until something is due, and does it; for years.

The main thread does all the work, so that a signal reaches it there. APScheduler's thread notes what is due, and the
pulse's keeps watch.
"""

from __future__ import annotations

import faulthandler
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from mirror import __version__
from mirror.config import Settings
from mirror.daemon.activity_listener import ActivityNotes
from mirror.daemon.agenda import Agenda, Pauses, Slices
from mirror.daemon.alone import alone
from mirror.daemon.doorbell import Doorbell
from mirror.daemon.hook import Hook
from mirror.daemon.listening import JobReport, Listener, Listeners
from mirror.daemon.liveness import Liveness
from mirror.daemon.log_lines import LogLines
from mirror.daemon.marking import Marks
from mirror.daemon.notify import Notifier
from mirror.daemon.pulse import Beats, Pulse
from mirror.daemon.rounds import Job
from mirror.daemon.signals import Dropped, Signals
from mirror.daemon.times import Times, planned, seconds_until_next, when
from mirror.daemon.troubles import Troubles, lasting
from mirror.daemon.vitals import Vitals
from mirror.errors import Locked, MirrorError
from mirror.store.job_marks import JobName, moment_of

logger = logging.getLogger("mirror.daemon")

COMMAND = "dandi-mirror run"

ReadSettings = Callable[[], Settings]
"""Reads the settings again, from where they came from. Raises ConfigError with everything that is wrong."""


def serve(settings: Settings, read_again: ReadSettings) -> None:
    """Keep the mirror up to date until somebody says stop."""
    # Should the watchdog have to end us, the log shows where every thread was.
    faulthandler.enable()
    notifier = Notifier()
    with ExitStack() as stack:
        stack.enter_context(alone(settings.store, COMMAND))
        bell = stack.enter_context(Doorbell())
        service = Service(settings, read_again, notifier, bell)
        # Before any thread is started; and given back last, so that whatever comes after ends in order.
        stack.enter_context(service.signals)
        service.expose(settings)
        stack.callback(lambda: service.listeners.close())
        stack.enter_context(service.times)
        stack.enter_context(service.pulse())
        service.run()


class Service:
    """The daemon's loop, and what it goes by."""

    def __init__(self, settings: Settings, read_again: ReadSettings, notifier: Notifier, bell: Doorbell) -> None:
        self.settings = settings
        self._read_again = read_again
        self._notifier = notifier
        self._bell = bell
        self._began = time.monotonic()
        self._liveness = Liveness(self._began)
        self._agenda = Agenda(noted=bell.ring)
        self._slices = Slices()
        self._until_free = Pauses(1, 60)
        """of jobs that found the store taken"""
        self._until_well = Pauses(600, 6 * 3600)
        """of those that did not come to their end, and whose time may be once a week"""
        self._troubles = Troubles()
        self._marks = Marks(settings.store / "state")
        self._plan_again = False
        self._said_stopping = False
        self._at_work = False
        self._ticks_with_reload = 0
        self._jobs_done = 0
        self.signals = Signals(lambda: self.settings.stop_seconds, bell.ring)
        self.times = Times(self._agenda.due)
        self._lasting: list[Listener] = [
            Vitals(notifier, self._liveness),
            LogLines(),
            ActivityNotes(settings.store, COMMAND, self.times.next_times),
            Hook(seconds_left=lambda: self.signals.seconds_left),
        ]
        self._exposition: Listener | None = None
        self.listeners = self._all_listeners()

    def _all_listeners(self) -> Listeners:
        return Listeners([*self._lasting, *([self._exposition] if self._exposition is not None else [])])

    def pulse(self) -> Pulse:
        return Pulse(self._notifier, self._liveness, Beats(self._tick, self.times.look_again, self._clock_went_back))

    def run(self) -> None:
        """Until a signal says stop."""
        _log(logging.INFO, "started", _introduction(self.settings), version=__version__, store=str(self.settings.store))
        self._marks.read(datetime.now(UTC), planned(self.settings))
        self._agenda.due("poll")
        self._plan()
        self._notifier.ready()
        try:
            while self.signals.stopping is None:
                self._turn()
        except Dropped:
            _log(logging.WARNING, "dropped", "what was in hand was dropped; the next start goes on with it")
        self._say_stopping()
        self._say_goodbye()

    def _turn(self) -> None:
        """Once round the loop: settings, clock, and then a job, or a rest."""
        if self.signals.take_reload():
            self._ticks_with_reload = 0
            self._reload()
        if self._plan_again:
            self._plan_again = False
            self._plan()
        job = self._agenda.take()
        if job is None:
            self._rest()
        elif job == "poll" or self._has_store():
            self._do(job)

    def _rest(self) -> None:
        self._notifier.status(self._what_comes_next())
        self._liveness.rests(time.monotonic(), resting=True)
        self._bell.wait(self._agenda.seconds_to_wait())
        self._liveness.rests(time.monotonic(), resting=False)

    def _do(self, name: JobName) -> None:
        stop = _Stop(self.signals, self._agenda, name, time.monotonic() + self._slices.seconds(name))
        job = Job(self.settings, self.listeners, stop, COMMAND)
        self._at_work = True
        try:
            with self.signals.may_drop():
                report = perform(job, name)
        except Locked as locked:
            self._trouble(name, "Locked", locked.message)
            self._agenda.postpone(name, self._until_free.after_one_more(name))
            return
        finally:
            self._at_work = False
        self._until_free.over(name)
        self._jobs_done += 1
        self._conclude(report, made_room=stop.made_room and report.stopped)

    def _conclude(self, report: JobReport, *, made_room: bool) -> None:
        before = self._marks.marks.get(report.job)
        self._marks.ended(report)
        if made_room:
            self._slices.made_room(report.job)
            self._agenda.postpone(report.job)
            return
        self._slices.ended(report.job)
        if report.job == "poll":
            self._slices.polled(report.seconds)
        if report.stopped:
            return
        if report.trouble:
            since = before.troubled_since if before is not None and before.kind == report.kind else None
            self._trouble(report.job, report.kind, report.trouble, since, report.raised)
            self._try_again(report.job)
            return
        self._until_well.over(report.job)
        self._over(report.job, self._troubles.came_through(report.job, time.time()))

    def _try_again(self, job: JobName) -> None:
        """After a pause that grows; or at a poll's usual time, if that comes before."""
        pause = self._until_well.after_one_more(job)
        if job != "poll" or pause < seconds_until_next(self.settings.schedule, job, datetime.now(UTC)):
            self._agenda.postpone(job, pause)

    def _trouble(
        self, job: JobName, kind: str, why: str, since: str | None = None, raised: BaseException | None = None
    ) -> None:
        now, began = time.time(), moment_of(since)
        self._over(job, self._troubles.got_past(job, kind, now))
        for line in self._troubles.met(job, kind, why, now, since=began.timestamp() if began is not None else None):
            # To work by hand in between is everyone's right.
            level = logging.WARNING if kind == Locked.__name__ else logging.ERROR
            _log(level, "trouble", line, raised, job=job, kind=kind, trouble=why)

    def _over(self, job: JobName, lines: Iterable[str]) -> None:
        for line in lines:
            _log(logging.WARNING, "trouble-over", line, job=job)

    # --- times and settings ---------------------------------------------------------------------------------------

    def _plan(self) -> None:
        self.times.plan(self.settings.schedule, self._marks.marks, planned(self.settings))

    def _reload(self) -> None:
        """The settings from where they came from. Wrong ones change nothing."""
        self._notifier.reloading()
        try:
            settings = self._read_again()
            self._adopt(settings)
        except MirrorError as error:
            told = f"the settings cannot be used, and stay as they were: {error.message}"
            _log(logging.ERROR, "settings-refused", told)
        except Exception:
            logger.exception("the settings cannot be read, and stay as they were")
        self._notifier.ready()

    def _adopt(self, settings: Settings) -> None:
        if settings.store != self.settings.store:
            told = f"store is {settings.store} now: for that, the mirror has to be started again"
            _log(logging.ERROR, "settings-refused", f"{told}; until then it stays in {self.settings.store}")
            settings = settings.model_copy(update={"store": self.settings.store})
        if settings.metrics != self.settings.metrics:
            self.expose(settings)
        before, after = self.settings.flat(), settings.flat()
        changed = [key for key in after if after[key] != before.get(key)]
        told = f"changed: {', '.join(changed)}" if changed else "none changed"
        _log(logging.INFO, "settings-read", f"the settings were read again: {told}", changed=changed)
        self.settings = settings
        self._plan()
        self._agenda.hurry()  # what was in the way may be mended

    def expose(self, settings: Settings) -> None:
        """Answer for the figures where the settings say. If that address is taken, all stays as it was."""
        exposition, before = _exposition(settings, self._liveness), self._exposition
        self._exposition = exposition
        self.listeners = self._all_listeners()
        if before is not None:
            before.close()

    def _has_store(self) -> bool:
        return (self.settings.store / "state" / "store.json").is_file()

    # --- from the pulse's thread ----------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.listeners.tick()
        if self.signals.stopping is not None:
            self._say_stopping()
        elif self.signals.reload_waits:
            self._ticks_with_reload += 1
            if self._ticks_with_reload == 2:  # by the first, the main thread may just be getting to it
                _log(logging.INFO, "reload-waits", "the settings are read again when the job in hand has ended")

    def _clock_went_back(self) -> None:
        self._plan_again = True
        self._bell.ring()

    # --- what is said ---------------------------------------------------------------------------------------------

    def _say_stopping(self) -> None:
        """Once, by whichever thread comes first."""
        if self._said_stopping:
            return
        self._said_stopping = True
        self._notifier.stopping("finishing what is in hand")
        if (by := self.signals.stopping) is not None and self._at_work:
            seconds = self.settings.stop_seconds
            logger.info("%s: finishing what is in hand, for up to %d s; once more drops it", by.name, seconds)

    def _say_goodbye(self) -> None:
        by = self.signals.stopping.name if self.signals.stopping is not None else "itself"
        count, lasted = self._jobs_done, lasting(time.monotonic() - self._began)
        told = f"stopped by {by} after {lasted} and {count} job{'' if count == 1 else 's'}"
        _log(logging.INFO, "stopped", told, signal=by, jobs=count)

    def _what_comes_next(self) -> str:
        following = min(self.times.next_times().items(), key=lambda one: one[1], default=None)
        if following is None:
            return "waiting"
        job, at = following
        return f"waiting; {job} at {at.astimezone().isoformat(timespec='seconds')}"


def perform(job: Job, name: JobName) -> JobReport:
    """Do one job."""
    if name == "poll":
        return job.poll()
    if name == "recheck":
        return job.recheck(seconds_until_next(job.settings.schedule, name, datetime.now(UTC)))
    if name == "content":
        return job.content()
    if name == "verify":
        return job.verify(seconds_until_next(job.settings.schedule, name, datetime.now(UTC)))
    return job.maintain()


@dataclass
class _Stop:
    """Tells a job whether to stop: because we are told to, or to make room for a poll that is due."""

    signals: Signals
    agenda: Agenda
    job: JobName
    slice_ends: float
    made_room: bool = False

    def __call__(self) -> bool:
        if self.signals.stopping is not None:
            return True
        if self.job != "poll" and time.monotonic() >= self.slice_ends and self.agenda.waits("poll"):
            self.made_room = True
        return self.made_room


def _exposition(settings: Settings, liveness: Liveness) -> Listener | None:
    """Answers for the figures, where that is asked for."""
    if settings.metrics_address is None:
        return None
    from mirror.daemon.metrics_server import Exposition  # Prometheus's client is for those who ask for it

    return Exposition(settings, is_alive=lambda: liveness.is_alive(time.monotonic()))


def _introduction(settings: Settings) -> str:
    archive = settings.archive
    times = ", ".join(f"{job} {_said(when(settings.schedule, job))}" for job in planned(settings))
    return f"dandi-mirror {__version__}: {settings.store} mirrors {archive.instance} ({archive.api_url}); {times}"


def _log(level: int, event: str, message: str, raised: BaseException | None = None, **facts: object) -> None:
    logger.log(level, "%s", message, exc_info=raised, extra={"fields": {"event": event, **facts}})


def _said(time: str) -> str:
    return f"at {time!r}" if " " in time else f"every {time}"
