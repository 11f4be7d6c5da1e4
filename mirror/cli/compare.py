"""`dandi-mirror compare`: hold this mirror against another one, hash by hash."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record, Status, printable
from mirror.cli.progress import progress

if TYPE_CHECKING:
    from mirror.config_layers import Loaded
    from mirror.proving.comparing import Comparison
    from mirror.proving.histories import Compared

_STATUS = {
    "equal": Status.NOTNEEDED,
    "behind": Status.OK,
    "ahead": Status.OK,
    "missing here": Status.OK,
    "missing there": Status.OK,
    "different": Status.ERROR,
    "unknown": Status.IMPOSSIBLE,
}
_WORDS = {
    "equal": "equal",
    "behind": "behind: the other has more",
    "ahead": "the other is behind",
    "missing here": "only the other has it",
    "missing there": "the other does not have it",
    "unknown": "not known",
}


@click.command()
@click.argument("other", metavar="OTHER")
@click.argument("dandisets", nargs=-1, metavar="[ID]...")
@click.option("--published", is_flag=True, help="Compare what is published only, not the drafts.")
@settings_options("store")
@json_option
@log_level_option
def compare(other: str, dandisets: tuple[str, ...], published: bool, loaded: Loaded, as_json: bool) -> None:
    """Compare this mirror with another, hash by hash: a store, its folder `public`, or the URL that serves it.

    Published versions have the same hashes in every mirror: where they differ, it is told from which version on, and
    in which files. One mirror may be behind the other; that is no error. Of equal ones only the refs are read.

    Exit code 0: nothing contradicts; 3: something does; 1: something could not be compared.

    \b
    dandi-mirror compare /mnt/other/dandi-mirror
    dandi-mirror compare https://mirror.example.org/dandi 000003
    """
    from mirror.cli.sync import dandiset_identifier
    from mirror.errors import MirrorError, SomeFailed
    from mirror.proving.comparing import Comparison, compare_mirrors
    from mirror.proving.others import FolderMirror, other_mirror
    from mirror.store.store import Store

    named = tuple(dandiset_identifier(given) for given in dandisets)
    output, store = Output(as_json=as_json), Store.open(loaded.settings.store)
    result = Comparison()
    with ExitStack() as stack:
        here, there = FolderMirror(store.root), other_mirror(other)
        bar = stack.enter_context(progress("Comparing"))
        pairs = compare_mirrors(
            here, there, named, drafts=not published, tell=lambda done, total: bar.describe(f"{done:,} of {total:,}")
        )
        for one in pairs:
            result.take(one)
            if as_json or one.verdict != "equal":
                output.record(_record(one, there.where), text=_text(one))
    output.text(_summary(result, there.where))
    if result.contradictions:
        raise SomeFailed(f"{result.contradictions} of {sum(result.counts.values())} contradict each other")
    if result.unknown:
        raise MirrorError(f"{result.unknown} of {sum(result.counts.values())} could not be compared")


def _record(one: Compared, where: str) -> Record:
    return Record(
        "compare",
        one.name,
        _STATUS[one.verdict],
        message=one.message,
        more={
            "other": where,
            "verdict": one.verdict,
            "releases": one.releases,
            "draft": one.draft,
            "version": one.version,
            "paths": list(one.paths),
            "annex_differs": one.annex_differs,
            "layout_here": one.here_layout,
            "layout_there": one.there_layout,
        },
    )


def _text(one: Compared) -> str:
    if one.verdict == "different":
        words = click.style(f"different from {one.version} on" if one.version else "different", fg="red")
    else:
        at = f" ({one.version})" if one.version and one.verdict in ("behind", "ahead") else ""
        words = f"{_WORDS[one.verdict]}{at}"
    paths = f" [{', '.join(map(printable, one.paths[:3]))}{', …' if len(one.paths) > 3 else ''}]" if one.paths else ""
    return f"{one.name}  {words}{paths}{': ' + printable(one.message) if one.message else ''}"


def _summary(result: Comparison, where: str) -> str:
    counts = [f"{count:,} {verdict}" for verdict, count in sorted(result.counts.items())]
    return f"compared with {printable(where)}: {', '.join(counts) or 'neither holds anything'}"
