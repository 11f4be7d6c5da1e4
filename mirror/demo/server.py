"""The demo archive in a process of its own: `python -m mirror.demo.server --preset demo`.

Prints one line of JSON with its addresses once it answers, and runs until interrupted.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime

from mirror.demo.archive import DemoArchive
from mirror.demo.samples import PRESETS


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    archive = DemoArchive(
        port=options.port, s3_port=options.s3_port, start=options.start, seed=options.seed, control=options.control
    )
    PRESETS[options.preset](archive)
    # Before anybody is told that it runs: who then sends a signal shall be heard.
    stop = _told_by_signals() if not options.until_eof else None
    with archive:
        print(json.dumps(_addresses(archive)), flush=True)
        if stop is None:
            sys.stdin.buffer.read()
        else:
            stop.wait()


def _addresses(archive: DemoArchive) -> dict[str, str]:
    return {
        "api_url": archive.api_url,
        "s3_endpoint": archive.s3_endpoint,
        "bucket": archive.bucket,
        "token": archive.token,
        "other_token": archive.other_token,
    }


def _told_by_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mirror.demo.server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="of the API; by default any free one")
    parser.add_argument("--s3-port", type=int, default=0, help="of the S3 server; by default any free one")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="demo", help="what the archive holds at first")
    parser.add_argument("--start", type=datetime.fromisoformat, help="stop the archive's clock at this time (ISO 8601)")
    parser.add_argument("--seed", type=int, help="make the archive's identifiers reproducible")
    parser.add_argument("--control", action="store_true", help="let other processes change the archive: POST /demo/…")
    parser.add_argument("--until-eof", action="store_true", help="stop when standard input ends, not at a signal")
    return parser


if __name__ == "__main__":
    main()
