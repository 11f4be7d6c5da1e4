"""`dandi-mirror populate`: bring content into the store, or give it up."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from mirror.cli.amounts import counted, human_size
from mirror.cli.live import bars_aside, live
from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record, Status, printable, warn_if_incomplete
from mirror.cli.progress import cut, duration

if TYPE_CHECKING:
    from mirror.config_layers import Loaded
    from mirror.keeping.asking import Summary
    from mirror.keeping.plan import Amount, Asked
    from mirror.keeping.populating import Got
    from mirror.keeping.wishes import Versions


def _size(_ctx: click.Context, _param: click.Parameter, given: str | None) -> int | None:
    """A size, as queries have it."""
    from mirror.dataset.query.kinds import Size

    if given is None:
        return None
    try:
        return int(Size().read("".join(given.split())).start)
    except ValueError:
        raise click.BadParameter(f"{given!r} is not {Size.expected}") from None


@click.command()
@click.argument("what", nargs=-1, metavar="[WHAT]...")
@click.option("--where", metavar="QUERY", help="Of those Dandisets that match, see `dandi-mirror query`.")
@click.option("--budget", callback=_size, metavar="SIZE", help="At most so much, small files first: 500GB, 2TB.")
@click.option("--from-releases", is_flag=True, help="Their latest published versions; the drafts of those without one.")
@click.option("--from-drafts", is_flag=True, help="Their drafts; so it is if nothing is said.")
@click.option("-n", "--dry-run", is_flag=True, help="Tell what would be fetched, and fetch nothing.")
@click.option("--drop", is_flag=True, help="Give it up instead, of all versions unless one is named.")
@settings_options("store", "jobs")
@json_option
@log_level_option
def populate(
    what: tuple[str, ...],
    where: str | None,
    budget: int | None,
    from_releases: bool,
    from_drafts: bool,
    dry_run: bool,
    drop: bool,
    loaded: Loaded,
    as_json: bool,
) -> None:
    """Bring content into the store, so that clones get it from here, whatever becomes of the archive.

    WHAT is a Dandiset, a version of one, its DOI, or a path in one: of a file, a folder, a Zarr, or with `*`, `?` and
    `**`. Without WHAT or --where, what the rules in the settings ask for. Each file is checked against its digest. What
    is here already is not fetched again, and what was broken off goes on where it was. The same content in several
    Dandisets or versions is stored once.

    --budget is for all that is asked for, what is here already included: typed again, it fetches no more than that.
    What was asked for here stays until it is given up with --drop, also where rules are in force. Never given up is
    what the archive does not have any more.

    \b
    dandi-mirror populate 000003
    dandi-mirror populate 000003/0.230629.1955 '000027/draft/sub-RAT123/*.nwb'
    dandi-mirror populate --where "species ~ mouse" --from-releases --budget 2TB
    dandi-mirror populate --drop 000003
    """
    from mirror.errors import Interrupted, UsageError
    from mirror.keeping.asking import Populating

    os.umask(0o022)
    if from_releases and from_drafts:
        raise UsageError("--from-releases and --from-drafts exclude each other")
    if drop and budget is not None:
        raise UsageError("--drop gives up all of WHAT: it takes no --budget")
    if drop and dry_run:
        raise UsageError("--drop cannot only be tried: it takes no --dry-run")
    versions: Versions = "latest" if from_releases else "draft"
    if drop and not (from_releases or from_drafts):
        versions = "all"
    command = " ".join(["dandi-mirror populate", *(["--drop"] if drop else []), *what])
    output = Output(as_json=as_json)
    populating = Populating(loaded.settings, command)
    if where is not None:
        with populating.store.catalogue() as catalogue:
            warn_if_incomplete(catalogue)
    try:
        if drop:
            summary = populating.drop(what, where, versions)
        else:
            with _Printer(output).showing() as printer:
                summary = populating.run(what, where, versions, budget, printer, dry_run=dry_run)
    except KeyboardInterrupt:
        raise Interrupted("interrupted", hint="what has come stays; the same command goes on from there") from None
    _end(output, summary, dry_run=dry_run)
    summary.check()


class _Printer:
    """Prints what becomes of each content, and shows how far it is."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._total = self._done = self._came = 0
        self._files = self._files_done = 0
        self._doing = "what is asked for"

    @contextmanager
    def showing(self) -> Iterator[_Printer]:
        with live(self._lines):
            yield self

    def doing(self, what: str) -> None:
        self._doing = what

    def planned(self, total: Amount) -> None:
        self._total, self._files = total.bytes, total.keys
        self._began = time.monotonic()

    def there(self, asked: Asked) -> None:
        self._count(asked.size)
        self._files_done += 1

    def came(self, size: int) -> None:
        with self._lock:
            self._came += size
        self._count(size)

    def got(self, got: Got) -> None:
        self._files_done += 1
        failed = got.error is not None
        if not self._output.as_json and not failed:
            return
        status = Status.ERROR if failed else Status.OK
        self._print(got.asked, status, str(got.error) if failed else _HOW[got.how or ""])

    def would(self, asked: Asked) -> None:
        """It is not here, and would be fetched."""
        if self._output.as_json:
            self._print(asked, Status.OK, "would be fetched")

    def passed(self, zarr_id: str, path: str) -> None:
        message = f"a Zarr held as a manifest is passed over; `dandi-mirror materialize {zarr_id}` comes first"
        more = {"dandiset": path.partition("/")[0], "key": None, "bytes": None, "zarr": zarr_id}
        with bars_aside():
            self._output.record(Record("populate", path, Status.IMPOSSIBLE, "dataset", message, more))

    def _print(self, asked: Asked, status: Status, message: str) -> None:
        more = {"dandiset": asked.path.partition("/")[0], "key": asked.key, "bytes": asked.size, "zarr": None}
        with bars_aside():
            text = f"{printable(asked.path)}  {click.style('failed: ', fg='red')}{printable(message)}"
            self._output.record(Record("populate", asked.path, status, "file", message, more), text=text)

    def _count(self, size: int) -> None:
        with self._lock:
            self._done += size

    def _lines(self, columns: int, _rows: int) -> list[str]:
        if not self._files:
            return [cut(f"Content: {self._doing}", columns)]
        passed = max(time.monotonic() - self._began, 0.1)
        rate, left = self._came / passed, self._total - self._done
        told = [f"{human_size(self._done)} of {human_size(self._total)}"]
        told += [f"{duration(left / rate)} to go", f"{human_size(int(rate))} a second"] if rate > 1 and left > 0 else []
        share = 100 * self._done // self._total if self._total else 100
        files = f"{self._files_done:,} of {self._files:,} files"
        return [cut(f"Content: {share:>3}%  {', '.join(told)}", columns), cut(f"  {files}", columns)]


_HOW = {
    "fetched": "fetched",
    "linked": "held already, linked",
    "cloned": "held already, cloned",
    "copied": "held already, copied",
    "found": "found in place",
    "": "",
}


def _end(output: Output, summary: Summary, *, dry_run: bool) -> None:
    """A line at the end: on stdout for people, on stderr where stdout is for scripts."""
    lines = summary.lines(_amount, dry_run=dry_run)
    for line in lines:
        print(line, file=sys.stderr if output.as_json else sys.stdout)


def _amount(amount: Amount) -> str:
    return f"{counted(amount.keys, 'file')}, {human_size(amount.bytes)}"
