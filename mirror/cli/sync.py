"""`dandi-mirror sync`: mirror what is new in the archive."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record, Status, printable
from mirror.cli.progress import Progress, progress
from mirror.cli.publishing import PublishPrinter

if TYPE_CHECKING:
    from mirror.config_layers import Loaded
    from mirror.sync.engine import Report
    from mirror.sync.poll import Poll
    from mirror.sync.turn import Outcome

_STATUS = {
    "changed": Status.OK,
    "unchanged": Status.NOTNEEDED,
    "failed": Status.ERROR,
    "vanished": Status.IMPOSSIBLE,
    "embargoed": Status.IMPOSSIBLE,
}


@click.command()
@click.argument("dandisets", nargs=-1, metavar="[ID]...")
@click.option("--full", is_flag=True, help="Re-read everything, whatever the archive's timestamps say.")
@settings_options("store", "instance", "jobs")
@json_option
@log_level_option
def sync(dandisets: tuple[str, ...], full: bool, loaded: Loaded, as_json: bool) -> None:
    """Mirror the named Dandisets, or all that the settings select.

    Makes the store when there is none. Asks the archive what moved since the last time and touches only that. One line
    is printed for each Dandiset that changed or failed; each can be cloned from that moment on.

    \b
    dandi-mirror sync 000027
    dandi-mirror sync -c config/dandi.yaml --store /data/dandi -J 4
    dandi-mirror sync --full 000003      compare every version with the archive
    """
    from mirror.publish.publishing import Publisher
    from mirror.sync.dandiset import layout_of
    from mirror.sync.engine import sync as run

    # A folder that is there keeps its mode; so it must not stand even for an instant, then a kill, with too little.
    os.umask(0o022)
    identifiers = [dandiset_identifier(given) for given in dandisets]
    output = Output(as_json=as_json)
    with ExitStack() as stack:
        printer = _Printer(output, stack)
        publish_printer = PublishPrinter(output, loaded.settings.store, printer.working)
        publisher = stack.enter_context(Publisher(loaded.settings, layout_of(loaded.settings), publish_printer))
        report = run(
            loaded.settings,
            identifiers,
            everything=full,
            command=" ".join(["dandi-mirror sync", *identifiers, *(["--full"] if full else [])]),
            watcher=printer,
            follower=publisher,
        )
    publish_printer.end(publisher.published)
    _summarise(report, as_json=as_json)
    report.check()
    publisher.published.check()


def dandiset_identifier(given: str) -> str:
    """A Dandiset as people name it (`27`, `000027`, `DANDI:000027`), as the archive does."""
    identifier = given.upper().removeprefix("DANDI:")
    if not (identifier.isascii() and identifier.isdigit() and len(identifier) <= 6):
        raise click.BadParameter(f"{given!r} is no Dandiset identifier, such as 000027", param_hint="ID")
    return identifier.zfill(6)


class _Printer:
    """Prints what happens as it happens."""

    def __init__(self, output: Output, stack: ExitStack) -> None:
        self._output = output
        self._stack = stack
        self._progress: Progress | None = None

    def polled(self, found: Poll) -> None:
        if found.moved:
            self._progress = self._stack.enter_context(progress("Dandisets", len(found.moved), "Dandiset"))

    def working(self, how_far: str) -> None:
        if self._progress is not None:
            self._progress.describe(printable(how_far))

    def done(self, outcome: Outcome) -> None:
        self._output.record(_record(outcome), text=_text(outcome))
        for warning in outcome.warnings if not self._output.as_json else ():
            self._output.text(f"        note: {printable(warning)}")
        if self._progress is not None:
            self._progress.advance()


def _record(outcome: Outcome) -> Record:
    return Record(
        "sync",
        outcome.path or outcome.identifier,
        _STATUS[outcome.result],
        message=outcome.message,
        more={"dandiset": outcome.identifier, "result": outcome.result, "notes": list(outcome.warnings)},
    )


def _text(outcome: Outcome) -> str:
    word = {"failed": click.style("failed: ", fg="red")}.get(outcome.result, "")
    return f"{outcome.identifier}  {word}{printable(outcome.message)}"


def _summarise(report: Report, *, as_json: bool) -> None:
    """A line at the end: on stdout for people, on stderr where stdout is for scripts."""
    unchanged = report.still + report.count("unchanged")
    parts = [f"{report.count('changed')} changed", f"{unchanged} unchanged"]
    parts += [f"{count} {word}" for word in ("failed", "vanished", "embargoed") if (count := report.count(word))]
    print(f"{', '.join(parts)} in {report.seconds:.1f} s", file=sys.stderr if as_json else sys.stdout)
