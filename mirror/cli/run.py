"""`dandi-mirror run`: keep the mirror up to date, unattended."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from mirror.cli.amounts import counted
from mirror.cli.options import json_option, settings_options
from mirror.cli.output import Output, Record, Status
from mirror.cli.service_logs import service_log_options
from mirror.errors import UsageError

if TYPE_CHECKING:
    from mirror.config import Settings
    from mirror.config_layers import Loaded
    from mirror.daemon.listening import JobReport


@click.command()
@click.option("--once", "one_round", is_flag=True, help="Do what is due now, and end: for cron and timers.")
@settings_options("store", "instance", "jobs")
@service_log_options
@json_option
def run(one_round: bool, loaded: Loaded, as_json: bool) -> None:
    """Keep the mirror up to date, unattended.

    Polls the archive and mirrors what is new, re-reads a share of all Dandisets in full, maintains the store: each at
    the times that the settings below `schedule` give. Commands typed by hand work between these jobs.

    SIGHUP has the settings read again. SIGTERM, or Ctrl-C, lets the Dandisets in hand be finished, for `stop_seconds`
    at most, and drops them the second time. Speaks with systemd, if that started it.

    \b
    dandi-mirror run -c config/dandi.yaml
    dandi-mirror run -c config/dandi.yaml -v --log-format json
    dandi-mirror run -c config/dandi.yaml --once      one round, from cron

    With --once the exit code is that of `dandi-mirror sync`: 3 if some Dandisets failed, 11 if somebody else is at
    work in the store, 1 if the archive is out of order.
    """
    from mirror.daemon.signals import hold_reload

    if as_json and not one_round:
        raise UsageError("--json tells of one round", hint="use it with --once; without, there is --log-format json")
    # As for a sync: what is made must not stand even for an instant with too little.
    os.umask(0o022)
    hold_reload()
    if one_round:
        from mirror.daemon.once import once

        once(loaded.settings, _printer(loaded.settings) if as_json else None)
    else:
        from mirror.daemon.service import serve

        serve(loaded.settings, _reader(click.get_current_context()))


def _reader(context: click.Context) -> Callable[[], Settings]:
    """Reads the settings again as they were read at the start: from the same file, under the same options."""
    from mirror.config_layers import load

    file, given = (
        context.params["config_file"],
        {
            "archive.instance": context.params["instance"],
            "store": context.params["store"],
            "jobs": context.params["jobs"],
        },
    )
    options = {key: value for key, value in given.items() if value is not None}
    return lambda: load(file, options).settings


def _worded(report: JobReport) -> str:
    """What went wrong, in short."""
    failed = len(report.failures)
    parts = [report.trouble, f"{counted(failed, 'Dandiset')} failed" if failed else "", *report.problems]
    return "; ".join(part for part in parts if part)


def _printer(settings: Settings) -> Callable[[JobReport], None]:
    """Prints a record of each job."""
    output = Output(as_json=True)

    def tell(report: JobReport) -> None:
        status = Status.ERROR if report.failed else Status.OK
        more = report.as_dict(settings.alarm_after)
        output.record(Record("run", str(settings.store), status, type="mirror", message=_worded(report), more=more))

    return tell
