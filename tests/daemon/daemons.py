"""A real daemon as a process, and what a test wants of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import yaml

from mirror.config_layers import load
from mirror.daemon.processes import descendants, kill_descendants
from mirror.daemon.rounds import Job
from mirror.demo import DemoArchive
from mirror.demo.faults import Fault
from mirror.demo.web import Answer, Request, Response
from mirror.store.job_marks import JobMark, JobName, read_job_marks
from mirror.store.state import DandisetState
from mirror.store.store import Store

PATIENCE = 20.0


def wait_until(true: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class Held(Fault):
    """A request that is answered when the test says so."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go = threading.Event()

    def apply(self, request: Request, answer: Answer) -> Response:
        self.asked.set()
        self.go.wait(60)
        return answer(request)


@dataclass
class World:
    """An archive, and a folder with the settings for a mirror of it."""

    archive: DemoArchive
    folder: Path
    settings: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = {
            "archive": {
                "instance": "demo-dandi",
                "api_url": self.archive.api_url,
                "s3_endpoint": self.archive.s3_endpoint,
                "settle_seconds": 0,
            },
            "store": str(self.folder / "store"),
            "jobs": 1,
            "schedule": {"poll": "1s", "jitter": "0s"},
            "stop_seconds": 10,
        }
        self.write()

    @property
    def file(self) -> Path:
        return self.folder / "settings.yaml"

    def write(self, **changes: object) -> None:
        """Write the settings, some of them changed."""
        self.settings |= changes
        self.file.write_text(yaml.safe_dump(self.settings))

    @property
    def root(self) -> Path:
        return self.folder / "store"

    @property
    def store(self) -> Store:
        return Store.open(self.root)

    def state(self, identifier: str) -> DandisetState:
        return self.store.state(identifier)

    def mark(self, job: JobName) -> JobMark | None:
        return read_job_marks(self.root / "state").get(job)

    def paths(self, identifier: str) -> list[str]:
        """What the draft of a Dandiset holds."""
        listed = self._git(identifier, "ls-tree", "-r", "--name-only", "draft")
        return [path for path in listed.split("\n") if path and not path.startswith(".")]

    def check(self) -> None:
        """The store is whole."""
        for identifier in self.store.dandisets():
            self._git(identifier, "fsck", "--strict", "--no-dangling")

    def _git(self, identifier: str, *args: str) -> str:
        repository = self.store.repository(identifier).path
        command = ["git", f"--git-dir={repository}", *args]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def command(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Any command, with these settings, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "mirror", *args, "-c", str(self.file)],
            cwd=self.folder,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def sync(self) -> None:
        """Mirror all there is, in this process: it takes a tenth of the time of a command."""
        Job(load(self.file, {}).settings).poll()
        assert self.store.dandisets()

    @contextmanager
    def daemon(self, *args: str, **env: str) -> Iterator[Daemon]:
        """`dandi-mirror run`; ended by force if the test has not ended it."""
        with (self.folder / f"{time.monotonic_ns()}.log").open("w+") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "mirror", "run", "-c", str(self.file), *args],
                cwd=self.folder,
                env={**os.environ, **env},
                stdout=log,
                stderr=log,
                start_new_session=True,  # as at a terminal of its own
            )
            daemon = Daemon(process, Path(log.name))
            try:
                yield daemon
            finally:
                if process.poll() is None:
                    kill_descendants(process.pid)
                    process.kill()
                process.wait(PATIENCE)


@dataclass
class Daemon:
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def lines(self, word: str) -> list[str]:
        return [line for line in self.log.splitlines() if word in line]

    def says(self, word: str, times: int = 1) -> None:
        """Wait until the log says it so often."""
        try:
            wait_until(lambda: len(self.lines(word)) >= times or self.process.poll() is not None, word)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.log}") from None
        assert len(self.lines(word)) >= times, self.log

    def polled(self, times: int = 1) -> None:
        """Wait for so many further polls to come to their end."""
        before = len(self.lines(" poll: "))
        self.says(" poll: ", before + times)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self, seconds: float = PATIENCE) -> int:
        """Wait for its end, with all its children; the exit code."""
        children = descendants(self.process.pid)
        code = self.process.wait(seconds)
        wait_until(lambda: not any(map(is_there, children)), "no child is left behind")
        return code


def is_there(pid: int) -> bool:
    """Whether a process lives; one that ended and is waited for by nobody does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def write_marks(world: World, *marks: JobMark) -> None:
    state = world.root / "state"
    (state / "jobs.json").write_bytes(msgspec.json.encode(list(marks)))
