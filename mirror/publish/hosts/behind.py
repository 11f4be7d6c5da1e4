"""What a host has not as it is, from the marks alone: nothing is asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mirror.config import Host
from mirror.publish.hosts.marks import Mark, Marks
from mirror.publish.hosts.pushing import waits_for
from mirror.publish.hosts.standing import (
    Gap,
    considered,
    gap,
    is_left_out,
    is_shut_by_others,
    must_be_hidden,
    place,
    refs_digest,
)
from mirror.publish.publication import Publication


@dataclass(frozen=True)
class Behind:
    """A repository that a host has not as it is."""

    name: str
    reason: str
    since: str | None
    """since it fails, or else since it moved"""
    error: str | None = None
    """the last one"""
    count: int = 0
    """how often it was tried in vain"""


@dataclass(frozen=True)
class Trouble:
    """Why the last run left a host."""

    message: str
    since: str
    count: int
    until: str | None
    """it is not asked before"""


def behind(host: Host, publications: Sequence[Publication], marks: Path) -> list[Behind]:
    """In the order in which they will be pushed. Embargoed ones that the host does not take are not behind."""
    of_host = Marks(marks, host.name, place(host))
    found: list[Behind] = []
    chosen = considered(host, publications)
    names = {publication.name for publication in chosen}
    there: set[str] = set()
    for publication in chosen:
        mark = of_host[publication.name]
        if is_left_out(host, publication):
            if must_be_hidden(host, publication, mark):
                found.append(_behind(publication, mark, "embargoed again, and to be seen there"))
            continue
        refs = refs_digest(publication)
        missing = gap(host, publication, refs, mark)
        if refs and mark.refs == refs:
            there.add(publication.name)
        lacking = sorted((publication.needs & names) - there) if of_host.was_tried else []
        if refs and not missing and is_shut_by_others(publication, mark):
            found.append(_behind(publication, mark, "private there; open it by hand, if that is right"))
        if refs and missing:
            found.append(_behind(publication, mark, _reason(missing, mark, lacking)))
    return found


def hosts_that_show(name: str, hosts: Iterable[Host], marks: Path) -> list[str]:
    """The names of the hosts where everybody can see a repository, as far as our marks tell."""
    of_each = ((host.name, Marks(marks, host.name, place(host))[name]) for host in hosts)
    return [host for host, mark in of_each if mark.is_there and not mark.private]


def trouble(host: Host, marks: Path) -> Trouble | None:
    """Why the last run had to leave the host; None if it had not to."""
    mark = Marks(marks, host.name, place(host)).host
    if mark.failure is None:
        return None
    return Trouble(mark.failure.message, mark.failure.since, mark.failure.count, mark.until)


def _reason(missing: Gap, mark: Mark, lacking: Sequence[str]) -> str:
    if missing.refs and lacking:
        return waits_for(lacking)
    if missing.refs:
        return "moved since it was pushed" if mark.refs else "not there yet"
    if missing.settings:
        return "its description or visibility is to be changed"
    return "its default branch is to be set" if missing.default_branch else "releases are to be made"


def _behind(publication: Publication, mark: Mark, reason: str) -> Behind:
    failure = mark.failure
    if failure is None:
        return Behind(publication.name, reason, _moved(publication))
    return Behind(publication.name, reason, failure.since, failure.message, failure.count)


def _moved(publication: Publication) -> str | None:
    """When the repository's refs moved last."""
    try:
        moment = (publication.repository / "packed-refs").stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
