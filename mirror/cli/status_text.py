"""What is done in a store, how its jobs went, what fails: in words, for `status` and for its screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from mirror.cli.amounts import counted, human_size
from mirror.cli.output import printable
from mirror.cli.progress import duration, standing_lines

if TYPE_CHECKING:
    from mirror.store.activity import Activity
    from mirror.store.disk import Disk
    from mirror.store.glance import Lag, Totals
    from mirror.store.job_marks import JobMark, JobName
    from mirror.store.state import Failure


def activity_lines(activity: Activity, columns: int, rows: int) -> list[str]:
    """Who works here, at what, and how far that is."""
    who = f"`{printable(activity.command)}`, process {activity.pid} on {printable(activity.host)}"
    if activity.job is None:
        return [f"waiting: {who}, since {shown_time(activity.since)}"]
    what = "" if activity.job in activity.command.split() else f": {activity.job}"
    since = shown_time(activity.job_since or activity.since)
    head = f"at work: {who}{what}, since {since}"
    standing = activity.standing
    if not standing.total and not standing.doing and not standing.current:
        return [head]
    return [head, *(f"  {line}" for line in standing_lines(standing, columns - 2, rows))]


def job_lines(jobs: Mapping[JobName, JobMark], activity: Activity | None) -> Iterator[str]:
    """How each job went when it was last done, and when it is due."""
    due = activity.next_jobs if activity is not None else {}
    running = activity.job if activity is not None else None
    for job, mark in jobs.items():
        parts = [_of_mark(mark)]
        if job == running:
            parts.append("at work now")
        elif job in due:
            parts.append(f"next {shown_time(due[job])}")
        yield f"{job:<9} {'; '.join(parts)}"


def _of_mark(mark: JobMark) -> str:
    from mirror.store.job_marks import COUNTED

    if mark.ended is None:
        return "not done yet"
    took = duration(mark.seconds) if mark.seconds >= 60 else f"{mark.seconds:.1f} s"
    when = f"{shown_time(mark.ended)}, took {took}"
    in_order = [*COUNTED, *(name for name in mark.counts if name not in COUNTED)]
    counts = ", ".join(f"{mark.counts[name]:,} {name.replace('_', ' ')}" for name in in_order if mark.counts.get(name))
    if mark.requests:
        counts += f"{'; ' if counts else ''}{_of_requests(mark.requests)}"
    if mark.trouble:
        word = click.style("failed", fg="red") if mark.failed else "broken off"
        often = ""
        if mark.troubled_count > 1 and mark.troubled_since is not None:
            often = f" {mark.troubled_count:,} times since {shown_time(mark.troubled_since)}"
        return f"{when}: {word}{often}: {printable(mark.trouble)}{f'; {counts}' if counts else ''}"
    return f"{when}: {counts or 'nothing was due'}"


def _of_requests(requests: Mapping[str, int]) -> str:
    """How many there were, and how those were answered that did not get what they asked for."""
    bad = {answer: count for answer, count in requests.items() if answer.split()[-1][:1] not in "23"}
    told = ", ".join(f"{count:,} × {answer}" for answer, count in sorted(bad.items()))
    return counted(sum(requests.values()), "request") + (f" ({told})" if told else "")


def failure_words(failure: Failure, alarm_after: int, now: datetime) -> str:
    """Why a Dandiset failed, how often, and when it is tried again."""
    from mirror.sync.patience import next_try

    word = "ALARM: failed" if failure.count >= alarm_after else "failed"
    again = next_try(failure)
    when = f", tried again from {shown_time(again.isoformat())} on" if again > now else ", tried again by the next sync"
    return f"{click.style(word, fg='red')} {_how_often(failure)}{when}: {printable(failure.message)}"


def short_failure(failure: Failure, identifier: str, alarm_after: int, now: datetime) -> str:
    """The same in fewer words, for a line."""
    from mirror.sync.patience import next_try

    again, alarm = next_try(failure), failure.count >= alarm_after
    when = f", again from {shown_time(again.isoformat())}" if again > now else ""
    message = printable(failure.message.removeprefix(f"Dandiset {identifier}, "))
    return f"{click.style('ALARM ' if alarm else '', fg='red')}{_how_often(failure)}{when}: {message}"


def _how_often(failure: Failure) -> str:
    if failure.count == 1:
        return f"at {shown_time(failure.last)}"
    return f"{failure.count:,} times since {shown_time(failure.since)}"


def totals_line(totals: Totals, failing: int) -> str:
    parts = [
        counted(totals.dandisets, "Dandiset"),
        counted(totals.versions, "version"),
        counted(totals.assets, "asset"),
        f"{human_size(totals.bytes)} in the archive",
    ]
    # What went wrong comes first: a narrow terminal cuts off the rest.
    more = [click.style(f"{failing:,} failed", fg="red")] if failing else []
    more += [f"{counted(totals.pending, 'asset')} pending"] if totals.pending else []
    more += [f"{totals.unmirrored:,} not mirrored yet"] if totals.unmirrored else []
    return ", ".join(parts) + "".join(f"; {one}" for one in more)


def lag_line(lag: Lag) -> str:
    if lag.count == 1:
        return f"lag: the last change was here {duration(lag.middle)} after it was made"
    times = f"{duration(lag.middle)} (median), {duration(lag.longest)} at most"
    return f"lag: the last {lag.count} changes were here after {times}"


def disk_line(disk: Disk) -> str:
    """What of the disk is used and left, and how old the index is."""
    from mirror.store.room import RESERVE_BYTES

    parts = []
    if disk.store_bytes is not None and disk.measured is not None:
        parts.append(f"{human_size(disk.store_bytes)} here, as measured {shown_time(disk.measured)}")
    if disk.free_bytes is not None:
        free = human_size(disk.free_bytes)
        parts.append(f"{free} free" if disk.free_bytes > RESERVE_BYTES else click.style(f"full: {free} free", fg="red"))
    parts += [f"{name} of {shown_time(when)}" if when else f"no {name}" for name, when in disk.written.items()]
    return f"disk: {'; '.join(parts)}"


def shown_time(text: str) -> str:
    """A time of ours for people, in UTC; the day is left out where it is today's."""
    try:
        when = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return printable(text)
    today = when.date() == datetime.now(UTC).date()
    return when.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")
