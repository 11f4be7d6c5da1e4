"""Where a Zarr goes: into its repository, or into a manifest alone. Nothing is seen of it until it is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from mirror.dataset.layout import NUMBER
from mirror.dataset.zarr.folders import Folder
from mirror.dataset.zarr.manifest import Change, Origin
from mirror.store.zarrs import ZarrFolder
from mirror.sync.zarr.held import HeldZarr
from mirror.sync.zarr.recording import Recorded, Recorder
from mirror.sync.zarr.subject import Subject
from mirror.sync.zarr.trees import Add, FolderTrees, TakeKey, own_entries

MANIFEST_BYTES = 64
"""What a manifest has of each file; measured: 56."""


class Target(ABC):
    """A state of a Zarr in the making. Leaving the block without `keep` leaves everything as it was."""

    def __init__(self, folder: ZarrFolder, subject: Subject, held: HeldZarr | None) -> None:
        self.folder = folder
        self.subject = subject
        self.held = held
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.manifest = opened.enter_context(self.folder.writer("manifest"))
            self.open(opened)
            self._stack = opened.pop_all()
        return self

    @abstractmethod
    def open(self, stack: ExitStack) -> None:
        """Open what is written to besides the manifest, to be closed with `stack`."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    @abstractmethod
    def bytes_a_file(self) -> int:
        """How much room each file of the Zarr takes, or a little less. What differs from a state that is held cannot
        be known before."""

    @abstractmethod
    def record(self, folders: Iterable[Folder]) -> Recorded:
        """Take in the Zarr's folders."""

    @abstractmethod
    def keep(self, recorded: Recorded) -> HeldZarr:
        """Make what was recorded the Zarr's state."""

    @property
    def origin(self) -> Origin:
        return Origin(NUMBER, self.subject.address, self.subject.api, self.subject.embargoed)

    @property
    def trusted(self) -> bool:
        """Whether there is a state to compare with, of this layout and with these addresses."""
        return self.held is not None and self.held.origin == self.origin

    def recorder(self, add: Add, take_key: TakeKey | None, changed: Callable[[Change], None] | None) -> Recorder:
        """`take_key` is told of every file that is written anew, `changed` of every one that differs."""
        held = None
        if self.held is not None and self.held.origin is not None:
            held = self.folder.manifest(self.held.oid.hex())
        return Recorder(
            facts_for=self.subject.facts,
            own=lambda facts: own_entries(facts, add),
            trees=FolderTrees(add, take_key),
            head=self.origin.head(),
            manifest=self.manifest.write,
            held=held,
            changed=changed,
            trusted=self.trusted,
        )
