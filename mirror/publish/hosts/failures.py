"""How a host can fail us, where telling apart matters.

::

    HostError                  this repository could not be brought there this time; the next one's turn comes
    ├── HostUnavailable        nothing can be done at this host now; `until` when, if it told
    ├── RepositoryMissing      there is no such repository; it may be made
    └── PushRefused            the host took the push and said no
        └── LockInTheWay       as another git is at work there, or was killed
"""

from __future__ import annotations

from datetime import datetime

from mirror.errors import HostError


class HostUnavailable(HostError):
    def __init__(self, message: str, *, hint: str | None = None, until: datetime | None = None) -> None:
        super().__init__(message, hint=hint)
        self.until = until


class RepositoryMissing(HostError):
    pass


class PushRefused(HostError):
    pass


class LockInTheWay(PushRefused):
    def __init__(self, where: str, lock: str) -> None:
        super().__init__(
            f"{where}: a lock file is in the way: {lock}",
            hint="a git that was killed there leaves such files: if none is at work there now, delete it",
        )
