"""The store: a folder that is a DataLad RIA store to its readers, and remembers what its writer needs.

::

    STORE/public/                  serve this folder
        ria-layout-version  error_logs/
        alias/000027               -> ../2c5/7d0e2-…
        2c5/7d0e2-…/               a bare repository
        changes.jsonl              the change feed
    STORE/private/                 the same of what is under embargo, for the mirror's own user only
        state/                     its marks, manifests, index and scratch
        opening/                   the same once more, of what is made anew to become public
    STORE/state/                   store.json, dandisets/ID.json, zarrs/…, hosts/…, jobs.json, and what can be lost:
                                   index.sqlite, catalogue.sqlite, activity.json, locks, tmp/

A dataset is on exactly one of the two sides, and found there by its id. What lists datasets lists public ones, unless
it says otherwise; `mirror.store.moving` takes one from side to side.
"""

from __future__ import annotations

import copy
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from mirror.archive.records import Instance
from mirror.dataset.identity import dandiset_dataset_id, store_annex_uuid
from mirror.errors import NoStore, StoreError
from mirror.git.files import make_folders
from mirror.git.repository import Repository
from mirror.store.cache import discard
from mirror.store.catalogue import Catalogue
from mirror.store.files import point, remove_temporaries, write_file
from mirror.store.frontier import Frontier, PublishedMark, read_frontier, read_published, write_mark
from mirror.store.index import Index
from mirror.store.lock import exclusive
from mirror.store.owner import check_owner
from mirror.store.sides import Side
from mirror.store.skips import ALL_UNKNOWN, Skip, read_skips, write_skips
from mirror.store.state import DandisetState, StoreFacts, read_facts, read_state, write_facts, write_state
from mirror.store.zarrs import ZarrFolder

DEFAULT_BRANCH = "draft"

_OLD_SECONDS = 3600.0
"""What nobody touched for so long is nobody's: small files are written in less, large ones are touched all the time."""

_TEMPORARIES = ".*.json*.*"
"""What marks are written as at first. Other hidden files are not ours: `.nobackup`, for one."""


