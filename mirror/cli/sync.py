"""`dandi-mirror sync`: mirror what is new in the archive."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import click

from mirror.cli.live import bars_aside, live
from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record, Status, printable
from mirror.cli.progress import standing_lines
from mirror.cli.publishing import PublishPrinter

if TYPE_CHECKING:
    from types import TracebackType

    from mirror.archive.http import Tally
    from mirror.config_layers import Loaded
    from mirror.store.activity import ActivityFile, Standing
    from mirror.sync.engine import Report
    from mirror.sync.poll import Poll
    from mirror.sync.turn import Outcome
    from mirror.sync.under_way import UnderWay

_BEAT_SECONDS = 1.0
_MANY = 10
"""So many Dandisets to be worked on are told of beforehand."""

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
    from mirror.errors import Interrupted
    from mirror.publish.publishing import Publisher
    from mirror.store.activity import ActivityFile
    from mirror.sync.dandiset import layout_of
    from mirror.sync.engine import sync as run
    from mirror.sync.under_way import UnderWay

    # A folder that is there keeps its mode; so it must not stand even for an instant, then a kill, with too little.
    os.umask(0o022)
    identifiers = [dandiset_identifier(given) for given in dandisets]
    command = " ".join(["dandi-mirror sync", *identifiers, *(["--full"] if full else [])])
    settings, output, under_way = loaded.settings, Output(as_json=as_json), UnderWay()
    with ExitStack() as stack:
        printer = stack.enter_context(_Printer(output, under_way, ActivityFile(settings.store / "state", command)))
        publish_printer = PublishPrinter(output, settings.store, printer.publishing)
        publisher = stack.enter_context(Publisher(settings, layout_of(settings), publish_printer))
        try:
            report = run(settings, identifiers, everything=full, command=command, watcher=printer, follower=publisher)
        except KeyboardInterrupt:
            raise Interrupted("interrupted", hint=_how_far(under_way.standing())) from None
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
    """Prints what happens as it happens, and shows how far it is: on the terminal, and to `status`."""

    def __init__(self, output: Output, under_way: UnderWay, activity: ActivityFile) -> None:
        self._output = output
        self._under_way = under_way
        self._activity = activity
        self._since: str | None = None
        self._ended = threading.Event()
        self._beat = threading.Thread(target=self._keep_telling, name="activity", daemon=True)
        self._stack = ExitStack()
        self._changed: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        show = live(lambda columns, rows: standing_lines(self._under_way.standing(), columns, rows))
        self._changed = self._stack.enter_context(show)
        self._beat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._beat.join()
        self._stack.close()
        if self._since is not None:
            self._activity.remove()

    def asked(self, tally: Tally) -> None:
        pass

    def polled(self, found: Poll) -> None:
        # Only now is there a store, and it is ours.
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._under_way.polled(found)
        if len(found.moved) >= _MANY:
            self._output.text(f"{_counts(self._under_way.standing())}, {len(found.moved):,} to go")
        self._tell()

    def begun(self, identifier: str) -> None:
        self._under_way.begun(identifier)
        self._tell()

    def working(self, identifier: str, how_far: str) -> None:
        self._under_way.working(identifier, how_far)
        self._tell()

    def done(self, outcome: Outcome) -> None:
        self._under_way.done(outcome)
        with bars_aside():
            self._output.record(_record(outcome), text=_text(outcome))
            for warning in outcome.warnings if not self._output.as_json else ():
                self._output.text(f"        note: {printable(warning)}")
        self._tell()

    def publishing(self, how_far: str) -> None:
        self._under_way.publishing(how_far)
        self._tell()

    def _keep_telling(self) -> None:
        """What comes too soon after something else to be noted is noted a little later."""
        while not self._ended.wait(_BEAT_SECONDS):
            self._note()

    def _tell(self) -> None:
        self._changed()
        self._note()

    def _note(self) -> None:
        if self._since is not None:
            self._activity.note(self._under_way.standing, job="sync", job_since=self._since)


def _counts(standing: Standing) -> str:
    up_to_date = standing.done - standing.failed
    return f"{up_to_date:,} of {standing.total:,} Dandisets {'is' if up_to_date == 1 else 'are'} up to date"


def _how_far(standing: Standing) -> str | None:
    """What to tell whoever interrupted it."""
    return f"{_counts(standing)}; the next sync goes on from there" if standing.total else None


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
    parts += [f"{report.left} had no turn"] if report.left else []
    print(f"{', '.join(parts)} in {report.seconds:.1f} s", file=sys.stderr if as_json else sys.stdout)
