"""`dandi-mirror publish`: superdatasets, hosts and the change feed, without asking the archive."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output
from mirror.cli.progress import progress
from mirror.cli.publishing import PublishPrinter

if TYPE_CHECKING:
    from mirror.config_layers import Loaded


@click.command()
@click.option("--anew", metavar="NAME", help="Write the chain of releases of this superdataset from nothing.")
@settings_options("store")
@json_option
@log_level_option
def publish(anew: str | None, loaded: Loaded, as_json: bool) -> None:
    """Bring superdatasets, git hosts and the change feed up to what is mirrored.

    Every sync does so at its end; this does it alone, after a change of the settings, or when a host was out of reach.
    The archive is not asked.

    With --anew, the branch `releases` of a superdataset and its tags are written from nothing, as a mirror made today
    would have them: for versions that came too late for their place. Whoever follows that branch has to fetch it anew.

    \b
    dandi-mirror publish -c config/dandi.yaml
    dandi-mirror publish --anew dandisets
    """
    from mirror.publish.publishing import publish as run
    from mirror.sync.dandiset import layout_of

    os.umask(0o022)
    output = Output(as_json=as_json)
    command = f"dandi-mirror publish{f' --anew {anew}' if anew else ''}"
    with progress("Publishing") as bar:
        printer = PublishPrinter(output, loaded.settings.store, bar.describe)
        published = run(loaded.settings, layout_of(loaded.settings), command=command, watcher=printer, anew=anew)
    printer.end(published)
    if not (published.superdatasets or any(not outcome.ok or outcome.pushed for outcome in published.hosts)):
        output.text("up to date")
    published.check()
