"""Telling a Dandiset's trouble from the archive's: when the archive is out of order, no Dandiset is to blame."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mirror.errors import ArchiveDown, ArchiveError
from mirror.sync.connection import Connection
from mirror.sync.turn import Outcome

_IN_A_ROW = 3
"""So many Dandisets one after the other that got no answer: something of the archive's is down."""

_NO_ANSWER, _NONSENSE = "Unreachable", "BadAnswer"


def judged(
    outcomes: Iterator[Outcome], answered: Callable[[], str | None], acquit: Callable[[str], None]
) -> Iterator[Outcome]:
    """Pass the outcomes on; `ArchiveDown` as soon as it turns out that the archive is to blame for failures.

    `answered`: asks the archive something easy; what is wrong if it cannot answer that, or None. `acquit` is told of
    those that failed for no reason of theirs: they are tried again.
    """
    suspects: list[Outcome] = []
    for outcome in outcomes:
        suspect = outcome.result == "failed" and outcome.kind in (_NO_ANSWER, _NONSENSE)
        trouble = answered() if suspect else None
        if suspect and (trouble is not None or outcome.kind == _NO_ANSWER):
            suspects.append(outcome)
            if trouble is not None or len(suspects) == _IN_A_ROW:
                for one in suspects:
                    acquit(one.identifier)
                raise ArchiveDown(
                    trouble or f"{_IN_A_ROW} Dandisets in a row got no answer; {outcome.message}",
                    hint="what is left is tried again by the next sync",
                )
            continue
        yield from suspects
        suspects.clear()
        yield outcome
    yield from suspects


def answered(connection: Connection) -> str | None:
    """None if the archive still says which one it is; else what is wrong."""
    try:
        connection.client.instance()
    except ArchiveError as error:
        return error.message
    return None
