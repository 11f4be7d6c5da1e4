"""Whether memory grows, and what a process takes."""

from __future__ import annotations

import os

from simulation.memory import FEWEST, Life, resident, trend


def test_memory_that_grows_and_grows_is_seen() -> None:
    found = trend([100 + 0.5 * number for number in range(300)])
    assert found is not None
    assert not found.flat


def test_memory_that_fills_caches_at_first_is_flat() -> None:
    found = trend([*range(100), *([100.0, 104.0, 97.0] * 70)])
    assert found is not None
    assert found.flat


def test_single_peaks_are_no_growth() -> None:
    found = trend([100.0] * 250 + [400.0] * 20 + [100.0] * 30)
    assert found is not None
    assert found.flat


def test_of_a_short_life_nothing_is_said() -> None:
    assert trend([100.0] * (FEWEST - 1)) is None


def test_a_process_is_sampled_while_it_lives() -> None:
    mine = Life(os.getpid())
    mine.own.append(resident(os.getpid()))
    assert mine.own[0] > 5
    gone = Life(2**22 + 1)
    gone.sample()
    assert gone.own == []
