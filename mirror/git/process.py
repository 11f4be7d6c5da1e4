"""Running git: in a clean environment, on one repository, errors with everything one needs to know."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from mirror.errors import GitError

FRUGAL = {"core.packedGitWindowSize": "1m", "core.packedGitLimit": "16m", "core.deltaBaseCacheLimit": "16m"}
"""Settings with which git does not map whole packs into memory, those of a Zarr of a million files for one."""

PUBLIC_UMASK = 0o022
"""What git writes into a repository is for everybody to read, whatever our own umask."""


def is_secret(variable: str) -> bool:
    """Whether an environment variable of this name holds a token, by all that is customary."""
    return variable.upper().endswith(("_API_KEY", "_TOKEN"))


def environment() -> dict[str, str]:
    """The environment git runs in: nobody's configuration, no prompt, English messages.

    A `GIT_DIR` inherited from a hook, or the `pack.*` settings of whoever runs the mirror, must not decide what
    happens to a repository. Nor does it need anybody's tokens.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") and not is_secret(key)}
    return kept | {
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
    }


def command(repository: Path, *args: str) -> list[str]:
    """A git command on this repository.

    Named by `--git-dir` rather than found: git then reads it even when it belongs to another user, which
    `safe.directory` would forbid.
    """
    return ["git", f"--git-dir={repository}", *args]


def run_git(repository: Path, *args: str, stdin: bytes = b"") -> bytes:
    """Run git to its end and return what it printed; `GitError` when it fails."""
    cmd = command(repository, *args)
    try:
        done = subprocess.run(
            cmd, input=stdin, capture_output=True, cwd=repository, env=environment(), umask=PUBLIC_UMASK, check=False
        )
    except OSError as error:
        raise GitError(cmd, -1, str(error), str(repository)) from error
    if done.returncode != 0:
        raise GitError(cmd, done.returncode, done.stderr.decode(errors="replace"), str(repository))
    return done.stdout
