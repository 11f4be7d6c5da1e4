"""Telling a Dandiset's trouble from the archive's: when the archive is out of order, no Dandiset is to blame.

And when it is in order, it is not: a few large Dandisets that it always gives up on must not keep the others from
their turns. So it is asked something easy itself whenever a Dandiset got no answer, or one that makes no sense.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mirror.archive.instances import instance_at
from mirror.errors import ArchiveError
from mirror.sync.connection import Connection
from mirror.sync.turn import Outcome

_NO_ANSWER, _NONSENSE = "Unreachable", "BadAnswer"

Asks = Callable[[], str | None]
"""Asks something easy; returns what is wrong if that cannot be answered."""


@dataclass
class Judge:
    """Judges the outcomes of a run. Once the archive was found to be down, it is to blame until the run's end."""

    api_answers: Asks
    bucket_answers: Asks
    down: str | None = None
    """what is wrong with the archive"""

    def acquits(self, outcome: Outcome) -> bool:
        """Whether a Dandiset failed for no reason of its own."""
        if outcome.result != "failed" or outcome.kind not in (_NO_ANSWER, _NONSENSE):
            return False
        if self.down is None:
            self.down = self.api_answers()
        if self.down is None and outcome.kind == _NO_ANSWER:
            self.down = self.bucket_answers()
        return self.down is not None


def judge_of(connection: Connection, s3_endpoint: str | None) -> Judge:
    """Who judges the outcomes of a run over this connection."""
    return Judge(
        lambda: _trouble_of(lambda: _ask_api(connection)),
        lambda: _trouble_of(lambda: _ask_bucket(connection, s3_endpoint)),
    )


def _ask_api(connection: Connection) -> None:
    """Which archive it is, and something out of its database."""
    connection.client.instance()
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
