"""`scripts/crash-test N [--seed S]`."""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from crashtest.looking import Loss
from crashtest.rounds import CrashTest
from mirror.demo import DemoProcess

_LOSSES = 10
"""After so many it is clear that something is wrong."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            del os.environ[name]  # everything asked for is on this machine
    # Dandisets that cannot be mirrored are part of the test.
    logging.disable(logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="crash-test-", dir=options.folder))
    began = time.monotonic()
    with DemoProcess("empty", start="2026-01-01T00:00:00+00:00", seed=seed) as archive:
        test = CrashTest(folder, archive, seed)
        _run(test, options.rounds)
    tally = test.tally
    print(
        f"{tally.rounds} rounds, {tally.repacks} with a repack due; {tally.killed} syncs were killed, the others had"
        f" ended before; of the repositories they were to move {tally.old} were found in the old state, {tally.new} in"
        f" the new; what they had started lived on for at most {tally.lingered:.2f} s; {len(tally.losses)} losses;"
        f" {time.monotonic() - began:.0f} s, seed {seed}"
    )
    if tally.losses:
        print(f"What was lost lies in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


def _run(test: CrashTest, rounds: int) -> None:
    test.measure()
    for number in range(1, rounds + 1):
        began = time.monotonic()
        try:
            told = test.round()
        except Loss as loss:
            told = f"LOST: {loss}"
        print(f"{number:4}/{rounds}  {time.monotonic() - began:4.1f} s  {told}", flush=True)
        if len(test.tally.losses) >= _LOSSES:
            return


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/crash-test", description="Kill a sync again and again, and look whether anything is lost."
    )
    parser.add_argument("rounds", type=int, nargs="?", default=200, help="how often (default 200)")
    parser.add_argument("--seed", type=int, help="the one an earlier run printed, for the same changes and kills")
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's temporary folder)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
