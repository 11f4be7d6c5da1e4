"""What a store holds, Dandiset by Dandiset."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from mirror.dataset.commits import trailers
from mirror.git.repository import Repository
from mirror.store.state import DandisetState, Holding
from mirror.store.store import Store
from mirror.store.version_keys import versions_in

_DRAFT = "refs/heads/draft"


@dataclass(frozen=True)
class Row:
    """One Dandiset: the marks of its last sync, and what its repository holds."""

    state: DandisetState
    holding: Holding | None
    """None when there is nothing to clone yet"""
    path: str


def overview(store: Store, identifiers: Collection[str] = ()) -> Iterator[Row]:
    """Every Dandiset of a store, or the named ones of them, in order."""
    for identifier in store.known():
        if not identifiers or identifier in identifiers:
            state = store.state(identifier)
            yield Row(state, _holding(store, state), str(store.alias(identifier)))


def _holding(store: Store, state: DandisetState) -> Holding | None:
    """What the repository holds: as the marks say, where they are of the present draft; read from it otherwise."""
    repository = store.repository(state.identifier)
    refs = repository.refs() if repository.path.is_dir() else {}
    draft = refs.get(_DRAFT)
    if draft is None:
        return None
    if state.holding is not None and state.holding.draft == draft.hex():
        return state.holding
    return _read(repository, draft.hex(), refs)


def _read(repository: Repository, draft: str, refs: dict[str, bytes]) -> Holding:
    with repository.objects() as objects:
        facts = trailers(objects.commit(bytes.fromhex(draft)).message)
    return Holding(
        draft=draft,
        releases=tuple(sorted(versions_in(refs))),
        modified=facts.get("Archive-Modified", ""),
        assets=int(facts.get("Assets", 0)),
        bytes=int(facts.get("Bytes", 0)),
    )
