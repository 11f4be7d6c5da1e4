"""The store: a folder that is a DataLad RIA store to its readers, and remembers what its writer needs.

::

    STORE/public/                  serve this folder
        ria-layout-version  error_logs/
        alias/000027               -> ../2c5/7d0e2-…
        2c5/7d0e2-…/               a bare repository
        changes.jsonl              the change feed
    STORE/state/                   store.json, dandisets/ID.json, zarrs/…, hosts/…, jobs.json, and what can be lost:
                                   index.sqlite, catalogue.sqlite, activity.json, locks, tmp/
"""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from mirror.archive.records import Instance
from mirror.dataset.identity import dandiset_dataset_id, store_annex_uuid
from mirror.errors import NoStore, StoreError
from mirror.git.bare import clear_sites
from mirror.git.files import make_folders
from mirror.git.repository import Repository
from mirror.store.cache import discard
from mirror.store.catalogue import Catalogue
from mirror.store.files import folders_in, pairs_of_folders, point, remove_temporaries, write_file
from mirror.store.frontier import Frontier, PublishedMark, read_frontier, read_published, write_mark
from mirror.store.index import Index
from mirror.store.lock import exclusive
from mirror.store.owner import check_owner
from mirror.store.skips import ALL_UNKNOWN, Skip, read_skips, write_skips
from mirror.store.state import DandisetState, StoreFacts, read_facts, read_state, write_facts, write_state
from mirror.store.zarrs import ZarrFolder

DEFAULT_BRANCH = "draft"

_OLD_SECONDS = 3600.0
"""What nobody touched for so long is nobody's: small files are written in less, large ones are touched all the time."""

_TEMPORARIES = ".*.json*.*"
"""What marks are written as at first. Other hidden files are not ours: `.nobackup`, for one."""

