"""Bad weather for the demo archive's servers: kinds of faults by their names, for who drives it from elsewhere."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from mirror.demo.faults import Fault, Faults, Reset, Rule, Slow, Status, Truncated, WrongBody, html_page
from mirror.errors import UsageError

_PROXY_PAGE = b"<html><head><title>504 Gateway Time-out</title></head><body>nginx</body></html>"

KINDS: Mapping[str, Fault] = {
    "503": Status(503),
    "429": Status(429, retry_after=1),
    "504": Status(504, body=_PROXY_PAGE),
    "reset": Reset(),
    "slow": Slow(1.5),
    "hang": Slow(150),
    "truncated": Truncated(),
    "html": html_page(),
    "nonsense": WrongBody(b'{"results": "none'),
}
"""`hang` says nothing for longer than any client of ours waits."""


class Weather:
    """Adds faults to servers by name, and remembers how often each kind struck."""

    def __init__(self, servers: Mapping[str, Faults]) -> None:
        self._servers = servers
        self._rules: list[tuple[str, Rule]] = []
        self._lock = threading.Lock()

    def add_fault(
        self,
        kind: str,
        *,
        server: str | None = None,
        path: str = "",
        after: int = 0,
        times: int | None = None,
        share: float = 1.0,
    ) -> None:
        """A fault of this kind at one server, or at all; `share` and the rest as `Faults.add` has them."""
        if kind not in KINDS:
            raise UsageError(f"the demo archive knows no fault {kind!r}, but {', '.join(KINDS)}")
        if server is not None and server not in self._servers:
            raise UsageError(f"the demo archive has no server {server!r}, but {', '.join(self._servers)}")
        for name, faults in self._servers.items():
            if server in (None, name):
                rule = faults.add(KINDS[kind], path=path, after=after, times=times, share=share)
                with self._lock:
                    self._rules.append((kind, rule))

    def clear_faults(self) -> None:
        """Everything is answered honestly again."""
        for faults in self._servers.values():
            faults.clear()

    def count_faults(self) -> dict[str, int]:
        """How often each kind struck so far, also of what was cleared."""
        struck: Counter[str] = Counter()
        with self._lock:
            for kind, rule in self._rules:
                struck[kind] += rule.struck
        return {kind: struck[kind] for kind in KINDS if struck[kind]}
