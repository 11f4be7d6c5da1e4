"""`dandi-mirror status`: tell what the mirror holds."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from mirror.cli.amounts import counted, human_size
from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record, Status, printable
from mirror.cli.status_proofs import (
    dandiset_lines,
    finding_record,
    here_line,
    proof_lines,
    proofs_record,
    version_record,
)
from mirror.cli.status_records import activity_record, disk_record, job_record
from mirror.cli.status_text import activity_lines, disk_line, failure_words, job_lines, lag_line
from mirror.cli.sync import dandiset_identifier

if TYPE_CHECKING:
    from mirror.config import Settings
    from mirror.config_layers import Loaded
    from mirror.publish.overview import HostRow, SuperdatasetRow
    from mirror.store.glance import Glance
    from mirror.store.overview import Row
    from mirror.store.store import Store


@click.command()
@click.argument("dandisets", nargs=-1, metavar="[ID]...")
@settings_options("store")
@click.option("--watch", "watching", is_flag=True, help="Keep it on the screen, in short; `q` or Ctrl-C ends.")
@json_option
@log_level_option
def status(dandisets: tuple[str, ...], watching: bool, loaded: Loaded, as_json: bool) -> None:
    """Tell what the mirror holds and what is done in it: versions, assets, bytes, what is pending and what failed.

    Dandisets that failed `alarm_after` times or more are listed first.

    \b
    dandi-mirror status
    dandi-mirror status --watch
    dandi-mirror status --store /data/dandi 000003 000027
    dandi-mirror status --json | jq 'select(.status == "error")'
    """
    from mirror.errors import UsageError
    from mirror.store.glance import Glances
    from mirror.store.overview import overview
    from mirror.store.store import Store

    named = [dandiset_identifier(given) for given in dandisets]
    if watching and (as_json or not sys.stdout.isatty()):
        raise UsageError("--watch is for a terminal", hint="without it, `dandi-mirror status` tells how things are now")
    store = Store.open(loaded.settings.store)
    if watching:
        from mirror.cli.watch import watch

        watch(Glances(store, named), store.facts, loaded.settings)
        return
    settings, now = loaded.settings, datetime.now(UTC)
    rows = sorted(overview(store, named), key=lambda row: not _is_alarming(row, settings.alarm_after))
    if missing := sorted(set(named) - {row.state.identifier for row in rows}):
        raise UsageError(
            f"not in the store at {store.root}: {', '.join(missing)}",
            hint=f"`dandi-mirror sync {' '.join(missing)}` mirrors what the archive has",
        )
    output = Output(as_json=as_json)
    facts = store.facts
    output.text(f"{store.root}: mirror of {printable(facts.instance)} ({printable(facts.instance_url)})")
    glance = Glances(store).look() if not named else None
    if glance is not None:
        output.text(disk_line(glance.disk))
        _tell_work(glance, output)
    if rows:
        output.text()
        output.text(f"{'Dandiset':<9} {'versions':>8} {'draft of':<19} {'assets':>9} {'size':>10}  last read (UTC)")
    for row in rows:
        output.record(_record(row, settings.alarm_after), text=_line(row))
        for note in _notes(row, settings.alarm_after, now):
            output.text(f"          {note}")
        if named:
            _tell_versions(store, row, output)
    output.text()
    output.text(_sum(rows))
    if glance is not None:
        if glance.lag is not None:
            output.text(lag_line(glance.lag))
        if as_json:
            _record_work(store, glance, output)
        _tell_proofs(store, output)
        _tell_published(settings, store, output)


_MOST_TOLD = 10


def _is_alarming(row: Row, alarm_after: int) -> bool:
    failure = row.state.failure
    return failure is not None and failure.count >= alarm_after


def _tell_work(glance: Glance, output: Output) -> None:
    """What is done in the store, and how its jobs went."""
    activity = glance.activity
    columns, rows = shutil.get_terminal_size()
    lines = activity_lines(activity, columns, rows) if activity is not None else []
    lines += job_lines(glance.jobs, activity)
    for line in ["", *lines] if lines else []:
        output.text(line)


def _record_work(store: Store, glance: Glance, output: Output) -> None:
    """The same for programs."""
    from mirror.store.job_marks import JOB_NAMES

    due = glance.activity.next_jobs if glance.activity is not None else {}
    output.record(activity_record(str(store.root), glance.activity))
    output.record(disk_record(str(store.root), glance.disk))
    for job in JOB_NAMES:
        output.record(job_record(job, glance.jobs.get(job), due.get(job)))


def _tell_versions(store: Store, row: Row, output: Output) -> None:
    """How much of each version can be had, by what was last seen."""
    from mirror.store.proofs import proofs_of_dandiset

    identifier = row.state.identifier
    proofs = proofs_of_dandiset(store, identifier)
    if output.as_json:
        for one in proofs.versions:
            output.record(version_record(row.path, one))
        for subject, complaint in proofs.complaints:
            output.record(finding_record(row.path, identifier, subject, complaint))
    for line in dandiset_lines(identifier, proofs):
        output.text(f"          {line}")


def _tell_proofs(store: Store, output: Output) -> None:
    """The same of everything."""
    from mirror.store.proofs import held_now, proofs_of

    proofs, here = proofs_of(store), held_now(store)
    if output.as_json:
        output.record(proofs_record(str(store.root), proofs, here))
    if here is not None and here.keys:
        output.text(here_line(here))
    for line in proof_lines(proofs) if proofs is not None else ():
        output.text(line)


def _tell_published(settings: Settings, store: Store, output: Output) -> None:
    """The superdatasets, and what hosts do not have yet."""
    from mirror.publish.overview import hosts, superdatasets, waiting

    found = list(superdatasets(settings, store))
    if found:
        output.text()
    waits = waiting(store)
    for one in found:
        output.record(_superdataset_record(one, waits), text=_superdataset_line(one))
        for name in one.late[:_MOST_TOLD]:
            output.text(f"          {printable(name)} came too late for its place in the chain")
        if (more := len(one.late) - _MOST_TOLD) > 0:
            output.text(f"          … and {more:,} more")
    if waits is not None:
        count, what = waits
        output.text(
            f"          {counted(count, 'published version')} not in the chain yet; it waits for {printable(what)}"
        )
    for host in hosts(settings, store):
        output.record(_host_record(host), text=_host_line(host))
        for row in host.behind[:_MOST_TOLD]:
            tried = f"; tried {row.count} times since {row.since}: {printable(row.error)}" if row.error else ""
            output.text(f"          {row.name}: {printable(row.reason)}{tried}")
        if (more := len(host.behind) - _MOST_TOLD) > 0:
            output.text(f"          … and {more:,} more")


def _superdataset_line(one: SuperdatasetRow) -> str:
    if one.damage is not None:
        return f"superdataset {one.name}: {click.style('failed', fg='red')}: {printable(one.damage)}"
    return f"superdataset {one.name}: {counted(one.dandisets, 'Dandiset')}, {counted(one.versions, 'release')}"


def _superdataset_record(one: SuperdatasetRow, waits: tuple[int, str] | None) -> Record:
    return Record(
        "status-superdataset",
        one.path,
        Status.OK if one.damage is None else Status.ERROR,
        message=one.damage or "",
        more={
            "superdataset": one.name,
            "draft_commit": one.draft,
            "releases_commit": one.releases,
            "dandisets": one.dandisets,
            "releases": one.versions,
            "late": list(one.late),
            "waits_for": waits[1] if waits is not None else None,
        },
    )


def _host_record(host: HostRow) -> Record:
    behind = {row.name: row.error or row.reason for row in host.behind}
    failing = host.trouble is not None or any(row.error for row in host.behind)
    message = host.trouble.message if host.trouble else ""
    status = Status.ERROR if failing else Status.OK
    return Record("status-host", host.name, status, "sibling", message, {"host": host.name, "behind": behind})


def _host_line(host: HostRow) -> str:
    told = f"{len(host.behind):,} of {host.repositories:,} repositories behind" if host.behind else "has everything"
    if host.trouble is None:
        return f"host {host.name} ({host.kind}): {told}"
    until = f" (not asked before {host.trouble.until})" if host.trouble.until else ""
    failed = click.style("failed", fg="red")
    return f"host {host.name} ({host.kind}): {told}; {failed}: {printable(host.trouble.message)}{until}"


def _sum(rows: list[Row]) -> str:
    """A line about all of them."""
    held = [row.holding for row in rows if row.holding is not None]
    failed = sum(row.state.failure is not None for row in rows)
    return (
        f"mirrored: {counted(len(held), 'Dandiset')}, {counted(sum(len(one.releases) for one in held), 'version')},"
        f" {counted(sum(one.assets for one in held), 'asset')}"
        f" ({human_size(sum(one.bytes for one in held))} in the archive)" + (f"; {failed:,} failed" if failed else "")
    )


def _record(row: Row, alarm_after: int) -> Record:
    state, holding = row.state, row.holding
    failed = state.failure is not None
    return Record(
        "status",
        row.path,
        Status.ERROR if failed else Status.OK,
        message=state.failure.message if state.failure else "",
        more={
            "dandiset": state.identifier,
            "versions": list(holding.releases) if holding else [],
            "draft_modified": holding.modified if holding else None,
            "draft_commit": holding.draft if holding else None,
            "assets": holding.assets if holding else None,
            "bytes": holding.bytes if holding else None,
            "last_sync": state.synced,
            "last_full_check": state.checked,
            "pending": state.pending,
            "zarrs": state.zarrs,
            "zarrs_failed": state.zarrs_failed,
            "waiting": state.waiting,
            "failure": _failure(row),
            "alarm": _is_alarming(row, alarm_after),
            "drift": [str(drift) for drift in state.drift],
            "vanished": state.vanished,
            "embargoed": state.embargoed,
            "notes": [*state.complaints, *state.warnings],
        },
    )


def _failure(row: Row) -> dict[str, object] | None:
    from mirror.sync.patience import next_try

    failure = row.state.failure
    if failure is None:
        return None
    return {
        "kind": failure.kind,
        "message": failure.message,
        "since": failure.since,
        "last": failure.last,
        "count": failure.count,
        "next_try": next_try(failure).isoformat(timespec="seconds"),
    }


def _line(row: Row) -> str:
    state, holding = row.state, row.holding
    if holding is None:
        return f"{state.identifier:<9} not mirrored yet"
    synced = (state.synced or "never").replace("T", " ").removesuffix("+00:00")
    return (
        f"{state.identifier:<9} {len(holding.releases):>8} {printable(holding.modified[:19].replace('T', ' ')):<19}"
        f" {holding.assets:>9,} {human_size(holding.bytes):>10}  {synced}"
    )


def _notes(row: Row, alarm_after: int, now: datetime) -> list[str]:
    """What is not as it should be, a line each."""
    state = row.state
    notes = []
    if failure := state.failure:
        notes.append(failure_words(failure, alarm_after, now))
    if state.vanished:
        notes.append(f"not in the archive any more since {state.vanished}; kept")
    if state.embargoed:
        notes.append(f"under embargo since {state.embargoed}; for the mirror's own user only, at {row.path}")
    notes += [f"version {printable(version)} not taken yet: {why}" for version, why in state.waiting.items()]
    if state.pending:
        waiting = counted(state.pending, "asset")
        notes.append(f"pending: {waiting} that the archive has not hashed, or not taken in yet")
    if len(state.zarrs_failed) > 1:
        notes += [f"{printable(path)}: {printable(why)}" for path, why in state.zarrs_failed.items()]
    notes += [f"drift: {printable(str(drift))}" for drift in state.drift]
    return notes
