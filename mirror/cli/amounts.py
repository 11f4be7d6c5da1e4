"""Numbers for people."""

from __future__ import annotations


def counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def human_size(size: int) -> str:
    """A size for people, in powers of a thousand, as the archive shows it."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if round(amount, 1) < 1000:  # as it would be shown: 999.96 kB is 1.0 MB
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} PB"
