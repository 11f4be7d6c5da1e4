"""`dandi-mirror status --watch`, as it is seen on a terminal."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyte
import pytest

from mirror.archive.records import Instance
from mirror.cli.status_text import shown_time
from mirror.cli.watch import screen_lines
from mirror.config import Settings
from mirror.store.activity import ActivityFile, Standing, Turn
from mirror.store.feed import Change, Feed
from mirror.store.glance import Glances
from mirror.store.job_marks import JobMark, write_job_mark
from mirror.store.state import DandisetState, Failure, Holding
from mirror.store.store import Store

from ..warm import warm_program

NOW = datetime.now(UTC).replace(microsecond=0)


def ago(**time: int) -> str:
    return (NOW - timedelta(**time)).isoformat()


def save(store: Store, number: int, failures: int = 0) -> None:
    failure = Failure(
        "BadAnswer", f"Dandiset {number:06d}, version draft: nonsense", ago(days=2), ago(hours=1), failures
    )
    store.save_state(
        DandisetState(
            identifier=f"{number:06d}",
            synced=ago(minutes=5),
            holding=Holding("d1", ("0.1.0",), ago(hours=1), 3, 30),
            failure=failure if failures else None,
        )
    )


def change(serial: int) -> Change:
    """Every other one is the first of its Dandiset."""
    return Change(
        serial=serial,
        time=ago(minutes=30),
        dandiset=f"{serial:06d}",
        version="draft",
        old="d0" if serial % 2 else None,
        new="d1",
        added=3,
        modified=0,
        removed=0,
        renamed=0,
        assets=3,
        bytes=30,
        bytes_changed=0,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two hundred Dandisets, forty of which fail, some for long; a poll that went well, and a recheck that did not."""
    root = tmp_path_factory.mktemp("model") / "store"
    store = Store.open_or_create(root, Instance("DEMO-DANDI", "https://demo-dandi.example.org"))
    for number in range(1, 201):
        save(store, number, number // 5 if number % 5 == 0 else 0)
    with Feed(store.changes) as feed:
        feed.append(change(serial) for serial in range(1, 101))
    state = store.root / "state"
    poll = {
        "started": ago(minutes=6),
        "ended": ago(minutes=5),
        "seconds": 61.0,
        "counts": {"changed": 3, "unchanged": 197},
    }
    write_job_mark(state, JobMark(job="poll", since=ago(days=9), **poll))  # type: ignore[arg-type]
    trouble = {"kind": "ArchiveDown", "trouble": "no answer", "troubled_since": ago(days=1), "troubled_count": 7}
    failed = {"started": ago(hours=3), "ended": ago(hours=3), "seconds": 9.0, "ok": False, **trouble}
    write_job_mark(state, JobMark(job="recheck", since=ago(days=9), **failed))  # type: ignore[arg-type]
    return store


@pytest.fixture
def store(model: Store, tmp_path: Path) -> Store:
    shutil.copytree(model.root, tmp_path / "store", symlinks=True)
    return Store.open(tmp_path / "store")


@pytest.fixture
def settings(store: Store) -> Settings:
    return Settings.model_validate({"store": store.root, "alarm_after": 20})


def at_work(store: Store, turns: int = 3) -> ActivityFile:
    file = ActivityFile(store.root / "state", "dandi-mirror run")
    current = tuple(
        Turn(f"{number:06d}", ago(minutes=1), "draft: 5 of 9 assets listed") for number in range(1, turns + 1)
    )
    file.note(lambda: Standing(total=200, done=50, per_minute=10.0, seconds_to_go=900, current=current), job="poll")
    return file


def drawn(store: Store, settings: Settings, columns: int = 100, rows: int = 40) -> list[str]:
    return screen_lines(Glances(store).look(), store.facts, settings, columns, rows, datetime.now(UTC))


def test_it_tells_what_is_done_what_fails_and_what_changed(store: Store, settings: Settings) -> None:
    at_work(store)
    lines = drawn(store, settings, columns=200)
    assert lines[0] == f"{store.root}: mirror of DEMO-DANDI (https://demo-dandi.example.org)"
    assert lines[1] == "200 Dandisets, 200 versions, 600 assets, 6.0 kB in the archive; 40 failed"
    assert lines[2] == "lag: the last 50 changes were here after 30 min (median), 30 min at most"
    text = "\n".join(lines)
    assert f"at work: `dandi-mirror run`, process {os.getpid()} on " in text
    assert "  Dandisets:  25% " in text
    assert "    000002  draft: 5 of 9 assets listed" in text
    assert "took 1 min 1 s: 3 changed, 197 unchanged; at work now" in text
    assert "failed 7 times since " in text
    failing = lines[lines.index("Failing") + 1 :]
    assert failing[0].startswith("000200  ALARM 40 times since ")
    assert failing[0].endswith(": version draft: nonsense")
    assert any(line.endswith("000100  draft           the first: 3 added") for line in failing)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 12, 17, 24, 50, 200])
@pytest.mark.parametrize("columns", [1, 10, 40, 80, 200])
def test_it_fits_any_terminal(store: Store, settings: Settings, rows: int, columns: int) -> None:
    at_work(store, turns=30)
    lines = drawn(store, settings, columns, rows)
    assert len(lines) == rows
    assert max(map(len, lines)) <= columns
    assert lines[-1].endswith("q ends"[:columns]) or columns < 40


