"""The commits of a Zarr: a snapshot of each state, and the draft that strings them together."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.dataset.times import epoch
from mirror.dataset.zarr.documents import SNAPSHOT_SECONDS, ZarrFacts
from mirror.git.objects import COMMIT, Commit, Oid, hash_object
from mirror.store.writer import writer_at


@dataclass(frozen=True)
class State:
    """The two commits of one state."""

    snapshot: Commit
    draft: Commit

    @property
    def oid(self) -> Oid:
        """The commit of `draft`."""
        return hash_object(COMMIT, self.draft.encode())


def new_state(facts: ZarrFacts, tree: Oid, modified: str, previous: tuple[Oid, Commit] | None) -> State:
    """The commits of a newly seen state; `previous` is the tip of `draft`, with its name.

    A snapshot depends on nothing but what the Zarr is; a draft on the states that were seen before, too. It is dated
    when the latest of its files was written.
    """
    who = writer_at(SNAPSHOT_SECONDS)
    snapshot = Commit(tree, (), who, who, facts.message())
    parents: tuple[Oid, ...] = (hash_object(COMMIT, snapshot.encode()),)
    seconds = epoch(modified) if modified else SNAPSHOT_SECONDS
    if previous is not None:
        parents = (previous[0], *parents)
        seconds = max(seconds, previous[1].committer.seconds)
    who = writer_at(seconds)
    return State(snapshot, Commit(tree, parents, who, who, facts.message()))
