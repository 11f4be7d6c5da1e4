"""Figures of what was proved, for Prometheus: how much can be had, from where, and what is at risk.

Labels are of fixed sets: no metric grows with the archive.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from mirror.errors import MirrorError
from mirror.store.ledger import LEVELS, Figures
from mirror.store.proofs import Proofs, proofs_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import Gauge

    from mirror.store.store import Store

WHERE = ("all", "had", "archive", "store", "backup", "unknown")
RISKS = ("non_current", "changed", "lost")


class ProofGauges:
    """The gauges; `read` brings them up to date. `gauge` makes one, from its name, meaning and labels."""

    def __init__(self, gauge: Callable[..., Gauge]) -> None:
        where = "`had`: at one place at least; `unknown`: nobody looked yet"
        risk = "`non_current`: the archive will delete it; `changed`: something else is there; `lost`: gone"
        self._amounts = {
            "files": gauge("content_files", f"Content that versions name, by where it was last seen; {where}", "where"),
            "bytes": gauge("content_bytes", "The same in bytes", "where"),
        }
        self._at_risk = {
            "files": gauge("content_at_risk_files", f"Content held nowhere else than {risk}", "risk"),
            "bytes": gauge("content_at_risk_bytes", "The same in bytes", "risk"),
        }
        self._wrong = gauge("proof_findings", "What was wrong when it was last proved, by level", "level")
        self._oldest = gauge(
            "oldest_proof_timestamp_seconds",
            "When what was proved longest ago was, in seconds since 1970; 0: some never was; NaN: nothing was",
            "level",
        )
        self._set(Figures())
        self._set_wrong(None)

    def read(self, store: Store) -> None:
        """What the ledgers say now."""
        with contextlib.suppress(MirrorError, OSError):
            proofs = proofs_of(store)
            if proofs is not None:
                self._set(proofs.figures)
            self._set_wrong(proofs)

    def _set(self, figures: Figures) -> None:
        for unit in ("files", "bytes"):
            for name in WHERE:
                self._amounts[unit].labels(name).set(getattr(getattr(figures, name), unit))
            for name in RISKS:
                self._at_risk[unit].labels(name).set(getattr(getattr(figures, name), unit))

    def _set_wrong(self, proofs: Proofs | None) -> None:
        for level in LEVELS:
            self._wrong.labels(level).set(proofs.complaints.get(level, 0) if proofs is not None else 0)
            oldest = proofs.oldest.get(level) if proofs is not None else None
            self._oldest.labels(level).set(oldest if oldest is not None else float("nan"))
