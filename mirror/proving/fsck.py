"""What git finds wrong in a repository, as `git fsck --strict` does."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from mirror.errors import GitError
from mirror.git.large.looking_through import count_packed, look_through
from mirror.git.process import FRUGAL, command, environment
from mirror.git.repository import Repository
from mirror.proving.findings import Stop, Stopped
from mirror.store.room import telling_of_room

MOST_FOR_GIT = 500_000
"""objects: of each that it looks at, git keeps some hundred bytes. Of more it is done without git, in a fifth of the
memory and five times the time."""

_MOST_SAID = 20
_STOP_SECONDS = 0.5


def fsck(repository: Repository, scratch: Path, stop: Stop = lambda: False) -> Iterator[str]:
    """The first lines of what is wrong. In `scratch` there is room for lists of what is in a large one."""

    def tick() -> None:
        if stop():
            raise Stopped

    large = count_packed(repository.path) > MOST_FOR_GIT
    lines = look_through(repository, scratch, tick) if large else _said_by_git(repository.path, stop)
    with telling_of_room():
        yield from islice(lines, _MOST_SAID)
        more = next(lines, None) is not None
    if more:
        yield "… and more: `git fsck --strict` says what"


def _said_by_git(repository: Path, stop: Stop) -> Iterator[str]:
    frugally = [word for name, value in FRUGAL.items() for word in ("-c", f"{name}={value}")]
    cmd = command(repository, *frugally, "fsck", "--strict", "--no-dangling", "--no-progress")
    # Into a file: of a repository that lost a pack, git has much to say.
    with tempfile.TemporaryFile() as said:
        code = _ended(cmd, repository, said, stop)
        if code == 0:
            return
        said.seek(0)
        silent = True
        for raw in said:
            line = raw.decode(errors="replace").strip()
            if line and not line.startswith(("notice:", "hint:")):
                silent = False
                yield line
        if silent:
            yield f"`git fsck --strict` ended with {code} and said nothing"


def _ended(cmd: list[str], repository: Path, said: IO[bytes], stop: Stop) -> int:
    """How git ended. It only reads, so nothing is lost by ending it at once."""
    try:
        process = subprocess.Popen(
            cmd, stdout=said, stderr=said, stdin=subprocess.DEVNULL, env=environment(), cwd=repository
        )
    except OSError as error:
        raise GitError(cmd, -1, str(error), str(repository)) from error
    try:
        while True:
            try:
                return process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                if stop():
                    raise Stopped from None
    finally:
        process.kill()
        process.wait()