@pytest.mark.parametrize("text", ["soon", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_makes_no_sense_is_shown_as_it_is(text: str) -> None:
    assert shown_time(text) == text


def test_what_failed_is_seen_on_a_narrow_terminal_too(store: Store, settings: Settings) -> None:
    for number in range(1000, 1020):
        store.save_state(DandisetState(identifier=f"{number:06d}"))
    line = drawn(store, settings, columns=80)[1]
    assert "; 40 failed; 20 n" in line


def test_what_there_is_no_room_for_is_counted(store: Store, settings: Settings) -> None:
    lines = drawn(store, settings, rows=24)
    shown = [line for line in lines if " times since " in line and line[:6].isdecimal()]
    assert f"… and {40 - len(shown)} more" in lines
    assert "Last changes (UTC)" in lines  # failures do not drive them out


def test_nobody_at_work_is_told(store: Store, settings: Settings) -> None:
    assert "nobody is at work here" in drawn(store, settings)


def test_a_daemon_that_waits_tells_when_it_goes_on(store: Store, settings: Settings) -> None:
    file = ActivityFile(store.root / "state", "dandi-mirror run")
    soon = (NOW + timedelta(minutes=5)).isoformat()
    file.note(Standing, next_jobs={"poll": soon, "recheck": soon}, at_once=True)
    lines = drawn(store, settings)
    assert any(line.startswith("waiting: `dandi-mirror run`, process ") for line in lines)
    assert any(line.startswith("poll") and "; next " in line for line in lines)


# --- on a terminal -------------------------------------------------------------------------------------------------


class Terminal:
    """A terminal in which the command runs."""

    def __init__(self, folder: Path, columns: int, rows: int, *args: str) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.raw = b""
        self._stream = pyte.ByteStream(self.screen)
        self._end, other = os.openpty()
        termios.tcsetwinsize(other, (rows, columns))
        self.before = termios.tcgetattr(other)
        self.other = other
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mirror", "status", "--store", "store", "--watch", *args],
            cwd=folder,
            env={**os.environ, "TERM": "xterm"},
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )

    def read(self, seconds: float = 0.05) -> None:
        while select.select([self._end], [], [], seconds)[0]:
            some = os.read(self._end, 65536)
            self.raw += some
            self._stream.feed(some)

    def shows(self, true: Callable[[list[str]], bool]) -> list[str]:
        """Wait until the screen is so."""
        end = time.monotonic() + 20
        while True:
            self.read()
            lines = [line.rstrip() for line in self.screen.display]
            if true(lines):
                return lines
            assert time.monotonic() < end, "\n".join(lines)

    def press(self, keys: bytes) -> None:
        os.write(self._end, keys)

    def resize(self, columns: int, rows: int) -> None:
        termios.tcsetwinsize(self.other, (rows, columns))
        self.screen.resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def ends(self) -> int:
        code = self.process.wait(20)
        self.read()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        os.close(self.other)
        os.close(self._end)


@contextmanager
def terminal(folder: Path, columns: int = 90, rows: int = 20, *args: str) -> Iterator[Terminal]:
    found = Terminal(folder, columns, rows, *args)
    try:
        yield found
    finally:
        found.close()


def is_drawn(lines: list[str]) -> bool:
    return lines[-1].endswith("q ends")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("how", ["q", "qq", "ctrl-c", "ctrl-d", "SIGINT", "SIGTERM"])
def test_it_ends_when_it_is_told_to_and_gives_the_terminal_back(tmp_path: Path, how: str) -> None:
    with terminal(tmp_path) as shown:
        shown.shows(is_drawn)
        assert shown.raw.startswith(b"\x1b[?1049h")  # what was on the terminal before is there again afterwards
        assert b"\n\x1b[J" not in shown.raw  # nothing scrolls
        if how.startswith("SIG"):
            shown.process.send_signal(getattr(signal, how))
        else:
            shown.press({"q": b"q", "qq": b"qq", "ctrl-c": b"\x03", "ctrl-d": b"\x04"}[how])
        if how == "ctrl-c":  # the terminal is not this session's, so its driver has nobody to tell
            time.sleep(0.3)
            if shown.process.poll() is None:
                shown.process.send_signal(signal.SIGINT)
        assert shown.ends() == (0 if how != "SIGTERM" else 128 + signal.SIGTERM)
        assert shown.raw.endswith(b"\x1b[?25h\x1b[?1049l")
        assert termios.tcgetattr(shown.other) == shown.before


def test_it_is_drawn_anew_when_something_changed_and_when_the_terminal_did(tmp_path: Path, store: Store) -> None:
    with terminal(tmp_path) as shown:
        shown.shows(lambda lines: is_drawn(lines) and "200 Dandisets" in lines[1])
        save(store, 201)
        shown.shows(lambda lines: "201 Dandisets" in lines[1])
        shown.resize(60, 12)
        lines = shown.shows(lambda lines: is_drawn(lines) and len(lines) == 12 and len(lines[1]) <= 60)
        assert lines[1].startswith("201 Dandisets")
        shown.press(b"x")  # means nothing
        shown.read(0.3)
        assert shown.process.poll() is None
        shown.press(b"q")
        assert shown.ends() == 0


@pytest.mark.usefixtures("store")
def test_some_dandisets_may_be_watched_alone(tmp_path: Path) -> None:
    with terminal(tmp_path, 90, 20, "5", "200") as shown:
        lines = shown.shows(is_drawn)
        assert lines[1].startswith("2 Dandisets, ")
        assert [line[:6] for line in lines if line[:6].isdecimal()][:2] == ["000200", "000005"]
        assert any(re.match(r"000005  at [-\d: ]+, again from .*: version draft", line) for line in lines)
        shown.press(b"q")
        assert shown.ends() == 0


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("args", [["--watch"], ["--watch", "--json"]])
def test_without_a_terminal_there_is_nothing_to_keep_on_screen(tmp_path: Path, args: list[str]) -> None:
    done = warm_program().run("status", "--store", "store", *args, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--watch is for a terminal" in done.stderr
