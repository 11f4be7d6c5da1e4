"""`dandi-mirror config show`, and what every command has in common, as a user sees it: in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror import __version__
from mirror.config import SETTINGS

from ..warm import warm_program

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `python -m mirror ARGS` in an empty folder."""

    def run(*args: str, program: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return warm_program().run(*args, cwd=tmp_path, env=env, code=program)

    return run


def failing_with(error: str) -> str:
    """A program that is `dandi-mirror` with a command `config` that raises `error`."""
    return f"""
import click
from mirror import errors
from mirror.cli import config, main
from mirror.cli.output import Output, Record

@click.command()
def failing():
    {error}

config.config = failing
main.main()
"""


# --- config show -------------------------------------------------------------------------------------------------


def test_every_setting_is_shown_with_its_value_and_origin(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dandi-mirror.yaml").write_text("archive:\n  instance: linc\n")
    done = run("config", "show", "-J", "7", DANDI_MIRROR_STORE="/srv/mirror")
    assert (done.returncode, done.stderr) == (0, "")
    first, *lines = done.stdout.splitlines()
    assert first == "settings file: dandi-mirror.yaml"
    columns = {line.split()[0]: (line.split()[1], " ".join(line.split()[2:])) for line in lines[:-1]}
    assert list(columns) == list(SETTINGS)
    assert columns["archive.instance"] == ("linc", "dandi-mirror.yaml:2")
    assert columns["archive.api_url"] == ("https://api.lincbrain.org/api", "from archive.instance")
    assert columns["store"] == ("/srv/mirror", "variable DANDI_MIRROR_STORE")
    assert columns["jobs"] == ("7", "option -J")
    assert columns["select.assets"] == ("null", "default")
    assert len({line.index(columns[line.split()[0]][0], len(line.split()[0])) for line in lines[:-1]}) == 1  # aligned


@pytest.mark.parametrize("as_json", [False, True])
def test_that_a_token_is_set_is_shown_but_never_the_token(run: Run, as_json: bool) -> None:
    args = ["config", "show", "-i", "dandi-sandbox", *(["--json"] if as_json else [])]
    without, with_one = (run(*args, **env) for env in ({}, {"DANDI_SANDBOX_API_KEY": "hunter2"}))
    assert "hunter2" not in with_one.stdout + with_one.stderr
    if as_json:
        assert [json.loads(done.stdout.splitlines()[-1])["set"] for done in (without, with_one)] == [False, True]
    else:
        assert "DANDI_SANDBOX_API_KEY is not set" in without.stdout
        assert "DANDI_SANDBOX_API_KEY is set" in with_one.stdout


def test_json_has_datalads_keys_one_object_a_line(run: Run) -> None:
    records = [json.loads(line) for line in run("config", "show", "--json", "--store", "x").stdout.splitlines()]
    assert all({"action", "path", "status", "type", "message"} <= record.keys() for record in records)
    assert {(record["action"], record["status"]) for record in records} == {("config-show", "ok")}
    store = next(record for record in records if record["path"] == "store")
    assert store["value"].endswith("/x")
    assert store["origin"] == {"kind": "option", "place": "--store"}


def test_wrong_settings_end_with_code_2_and_the_place(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("jops: 3\n")
    done = run("config", "show", "-c", "a.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "dandi-mirror: error: a.yaml:1: jops: no such setting; the nearest known one is `jobs`\n"
    )


# --- what every command has in common ----------------------------------------------------------------------------


def test_version_and_help_come_without_importing_the_engine() -> None:
    def python(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *args], capture_output=True, text=True)

    assert python("-m", "mirror", "--version").stdout == f"dandi-mirror {__version__}\n"
    program = "import sys; from mirror.cli.main import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    done = python("-c", program)
    assert all(f"\n  {name} " in done.stdout for name in ("sync", "status", "config", "demo"))
    assert not {"pydantic", "yaml", "requests", "msgspec", "tqdm"} & set(done.stderr.split())


def test_a_mistyped_command_is_a_usage_error_that_names_the_nearest(run: Run) -> None:
    done = run("conifg")
    assert done.returncode == 2
    assert "Did you mean 'config'?" in done.stderr


@pytest.mark.parametrize(
    ("error", "code"), [("NoStore", 10), ("Locked", 11), ("SomeFailed", 3), ("UsageError", 2), ("StoreError", 1)]
)
def test_a_foreseen_error_is_a_message_a_hint_and_its_exit_code(run: Run, error: str, code: int) -> None:
    done = run("config", program=failing_with(f"raise errors.{error}('it is so', hint='do that')"))
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == "dandi-mirror: error: it is so\n  do that\n"


def test_an_unforeseen_error_is_called_a_bug_and_shows_its_traceback_only_when_debugging(run: Run) -> None:
    program = failing_with("raise KeyError('what')")
    plain, debugging = run("config", program=program), run("-l", "debug", "config", program=program)
    assert plain.returncode == debugging.returncode == 1
    assert plain.stderr == (
        "dandi-mirror: error: KeyError: 'what'\n  this is a bug; run with -l debug for the traceback\n"
    )
    assert "Traceback (most recent call last)" in debugging.stderr


def test_an_interrupt_ends_with_130(run: Run) -> None:
    done = run("config", program=failing_with("raise KeyboardInterrupt"))
    assert done.returncode == 130
    assert "dandi-mirror: error: interrupted" in done.stderr


def test_ctrl_c_from_outside_ends_with_130(tmp_path: Path) -> None:
    program = failing_with("import time; print('ready', flush=True); time.sleep(60)")
    with subprocess.Popen(
        [sys.executable, "-c", program, "config"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in stderr


def test_a_reader_who_leaves_is_no_error_to_talk_about(tmp_path: Path) -> None:
    program = failing_with("[Output(as_json=True).record(Record('a', str(n))) for n in range(100_000)]")
    with subprocess.Popen(
        [sys.executable, "-c", program, "config"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["path"] == "0"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_a_broken_pipe_that_is_not_stdout_is_told(run: Run) -> None:
    done = run("config", program=failing_with("raise BrokenPipeError(32, 'Broken pipe')"))
    assert done.returncode == 1
    assert "BrokenPipeError" in done.stderr


def test_records_are_written_out_at_once(tmp_path: Path) -> None:
    program = failing_with("Output(as_json=True).record(Record('a', 'first')); import time; time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", program, "config"], cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        begin = time.monotonic()
        assert json.loads(process.stdout.readline())["path"] == "first"
        assert time.monotonic() - begin < 30
        process.kill()


def test_text_from_the_archive_cannot_steer_the_terminal(run: Run) -> None:
    record = r"Record('sync', 'a\x1b[2Jb\u202ec', message='two\nlines')"
    done = run("config", program=failing_with(f"Output(as_json=False).record({record})"))
    assert done.stdout == "sync(ok): a\\x1b[2Jb\\u202ec (dataset) [two\\nlines]\n"


def test_libraries_do_not_log_what_may_hold_secrets_even_when_debugging(run: Run) -> None:
    body = "import logging; [logging.getLogger(n).debug('from ' + n) for n in ('urllib3', 'mirror.archive')]"
    done = run("-l", "debug", "config", program=failing_with(body))
    assert "from mirror.archive" in done.stderr
    assert "from urllib3" not in done.stderr


def test_the_log_level_may_stand_before_the_command_or_after_it(run: Run) -> None:
    for args in (["-l", "loud", "config", "show"], ["config", "show", "-l", "loud"]):
        done = run(*args)
        assert done.returncode == 2
        assert "'loud' is not one of" in done.stderr
    assert run("config", "show", "-l", "debug").returncode == 0


def test_progress_is_drawn_on_a_terminal_only(run: Run, tmp_path: Path) -> None:
    body = """from mirror.cli.progress import progress
    with progress('counting', 3) as bar:
        bar.advance()
        bar.describe('apples')
"""
    assert run("config", program=failing_with(body)).stderr == ""

    terminal, other_end = os.openpty()
    termios.tcsetwinsize(other_end, (24, 80))
    command = [sys.executable, "-c", failing_with(body), "config"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=other_end) as process:
        os.close(other_end)
        drawn = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert process.returncode == 0
    assert "counting" in drawn


@pytest.mark.parametrize(
    "said", ["raise errors.BadAnswer({0}, hint={0})", "import logging; logging.getLogger('mirror').error({0})"]
)
def test_what_is_said_on_stderr_cannot_steer_the_terminal_either(run: Run, said: str) -> None:
    done = run("config", program=failing_with(said.format(r"'a\x1b[2Jb\u202ec\rd\nnext'")))
    assert "a\\x1b[2Jb\\u202ec\\rd\nnext\n" in done.stderr
    assert "\x1b" not in done.stderr


def test_what_the_machine_refuses_is_told_in_its_words(run: Run) -> None:
    done = run("config", program=failing_with(r"raise OSError(28, 'No space left on device', 'a\x1bb')"))
    assert (done.returncode, done.stderr) == (1, "dandi-mirror: error: No space left on device: a\\x1bb\n")
