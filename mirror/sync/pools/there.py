"""What a worker on another machine does with an item, and what it is sent and sends back.

It first makes sure that it is fit for it: the same version of dandi-mirror, the same store at the same path. What does
not fit is a `ConfigError`, which ends the run.
"""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mirror import __version__
from mirror.config import Settings
from mirror.dataset.assets import Held
from mirror.errors import ConfigError, NoStore
from mirror.store.index import Index
from mirror.store.state import DandisetState, StoreFacts
from mirror.store.store import Store
from mirror.sync.connection import Connection
from mirror.sync.items import DandisetWork, Item, Performed, perform

MOST_ASSETS = 100_000
"""Of a draft with more of them, what the index has is not sent: some 20 MB."""


@dataclass(frozen=True)
class IndexedDraft:
    """What the index has of the draft of one Dandiset."""

    key: str
    assets: Mapping[str, Held]


@dataclass(frozen=True)
class Parcel:
    """What a worker is sent."""

    settings: Settings
    item: Item
    draft: IndexedDraft | None

    def packed(self) -> bytes:
        """For a worker to unpack once it knows that it can."""
        return pickle.dumps(self)


@dataclass(frozen=True)
class Return:
    """What comes back from it."""

    performed: Performed
    state: DandisetState | None = None
    """the marks of the Dandiset"""
    refs: dict[str, str] | None = None
    """of its repository"""
    draft: IndexedDraft | None = None
    version_ids: tuple[tuple[str, str], ...] = ()


class _OwnIndex(Index):
    """An index in memory, that begins with what was sent along, and remembers what was new to it."""

    def __init__(self, identifier: str, sent: IndexedDraft | None) -> None:
        super().__init__(Path(":memory:"))
        if sent is not None:
            self.remember_draft(identifier, sent.key, sent.assets, None)
        self.draft_now: IndexedDraft | None = None
        self.new_version_ids: list[tuple[str, str]] = []

    def remember_version_ids(self, ids: Iterable[tuple[str, str]]) -> None:
        new = list(ids)
        self.new_version_ids += new
        super().remember_version_ids(new)

    def remember_draft(
        self, dandiset: str, oid: str, assets: Mapping[str, Held], before: tuple[str, Mapping[str, Held]] | None
    ) -> None:
        self.draft_now = IndexedDraft(oid, assets) if len(assets) <= MOST_ASSETS else None
        super().remember_draft(dandiset, oid, assets, before)


class _StoreThere(Store):
    """A store that is shared, but for its index."""

    def __init__(self, root: Path, facts: StoreFacts, own: _OwnIndex) -> None:
        super().__init__(root, facts)
        self._own = own

    def index(self, *, private: bool = False) -> Index:  # noqa: ARG002 - it has that of one Dandiset only
        return self._own


def perform_there(version: str, root: str, store_id: str, parcel: bytes) -> Return:
    """What Dask runs on a worker."""
    if version != __version__:
        raise unfit(f"the Dask worker on {socket.gethostname()} has dandi-mirror {__version__}, this is {version}")
    store = _store_at(Path(root), store_id)
    sent: Parcel = pickle.loads(parcel)
    connection = _connection(sent.settings)
    before = connection.client.http.tally()
    if not isinstance(sent.item, DandisetWork):
        performed = perform(sent.settings, store, connection, sent.item, None)
        return Return(replace(performed, asked=connection.client.http.tally() - before))
    identifier = sent.item.identifier
    own = _OwnIndex(identifier, sent.draft)
    ours = _StoreThere(store.root, store.facts, own)
    performed = perform(sent.settings, ours, connection, sent.item, None)
    performed = replace(performed, asked=connection.client.http.tally() - before)
    if performed.outcome is None:
        return Return(performed)
    repository = store.repository(identifier)
    refs = repository.refs() if repository.path.is_dir() else {}
    return Return(
        performed,
        store.state(identifier),
        {name: oid.hex() for name, oid in refs.items()},
        own.draft_now,
        tuple(own.new_version_ids),
    )


def unfit(what: str) -> ConfigError:
    return ConfigError(
        what, hint="workers need the same version of dandi-mirror as the sync, and its store at the same path"
    )


def _store_at(root: Path, store_id: str) -> Store:
    here = socket.gethostname()
    try:
        store = Store.open(root)
    except (NoStore, OSError):
        raise unfit(f"the Dask worker on {here} does not see the store at {root}") from None
    if store.facts.id != store_id:
        raise unfit(f"the Dask worker on {here} has another store at {root}")
    return store


_own = threading.local()


def _connection(settings: Settings) -> Connection:
    """One for each thread of a worker, for what each of them asks to be counted by itself."""
    key = settings.archive
    opened: tuple[object, Connection] | None = getattr(_own, "connection", None)
    if opened is None or opened[0] != key:
        if opened is not None:
            opened[1].close()
        opened = _own.connection = key, Connection.open(settings)
    return opened[1]
