"""What stands at the bottom of a terminal while work goes on."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import click
import pyte
import pytest

from mirror.cli.progress import cut, duration, standing_lines
from mirror.store.activity import Standing, Turn

SINCE = "2026-11-21T15:34:17+00:00"


def busy(turns: int = 2, **more: object) -> Standing:
    current = tuple(
        Turn(f"{number:06d}", SINCE, f"draft: {number},000 of 9,000 assets listed") for number in range(1, turns + 1)
    )
    facts = {"total": 2000, "done": 1204, "per_minute": 12.34, "seconds_to_go": 3725.0, **more}
    return Standing(current=current, **facts)  # type: ignore[arg-type]


def test_the_bar_comes_first_then_what_is_worked_on() -> None:
    bar, first, second = standing_lines(busy(), 100, 24)
    assert bar.startswith("Dandisets:  60% ")
    assert bar.endswith(" 1,204 of 2,000, 1 h 2 min to go, 12.3 a minute")
    assert (first, second) == (
        "  000001  draft: 1,000 of 9,000 assets listed",
        "  000002  draft: 2,000 of 9,000 assets listed",
    )


def test_failures_and_those_at_rest_are_told() -> None:
    (bar,) = standing_lines(busy(0, failed=3, resting=5), 120, 24)
    assert click.unstyle(bar).endswith("1,204 of 2,000, 1 h 2 min to go, 3 failed, 5 resting, 12.3 a minute")


@pytest.mark.parametrize(
    ("rate", "shown"), [(0.125, "0.125"), (12.34, "12.3"), (99.96, "100"), (999.6, "1,000"), (1550.0, "1,550")]
)
def test_how_many_a_minute_is_told_in_plain_figures(rate: float, shown: str) -> None:
    (bar,) = standing_lines(busy(0, per_minute=rate), 120, 24)
    assert bar.endswith(f" to go, {shown} a minute")


def test_it_is_done_when_all_of_it_is() -> None:
    assert standing_lines(busy(0, done=1999), 80, 24)[0].startswith("Dandisets:  99% ")
    assert standing_lines(busy(0, done=2000), 80, 24)[0].startswith("Dandisets: 100% ")


@pytest.mark.parametrize("columns", range(1, 130))
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    for line in standing_lines(busy(failed=3, resting=2, doing="superdataset dandisets"), columns, 24):
        assert len(click.unstyle(line)) <= columns


@pytest.mark.parametrize("rows", [1, 3, 5, 10, 50])
def test_there_are_no_more_lines_than_fit(rows: int) -> None:
    lines = standing_lines(busy(40), 80, rows)
    assert len(lines) <= max(rows - 1, 2)
    if rows > 4:
        assert lines[-1] == f"  … and {40 - (len(lines) - 2)} more"


def test_before_the_archive_has_answered_it_says_what_it_waits_for() -> None:
    assert standing_lines(Standing(doing="asking the archive"), 80, 24) == ["Dandisets: asking the archive"]


def test_colours_are_left_out_where_nobody_wants_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b[31m3 failed" in standing_lines(busy(0, failed=3), 120, 24)[0]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in standing_lines(busy(0, failed=3), 120, 24)[0]


def test_what_others_worded_cannot_steer_the_terminal() -> None:
    standing = Standing(total=2, current=(Turn("000001", SINCE, "a\x1b[2Jb\nc"),))
    assert standing_lines(standing, 80, 24)[1] == "  000001  a\\x1b[2Jb\\nc"


def test_wide_characters_take_two_columns() -> None:
    assert cut("脳のデータ", 10) == "脳のデータ"
    assert cut("脳のデータ", 7) == "脳のデ…"
    assert cut("abcdef", 4) == "abc…"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (95, "1 min 35 s"), (3600, "1 h"), (3725, "1 h 2 min"),
     (12 * 60 + 7, "12 min"), (86_400 * 3 + 7_300, "3 d 2 h"), (86_400 * 30, "30 d"), (-5, "0 s")],
)  # fmt: skip
def test_times_are_told_in_their_two_largest_units(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


# --- on a terminal -------------------------------------------------------------------------------------------------

WORK = """if True:
    import logging, sys, threading, time
    from mirror.cli import logs
    from mirror.cli.live import live
    from mirror.cli.output import Output
    from mirror.cli.progress import standing_lines
    from mirror.store.activity import Standing, Turn

    logs.set_level("info")
    output, done = Output(as_json=False), 0

    def lines(columns, rows):
        turns = tuple(Turn(f"{n:06d}", "", f"step {done}") for n in range(1, 4))
        return standing_lines(Standing(total=200, done=done, current=turns), columns, rows)

    def log():
        for number in range(100):
            logging.getLogger("mirror").info("log %d", number)
            time.sleep(0.002)

    other = threading.Thread(target=log)
    with live(lines) as changed:
        other.start()
        for done in range(100):
            output.text(f"line {done}")
            changed()
            time.sleep(0.002)
        other.join()
        sys.stdin.readline()
    output.text("the end")
