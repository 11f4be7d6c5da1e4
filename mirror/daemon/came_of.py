"""What came of the jobs that are about content, in counts and in words: for logs, marks and hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.keeping.keeping import Kept
    from mirror.proving.verify import Proved


def counts_of_kept(kept: Kept) -> dict[str, int]:
    """How many contents came, went, and could not be had."""
    came = kept.populated
    return {
        "fetched": came.fetched.keys,
        "shared": came.shared.keys + came.copied.keys + came.found.keys,
        "dropped": kept.dropped.dropped.keys,
        "stayed": kept.dropped.stayed.keys,
        "not_to_be_had": came.failed.keys,
    }


def problems_of_kept(kept: Kept) -> list[str]:
    """What a person should know of. A problem that lasts is in the same words each time: how many it concerns is among
    the counts. That content stays which the archive has lost is no problem, but what the mirror is for."""
    found = [f"content: some could not be had, such as {kept.populated.problems[0]}"] if kept.populated.problems else []
    return found + [f"content: {why}" for why in (*kept.unread, *kept.troubled)]


def counts_of_proved(proved: Proved) -> dict[str, int]:
    """What was looked at, by level, and what was found, by kind."""
    looked_at = {f"proved_{level}": count for level, count in sorted(proved.checked.items())}
    return {"proved_dandisets": proved.dandisets, **looked_at, **dict(sorted(proved.counts.items()))}


def problems_of_proved(proved: Proved) -> list[str]:
    from mirror.proving.findings import HARMLESS  # whoever has such a thing has imported it

    found = []
    if proved.severe:
        kinds = ", ".join(kind for kind, count in sorted(proved.counts.items()) if count and kind not in HARMLESS)
        found.append(f"verify: not as it should be: {kinds}; `dandi-mirror status` tells what is at risk")
    return found + [f"verify: {subject}: {why}" for subject, why in proved.troubles.items()]


def words(counts: dict[str, int]) -> str:
    """Those that are not nothing."""
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)
