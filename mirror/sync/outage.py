"""Telling a Dandiset's trouble from the archive's: when the archive is out of order, no Dandiset is to blame.

And when it is in order, it is not: a few large Dandisets that it always gives up on must not keep the others from
their turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mirror.archive.instances import instance_at
from mirror.errors import ArchiveDown, ArchiveError
from mirror.sync.connection import Connection
from mirror.sync.turn import Outcome

_IN_A_ROW = 3
"""So many Dandisets one after the other that got no answer: something of the archive's may be down."""

_NO_ANSWER, _NONSENSE = "Unreachable", "BadAnswer"

Asks = Callable[[], str | None]
"""Asks the archive something easy; returns what is wrong if it cannot answer that."""


def judged(
    outcomes: Iterator[Outcome], answered: Asks, all_answered: Asks, acquit: Callable[[str], None]
) -> Iterator[Outcome]:
    """Pass the outcomes on; `ArchiveDown` as soon as it turns out that the archive is to blame for failures.

    `answered` is asked at each of these, `all_answered` when there are some in a row. `acquit` is told of those that
    failed for no reason of theirs: they are tried again.
    """
    suspects: list[Outcome] = []
    for outcome in outcomes:
        suspect = outcome.result == "failed" and outcome.kind in (_NO_ANSWER, _NONSENSE)
        trouble = answered() if suspect else None
        if suspect and (trouble is not None or outcome.kind == _NO_ANSWER):
            suspects.append(outcome)
            if trouble is None and len(suspects) == _IN_A_ROW:
                trouble = all_answered()
            if trouble is not None:
                for one in suspects:
                    acquit(one.identifier)
                raise ArchiveDown(trouble, hint="what is left is tried again by the next sync")
            if len(suspects) < _IN_A_ROW:
                continue
        else:
            suspects.append(outcome)
        yield from suspects
        suspects.clear()
    yield from suspects


def answered(connection: Connection) -> str | None:
    """None if the archive still says which one it is; else what is wrong."""
    return _trouble_of(lambda: connection.client.instance())


def all_answered(connection: Connection, s3_endpoint: str | None) -> str | None:
    """None if its database and its bucket answer, too."""
    return _trouble_of(lambda: _ask_database(connection)) or _trouble_of(lambda: _ask_bucket(connection, s3_endpoint))


def _ask_database(connection: Connection) -> None:
    next(iter(connection.client.dandisets()), None)


def _ask_bucket(connection: Connection, s3_endpoint: str | None) -> None:
    """Any answer will do. Where the bucket is of an archive that nobody knows, its assets say, and they only."""
    address = s3_endpoint
    if address is None and (known := instance_at(connection.client.api_url)) is not None:
        address = f"https://{known.buckets[0]}.s3.amazonaws.com"
    if address is not None:
        connection.client.http.send(
            "HEAD", f"{address}/", lambda reply: reply.status, kind="s3", subject="the bucket", follow=False
        )


def _trouble_of(ask: Callable[[], object]) -> str | None:
    try:
        ask()
    except ArchiveError as error:
        return error.message
    return None
