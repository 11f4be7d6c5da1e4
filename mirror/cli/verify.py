"""`dandi-mirror verify`: prove that what is mirrored is there."""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from mirror.cli.amounts import counted, human_size
from mirror.cli.live import bars_aside
from mirror.cli.options import json_option, log_level_option, settings_options
from mirror.cli.output import Output, Record, Status, printable
from mirror.cli.progress import progress
from mirror.cli.sync import dandiset_identifier

if TYPE_CHECKING:
    from mirror.cli.progress import Progress
    from mirror.config_layers import Loaded
    from mirror.proving.findings import Finding, SubjectProved
    from mirror.proving.verify import Proved
    from mirror.store.ledger import Level
    from mirror.store.store import Store

_ZARR_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORDS = {"names": "file", "urls": "content", "bytes": "content"}


@click.command()
@click.argument("what", nargs=-1, metavar="[ID|ZARR_ID]...")
@click.option(
    "--level",
    type=click.Choice(["names", "urls", "bytes"]),
    default="names",
    show_default=True,
    help="How far to go: the repositories; the addresses of all content as well; and the content held here.",
)
@click.option(
    "--sample", metavar="N|P%", help="Of the contents of each Dandiset or Zarr only so many, chosen by chance."
)
@click.option("--offline", is_flag=True, help="Ask the archive nothing: leave out what only it can tell.")
@settings_options("store")
@json_option
@log_level_option
def verify(
    what: tuple[str, ...], level: Level, sample: str | None, offline: bool, loaded: Loaded, as_json: bool
) -> None:
    """Prove that what is mirrored is there: of some Dandisets or Zarrs, or of all.

    names: git finds every repository sound, trees, records, tags and the git-annex branch agree with each other, and a
    mirror made anew from the archive has the same hashes. urls: the archive still has every content, as the version of
    today, with its size and ETag. bytes: the content held in this store is read and hashed; what is damaged is moved
    aside.

    What was seen is kept: `dandi-mirror status` tells how much of each version can be had, and what is at risk.
    Exit code 0: all is as it should be; 3: something is not; 1: nothing could be told.

    \b
    dandi-mirror verify 000003
    dandi-mirror verify --level urls --sample 5%
    dandi-mirror verify --level bytes --offline
    """
    from mirror.errors import UsageError
    from mirror.proving.sample import Sample
    from mirror.proving.verify import Prover, everything, levels_up_to
    from mirror.store.store import Store

    os.umask(0o022)
    output, store = Output(as_json=as_json), Store.open(loaded.settings.store)
    dandisets, zarrs = _named(store, what)
    levels = [one for one in levels_up_to(level) if not (offline and one == "urls")]
    if offline and level == "urls":
        raise UsageError("addresses cannot be proved offline", hint="--level names or bytes can")
    with ExitStack() as stack:
        identifiers = dandisets or ([] if zarrs else everything(store))
        bar = stack.enter_context(progress("Proving"))
        prover = stack.enter_context(
            Prover(
                loaded.settings,
                store,
                levels,
                watcher=_Printer(output, bar),
                against_archive=not offline,
                sample=Sample.parse(sample) if sample is not None else None,
            )
        )
        prover.run(identifiers)
        for zarr_id in zarrs:
            prover.zarr(zarr_id)
        proved = prover.proved
    print(_summary(proved), file=sys.stderr if as_json else sys.stdout)
    proved.check()


def _named(store: Store, what: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The Dandisets and the Zarrs that were named."""
    from mirror.errors import UsageError
    from mirror.proving.verify import in_store

    zarrs = [one.lower() for one in what if _ZARR_ID.fullmatch(one.lower())]
    here, missing = in_store(store, [dandiset_identifier(one) for one in what if not _ZARR_ID.fullmatch(one.lower())])
    missing += [one for one in zarrs if not any(side.holds(one) for side in (store.open_side, store.closed_side))]
    if missing:
        raise UsageError(
            f"not in the store at {store.root}: {', '.join(missing)}", hint="`dandi-mirror status` lists what is"
        )
    return here, zarrs


class _Printer:
    """Prints what is found as it is found."""

    def __init__(self, output: Output, bar: Progress) -> None:
        self._output = output
        self._bar = bar
        self._what = ""

    def begun(self, subject: str, level: Level) -> None:
        self._what = f"{level} of {subject}"
        self._bar.describe(self._what)

    def how_far(self, text: str) -> None:
        self._bar.describe(f"{self._what}: {text}")

    def found(self, finding: Finding) -> None:
        with bars_aside():
            self._output.record(_finding_record(finding), text=_finding_text(finding))

    def proved(self, subject: SubjectProved) -> None:
        # Where no content is held, there is nothing to be told of it.
        is_news = bool(subject.checked or subject.counts or subject.trouble or subject.level == "names")
        with bars_aside():
            if self._output.as_json or is_news:
                self._output.record(_subject_record(subject), text=_subject_text(subject))


def _finding_record(finding: Finding) -> Record:
    return Record(
        "verify-finding",
        finding.where,
        Status.ERROR if finding.severe else Status.IMPOSSIBLE,
        "file",
        finding.message,
        {
            "subject": finding.subject,
            "level": finding.level,
            "kind": finding.kind,
            "version": finding.version,
            "key": finding.key,
        },
    )


def _finding_text(finding: Finding) -> str:
    kind = click.style(finding.kind, fg="red" if finding.severe else "yellow")
    where = f"{finding.version}: {finding.where}" if finding.version not in (None, finding.where) else finding.where
    return f"{finding.subject}  {kind}: {printable(where)}: {printable(finding.message)}"


def _subject_record(subject: SubjectProved) -> Record:
    wrong = bool(subject.severe or subject.trouble)
    status = Status.ERROR if wrong else Status.IMPOSSIBLE if subject.unknown or subject.unfinished else Status.OK
    return Record(
        "verify",
        subject.path,
        status,
        message=subject.trouble,
        more={
            "subject": subject.subject,
            "level": subject.level,
            "checked": subject.checked,
            "bytes": subject.bytes,
            "findings": dict(subject.counts),
            "unfinished": subject.unfinished,
        },
    )


def _subject_text(subject: SubjectProved) -> str:
    words = [counted(subject.checked, _WORDS[subject.level])]
    words += [f"{count:,} {kind}" for kind, count in sorted(subject.counts.items())]
    told = f"{subject.subject}  {subject.level}: {', '.join(words)}"
    if subject.trouble:
        told += f"; {click.style('failed', fg='red')}: {printable(subject.trouble)}"
    return f"{told}; not finished" if subject.unfinished else told


def _summary(proved: Proved) -> str:
    parts = [counted(proved.dandisets, "Dandiset")]
    parts += [counted(proved.zarrs, "Zarr")] if proved.zarrs else []
    if proved.bytes_read:
        parts.append(f"{human_size(proved.bytes_read)} read")
    parts.append("nothing is wrong" if not proved.severe else f"{proved.severe:,} wrong")
    if proved.unknown:
        parts.append(f"{proved.unknown:,} not known")
    if proved.troubles:
        parts.append(f"{len(proved.troubles):,} not gone through to the end")
    return f"{', '.join(parts)} in {proved.seconds:.1f} s"