class Store:
    """An existing store. `Store.open` finds one, `Store.open_or_create` makes one."""

    def __init__(self, root: Path, facts: StoreFacts) -> None:
        self.root = root
        self.facts = facts
        self.open_side = Side(root / "public", root / "state")
        self.closed_side = Side(root / "private", root / "private" / "state", is_private=True)
        self.opening_side = Side(root / "private/opening", root / "private/opening/state", is_private=True)
        self.opens: Side | None = None
        """of the store in which datasets are opened: the closed side, which they come from"""
        self.public = self.open_side.data
        self.private = self.closed_side.data
        self._state = self.open_side.state

    @classmethod
    def open(cls, root: Path) -> Store:
        facts = root / "state" / "store.json"
        if not facts.is_file():
            raise NoStore(f"there is no store at {root}", hint="`dandi-mirror sync` makes one; --store names another")
        return cls(root, read_facts(facts))

    @classmethod
    def open_or_create(cls, root: Path, instance: Instance) -> Store:
        """The store of this archive instance at `root`; made when there is none."""
        if not (root / "state" / "store.json").is_file():
            _create(root, instance)
        store = cls.open(root)
        if store.facts.instance_url != instance.url:
            raise StoreError(
                f"the store at {root} mirrors {store.facts.instance_url}, not {instance.url}",
                hint="use another store for another archive",
            )
        return store

    @contextmanager
    def lock(self, command: str) -> Iterator[None]:
        """Keep every other writer out of the store; those too that are not its owner."""
        check_owner(self.root)
        with exclusive(self._state / "lock", command):
            for side in self.sides():
                side.make()
            yield

    def opening(self) -> Store:
        """The store as it is worked in to open something: what is not public yet is made anew, beside the closed side,
        which stays as it is until that is done."""
        other = copy.copy(self)
        other.closed_side, other.opens = self.opening_side, self.closed_side
        return other

    def clear_away(self) -> None:
        """Delete what a dead process left unfinished. For whoever holds the lock: nobody else is at work in here."""
        if self.opening_side.exists and not any(self.opening_side.marked()):
            shutil.rmtree(self.opening_side.data)
        for name in ("store.json", "frontier.json", "published.json", "skips.json", "activity.json"):
            remove_temporaries(self._state, name)
        for side in self.sides():
            side.clear_away()

    def prune(self) -> int:
        """Delete what the dead left that stands in nobody's way, but takes room; how many files and folders."""
        sides = self.sides()
        places = [self.host_marks, *(place for side in sides for place in (side.state, side.state / "dandisets"))]
        found = [path for side in sides for path in side.temporary.iterdir()]
        found += [path for folder in places for path in folder.glob(_TEMPORARIES)]
        old = time.time() - _OLD_SECONDS
        left = [path for path in found if _is_file_of(path, old)]
        for path in left:
            path.unlink(missing_ok=True)
        sites = sum(side.clear_sites() for side in sides)
        return len(left) + sites + sum(folder.prune() for folder in self.zarr_folders())

    def sides(self) -> tuple[Side, ...]:
        """Those that there are."""
        return (self.open_side, self.closed_side) if self.closed_side.exists else (self.open_side,)

    def make_private(self) -> Side:
        """Lay out the closed side, where that was not done."""
        self.closed_side.make()
        self.closed_side.note_layout()
        return self.closed_side

    def side(self, *, private: bool) -> Side:
        return self.closed_side if private else self.open_side

    def is_private(self, dataset_id: str) -> bool:
        """Whether a dataset is on the closed side: its repository or, of a Zarr, its manifest."""
        return self.closed_side.exists and self.closed_side.holds(dataset_id)

    def is_embargoed(self, identifier: str) -> bool:
        """Whether a Dandiset is on the closed side, or to be mirrored there."""
        if not self.closed_side.exists:
            return False
        return self.closed_side.marks(identifier).exists() or self.is_private(self.dataset_id(identifier))

    def embargoed(self) -> list[str]:
        """The identifiers of all Dandisets on the closed side, in order; none for those who may not look there."""
        if not self.closed_side.exists:
            return []
        return sorted({*self.closed_side.marked(), *self.closed_side.dandisets()})

    @property
    def temporary(self) -> Path:
        """A folder for files that nobody misses after a crash, and that tell of nothing under embargo."""
        return self.open_side.temporary

    def dataset_id(self, identifier: str) -> str:
        return dandiset_dataset_id(self.facts.instance_url, identifier)

    def repository(self, identifier: str) -> Repository:
        """The repository of a Dandiset, whether or not it exists yet."""
        return self.dataset(self.dataset_id(identifier))

    def create_repository(self, identifier: str) -> Repository:
        """The repository of a Dandiset, made when it is not there. It gets its alias with `publish_alias`."""
        return self.create_dataset(self.dataset_id(identifier), private=self.is_embargoed(identifier))

    def dataset(self, dataset_id: str) -> Repository:
        """The repository of a dataset, whether or not it exists yet. The dataset id of a Zarr is its own."""
        return Repository(self._dataset_folder(dataset_id))

    def create_dataset(self, dataset_id: str, *, private: bool = False) -> Repository:
        """The repository of a dataset, made when it is not there. It has no address yet.

        `private`: where it is nowhere, it is made on the closed side.
        """
        folder = self._dataset_folder(dataset_id)
        if (private or self.opens is not None) and not folder.is_dir():
            folder = self.closed_side.folder(dataset_id)
        make_folders(folder.parent)
        config = {"annex.uuid": store_annex_uuid(dataset_id, self.facts.id), "annex.version": "10"}
        repository = Repository.create(folder, head=DEFAULT_BRANCH, config=config)
        version = folder / "ria-layout-version"
        if not version.exists():
            remove_temporaries(folder, version.name)
            write_file(version, b"2\n")
        return repository

    def alias(self, name: str) -> Path:
        """The address of a dataset: what people clone. Of one under embargo, what the mirror's own user can clone."""
        private = self.closed_side.alias(name)
        return private if self.closed_side.exists and private.is_symlink() else self.open_side.alias(name)

    def publish_alias(self, identifier: str) -> None:
        """Give a Dandiset, now that it holds something, its address."""
        self.publish_as(identifier, self.dataset_id(identifier))

    def publish_as(self, name: str, dataset_id: str) -> None:
        """Give a dataset, now that it holds something, an address of this name, on the side that it is on."""
        private = self.closed_side.exists and self.closed_side.folder(dataset_id).is_dir()
        point(self.side(private=private).alias(name), f"../{dataset_id[:3]}/{dataset_id[3:]}")

    def zarr(self, zarr_id: str, *, private: bool = False) -> ZarrFolder:
        """What is kept of a Zarr besides its repository. `private`: of one that is nowhere, on the closed side."""
        private = private or self.opens is not None
        closed = self.is_private(zarr_id) or (private and not self.open_side.holds(zarr_id))
        return ZarrFolder(self.side(private=closed).zarrs, zarr_id)

    def zarrs(self) -> list[str]:
        """The ids of all public Zarrs of which something is held here, in order."""
        return sorted(self.open_side.mirrored_zarrs())

    def zarr_folders(self) -> Iterator[ZarrFolder]:
        """What is kept of Zarrs besides their repositories, on both sides."""
        return (ZarrFolder(side.zarrs, zarr_id) for side in self.sides() for zarr_id in side.zarr_folders())

    def repositories(self) -> Iterator[Repository]:
        """Every repository there is, on both sides: of Dandisets, Zarrs and superdatasets, whether or not it has an
        address."""
        return (Repository(side.folder(dataset_id)) for side in self.sides() for dataset_id in side.repositories())

    def dandisets(self) -> list[str]:
        """The identifiers of all public Dandisets mirrored here, in order. Those under embargo are `embargoed`."""
        return self.open_side.dandisets()

    def known(self) -> list[str]:
        """The identifiers of all Dandisets that were ever looked at, mirrored or not, on both sides, in order."""
        return sorted({*self.dandisets(), *self.open_side.marked(), *self.embargoed()})

    def states(self) -> Iterator[DandisetState]:
        """The marks of every Dandiset ever looked at, under embargo or not."""
        closed = frozenset(self.embargoed())
        for identifier in self.known():
            yield read_state(self.side(private=identifier in closed).marks(identifier), identifier)

    def state(self, identifier: str) -> DandisetState:
        return read_state(self._state_file(identifier), identifier)

    def save_state(self, state: DandisetState) -> None:
        write_state(self._state_file(state.identifier), state)

    def forget_state(self, identifier: str) -> None:
        """Drop the marks of a Dandiset of which nothing is mirrored, nor ever will be."""
        self._state_file(identifier).unlink(missing_ok=True)

    def frontier(self) -> Frontier | None:
        """What the last poll of all that is selected told of published versions."""
        return read_frontier(self._state / "frontier.json")

    def save_frontier(self, frontier: Frontier) -> None:
        if frontier != self.frontier():
            write_mark(self._state / "frontier.json", frontier)

    def published(self) -> PublishedMark | None:
        """That superdatasets are up to date; None: they are not, or it is not known."""
        return read_published(self._state / "published.json")

    def save_published(self, mark: PublishedMark) -> None:
        if mark != self.published():
            write_mark(self._state / "published.json", mark)

    def forget_published(self) -> None:
        (self._state / "published.json").unlink(missing_ok=True)

    def skips(self) -> tuple[Skip, ...]:
        """The published versions that are not waited for."""
        return read_skips(self._state / "skips.json")

    def skipped_versions(self, identifier: str) -> tuple[Skip, ...]:
        """Those of them that are known versions of this Dandiset."""
        return tuple(one for one in self.skips() if one.dandiset == identifier and one.version != ALL_UNKNOWN)

    def save_skips(self, skips: Iterable[Skip]) -> None:
        write_skips(self._state / "skips.json", list(skips))

    @property
    def host_marks(self) -> Path:
        """What the git hosts have, one file each."""
        return self._state / "hosts"

    def index(self, *, private: bool = False) -> Index:
        """The index, of what is public or, `private`, of what is under embargo; a context manager."""
        return Index(self.side(private=private).index_path)

    @property
    def index_path(self) -> Path:
        return self.open_side.index_path

    def catalogue(self) -> Catalogue:
        """The catalogue; a context manager. `Chronicle` brings it up to date."""
        return Catalogue(self.catalogue_path)

    @property
    def catalogue_path(self) -> Path:
        return self._state / "catalogue.sqlite"

    def discard_catalogue(self) -> None:
        """Throw it away: it is made anew from the repositories and the feed."""
        discard(self.catalogue_path)

    @property
    def changes(self) -> Path:
        """The change feed."""
        return self.public / "changes.jsonl"

    def _dataset_folder(self, dataset_id: str) -> Path:
        closed = self.closed_side.folder(dataset_id)
        return closed if self.closed_side.exists and closed.is_dir() else self.open_side.folder(dataset_id)

    def _state_file(self, identifier: str) -> Path:
        return self.side(private=self.is_embargoed(identifier)).marks(identifier)


def _is_file_of(path: Path, before: float) -> bool:
    """Whether it is a file, last written before this time. One that an NFS shows for as long as it is open is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_mtime < before and not path.name.startswith(".nfs")


def _create(root: Path, instance: Instance) -> None:
    """Lay out a new store. `store.json` comes last: with it the store exists."""
    state = root / "state"
    if holds_anything(root) and not state.is_dir():
        if (root / "public" / "ria-layout-version").exists():
            raise StoreError(
                f"the store at {root} has lost its folder `state`",
                hint="put it back from a backup; its file store.json is enough",
            )
        raise StoreError(f"{root} is neither empty nor a store", hint="choose another folder with --store")
    side = Side(root / "public", state)
    side.make()
    # Whoever comes second finds the store locked, or made.
    with exclusive(state / "lock", "making the store"):
        if not (state / "store.json").is_file():
            side.note_layout()
            write_facts(state / "store.json", StoreFacts(str(uuid4()), instance.name, instance.url))


def holds_anything(root: Path) -> bool:
    """Whether there is something at `root` already. A disk of its own has a folder `lost+found`."""
    return root.exists() and any(entry.name != "lost+found" for entry in root.iterdir())
