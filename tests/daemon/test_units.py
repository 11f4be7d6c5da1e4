"""What is shipped for systemd and cron: units that systemd takes, with commands that we take."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from mirror.cli.run import run
from mirror.config import Settings
from mirror.daemon.signals import HARD_END_AFTER

CONFIG = Path(__file__).parents[2] / "config"
UNITS = sorted((CONFIG / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
PROGRAM = "/usr/local/bin/dandi-mirror"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")


def values(unit: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


def options_of(command: list[str]) -> dict[str, object]:
    """What our command line makes of it; raises when it does not understand it."""
    assert command[1] == "run"
    # The settings would be read, and the command begin, only when it is invoked.
    context: click.Context = run.make_context("run", command[2:])
    return context.params


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_services_run_commands_that_there_are(unit: Path) -> None:
    (line,) = values(unit, "ExecStart")
    command = shlex.split(line)
    assert command[0] == PROGRAM
    params = options_of(command)
    assert params["config_file"] == Path("/etc/dandi-mirror/config.yaml")
    assert params["one_round"] is (values(unit, "Type") == ["oneshot"])


def test_cron_runs_a_command_that_there_is() -> None:
    lines = [
        line for line in (CONFIG / "cron" / "dandi-mirror").read_text().splitlines() if line and line[0] not in "#"
    ]
    (job,) = [line for line in lines if "=" not in line.split()[0]]
    *times, user, command = job.split(maxsplit=6)
    assert len(times) == 5
    assert user == "dandi-mirror"
    ours = shlex.split(command.partition("2>&1")[0])
    assert ours[0] == "dandi-mirror"
    assert options_of(ours)["one_round"] is True


def test_systemd_waits_longer_than_we_take_to_stop() -> None:
    longest = Settings().stop_seconds + HARD_END_AFTER
    for unit in SERVICES:
        (seconds,) = values(unit, "TimeoutStopSec")
        assert int(seconds) > longest


def test_the_timer_starts_a_service_that_there_is() -> None:
    (timer,) = [unit for unit in UNITS if unit.suffix == ".timer"]
    assert (timer.parent / values(timer, "Unit")[0]).is_file()


def test_units_hold_no_secret_but_name_a_file_for_them() -> None:
    for unit in SERVICES:
        assert values(unit, "EnvironmentFile") == ["-/etc/dandi-mirror/tokens"]
        assert not any("KEY" in value or "TOKEN" in value for value in values(unit, "Environment"))


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with a program that is on this machine."""
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, shutil.which("true") or ""))
    return tmp_path


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_them_without_a_word(unit: Path, installed: Path) -> None:
    command = ["systemd-analyze", "verify", "--man=no", str(installed / unit.name)]
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{installed}:"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    ours = [line for line in done.stderr.splitlines() if "dandi-mirror" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_they_may_do_little_more_than_they_need(unit: Path, installed: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(installed / unit.name)]
    told = subprocess.run(command, capture_output=True, text=True).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert exposure is not None, told
    assert float(exposure[1]) <= 1.5
