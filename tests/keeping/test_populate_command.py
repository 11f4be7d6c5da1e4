"""What `dandi-mirror populate` says to people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mirror.cli import populate as command
from mirror.cli.output import Output
from mirror.keeping.plan import Amount, Asked
from mirror.keeping.populating import Got


def typed(mirror: Any, *args: str) -> Result:
    config = Path(mirror.folder).with_name("mirror.yaml")
    config.write_text(json.dumps(mirror.settings().model_dump(mode="json")))
    return CliRunner().invoke(command.populate, ["-c", str(config), *args])


def test_a_few_lines_say_what_came(mirror: Any) -> None:
    assert typed(mirror, mirror.one).stdout == "4 files, 1.3 kB: fetched\n4 files, 1.3 kB: held in all\n"
    assert typed(mirror, mirror.one).stdout == "4 files, 1.3 kB: here already\n4 files, 1.3 kB: held in all\n"


def test_what_could_not_be_had_has_a_line_of_its_own(mirror: Any) -> None:
    blob = mirror.archive.asset(mirror.one, "sub-1/b.nwb").blob
    mirror.archive.objects.delete_version(blob.key, mirror.archive.objects.latest(blob.key).version_id)
    lines = typed(mirror, mirror.one).stdout.splitlines()
    assert lines[0].startswith(f"{mirror.one}/sub-1/b.nwb  failed: ")
    assert lines[-2] == "1 file, 5 B: failed"


def test_options_that_contradict_each_other_are_refused(mirror: Any) -> None:
    for args in (("--from-releases", "--from-drafts"), ("--drop", "--budget", "1GB"), ("--drop",)):
        what = () if args == ("--drop",) else (mirror.one,)
        done = typed(mirror, *what, *args)
        assert getattr(done.exception, "exit_code", None) == 2


def test_giving_up_is_never_only_tried_and_done_all_the_same(mirror: Any) -> None:
    typed(mirror, mirror.one)
    done = typed(mirror, mirror.one, "--drop", "--dry-run")
    assert getattr(done.exception, "exit_code", None) == 2
    assert len(mirror.held()) == 4


def test_help_tells_how_to_name_things() -> None:
    said = CliRunner().invoke(command.populate, ["--help"]).stdout
    assert "populate --drop 000003" in said
    assert "--budget SIZE" in said


def test_while_it_works_it_shows_files_bytes_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("mirror.cli.populate.time.monotonic", lambda: now)
    printer = command._Printer(Output(as_json=False))
    assert printer._lines(80, 24) == ["Content: what is asked for"]
    printer.planned(Amount(4, 4_000_000))
    asked = Asked("d", "SHA256E-s1--" + "0" * 64, 1_000_000, "000001/a")
    printer.there(asked)
    now = 110.0
    printer.came(500_000)
    printer.came(500_000)
    printer.got(Got(asked, "fetched"))
    assert printer._lines(80, 24) == [
        "Content:  50%  2.0 MB of 4.0 MB, 20 s to go, 100.0 kB a second",
        "  2 of 4 files",
    ]
    assert [len(line) <= 20 for line in printer._lines(20, 24)] == [True, True]
