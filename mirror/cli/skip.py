"""`dandi-mirror skip`: do not wait for a published version that will never come."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record, Status, printable
from mirror.cli.sync import dandiset_identifier

if TYPE_CHECKING:
    from mirror.config_layers import Loaded
    from mirror.store.skips import Skip
    from mirror.store.state import DandisetState
    from mirror.store.store import Store


@click.command()
@click.argument("dandiset", required=False, metavar="[ID")
@click.argument("version", required=False, metavar="VERSION]")
@click.option("--why", metavar="TEXT", help="The reason, for those who come after.")
@click.option("--undo", is_flag=True, help="Wait for it again.")
@settings_options("store")
@json_option
@log_level_option
def skip(dandiset: str | None, version: str | None, why: str | None, undo: bool, loaded: Loaded, as_json: bool) -> None:
    """Do not wait for a published version that will never come; alone: list those that are skipped.

    A version that cannot be mirrored holds back the later ones of its Dandiset, and every later one in the chain of all
    releases. The next sync goes on without it. Commits made from then on name it in their `Layout` trailer: mirrors
    that skip the same versions have the same hashes. Without VERSION, a Dandiset is meant whose versions cannot even be
    listed, or that the archive does not show any more.

    \b
    dandi-mirror skip
    dandi-mirror skip 000005 0.230101.1200 --why "its asset list ends in an error, see ticket 12"
    dandi-mirror skip 000005 0.230101.1200 --undo
    """
    from mirror.store.skips import ALL_UNKNOWN
    from mirror.store.store import Store

    store, output = Store.open(loaded.settings.store), Output(as_json=as_json)
    if dandiset is None:
        skips = store.skips()
        for one in skips:
            output.record(_record(one, Status.OK, one.why), text=_line(one))
        if not skips:
            output.text("no version is skipped")
        return
    identifier = dandiset_identifier(dandiset)
    with store.lock(f"dandi-mirror skip {identifier} {version or ''}".rstrip()):
        if undo:
            _undo(store, identifier, version or ALL_UNKNOWN, output)
        else:
            _skip(store, identifier, version or ALL_UNKNOWN, why, output)


def _skip(store: Store, identifier: str, version: str, why: str | None, output: Output) -> None:
    from mirror.errors import UsageError
    from mirror.store.skips import ALL_UNKNOWN, Skip

    if known := [one for one in store.skips() if (one.dandiset, one.version) == (identifier, version)]:
        output.record(_record(known[0], Status.NOTNEEDED, "skipped already"), text=_line(known[0]))
        return
    created = _place(store, identifier, version)
    if created is None and version == ALL_UNKNOWN:
        raise UsageError(f"which version of {identifier}?", hint=_missing(store, identifier))
    if created is None:
        raise UsageError(f"no version {version} of {identifier} is waited for", hint=_missing(store, identifier))
    if not why or not why.strip():
        raise UsageError("say why, with --why: whoever finds this mirror in some years will ask")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    one = Skip(identifier, version, created, " ".join(why.split()), now)
    store.save_skips([*store.skips(), one])
    output.record(_record(one, Status.OK, "skipped"), text=f"{_line(one)}\nThe next sync goes on without it.")


def _place(store: Store, identifier: str, version: str) -> str | None:
    """When a version was made that is waited for, or up to when those of a Dandiset are known."""
    from mirror.store.skips import ALL_UNKNOWN

    frontier = store.frontier()
    if version == ALL_UNKNOWN:
        return frontier.unknown.get(identifier) if frontier is not None else None
    noted = frontier.awaited.get(identifier, {}) if frontier is not None else {}
    return store.state(identifier).awaited.get(version) or noted.get(version)


def _undo(store: Store, identifier: str, version: str, output: Output) -> None:
    from mirror.errors import UsageError

    kept = [one for one in store.skips() if (one.dandiset, one.version) != (identifier, version)]
    gone = [one for one in store.skips() if one not in kept]
    if not gone:
        raise UsageError(f"version {version} of {identifier} is not skipped", hint="`dandi-mirror skip` lists those")
    store.save_skips(kept)
    # Marked as dealt with, it would not be looked for.
    state = store.state(identifier)
    store.save_state(state_without(state, version))
    output.record(_record(gone[0], Status.OK, "waited for again"), text=f"{identifier} {version}: waited for again")


def state_without(state: DandisetState, version: str) -> DandisetState:
    import msgspec

    versions = {name: modified for name, modified in state.versions.items() if name != version}
    return msgspec.structs.replace(state, versions=versions)


def _missing(store: Store, identifier: str) -> str:
    """Which versions could be skipped."""
    awaited = store.state(identifier).awaited
    return f"missing here: {', '.join(sorted(awaited))}" if awaited else f"no version of {identifier} is missing here"


def _record(one: Skip, status: Status, message: str) -> Record:
    more = {"dandiset": one.dandiset, "version": one.version, "created": one.created, "why": one.why}
    return Record(
        "skip", f"{one.dandiset}@{one.version}", status, message=message, more={**more, "decided": one.decided}
    )


def _line(one: Skip) -> str:
    from mirror.store.skips import ALL_UNKNOWN

    what = "whatever cannot be listed since" if one.version == ALL_UNKNOWN else f"{one.version} of"
    return printable(f"{one.dandiset} {what} {one.created[:10]}: {one.why} (since {one.decided[:10]})")
