"""How publishing is told, to people and to programs: for the commands that do it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mirror.cli.output import Output, Record, Status, printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mirror.publish.hosts import HostOutcome
    from mirror.publish.publishing import Published
    from mirror.publish.superdatasets import Written

_NAMED = 5


class PublishPrinter:
    """Prints what happens as it happens."""

    def __init__(self, output: Output, root: Path, describe: Callable[[str], None]) -> None:
        self._output = output
        self._root = str(root)
        self._describe = describe

    def publishing(self, how_far: str) -> None:
        self._describe(how_far)

    def superdataset(self, written: Written) -> None:
        late = [f"{name} came too late for its place in the chain of releases" for name in written.late]
        record = Record(
            "publish",
            written.path,
            message=_of_superdataset(written),
            more={
                "superdataset": written.name,
                "draft": written.draft,
                "releases": list(written.releases),
                "notes": late,
            },
        )
        self._output.record(record, text=f"{written.name}  {printable(record.message)}")
        for note in late:
            self._output.text(f"        note: {printable(note)}")

    def host(self, outcome: HostOutcome) -> None:
        if outcome.ok and not (outcome.pushed or outcome.releases or outcome.opened or outcome.hidden):
            status = Status.NOTNEEDED
        else:
            status = Status.OK if outcome.ok else Status.ERROR
        more = {
            "host": outcome.host,
            "pushed": outcome.pushed,
            "created": outcome.created,
            "failures": outcome.failures,
            "held_back": outcome.held_back,
        }
        record = Record("push", outcome.host, status, "sibling", _of_host(outcome), more)
        if self._output.as_json or status is not Status.NOTNEEDED:
            self._output.record(record, text=f"{outcome.host}  {printable(record.message)}")
        for kind, reasons in (("failed", outcome.failures), ("held back", outcome.held_back)):
            word = click.style(kind, fg="red") if kind == "failed" else kind
            for name, why in list(reasons.items())[:_NAMED]:
                self._output.text(f"        {name} {word}: {printable(why)}")
            if len(reasons) > _NAMED:
                self._output.text(f"        … and {len(reasons) - _NAMED} more {kind}")

    def end(self, published: Published) -> None:
        """What a person should know besides."""
        for problem in published.problems:
            none: dict[str, object] = {"superdataset": None, "draft": None, "releases": [], "notes": []}
            record = Record("publish", self._root, Status.ERROR, message=problem, more=none)
            self._output.record(record, text=f"{click.style('failed: ', fg='red')}{printable(problem)}")
        if (waiting := waits(published)) is not None:
            print(f"note: {printable(waiting)}", file=sys.stderr if self._output.as_json else sys.stdout)


def waits(published: Published) -> str | None:
    """Why the chain of releases goes no further, where it could."""
    if not published.held_back or published.waits_for is None:
        return None
    count = published.held_back
    return (
        f"{count} published version{'s' if count > 1 else ''} not in the chain of all releases yet,"
        f" which waits for {published.waits_for}"
    )


def _of_superdataset(written: Written) -> str:
    parts = []
    if count := len(written.releases):
        parts.append(f"{count} release{'s' if count > 1 else ''}" if count > 1 else f"release {written.releases[0]}")
    if written.draft is not None:
        parts.append(f"draft: {written.summary}")
    return "; ".join(parts) or "up to date"


def _of_host(outcome: HostOutcome) -> str:
    counts = {
        "pushed": len(outcome.pushed),
        "created": len(outcome.created),
        "releases made": outcome.releases,
        "made public": len(outcome.opened),
        "made private": len(outcome.hidden),
        "up to date": outcome.up_to_date,
        "failed": len(outcome.failures),
        "held back": len(outcome.held_back),
    }
    nothing = "nothing was pushed" if outcome.stopped else "nothing to push"
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or nothing
    return f"{outcome.stopped}; {said}" if outcome.stopped else said
