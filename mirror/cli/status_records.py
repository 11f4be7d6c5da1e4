"""What `status --json` says of the work that is done in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.cli.output import Record, Status

if TYPE_CHECKING:
    from mirror.store.activity import Activity
    from mirror.store.disk import Disk
    from mirror.store.job_marks import JobMark, JobName


def activity_record(path: str, activity: Activity | None) -> Record:
    """What is being done now; of nulls where nobody is at work."""
    from mirror.store.activity import Standing

    standing = activity.standing if activity is not None else Standing()
    return Record(
        "status-activity",
        path,
        type="mirror",
        message=standing.doing,
        more={
            "command": activity.command if activity is not None else None,
            "pid": activity.pid if activity is not None else None,
            "host": activity.host if activity is not None else None,
            "since": activity.since if activity is not None else None,
            "job": activity.job if activity is not None else None,
            "job_since": activity.job_since if activity is not None else None,
            "total": standing.total,
            "done": standing.done,
            "resting": standing.resting,
            "changed": standing.changed,
            "failed": standing.failed,
            "per_minute": standing.per_minute,
            "seconds_to_go": standing.seconds_to_go,
            "current": {turn.dandiset: turn.how_far for turn in standing.current},
        },
    )


def job_record(job: JobName, mark: JobMark | None, due: str | None) -> Record:
    """How a job went when it was last done."""
    return Record(
        "status-job",
        job,
        Status.ERROR if mark is not None and mark.failed else Status.OK,
        type="job",
        message=mark.trouble if mark is not None else "",
        more={
            "job": job,
            "started": mark.started if mark is not None else None,
            "ended": mark.ended if mark is not None else None,
            "seconds": mark.seconds if mark is not None and mark.ended is not None else None,
            "unfinished": mark.unfinished if mark is not None else False,
            "kind": (mark.kind if mark is not None else "") or None,
            "troubled_since": mark.troubled_since if mark is not None else None,
            "troubled_count": mark.troubled_count if mark is not None else 0,
            "counts": dict(mark.counts) if mark is not None else {},
            "requests": dict(mark.requests) if mark is not None else {},
            "next": due,
        },
    )


def disk_record(path: str, disk: Disk) -> Record:
    """What it takes of its disk, and how old its caches are."""
    return Record(
        "status-disk",
        path,
        type="mirror",
        more={
            "bytes": disk.store_bytes,
            "measured": disk.measured,
            "free_bytes": disk.free_bytes,
            "index_written": disk.written["index"],
            "catalogue_written": disk.written["catalogue"],
        },
    )
