"""`dandi-mirror materialize`: write the repositories of Zarrs of which only the manifest was kept."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record, Status, printable
from mirror.cli.progress import progress
from mirror.cli.sync import dandiset_identifier

if TYPE_CHECKING:
    from mirror.config_layers import Loaded
    from mirror.sync.zarr.materialize import Materialized

_ZARR_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STATUS = {"written": Status.OK, "there": Status.NOTNEEDED, "failed": Status.ERROR}


@click.command()
@click.argument("things", nargs=-1, required=True, metavar="ZARR_ID|DANDISET...")
@settings_options("store")
@json_option
@log_level_option
def materialize(things: tuple[str, ...], loaded: Loaded, as_json: bool) -> None:
    """Write the repositories of Zarrs that are held as manifests.

    Of a Dandiset, all the Zarrs of its draft. Every state they were seen in is written, under the commit that the
    Dandiset has named all along; the archive is not asked. From then on a sync goes on in the repository.

    \b
    dandi-mirror materialize 000108
    dandi-mirror materialize 2c57d0e2-3cf4-4be9-8c36-0dc2f1e6c5a1
    """
    from mirror.errors import SomeFailed
    from mirror.store.store import Store
    from mirror.sync.zarr.materialize import materialize as run
    from mirror.sync.zarr.materialize import zarrs_of

    os.umask(0o022)
    output = Output(as_json=as_json)
    store = Store.open(loaded.settings.store)
    failed = count = 0
    with ExitStack() as stack:
        stack.enter_context(store.lock(f"dandi-mirror materialize {' '.join(things)}"))
        zarr_ids: dict[str, None] = {}
        for thing in things:
            given = thing.lower()
            zarr_ids |= dict.fromkeys(
                [given] if _ZARR_ID.fullmatch(given) else zarrs_of(store, dandiset_identifier(thing))
            )
        bar = stack.enter_context(progress("Zarrs", len(zarr_ids), "Zarr"))
        for zarr_id in zarr_ids:
            result = run(store, zarr_id)
            output.record(_record(result), text=_text(result))
            failed += result.result == "failed"
            count += 1
            bar.advance()
    output.text(f"{count} Zarr{'s' if count != 1 else ''}, {failed} failed")
    if failed:
        raise SomeFailed(f"{failed} of {count} Zarrs could not be written")


def _record(done: Materialized) -> Record:
    more = {"zarr": done.zarr_id, "commit": done.commit}
    return Record("materialize", done.path, _STATUS[done.result], message=done.message, more=more)


def _text(done: Materialized) -> str:
    word = click.style("failed: ", fg="red") if done.result == "failed" else ""
    return f"{done.zarr_id}  {word}{printable(done.message)}"
