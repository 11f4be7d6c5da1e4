"""`dandi-mirror backup`: copy what content the store holds to the special remotes of the settings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from mirror.cli.amounts import counted, human_size
from mirror.cli.bar_of_content import ContentBar
from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record, Status, printable
from mirror.cli.progress import progress
from mirror.cli.sync import dandiset_identifier
from mirror.errors import Interrupted, SomeFailed, UsageError

if TYPE_CHECKING:
    from mirror.config import Settings
    from mirror.config_keeping import BackupRemote
    from mirror.config_layers import Loaded
    from mirror.keeping.backup.copying import Backed, BackedUp

_ZARR_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


@click.command()
@click.argument("what", nargs=-1, metavar="[DANDISET|ZARR_ID]...")
@click.option("--to", "names", multiple=True, metavar="NAME", help="Only to this remote. May be given again.")
@click.option("--verify", is_flag=True, help="Ask the remotes for all they should have; copy what they lost again.")
@settings_options("store", "jobs")
@json_option
@log_level_option
def backup(what: tuple[str, ...], names: tuple[str, ...], verify: bool, loaded: Loaded, as_json: bool) -> None:
    """Copy the content that the store holds to the special remotes that the settings name under `backup`.

    Of a Dandiset, also that of its Zarrs; without any, everything. Only what a remote does not have yet is copied, and
    recorded, so that clones can get it from there once they have enabled the remote. Nothing is deleted there. Secrets
    come from the environment, under the names that git-annex knows (AWS_ACCESS_KEY_ID and the like).

    \b
    dandi-mirror backup -c config/dandi.yaml
    dandi-mirror backup -c config/dandi.yaml --to nas 000003
    dandi-mirror backup -c config/dandi.yaml --verify
    """
    from mirror.keeping.backup.copying import back_up
    from mirror.store.store import Store

    os.umask(0o022)
    settings, output = loaded.settings, Output(as_json=as_json)
    remotes = _remotes(settings, names)
    store = Store.open(settings.store)
    chosen = [thing.lower() if _ZARR_ID(thing.lower()) else dandiset_identifier(thing) for thing in what]
    done = []
    command = " ".join(["dandi-mirror backup", *what])
    for remote in remotes:
        with progress(f"Backup {remote.name}") as bar, _telling_of_an_interrupt():
            told = ContentBar(bar)
            done.append(back_up(store, remote, chosen, jobs=settings.jobs, verify=verify, teller=told, command=command))
        _print(done[-1], output)
    if failed := [one.remote for one in done if one.failed]:
        raise SomeFailed(f"not everything could be copied to {', '.join(failed)}")


@contextmanager
def _telling_of_an_interrupt() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted", hint="what was copied is noted; the same command goes on from there") from None


def _remotes(settings: Settings, names: tuple[str, ...]) -> list[BackupRemote]:
    if not settings.backup:
        raise UsageError(
            "the settings name no remote to copy to",
            hint="as in: backup: [{name: nas, type: directory, options: {directory: /backup/dandi}}]",
        )
    known = {remote.name: remote for remote in settings.backup}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"the settings name no remote {unknown[0]}", hint=f"they name {', '.join(known)}")
    return [remote for remote in settings.backup if not names or remote.name in names]


def _print(done: BackedUp, output: Output) -> None:
    for backed in done.datasets:
        if output.as_json or _is_news(backed):
            output.record(_record(done, backed), text=_text(done, backed))
    summary = f"{done.remote}: {counted(done.copied, 'content')} copied, {human_size(done.bytes)}"
    summary += f"; {done.there:,} there already" if done.there else ""
    summary += f"; {done.failed_contents:,} not" if done.failed_contents else ""
    if done.error:
        summary += f"; broken off: {printable(done.error)}"
    more = {
        "remote": done.remote,
        "copied": done.copied,
        "bytes": done.bytes,
        "there": done.there,
        "failed": done.failed_contents,
        "untouched": done.untouched,
    }
    status = Status.ERROR if done.failed else Status.OK if done.datasets else Status.NOTNEEDED
    output.record(Record("backup-remote", done.remote, status, "sibling", done.error or "", more), text=summary)


def _is_news(backed: Backed) -> bool:
    """That it had no turn, since the remote cannot be used at all, is said once, at the end."""
    tally = backed.tally
    return bool(tally.copied or tally.there or tally.failed or backed.gone or backed.error or tally.error)


def _record(done: BackedUp, backed: Backed) -> Record:
    tally = backed.tally
    more = {
        "remote": done.remote,
        "dataset": backed.dataset.name,
        "copied": tally.copied,
        "bytes": tally.bytes,
        "there": tally.there + tally.known,
        "failed": tally.failed,
        "left": tally.left,
        "gone": backed.gone,
    }
    status = Status.ERROR if backed.failed else Status.OK if tally.copied else Status.NOTNEEDED
    message = backed.error or tally.error or ""
    return Record("backup", str(backed.dataset.repository.path), status, message=message, more=more)


def _text(done: BackedUp, backed: Backed) -> str:
    tally = backed.tally
    parts = [f"{tally.copied:,} copied, {human_size(tally.bytes)}"]
    parts += [f"{tally.there:,} there already"] if tally.there else []
    parts += [f"{backed.gone:,} gone from there and from here"] if backed.gone else []
    parts += [click.style(f"{tally.failed:,} failed", fg="red")] if tally.failed else []
    parts += [f"{tally.left:,} not tried"] if tally.left else []
    error = backed.error or tally.error
    why = f": {printable(error)}" if error else ""
    return f"{backed.dataset.name}  {done.remote}: {', '.join(parts)}{why}"
