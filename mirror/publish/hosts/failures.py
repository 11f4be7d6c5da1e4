"""How a host can fail us, where telling apart matters.

::

    HostError                  this repository could not be brought there this time; the next one's turn comes
    ├── HostUnavailable        nothing can be done at this host now; `until` when, if it told
    ├── RepositoryMissing      there is no such repository; it may be made
    └── PushRefused            the host took the push and said no
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
