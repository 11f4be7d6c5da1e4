"""`dandi-mirror changes`: tell what changed, and when."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mirror.cli.amounts import human_size
from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record, printable
from mirror.dataset.times import moment
from mirror.errors import Interrupted, RecordRefused

if TYPE_CHECKING:
    from mirror.config_layers import Loaded
    from mirror.store.feed import Change

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 0.5

_SERIAL = re.compile(r"\d{1,18}", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d\d)(?:(-\d\d)(?:[T ](\d\d:\d\d)(:[\d.]+)?(.*))?)?", re.ASCII)
_SHOWN = 40


def _serial_or_time(_ctx: click.Context, _param: click.Parameter, given: str | None) -> int | datetime | None:
    if given is None:
        return None
    if _SERIAL.fullmatch(given):
        return int(given)
    if (found := _TIME.fullmatch(given)) is not None:
        month, day, minutes, seconds, zone = found.groups(default="")
        with contextlib.suppress(RecordRefused):
            return moment(f"{month}{day or '-01'}T{minutes or '00:00'}{seconds or ':00'}{zone}")
    shown = given if len(given) <= _SHOWN else f"{given[:_SHOWN]}…"
    raise click.BadParameter(
        f"{shown!r} is neither a serial, such as 17, nor a time, such as 2026-11, 2026-11-20 or 2026-11-20T15:34:17Z"
    )


@click.command()
@click.option(
    "--since",
    callback=_serial_or_time,
    metavar="SERIAL|TIME",
    help="Only what came after this serial, or from the beginning of this month, day or time on (UTC, unless it names "
    "a zone). A number alone is a serial: the year 2026 is 2026-01.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C; the exit code is then 130.")
@settings_options("store")
@json_option
@log_level_option
def changes(since: int | datetime | None, follow: bool, loaded: Loaded, as_json: bool) -> None:
    """Tell what changed in the mirror, and when: a line for each published version and each new state of a draft.

    It is what the store has in public/changes.jsonl. Who follows a mirror remembers the last serial that it knows.

    \b
    dandi-mirror changes --since 2026-11-20
    dandi-mirror changes --since 1702 --json
    dandi-mirror changes --since 2026-11 --follow
    """
    from mirror.store.store import Store

    store = Store.open(loaded.settings.store)
    output = Output(as_json=as_json)
    wanted = _filter(since)
    last = 0
    try:
        for change in _followed(store.changes) if follow else _so_far(store.changes):
            last = change.serial
            if wanted(change):
                output.record(_record(change, store.alias(change.dandiset)), text=_line(change))
    except KeyboardInterrupt:
        if not follow:
            raise
        raise click.exceptions.Exit(Interrupted.exit_code) from None  # as it was meant to end: nothing to complain of
    if isinstance(since, int) and since > last:
        print(f"there is no serial {since} yet, the last is {last}; a year is given as {since}-01", file=sys.stderr)


def _filter(since: int | datetime | None) -> Callable[[Change], bool]:
    if since is None:
        return lambda _: True
    if isinstance(since, datetime):
        return lambda change: _is_from(change, since)
    return lambda change: change.serial > since


def _is_from(change: Change, since: datetime) -> bool:
    try:
        return moment(change.time) >= since
    except RecordRefused as error:
        logger.warning("change %d is left out, for nobody knows when it was: %s", change.serial, error)
        return False


def _so_far(path: Path) -> Iterator[Change]:
    from mirror.store.feed import read_changes

    return (change for _, change in read_changes(path))


def _followed(path: Path) -> Iterator[Change]:
    """The lines there are, and those that come. Where the file is begun anew, its serials go on."""
    from mirror.store.feed import read_changes

    place = serial = 0
    while True:
        for end, change in read_changes(path, place):
            place = end
            if change.serial > serial:
                serial = change.serial
                yield change
        time.sleep(_EVERY_SECONDS)
        if path.exists() and path.stat().st_size < place:
            place = 0


def _record(change: Change, path: Path) -> Record:
    import msgspec

    more = {"serial": change.serial, "time": change.time, "dandiset": change.dandiset}
    return Record("changes", str(path), message=_words(change), more={**more, **msgspec.structs.asdict(change)})


def _line(change: Change) -> str:
    when = printable(change.time[:19].replace("T", " "))
    version = click.style(f"{printable(change.version):<15}", fg="green" if change.version[:1].isdigit() else None)
    size = f"{change.assets:,} asset{'' if change.assets == 1 else 's'}, {human_size(change.bytes)}"
    return f"{change.serial:>6}  {when}  {printable(change.dandiset)}  {version} {_words(change)} ({size})"


def _words(change: Change) -> str:
    """What changed, for people."""
    from mirror.store.feed import ANNEX_ONLY

    if change.version == ANNEX_ONLY:
        return "addresses or metadata of contents"
    counts = {
        "added": change.added,
        "modified": change.modified,
        "removed": change.removed,
        "renamed": change.renamed,
    }
    words = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
    if change.old is None:
        return f"the first: {words}" if words else "the first"
    return words or "no asset changed"
