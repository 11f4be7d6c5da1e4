"""The two mirrors as processes: started, watched, killed, started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from crashtest.killing import kill_all, wait_for_others
from mirror.errors import SomeFailed
from mirror.store.job_marks import read_job_marks
from mirror.store.store import Store
from simulation.memory import Life

POLL_SECONDS = 2.0
_STOP_SECONDS = 60
_KILLED = -signal.SIGKILL
_BUG = "this is a bug"
_FALLS = 5
"""A mirror that ended by itself so many times will not do better the next time."""
_FORESEEN = (0, 1, SomeFailed.exit_code)
"""How a round may end by itself: the archive may have been down, and single Dandisets may have failed."""


@dataclass(frozen=True)
class Round:
    """One look at the archive and what followed from it, by the clock of this machine."""

    began: float
    ended: float
    code: int = 0


class Fallen(Exception):
    """A mirror ends by itself again and again."""


class Mirror:
    """A store, and who brings it up to date. `begin` it, and `end` it."""

    name: str
    jobs: int

    def __init__(self, folder: Path, archive: Mapping[str, object], root: Path | None = None) -> None:
        self.root = root or folder / self.name
        self.log = folder / f"{self.name}.log"
        self.rounds: list[Round] = []
        self.kills = 0
        self.lingered = 0.0
        self.wrong: list[str] = []
        self._settings = folder / f"{self.name}.yaml"
        self._settings.write_text(json.dumps(self._described(archive)))
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}

    def _described(self, archive: Mapping[str, object]) -> dict[str, object]:
        often = {"poll": f"{POLL_SECONDS:g}s", "recheck": "60s", "maintain": "45s"}
        schedule = {**often, "jitter": "0s"}
        return {"archive": archive, "store": str(self.root), "jobs": self.jobs, "schedule": schedule}

    def begin(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """Let it finish what it is at."""
        raise NotImplementedError

    def abandon(self) -> None:
        """End what still runs, however it goes: the simulation is over."""
        raise NotImplementedError

    def kill(self, *, alone: bool) -> bool:
        """Kill what is at work with SIGKILL, all of it or (`alone`) the first process; whether anything was."""
        raise NotImplementedError

    def look(self) -> None:
        """Take note of what happened since the last time."""
        if len(self.wrong) >= _FALLS:
            raise Fallen("; ".join(self.wrong))

    def store(self) -> Store | None:
        """None before it is laid out."""
        return Store.open(self.root) if (self.root / "state" / "store.json").exists() else None

    def progress(self) -> tuple[object, ...]:
        """Something that is another whenever anything has moved."""
        states = self.root / "state" / "dandisets"
        return len(self.rounds), self.kills, _changed(states), _changed(self.log)

    def rounds_within(self, since: float, until: float) -> int:
        """How many rounds began in that time."""
        return sum(since <= one.began <= until for one in self.rounds)

    def round_after(self, when: float) -> float:
        """When the first round ended that began after this: by then it has recovered."""
        return next((one.ended for one in list(self.rounds) if one.began >= when and one.code in (0, 3)), float("inf"))

    def bring_up_to_date(self) -> None:
        """By hand, when nobody else is at it: `dandi-mirror sync` tries everything, whatever rests."""
        process = self._start("sync")
        if code := process.wait():
            self.wrong.append(f"{self.name}: the last sync ended with {code}: {self.said()}")

    def said(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " | ".join(lines[-3:])

    def complaints(self) -> list[str]:
        """What should not be: how it ended, and what its log tells of errors that nobody foresaw."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        marks = [at for at, line in enumerate(lines) if _BUG in line or line.startswith("Traceback ")]
        return [*self.wrong, *(f"{self.name}: {' | '.join(lines[max(0, at - 1) : at + 1])}" for at in marks)]

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return self._started(output, [*arguments, "-c", str(self._settings)])

    def _started(self, output: IO[bytes], arguments: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "mirror", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
        )

    def _strike(self, process: subprocess.Popen[bytes], *, alone: bool) -> None:
        # Not waited for yet, so its number cannot be another's.
        if alone:
            process.kill()
        else:
            kill_all(process.pid)
        self.kills += 1

    def _see_it_off(self, session: int) -> None:
        """All that a killed mirror had started goes after it, by itself."""
        try:
            self.lingered = max(self.lingered, wait_for_others(session))
        except TimeoutError as late:
            self.wrong.append(f"{self.name}: {late}")


class Timer(Mirror):
    """`dandi-mirror run --once`, again and again, as cron or a timer has it."""

    name, jobs = "timer", 1

    def __init__(self, folder: Path, archive: Mapping[str, object], root: Path | None = None) -> None:
        super().__init__(folder, archive, root)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def abandon(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self.kill(alone=False)
            self._thread.join()

    def kill(self, *, alone: bool) -> bool:
        with self._lock:
            if self._process is None or self._process.returncode is not None:
                return False
            self._strike(self._process, alone=alone)
            return True

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.time()
            with self._lock:
                self._process = self._start("run", "--once")
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            with self._lock:
                code = self._process.wait()
            self.rounds.append(Round(began, time.time(), code))
            if code == _KILLED:
                self._see_it_off(self._process.pid)
            elif code not in _FORESEEN:
                self.wrong.append(f"{self.name}: a round ended with {code}: {self.said()}")
            self._stop.wait(POLL_SECONDS)


class Daemon(Mirror):
    """`dandi-mirror run`, started again whenever it is killed, as systemd does."""

    name, jobs = "daemon", 2

    def __init__(self, folder: Path, archive: Mapping[str, object], root: Path | None = None) -> None:
        super().__init__(folder, archive, root)
        self.lives: list[Life] = []
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        self._process = self._start("run")
        self.lives.append(Life(self._process.pid))

    def kill(self, *, alone: bool) -> bool:
        if self._process is None or self._process.poll() is not None:
            return False
        self._strike(self._process, alone=alone)
        self._process.wait()
        self._see_it_off(self._process.pid)
        self.begin()
        return True

    def abandon(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._strike(self._process, alone=False)
            self._process.wait()

    def look(self) -> None:
        super().look()
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            self.wrong.append(f"{self.name}: it ended by itself with {code}: {self.said()}")
            self.begin()
        self.lives[-1].sample()
        mark = read_job_marks(self.root / "state").get("poll")
        if mark is None or mark.started is None or mark.ended is None:
            return
        code = 0 if mark.ok else 1 if mark.trouble else SomeFailed.exit_code
        last = Round(_seconds(mark.started), _seconds(mark.ended), code)
        if not self.rounds or self.rounds[-1] != last:
            self.rounds.append(last)

    def end(self) -> None:
        """As systemd ends it."""
        assert self._process is not None
        self._process.terminate()
        try:
            code = self._process.wait(2 * _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            kill_all(self._process.pid)
            self.wrong.append(f"{self.name}: it did not end within {2 * _STOP_SECONDS} s of SIGTERM: {self.said()}")
            return
        if code:
            self.wrong.append(f"{self.name}: told to end, it ended with {code}: {self.said()}")
        self._see_it_off(self._process.pid)


def _changed(path: Path) -> int:
    """When a file or folder last changed; 0 when there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _seconds(time_of_mark: str) -> float:
    return datetime.fromisoformat(time_of_mark).timestamp()
