"""Making one pack of the many that a repository gathers, where there is room for both."""

from __future__ import annotations

import logging
import time

from mirror.errors import MirrorError
from mirror.git.repository import Repository
from mirror.store.room import check_room, telling_of_room

logger = logging.getLogger(__name__)


def repack(repository: Repository, name: str) -> bool:
    """Make one pack of many if that is due; whether that was done. `NoRoom` if it has to wait for room."""
    what = f"{name}: one pack made of many"
    with telling_of_room():
        return repository.repack(
            time.time(), about_to_write=lambda size: check_room(repository.path, size, what, files=2)
        )


def join_packs(repository: Repository, name: str) -> None:
    """As `repack`, after something was written. What was written is there, and nobody is to call that failed."""
    try:
        repack(repository, name)
    except MirrorError as error:
        logger.warning("%s; left for later", error)
