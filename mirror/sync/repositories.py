"""Working on a dataset's repository: found whole, left whole. `name` is what logs call it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mirror.git.bare import remove_bare
from mirror.git.repository import Repository

logger = logging.getLogger(__name__)


@contextmanager
def opened(repository: Repository, name: str) -> Iterator[Repository]:
    """The repository, locked and whole. One that nothing was put into, for a first time failed, is taken away again."""
    with repository.lock():
        repair(repository, name)
        try:
            yield repository
        finally:
            if not repository.refs():
                remove_bare(repository.path)


def repair(repository: Repository, name: str) -> None:
    """Mend what a dead process left."""
    for repaired in repository.repair():
        logger.info("%s: %s", name, repaired)