"""


def on_terminal(folder: Path, columns: int, rows: int, **env: str) -> tuple[list[str], list[str]]:
    """What the terminal shows when the work is nearly done, and at the end."""
    terminal, other_end = os.openpty()
    termios.tcsetwinsize(other_end, (rows, columns))
    silent = termios.tcgetattr(other_end)
    silent[3] &= ~termios.ECHO  # what we send is not to be seen
    termios.tcsetattr(other_end, termios.TCSANOW, silent)
    screen = pyte.HistoryScreen(columns, rows, history=1000)
    stream = pyte.ByteStream(screen)
    with subprocess.Popen(
        [sys.executable, "-c", WORK],
        cwd=folder,
        env={**os.environ, "TERM": "xterm", **env},
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
    ) as process:
        os.close(other_end)
        middle: list[str] = []
        while select.select([terminal], [], [], 30)[0]:
            try:
                stream.feed(os.read(terminal, 65536))
            except OSError:  # Linux's way to say that the other end is closed
                break
            if not middle and {"line 99", "INFO: log 99"} <= set(shown(screen)):
                enough = time.monotonic() + 1.2  # twice as long as until the next time that it is drawn
                while time.monotonic() < enough and not shown(screen)[-1].endswith("step 99"):
                    if select.select([terminal], [], [], 0.05)[0]:
                        stream.feed(os.read(terminal, 65536))
                middle = shown(screen)
                os.write(terminal, b"\n")
        process.wait(30)
    os.close(terminal)
    return middle, shown(screen)


def shown(screen: pyte.HistoryScreen) -> list[str]:
    """All lines, from those that have scrolled away on."""
    above = ["".join(line[column].data for column in range(screen.columns)) for line in screen.history.top]
    return [line.rstrip() for line in [*above, *screen.display] if line.strip()]


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (20, 6)])
def test_other_lines_are_printed_above_it_and_nothing_is_left_of_it(tmp_path: Path, columns: int, rows: int) -> None:
    middle, end = on_terminal(tmp_path, columns, rows)
    bar = next(place for place, line in enumerate(middle) if line.startswith("Dandisets:"))
    assert [line[:8] for line in middle[bar + 1 :]] == ["  000001", "  000002", "  000003"]
    printed = [line for line in end if line]
    assert sorted(printed) == sorted(
        [*(f"line {number}" for number in range(100)), *(f"INFO: log {number}" for number in range(100)), "the end"]
    )
    assert [line for line in printed if line.startswith("line")] == [f"line {number}" for number in range(100)]


def test_a_terminal_that_cannot_move_its_cursor_is_spared(tmp_path: Path) -> None:
    middle, end = on_terminal(tmp_path, 80, 24, TERM="dumb")
    assert not any("Dandisets" in line for line in [*middle, *end])
