"""What came of a simulation, as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from simulation.following import Following, Lag
from simulation.outcome import Outcome
from simulation.plan import Kind


def table(outcome: Outcome) -> str:
    """Names and figures, one a line."""
    rows = list(_rows(outcome))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {figure}" for name, figure in rows)


def _rows(outcome: Outcome) -> Iterator[tuple[str, str]]:
    scale = outcome.scale
    yield "archive", f"{scale.dandisets:,} Dandisets, {scale.assets:,} assets, {scale.versions:,} versions at first"
    yield "took", _times(outcome)
    yield "changes followed", f"{outcome.changes:,} edits, {outcome.publications:,} publications, in a week of 7 days"
    yield "faults struck", ", ".join(f"{count} {kind}" for kind, count in outcome.struck.items()) or "none"
    yield "trouble", _troubles(outcome)
    yield "requests", f"{outcome.requests:,}"
    for following in outcome.followings:
        yield from _of_mirror(following)
    if outcome.memory is not None:
        memory = f"{outcome.memory.second:.0f} MiB, later {outcome.memory.last:.0f}"
        yield "memory of the daemon", f"{memory}; with its workers {outcome.memory_peak:.0f} at most"
    yield "memory of the archive", f"{outcome.archive_memory:,.0f} MiB"
    if (compared := outcome.compared) is not None:
        yield (
            "compared",
            f"{compared.dandisets:,} Dandisets, {compared.versions:,} versions, {compared.assets:,} assets",
        )
        yield "git fsck", f"{compared.repositories:,} repositories"
        yield (
            "feed and superdatasets",
            f"looked through for {compared.closely:,} Dandisets: all that changed, and a sample",
        )
    yield "wrong", str(len(outcome.wrong)) if outcome.wrong else "nothing"


def _troubles(outcome: Outcome) -> str:
    names: dict[Kind, str] = {
        "storm": "storms",
        "outage": "outages",
        "hang": "requests never answered",
        "full": "times a disk full",
    }
    kinds = Counter(event.kind for event in outcome.events)
    told = ", ".join(f"{kinds[kind]} {name}" for kind, name in names.items())
    return f"{told} (nothing can be mounted: {outcome.disk})" if outcome.disk else told


def _times(outcome: Outcome) -> str:
    return ", ".join(f"{part} {seconds:.0f} s" for part, seconds in outcome.seconds.items())


def _of_mirror(following: Following) -> Iterator[tuple[str, str]]:
    mirror = following.mirror
    failed = sum(one.code != 0 for one in mirror.rounds)
    yield f"the {mirror.name}", f"{len(mirror.rounds)} rounds, {failed} of them troubled, {mirror.kills} kills"
    yield "  behind, out of trouble", _lag(following, following.undisturbed())
    yield "  behind, all changes", _lag(following, following.lags)


def _lag(following: Following, lags: Sequence[Lag]) -> str:
    if not lags:
        return "nothing to measure"
    seconds, rounds = [one.seconds for one in lags], [following.rounds(one) for one in lags]
    return (
        f"median {median(seconds):.1f} s and {median(rounds):g} rounds, at worst {max(seconds):.1f} s and {max(rounds)}"
        f" rounds, of {len(lags)}"
    )
