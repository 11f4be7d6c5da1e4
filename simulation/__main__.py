"""`scripts/simulate [--minutes M] [--seed S]`."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from simulation.disk import enter_own_mounts
from simulation.figures import table
from simulation.outcome import Outcome
from simulation.scale import WHOLE, Scale, of_minutes
from simulation.week import Say, Simulation

_MOST_TOLD = 40


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    enter_own_mounts("simulation", given)
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            del os.environ[name]  # everything asked for is on this machine
    # Being told to end is as Ctrl-C: what was started ends, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = _folder(options.keep)
    print(f"seed {seed}, in {folder}", flush=True)
    say = _say_since(time.monotonic())
    outcome = Simulation(folder, _scale(options), seed, say, keep=options.keep is not None).run()
    code = report(outcome, folder)
    if not code and not options.keep:
        shutil.rmtree(folder)
    return code


def report(outcome: Outcome, folder: Path) -> int:
    """Print the figures, and what is wrong; the exit code."""
    print(f"\nseed {outcome.seed}\n{table(outcome)}", flush=True)
    for told in outcome.wrong[:_MOST_TOLD]:
        print(f"WRONG: {told}", file=sys.stderr)
    if not outcome.wrong:
        return 0
    print(f"{len(outcome.wrong)} things are wrong; see {folder}", file=sys.stderr)
    return 1


def _folder(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="simulation-"))
    wanted.mkdir(parents=True, exist_ok=True)
    if any(wanted.iterdir()):
        raise SystemExit(f"{wanted} is not empty")
    return wanted.resolve()


def _scale(options: argparse.Namespace) -> Scale:
    scale = WHOLE if options.minutes is None else of_minutes(options.minutes)
    if options.dandisets is not None:
        scale = replace(scale, dandisets=options.dandisets, versions=options.dandisets)
    if options.assets is not None:
        scale = replace(scale, assets=options.assets)
    return scale


def _say_since(began: float) -> Say:
    def say(text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        print(f"{minutes:3}:{seconds:02}  {text}", flush=True)

    return say


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate", description="Let two mirrors follow an archive for a week, in bad weather."
    )
    parser.add_argument("--minutes", type=float, help="as much as fits into so many; default: the whole, about 40")
    parser.add_argument("--dandisets", type=int, help="how many the archive has at first, and as many versions")
    parser.add_argument("--assets", type=int, help="how many the archive has at first")
    parser.add_argument("--seed", type=int, help="the one an earlier run printed, for the same week")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work there, and leave everything")
    return parser


if __name__ == "__main__":
    sys.exit(main())
