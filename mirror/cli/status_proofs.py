"""What `status` says of content: how much can be had, from where, and what is at risk, by what was last seen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from mirror.cli.amounts import counted, human_size
from mirror.cli.output import Record, Status, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mirror.store.content_book import Holding
    from mirror.store.ledger import Amount, Complaint, Figures, Level, VersionFigures
    from mirror.store.proofs import DandisetProofs, Proofs

_MOST_TOLD = 10
_RISKS = {
    "non_current": "only as a version that the archive will delete",
    "changed": "changed in the archive",
    "lost": "gone",
}


def proof_lines(proofs: Proofs) -> Iterator[str]:
    """A short block about all of it."""
    if proofs.figures.all.files:
        yield f"content: {_had(proofs.figures)}"
    elif "urls" not in proofs.oldest:
        yield "content: nobody asked for it yet; `dandi-mirror verify --level urls` does"
    if risks := _risks(proofs.figures):
        yield f"         {click.style('at risk', fg='red')}: {risks}"
    # What was found of addresses is what is at risk.
    wrong = sum(count for level, count in proofs.complaints.items() if level != "urls")
    if wrong:
        found = click.style(f"{wrong:,} wrong", fg="red")
        yield f"         {found} when it was last proved; `dandi-mirror status ID` tells what"
    if proofs.oldest:
        yield f"         proved of everything: {_oldest(proofs.oldest)}"


def _oldest(oldest: Mapping[Level, int]) -> str:
    return ", ".join(f"{level} {f'since {_time(began)}' if began else 'not yet'}" for level, began in oldest.items())


def here_line(here: Holding) -> str:
    """What is held here now, whatever was seen before."""
    return f"held here now: {counted(here.keys, 'content')}, {human_size(here.distinct_bytes)}"


def dandiset_lines(identifier: str, proofs: DandisetProofs) -> Iterator[str]:
    """A line for each version of a Dandiset, and what is wrong with it and its Zarrs."""
    for one in proofs.versions:
        risks = _risks(one.figures)
        told = f"; {click.style('at risk', fg='red')}: {risks}" if risks else ""
        yield f"{printable(one.version)}: {_had(one.figures)}{told} (seen by {_time(one.at)})"
    if proofs.here is not None and proofs.here.keys:
        yield here_line(proofs.here)
    severe = [(subject, complaint) for subject, complaint in proofs.complaints if complaint.severe]
    for subject, complaint in severe[:_MOST_TOLD]:
        kind = click.style(complaint.kind, fg="red")
        where = printable(complaint.where) if subject == identifier else f"Zarr {subject}: {printable(complaint.where)}"
        yield f"{kind}: {where}: {printable(complaint.message)}"
    if (more := len(severe) - _MOST_TOLD) > 0:
        yield f"… and {more:,} more"


def _had(figures: Figures) -> str:
    places = {"archive": "in the archive", "store": "here", "backup": "in backups", "in_git": "in git"}
    found = [f"{_files(figures, name)} {words}" for name, words in places.items() if _amount(figures, name).files]
    told = f"{figures.had.files:,} of {figures.all.files:,} files ({human_size(figures.all.bytes)}) can be had"
    told += f": {', '.join(found)}" if found else ""
    unknown = f"; {figures.unknown.files:,} nobody asked for yet" if figures.unknown.files else ""
    return told + unknown


def _risks(figures: Figures) -> str:
    found = [
        f"{_files(figures, name)} ({human_size(amount.bytes)}) {words}"
        for name, words in _RISKS.items()
        if (amount := _amount(figures, name)).files
    ]
    return ", ".join(found)


def _amount(figures: Figures, name: str) -> Amount:
    amount: Amount = getattr(figures, name)
    return amount


def _files(figures: Figures, name: str) -> str:
    return f"{_amount(figures, name).files:,}"


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _iso(seconds: int | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else None


def figures_json(figures: Figures) -> dict[str, object]:
    """Figures as `--json` has them: of each, files and bytes."""
    from mirror.store.ledger import AMOUNTS

    found: dict[str, object] = {}
    for name in AMOUNTS:
        amount = _amount(figures, name)
        found[name] = {"files": amount.files, "bytes": amount.bytes}
    return found | {"since": _iso(figures.since)}


def proofs_record(path: str, proofs: Proofs | None, here: Holding | None) -> Record:
    """All of it, for programs; of nulls where nothing was ever proved."""
    risky = proofs is not None and (proofs.figures.at_risk.files or sum(proofs.complaints.values()))
    return Record(
        "status-content",
        path,
        Status.ERROR if risky else Status.OK,
        type="mirror",
        more={
            "content": figures_json(proofs.figures) if proofs is not None else None,
            "wrong": dict(proofs.complaints) if proofs is not None else None,
            "proved_since": {level: _iso(began) for level, began in proofs.oldest.items()} if proofs else None,
            "here": {"contents": here.keys, "bytes": here.distinct_bytes} if here is not None else None,
        },
    )


def version_record(path: str, one: VersionFigures) -> Record:
    """One version, for programs."""
    return Record(
        "status-version",
        path,
        Status.ERROR if one.figures.at_risk.files else Status.OK,
        more={
            "dandiset": one.dandiset,
            "version": one.version,
            "seen": _iso(one.at),
            "content": figures_json(one.figures),
        },
    )


def finding_record(path: str, dandiset: str, subject: str, one: Complaint) -> Record:
    """Something that was found wrong, for programs."""
    return Record(
        "status-finding",
        path,
        Status.ERROR if one.severe else Status.IMPOSSIBLE,
        message=one.message,
        more={"dandiset": dandiset, "subject": subject, "level": one.level, "kind": one.kind, "where": one.where},
    )
