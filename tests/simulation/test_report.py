"""What a simulation says in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulation.__main__ import report
from simulation.figures import table
from simulation.memory import Trend
from simulation.outcome import Outcome
from simulation.plan import Event
from simulation.scale import WHOLE


def test_whatever_is_wrong_is_told_and_is_a_failure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    outcome = Outcome(WHOLE, 7)
    assert report(outcome, tmp_path) == 0
    outcome.wrong.append("000007: not mirrored: 0.260101.0000")
    assert report(outcome, tmp_path) == 1
    said = capsys.readouterr().err
    assert "WRONG: 000007: not mirrored: 0.260101.0000\n1 things are wrong; see " in said


def test_the_figures_tell_what_happened() -> None:
    outcome = Outcome(WHOLE, 7, changes=30, publications=2, struck={"503": 4, "reset": 1}, memory=Trend(80, 84.6))
    outcome.events += [Event(1, "storm"), Event(2, "storm"), Event(3, "full")]
    with outcome.timed("filling"):
        pass
    told = table(outcome)
    assert "2,000 Dandisets, 600,000 assets, 2,000 versions at first" in told
    assert "30 edits, 2 publications" in told
    assert "4 503, 1 reset" in told
    assert "2 storms, 0 outages, 0 requests never answered, 1 times a disk full" in told
    assert "80 MiB, later 85" in told
    assert "filling 0 s" in told
    assert told.endswith("nothing")
    outcome.disk = "not permitted"
    assert "(nothing can be mounted: not permitted)" in table(outcome)
