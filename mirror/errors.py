"""Every error dandi-mirror raises on purpose, each with the exit code it ends the program with.

::

    MirrorError                     1   anything we foresaw; `str()` of it is fit to be read by a user
    ├── UsageError                  2   the command line asks for something that cannot be
    │   ├── ConfigError             2   a setting is unknown or wrong
    │   └── QueryError              2   a query that cannot be understood
    ├── SomeFailed                  3   some Dandisets failed and the rest were mirrored
    ├── NoStore                    10   there is no store here
    ├── Locked                     11   somebody else is working on this store
    ├── Interrupted               130   Ctrl-C
    │   └── Stopped                     asked to stop, and did so between two Dandisets
    ├── StoreError                  1   the store is not what it should be
    │   └── NoRoom                      the disk is full, or would be: ends the run, and leaves the store as it was
    ├── ArchiveError                1   the archive did not give what was asked for
    │   ├── Unreachable                 no answer, or only 5xx and 429, after all retries
    │   ├── NotFound                    404: it is not there, or not any more
    │   ├── NotAllowed                  401 or 403, in the archive's own words: a token is missing, or not entitled
    │   │   └── TokenRefused            the token is none, whatever was asked for
    │   ├── ArchiveDown                 the archive itself is out of order: ends the run, no Dandiset is to blame
    │   ├── BadAnswer                   an answer that cannot be what the API means
    │   └── Moving                      a listing that would not stand still
    ├── Refused                     1   what the archive says cannot be mirrored as it is
    │   ├── PathRefused                 an asset path that no git tree can hold
    │   ├── RecordRefused               a record with missing or malformed fields
    │   └── ContentRefused              a content that cannot be had, or is not what its digest says
    ├── ExecutorDown                1   the scheduler that work was to go to does not answer, or is gone
    ├── HostError                   1   a git host did not do what was asked of it
    └── GitError                    1   a git process failed

A message names what failed, where, and what the reader can do. It never holds a token, nor a signed URL.
"""

from __future__ import annotations

from collections.abc import Sequence


class MirrorError(Exception):
    """Anything we foresaw. `hint`, when given, says what the reader can do."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries; the default reduction forgets keyword arguments.
        return (_rebuild, (type(self), self.__dict__.copy(), self.args))


def _rebuild(cls: type[MirrorError], state: dict[str, object], args: tuple[object, ...]) -> MirrorError:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class UsageError(MirrorError):
    exit_code = 2


class ConfigError(UsageError):
    pass


class QueryError(UsageError):
    pass


class SomeFailed(MirrorError):
    exit_code = 3


class NoStore(MirrorError):
    exit_code = 10


class Locked(MirrorError):
    exit_code = 11


class Interrupted(MirrorError):
    exit_code = 130


class Stopped(Interrupted):
    pass


class StoreError(MirrorError):
    pass


class NoRoom(StoreError):
    pass


class ManifestDamaged(StoreError):
    pass


class CatalogueDamaged(StoreError):
    pass


class ArchiveError(MirrorError):
    pass


class Unreachable(ArchiveError):
    pass


class ArchiveDown(ArchiveError):
    pass


class NotFound(ArchiveError):
    pass


class NotAllowed(ArchiveError):
    pass


class TokenRefused(NotAllowed):
    pass


class BadAnswer(ArchiveError):
    pass


class Moving(ArchiveError):
    pass


class ZarrDiffers(ArchiveError):
    pass


class ExecutorDown(MirrorError):
    pass


class Refused(MirrorError):
    pass


class PathRefused(Refused):
    pass


class RecordRefused(Refused):
    pass


class ContentRefused(Refused):
    pass


class HostError(MirrorError):
    pass


class GitError(MirrorError):
    """A git process failed. Carries the command, its exit status and what it said."""

    def __init__(self, cmd: Sequence[str], returncode: int, stderr: str, cwd: str) -> None:
        said = stderr.strip() or "(it said nothing)"
        super().__init__(f"`{' '.join(cmd)}` in {cwd} ended with {returncode}: {said}")
        self.cmd = list(cmd)
        self.returncode = returncode
        self.stderr = stderr
        self.cwd = cwd
