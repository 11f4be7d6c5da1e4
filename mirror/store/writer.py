"""Who writes the commits: always the same, at a time of the archive's."""

from __future__ import annotations

from mirror.dataset.commits import WRITER_EMAIL, WRITER_NAME
from mirror.git.objects import Signature


def writer_at(seconds: int) -> Signature:
    """The one who writes every commit, at a time of the archive's."""
    return Signature(WRITER_NAME, WRITER_EMAIL, seconds)