_PREFIX = 3
"""So many letters of a dataset's id are the folder that its repository is in."""
_DANDISET = re.compile(r"\d{6,}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Store:
    """An existing store. `Store.open` finds one, `Store.open_or_create` makes one."""

    def __init__(self, root: Path, facts: StoreFacts) -> None:
        self.root = root
        self.facts = facts
        self.public = root / "public"
        self._state = root / "state"

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
            _make_folders(self.root)
            yield

    def clear_away(self) -> None:
        """Delete what a dead process left unfinished. For whoever holds the lock: nobody else is at work in here."""
        for name in ("store.json", "frontier.json", "published.json", "skips.json"):
            remove_temporaries(self._state, name)
        remove_temporaries(self._state / "dandisets", "*.json")
        remove_temporaries(self.public, "ria-layout-version")
        remove_temporaries(self.public / "alias", "*")

    def prune(self) -> int:
        """Delete what the dead left that stands in nobody's way, but takes room; how many files and folders."""
        places = [self._state, self._state / "dandisets", self.host_marks]
        found = [*self.temporary.iterdir(), *(path for folder in places for path in folder.glob(_TEMPORARIES))]
        old = time.time() - _OLD_SECONDS
        left = [path for path in found if _is_file_of(path, old)]
        for path in left:
            path.unlink(missing_ok=True)
        sites = sum(clear_sites(self.public / first) for first in folders_in(self.public) if len(first) == _PREFIX)
        return len(left) + sites + sum(folder.prune() for folder in self.zarr_folders())

    @property
    def temporary(self) -> Path:
        """A folder for files that nobody misses after a crash."""
        return self._state / "tmp"

    def dataset_id(self, identifier: str) -> str:
        return dandiset_dataset_id(self.facts.instance_url, identifier)

    def repository(self, identifier: str) -> Repository:
        """The repository of a Dandiset, whether or not it exists yet."""
        return self.dataset(self.dataset_id(identifier))

    def create_repository(self, identifier: str) -> Repository:
        """The repository of a Dandiset, made when it is not there. It gets its alias with `publish_alias`."""
        return self.create_dataset(self.dataset_id(identifier))

    def dataset(self, dataset_id: str) -> Repository:
        """The repository of a dataset, whether or not it exists yet. The dataset id of a Zarr is its own."""
        return Repository(self._dataset_folder(dataset_id))

    def create_dataset(self, dataset_id: str) -> Repository:
        """The repository of a dataset, made when it is not there. It has no address yet."""
        folder = self._dataset_folder(dataset_id)
        make_folders(folder.parent)
        config = {"annex.uuid": store_annex_uuid(dataset_id, self.facts.id), "annex.version": "10"}
        repository = Repository.create(folder, head=DEFAULT_BRANCH, config=config)
        version = folder / "ria-layout-version"
        if not version.exists():
            remove_temporaries(folder, version.name)
            write_file(version, b"2\n")
        return repository

    def alias(self, name: str) -> Path:
        """The address of a dataset: what people clone."""
        return self.public / "alias" / name

    def publish_alias(self, identifier: str) -> None:
        """Give a Dandiset, now that it holds something, its address."""
        self.publish_as(identifier, self.dataset_id(identifier))

    def publish_as(self, name: str, dataset_id: str) -> None:
        """Give a dataset, now that it holds something, an address of this name."""
        point(self.alias(name), f"../{dataset_id[:3]}/{dataset_id[3:]}")

    def zarr(self, zarr_id: str) -> ZarrFolder:
        """What is kept of a Zarr besides its repository."""
        return ZarrFolder(self._state / "zarrs", zarr_id)

    def zarrs(self) -> list[str]:
        """The ids of all Zarrs of which something is held here, in order."""
        mirrored = {entry.name for entry in (self.public / "alias").iterdir() if _UUID.fullmatch(entry.name)}
        return sorted(mirrored | {"".join(path.parts[-3:-1]) for path in self._state.glob("zarrs/*/*/commits.json")})

    def zarr_folders(self) -> Iterator[ZarrFolder]:
        """What is kept of Zarrs besides their repositories."""
        root = self._state / "zarrs"
        return (ZarrFolder(root, first + rest) for first, rest in pairs_of_folders(root) if _is_dataset(first, rest))

    def repositories(self) -> Iterator[Repository]:
        """Every repository there is: of Dandisets, Zarrs and superdatasets, whether or not it has an address."""
        return (self.dataset(first + rest) for first, rest in pairs_of_folders(self.public) if _is_dataset(first, rest))

    def dandisets(self) -> list[str]:
        """The identifiers of all Dandisets mirrored here, in order."""
        folder = self.public / "alias"
        return sorted(entry.name for entry in folder.iterdir() if _DANDISET.fullmatch(entry.name))

    def known(self) -> list[str]:
        """The identifiers of all Dandisets that were ever looked at, mirrored or not, in order."""
        return sorted({*self.dandisets(), *(path.stem for path in self._state.glob("dandisets/*.json"))})

    def states(self) -> Iterator[DandisetState]:
        """The marks of every Dandiset ever looked at."""
        return (self.state(identifier) for identifier in self.known())

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

    def index(self) -> Index:
        """The index; a context manager."""
        return Index(self.index_path)

    @property
    def index_path(self) -> Path:
        return self._state / "index.sqlite"

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
        return self.public / dataset_id[:3] / dataset_id[3:]

    def _state_file(self, identifier: str) -> Path:
        return self._state / "dandisets" / f"{identifier}.json"


def _is_file_of(path: Path, before: float) -> bool:
    """Whether it is a file, last written before this time. One that an NFS shows for as long as it is open is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_mtime < before and not path.name.startswith(".nfs")


def _is_dataset(first: str, rest: str) -> bool:
    return _UUID.fullmatch(first + rest) is not None


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
    _make_folders(root)
    # Whoever comes second finds the store locked, or made.
    with exclusive(state / "lock", "making the store"):
        if not (state / "store.json").is_file():
            write_file(root / "public" / "ria-layout-version", b"1\n")
            write_facts(state / "store.json", StoreFacts(str(uuid4()), instance.name, instance.url))


def holds_anything(root: Path) -> bool:
    """Whether there is something at `root` already. A disk of its own has a folder `lost+found`."""
    return root.exists() and any(entry.name != "lost+found" for entry in root.iterdir())


def _make_folders(root: Path) -> None:
    """`state` first: by it an unfinished store is known as one."""
    for folder in ("state/dandisets", "state/tmp", "public/alias", "public/error_logs"):
        make_folders(root / folder)
