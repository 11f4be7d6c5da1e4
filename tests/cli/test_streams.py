"""The program with a stdin, stdout or stderr that is not as usual."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mirror.archive.records import Instance
from mirror.store.state import DandisetState, Failure
from mirror.store.store import Store

from ..warm import warm_program


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One in which a Dandiset failed, for a reason that is not ASCII."""
    store = Store.open_or_create(tmp_path / "store", Instance("DEMO-DANDI", "https://demo-dandi.example.org"))
    when = "2026-11-21T15:34:00+00:00"
    store.save_state(DandisetState(identifier="000001", failure=Failure("BadAnswer", "größer → kleiner", when, when)))
    return store


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run it, where `mirror` is the program."""
    script = f'mirror() {{ "{sys.executable}" -m mirror "$@"; }}; {command}'
    return subprocess.run(["sh", "-c", script], env={**os.environ, **environment}, capture_output=True, check=False)


def test_a_terminal_that_is_not_utf_8_is_told_all_the_same(store: Store) -> None:
    ended = shell(f"mirror status --store {store.root}", PYTHONIOENCODING="latin-1")
    assert ended.returncode == 0, ended.stderr
    assert b"gr\xf6\xdfer \\u2192 kleiner" in ended.stdout


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- 2>&-"])
def test_what_is_told_goes_where_it_belongs_although_others_are_closed(store: Store, closed: str) -> None:
    usual = warm_program().run("status", "000001", "--store", str(store.root), cwd=store.root)
    ended = shell(f"mirror status 000001 --store {store.root} {closed}")
    assert (ended.returncode, ended.stdout.decode()) == (usual.returncode, usual.stdout)


def test_an_error_is_told_although_stdout_is_closed(store: Store) -> None:
    ended = shell(f"mirror status --store {store.root}/elsewhere >&-")
    assert ended.returncode == 10
    assert b"there is no store" in ended.stderr
